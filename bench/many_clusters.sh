#!/bin/sh
# many_clusters.sh [CLUSTERS[@TTL][+WRITES]...]: what many idle clusters of three cost one etcd.
#
# For each (1, 100, 100@10, 1000 and 1000+1 unless told) a new etcd and
# bench/many_clusters.c, which has the real engine, store driver and HTTP of all
# members in a few processes, but no servers.  TTL is theirs (30).  With WRITES,
# somebody else writes that many keys a second to the same etcd.
#
# Prints two lines for each: requests and processor time of etcd while nothing
# happens, and how long after the end of a leader's lease the others know it and one
# of them holds the lease.  etcd itself ends leases late: how late at most is measured
# by keys that have nothing to do with us, before the clusters start and when they run.
#
#   SECONDS_IDLE=n   how long nothing happens (60)
#   TAKEOVERS=n      leaders that fall silent (as many as there are clusters,
#                    but at least 10 and at most 100)
#   PROCESSES=n      that the clusters are shared out among (what the limit of
#                    descriptors demands: 4 for 1000 clusters with "ulimit -n" 20000)
#   DISK=yes         etcd's data in $TMPDIR, not in memory (/dev/shm)
#   RESULTS=FILE     the results as JSON; what is there of other numbers is kept
#
# Needs etcd, curl and a build (make); 3 to 8 minutes for each number.  etcd has its
# own limit of descriptors: 1000 clusters open about 14000 connections.
# "make bench-many" writes the results to docs/benchmarks.md.
set -e
case $1 in -h|--help) sed -n '2,/^set -e/{/^set -e/d;s/^# \{0,1\}//;p}' "$0"; exit ;; esac
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- 1 100 100@10 1000 1000+1
for program in etcd python3; do
	command -v $program > /dev/null || { echo "$program is not installed" >&2; exit 1; }
done
make -s "${BUILD:-build}/many_clusters"
PROGRAM=${BUILD:-build}/many_clusters exec python3 - "$@" <<'END'
import base64, datetime, json, os, re, shutil, signal, socket, subprocess, sys, tempfile, threading, time
import urllib.request

idle = int(os.environ.get("SECONDS_IDLE") or 60)
results_file = os.environ.get("RESULTS")
on_disk = os.environ.get("DISK") == "yes" or not os.access("/dev/shm", os.W_OK)
# so that nothing is left behind, however we end
signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))


