#!/bin/sh
# many_clusters.sh [CLUSTERS...]: what many idle clusters of three cost one etcd.
#
# For each number (1, 100 and 1000 unless told) a new etcd and bench/many_clusters.c,
# which has the real engine, store driver and HTTP of all members in one process, but
# no servers.  Prints a line for each: requests and processor time of etcd while
# nothing happens, and how long after the end of a leader's lease the others know it
# and one of them holds the lease.  etcd itself ends leases late: see the first line,
# a key under a lease without anything of ours.
#
#   SECONDS_IDLE=n (60)  TAKEOVERS=n (20, at most one for each cluster)  TTL=n (30)
#
# Needs etcd, curl and a build (make); about 4 minutes for each number.
set -e
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- 1 100 1000
idle=${SECONDS_IDLE:-60} ttl=${TTL:-30}
for program in etcd curl python3; do
	command -v $program > /dev/null || { echo "$program is not installed" >&2; exit 1; }
done
make -s "${BUILD:-build}/many_clusters"
exec python3 - "${BUILD:-build}/many_clusters" "$idle" "${TAKEOVERS:-20}" "$ttl" "$@" <<'END'
import base64, json, os, re, shutil, socket, subprocess, sys, tempfile, time, urllib.request

program, idle, takeovers, ttl = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])


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


def requests(url):
    """Calls that etcd has answered, by method; of a watch, the answers that it sent."""
    counts = {}
    for line in urllib.request.urlopen(url + "/metrics").read().decode().splitlines():
        match = re.match(r'grpc_server_(msg_received)_total\{.*grpc_method="(\w+)".*\} (\S+)', line)
        if match and float(match[3]) > 0:
            counts[match[2]] = counts.get(match[2], 0) + float(match[3])
    return counts


def call(url, path, body):
    request = urllib.request.Request(url + path, json.dumps(body).encode())
    return json.loads(urllib.request.urlopen(request).read())


def floor(url):
    """How late etcd ends a lease of 2 s with nobody else there, in ms."""
    late = []
    for i in range(5):
        key = base64.b64encode(f"floor{i}".encode()).decode()
        lease = call(url, "/v3/lease/grant", {"TTL": 2})["ID"]
        call(url, "/v3/kv/put", {"key": key, "value": key, "lease": lease})
        call(url, "/v3/lease/keepalive", {"ID": lease})
        end = time.monotonic() + 2
        while "kvs" in call(url, "/v3/kv/range", {"key": key}):
            time.sleep(0.005)
        late.append((time.monotonic() - end) * 1000)
    return sorted(late)[2]


results = []
for clusters in map(int, sys.argv[5:]):
    directory = tempfile.mkdtemp(prefix="many_clusters.")
    client, peer = free_ports(2)
    url = f"http://127.0.0.1:{client}"
    etcd = subprocess.Popen(
        ["etcd", "--data-dir", directory, "--listen-client-urls", url, "--advertise-client-urls", url,
         "--listen-peer-urls", f"http://127.0.0.1:{peer}", "--logger", "zap", "--log-level", "error",
         "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
         "--initial-cluster", f"default=http://127.0.0.1:{peer}", "--quota-backend-bytes", "8589934592"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                call(url, "/v3/kv/range", {"key": "MA=="})
                break
            except OSError:
                time.sleep(0.1)
        late = floor(url)
        run = subprocess.Popen([program, f"127.0.0.1:{client}", str(clusters), str(idle),
                                str(min(takeovers, clusters)), str(ttl)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if run.stdout.readline() != "idle begins\n":
            sys.exit("the clusters did not start")
        before, used, began = requests(url), cpu_ms(etcd.pid), time.monotonic()
        run.stdin.write("\n")
        run.stdin.flush()
        run.stdout.readline()
        after, used, took = requests(url), cpu_ms(etcd.pid) - used, time.monotonic() - began
        memory = int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{etcd.pid}/status").read())[1]) // 1024
        run.stdin.write("\n")
        run.stdin.flush()
        result = json.loads(run.stdout.readline())
        run.wait()
        by_method = {m: round((after[m] - before.get(m, 0)) / took, 3)
                     for m in after if after[m] > before.get(m, 0)}
        members = 3 * clusters
        result["etcd"] = {"requests_per_s": by_method, "cpu_percent": round(used / took / 10, 2),
                          "rss_mb": memory, "lease_ends_late_ms": round(late, 1)}
        results.append(result)
        print(f"{clusters} clusters: etcd answers {sum(by_method.values()):.1f} requests/s"
              f" ({sum(by_method.values()) * 60 / members:.2f} a minute and member: {by_method}),"
              f" {used / took / 10:.2f} % of a core, {memory} MB;"
              f" all homes {result['homes_cpu_ms_per_s'] / 10:.3f} % of a core")
        if result["key_gone_ms"]:
            print(f"  after the end of a lease the others know after {result['key_gone_ms']['median']:.0f} ms"
                  f" (max {result['key_gone_ms']['max']:.0f}), one holds it after"
                  f" {result['led_again_ms']['median']:.0f} ms (max {result['led_again_ms']['max']:.0f});"
                  f" etcd alone ends a lease {late:.0f} ms late", flush=True)
    finally:
        etcd.kill()
        etcd.wait()
        shutil.rmtree(directory)
print(json.dumps(results))
END