def free_ports(n):
    sockets = [socket.socket() for _ in range(n)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def cpu_ms(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def all_cpu_ms():
    """What all processes of this machine have used."""
    fields = list(map(int, open("/proc/stat").readline().split()[1:9]))
    return (sum(fields) - fields[3] - fields[4]) * 1000 / os.sysconf("SC_CLK_TCK")


def sockets_of(pid):
    n = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            n += os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:")
        except OSError:
            pass
    return n


def requests(url):
    """Calls that etcd has answered, by method; of a watch, how many were opened."""
    counts = {}
    for line in urllib.request.urlopen(url + "/metrics").read().decode().splitlines():
        match = re.match(r'grpc_server_(msg_received)_total\{.*grpc_method="(\w+)".*\} (\S+)', line)
        if match and float(match[3]) > 0:
            counts[match[2]] = counts.get(match[2], 0) + float(match[3])
    return counts


def call(url, path, body):
    request = urllib.request.Request(url + path, json.dumps(body).encode())
    return json.loads(urllib.request.urlopen(request).read())


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def lateness(url):
    """
    How late etcd ends a lease of 2 s that is not ours, in ms: the median of 7.  It
    looks every 500 ms, and each is granted just after it has looked: that is the worst.
    """
    late = []
    for i in range(7):
        key = encoded(f"late{i}")
        lease = call(url, "/v3/lease/grant", {"TTL": 2})["ID"]
        call(url, "/v3/kv/put", {"key": key, "value": key, "lease": lease})
        begin = time.monotonic()
        call(url, "/v3/lease/keepalive", {"ID": lease})
        time.sleep(1.8)
        while "kvs" in call(url, "/v3/kv/range", {"key": key}):
            time.sleep(0.005)
        late.append((time.monotonic() - begin - 2) * 1000)
    return sorted(late)[3]


class Writer(threading.Thread):
    """Somebody else who uses the same etcd."""

    def __init__(self, url, per_s):
        super().__init__(daemon=True)
        self.url, self.per_s = url, per_s

    def run(self):
        while self.per_s > 0:
            time.sleep(1 / self.per_s)
            try:
                call(self.url, "/v3/kv/put", {"key": encoded("elsewhere"), "value": encoded(str(time.time()))})
            except OSError:
                return


def start_etcd(directory, client, peer):
    etcd = subprocess.Popen(
        ["etcd", "--data-dir", directory,
         "--listen-client-urls", f"http://127.0.0.1:{client}", "--advertise-client-urls", f"http://127.0.0.1:{client}",
         "--listen-peer-urls", f"http://127.0.0.1:{peer}", "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
         "--initial-cluster", f"default=http://127.0.0.1:{peer}", "--logger", "zap", "--log-level", "error"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(600):
        try:
            call(f"http://127.0.0.1:{client}", "/v3/kv/range", {"key": "MA=="})
            return etcd
        except OSError:
            time.sleep(0.1)
    etcd.kill()
    sys.exit("etcd did not start")


def expect(run, word):
    if run.stdout.readline() != word + "\n":
        sys.exit("the clusters failed")


def go_on(run):
    run.stdin.write("\n")
    run.stdin.flush()


def measure(clusters, ttl, writes):
    directory = tempfile.mkdtemp(prefix="many_clusters.", dir=None if on_disk else "/dev/shm")
    client, peer = free_ports(2)
    url = f"http://127.0.0.1:{client}"
    takeovers = int(os.environ.get("TAKEOVERS") or min(100, max(10, clusters)))
    etcd = run = None
    try:
        etcd = start_etcd(directory, client, peer)
        alone = lateness(url)
        began = time.monotonic()
        run = subprocess.Popen([os.environ["PROGRAM"], f"127.0.0.1:{client}", str(clusters), str(idle),
                                str(takeovers), str(ttl), os.environ.get("PROCESSES") or "1"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        Writer(url, writes).start()
        expect(run, "settled")
        settled = time.monotonic() - began
        go_on(run)
        expect(run, "idle begins")
        before, used, all_used, began = requests(url), cpu_ms(etcd.pid), all_cpu_ms(), time.monotonic()
        go_on(run)
        expect(run, "idle ends")
        after, used, all_used, took = (requests(url), cpu_ms(etcd.pid) - used, all_cpu_ms() - all_used,
                                       time.monotonic() - began)
        memory = int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{etcd.pid}/status").read())[1]) // 1024
        sockets = sockets_of(etcd.pid)
        loaded = lateness(url)
        go_on(run)
        result = json.loads(run.stdout.readline())
        if run.wait() != 0:
            sys.exit("the clusters failed")
    finally:
        for process in run, etcd:
            if process:
                process.kill()
                process.wait()
        shutil.rmtree(directory)
    by_method = {m: round((after[m] - before.get(m, 0)) / took, 3) for m in after if after[m] > before.get(m, 0)}
    if writes:
        by_method["Put"] = round(max(0, by_method["Put"] - writes), 3)
    others = max(0, all_used / took / 10 - used / took / 10 - result["homes_cpu_percent"]) / os.cpu_count()
    result.update(others_busy_percent=round(others, 1), writes_per_s=writes, started_s=round(settled, 1),
                  date=datetime.datetime.utcnow().strftime("%Y-%m-%d"), processors=os.cpu_count(),
                  etcd={"version": subprocess.run(["etcd", "--version"], capture_output=True, text=True).stdout.split()[2],
                        "data": "disk" if on_disk else "memory", "requests_per_s": by_method,
                        "all_requests_per_s": round(sum(by_method.values()), 3),
                        "cpu_percent": round(used / took / 10, 2), "rss_mb": memory, "sockets": sockets,
                        "lease_ends_late_ms": {"alone": round(alone, 1), "loaded": round(loaded, 1)}})
    return result


def say(result):
    etcd, known, led = result["etcd"], result["key_gone_ms"], result["led_again_ms"]
    print(f"{result['clusters']} clusters, ttl {result['ttl_s']} s"
          f"{', beside %g writes/s of others' % result['writes_per_s'] if result['writes_per_s'] else ''}:"
          f" etcd answers {etcd['all_requests_per_s']:.1f} requests/s"
          f" ({etcd['all_requests_per_s'] * 60 / result['members']:.2f} a minute and member: {etcd['requests_per_s']}),"
          f" {etcd['cpu_percent']:.2f} % of a core, {etcd['rss_mb']} MB, {etcd['sockets']} sockets;"
          f" all homes {result['homes_cpu_percent']:.3f} % of a core in {result['processes']} processes;"
          f" they had started after {result['started_s']:.1f} s;"
          f" others kept the processors busy for {result['others_busy_percent']:.0f} % of the time")
    if known:
        print(f"  after the end of a lease each of the others knows after {known['min']:.0f} / {known['median']:.0f} /"
              f" {known['p99']:.0f} / {known['max']:.0f} ms (min/median/p99/max of {known['n']}), one holds it after"
              f" {led['min']:.0f} / {led['median']:.0f} / {led['p99']:.0f} / {led['max']:.0f} ms; etcd ends another's lease"
              f" {etcd['lease_ends_late_ms']['alone']:.0f} ms late with no cluster, {etcd['lease_ends_late_ms']['loaded']:.0f}"
              " with all", flush=True)


def key_of(result):
    return result["clusters"], result["ttl_s"], result["writes_per_s"]


results = []
if results_file and os.path.exists(results_file):
    results = json.load(open(results_file))
for word in sys.argv[1:]:
    match = re.fullmatch(r"(\d+)(?:@(\d+))?(?:\+(\d+))?", word)
    if not match:
        sys.exit(f"\"{word}\" is not CLUSTERS[@TTL][+WRITES]")
    one = measure(int(match[1]), int(match[2] or 30), int(match[3] or 0))
    say(one)
    results = sorted([r for r in results if key_of(r) != key_of(one)] + [one], key=key_of)
    if results_file:
        with open(results_file + ".new", "w") as file:
            json.dump(results, file, indent=1, sort_keys=True)
            file.write("\n")
        os.rename(results_file + ".new", results_file)
if not results_file:
    print(json.dumps(results))
END
