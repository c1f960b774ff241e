/*-------------------------------------------------------------------------
 *
 * many_clusters.c
 *      Many idle clusters of three members on one etcd: what do they cost it,
 *      and how long after the end of a lease do the others know?
 *
 *      many_clusters URL CLUSTERS SECONDS TAKEOVERS [TTL]
 *
 * Each member is what a node has: the engine, the store's driver and the HTTP
 * for its peers, twice: the home that drives, as in the worker, and the one
 * that only watches, as in the supervisor.  The server is missing: it is said
 * to run, to stream and to follow at once.  All of them live in one process and
 * one thread, so its processor time is that of all homes.
 *
 * First all clusters elect a leader and settle.  Then nothing happens for
 * SECONDS.  Then the leader of one cluster after the other falls silent, as when
 * its host loses power: both of its homes are not run any more.  Delays are
 * counted from the end of its lease, that is the ttl after the newest renewal
 * that the store answered was sent.
 *
 * Prints one JSON object.  bench/many_clusters.sh starts etcd and adds its side.
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <curl/curl.h>
#include <jansson.h>

#include "dcs/base64.h"
#include "node/host.h"

#define MEMBERS				3
#define HOMES				2	/* the driving one is the first */
#define END_OF_WAL			UINT64_C(0x3000000)
#define SYSTEM_IDENTIFIER	UINT64_C(7400000000000000001)
#define START_MS			300000
#define BASE_PORT			30000

typedef struct Machine Machine;

typedef struct Home
{
	Machine	   *machine;
	Host	   *host;
	int64_t		due_ms;
	bool		is_ready;			/* its descriptor */
} Home;

struct Machine
{
	int			cluster;
	int			number;
	bool		is_silent;
	LeasePage	page;
	HaPostgres *postgres;
	bool		postgres_changed;
	Home		homes[HOMES];
};

static Machine *machines;
static int	n_machines;
static int	n_clusters;
static int	ttl_s = 30;
static const char *store_url;
static int	poll_fd;
static bool is_verbose;

static void
give_up(const char *what, const char *why)
{
	fprintf(stderr, "many_clusters: %s: %s\n", what, why);
	exit(1);
}

static int
port_of(const Machine *machine)
{
	/* nobody listens there: a question is refused at once, as by a host that is up */
	return BASE_PORT + machine->cluster * MEMBERS % 20000 + machine->number;
}

/* --- the store's other user: the keys that a bootstrap would have left --- */

static size_t
ignore(char *data, size_t size, size_t n, void *arg)
{
	(void) data;
	(void) arg;
	return size * n;
}

static void
put_key(CURL *curl, int cluster, const char *name, const char *value)
{
	char		key[128];
	char		body[1024];
	char		url[512];
	char	   *key64;
	char	   *value64 = base64_encode(value, strlen(value));

	snprintf(key, sizeof(key), "/service/many%d/%s", cluster, name);
	key64 = base64_encode(key, strlen(key));
	if (key64 == NULL || value64 == NULL)
		give_up("could not write a key", "out of memory");
	snprintf(body, sizeof(body), "{\"key\":\"%s\",\"value\":\"%s\"}", key64, value64);
	free(key64);
	free(value64);
	snprintf(url, sizeof(url), "http://%s/v3/kv/put", store_url);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, ignore);
	curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
	if (curl_easy_perform(curl) != CURLE_OK)
		give_up("could not write a key", store_url);
}

static void
bootstrap(void)
{
	CURL	   *curl = curl_easy_init();
	char		config[256];
	char		identifier[32];

	if (curl == NULL)
		give_up("could not write keys", "out of memory");
	snprintf(identifier, sizeof(identifier), "%llu", (unsigned long long) SYSTEM_IDENTIFIER);
	snprintf(config, sizeof(config), "{\"ttl\":%d,\"loop_wait\":%d,\"retry_timeout\":%d,"
			 "\"postgresql\":{\"use_slots\":false}}", ttl_s, ttl_s >= 20 ? 10 : ttl_s / 2, ttl_s >= 20 ? 10 : 1);
	for (int i = 0; i < n_clusters; i++)
	{
		put_key(curl, i, "config", config);
		put_key(curl, i, "initialize", identifier);
	}
	curl_easy_cleanup(curl);
}

/* --- a member without a server --- */

static void
act(void *context, const HaAction *action)
{
	Home	   *home = context;
	Machine	   *machine = home->machine;
	HaPostgres *postgres = machine->postgres;

	switch (action->kind)
	{
		case HA_PROMOTE:
			postgres->is_in_recovery = postgres->is_streaming = false;
			postgres->is_standby_configured = false;
			postgres->upstream_host[0] = '\0';
			postgres->timeline = postgres->newest_timeline = postgres->checkpoint_timeline = action->timeline;
			postgres->history[postgres->n_history].timeline = action->timeline - 1;
			postgres->history[postgres->n_history++].switch_lsn = END_OF_WAL;
			postgres->write_lsn = postgres->flush_lsn = END_OF_WAL;
			postgres->received_lsn = postgres->replayed_lsn = 0;
			break;
		case HA_FOLLOW:
			for (int i = 0; i < MEMBERS; i++)
			{
				char		name[16];

				snprintf(name, sizeof(name), "node%d", i + 1);
				if (strcmp(name, action->member) == 0)
				{
					snprintf(postgres->upstream_host, sizeof(postgres->upstream_host), "127.0.0.1");
					postgres->upstream_port = port_of(&machines[machine->cluster * MEMBERS + i]);
					postgres->is_streaming = true;
				}
			}
			break;
		default:
			return;
	}
	machine->postgres_changed = true;
}

static void
log_message(void *context, int level, const char *message, const char *detail, const char *hint)
{
	const Home *home = context;

	(void) hint;
	if (is_verbose || level >= 2)
		fprintf(stderr, "%d/node%d: %s%s%s\n", home->machine->cluster, home->machine->number + 1, message,
				detail != NULL ? ": " : "", detail != NULL ? detail : "");
}

static void
settings_changed(void *context, const Settings *settings)
{
	(void) context;
	(void) settings;
}

static void
lost_baton(void *context)
{
	(void) context;
	give_up("a member lost the baton", "nobody can have taken it");
}

static void
start_server(Machine *machine)
{
	HaPostgres *postgres = calloc(1, sizeof(HaPostgres));

	if (postgres == NULL)
		give_up("could not start a member", "out of memory");
	machine->postgres = postgres;
	postgres->data = HA_DATA_PRESENT;
	postgres->server = HA_SERVER_RUNNING;
	postgres->system_identifier = SYSTEM_IDENTIFIER;
	postgres->control_state = machine->number == 0 ? HA_CONTROL_IN_PRODUCTION : HA_CONTROL_IN_ARCHIVE_RECOVERY;
	postgres->checkpoint_lsn = postgres->checkpoint_redo = END_OF_WAL - 200;
	postgres->checkpoint_timeline = postgres->timeline = postgres->newest_timeline = 1;
	postgres->can_rewind = postgres->is_observed = true;
	postgres->start_time_ms = clock_wall_ms();
	postgres->version_num = 150000;
	postgres->has_sync = postgres->is_sync_settled = true;
	postgres->is_in_recovery = postgres->is_standby_configured = machine->number != 0;
	if (machine->number == 0)
		postgres->write_lsn = postgres->flush_lsn = END_OF_WAL;
	else
	{
		postgres->received_lsn = postgres->replayed_lsn = END_OF_WAL;
		postgres->is_streaming = true;
		snprintf(postgres->upstream_host, sizeof(postgres->upstream_host), "127.0.0.1");
		postgres->upstream_port = port_of(machine - machine->number);
	}
}

static void
start_home(Machine *machine, int which)
{
	Home	   *home = &machine->homes[which];
	HostOps		ops = {.context = home, .act = act, .log = log_message,
		.settings = settings_changed, .lost_baton = lost_baton};
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = home};
	ConfigProblems problems;
	char		text[1024];
	Error		error;

	home->machine = machine;
	if (!host_open(&home->host, which == 0 ? HA_HOME_WORKER : HA_HOME_SUPERVISOR, &machine->page, &ops, &error))
		give_up("could not start a member", error.message);
	snprintf(text, sizeof(text),
			 "{\"scope\":\"many%d\",\"name\":\"node%d\",\"etcd3\":{\"hosts\":[\"%s\"]},"
			 "\"restapi\":{\"listen\":\"127.0.0.1:%d\",\"connect_address\":\"127.0.0.1:%d\"},"
			 "\"postgresql\":{\"listen\":\"127.0.0.1:%d\",\"connect_address\":\"127.0.0.1:%d\","
			 "\"data_dir\":\"/nonexistent/many_clusters\",\"authentication\":{"
			 "\"superuser\":{\"username\":\"postgres\"},\"replication\":{\"username\":\"replicator\"}}}}",
			 machine->cluster, machine->number + 1, store_url, port_of(machine), port_of(machine),
			 port_of(machine), port_of(machine));
	config_problems_init(&problems);
	if (!host_configure(home->host, local_config_from_json(text), &problems))
		give_up("could not configure a member", problems.count > 0 ? problems.items[0].message : "");
	config_problems_free(&problems);
	if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, host_fd(home->host), &event) != 0)
		give_up("could not wait for a member", strerror(errno));
}

static void
start_machine(Machine *machine)
{
	Error		error;

	atomic_store(&machine->page.lease, UINT64_C(1) << LEASE_DEADLINE_BITS);
	atomic_store(&machine->page.holder, LEASE_HOLDER_WORKER);
	start_server(machine);
	for (int which = 0; which < HOMES; which++)
		start_home(machine, which);
	host_postgres(machine->homes[0].host, machine->postgres);
	if (!host_drive(machine->homes[0].host, 1, NULL, &error))
		give_up("could not start a member", error.message);
}

/* --- the loop --- */

static void
run_home(Home *home)
{
	Machine	   *machine = home->machine;
	int64_t		now_ms = clock_now_ms();
	int			timeout_ms;

	host_process(home->host, now_ms);
	if (home == &machine->homes[0] && machine->postgres_changed)
	{
		machine->postgres_changed = false;
		host_postgres(home->host, machine->postgres);
		host_process(home->host, clock_now_ms());
	}
	timeout_ms = host_timeout_ms(home->host, now_ms);
	home->due_ms = timeout_ms < 0 ? INT64_MAX : now_ms + timeout_ms;
}

/* Run what is due, wait for the rest at most until then. */
static void
run_once(int64_t until_ms)
{
	struct epoll_event events[256];
	int64_t		next_ms = until_ms;
	int			n;

	for (int i = 0; i < n_machines * HOMES; i++)
	{
		Home	   *home = &machines[i / HOMES].homes[i % HOMES];

		if (home->host == NULL || home->machine->is_silent)
			continue;
		if (home->due_ms <= clock_now_ms())
			run_home(home);
		if (home->due_ms < next_ms)
			next_ms = home->due_ms;
	}
	next_ms -= clock_now_ms();
	n = epoll_wait(poll_fd, events, 256, next_ms < 0 ? 0 : next_ms > 1000 ? 1000 : (int) next_ms);
	for (int i = 0; i < n; i++)
	{
		Home	   *home = events[i].data.ptr;

		if (!home->machine->is_silent)
			run_home(home);
	}
}

static void
run_for(int64_t ms)
{
	int64_t		end_ms = clock_now_ms() + ms;

	while (clock_now_ms() < end_ms)
		run_once(end_ms);
}

/* Does every home know a leader and all members? */
static bool
is_settled(int cluster)
{
	for (int i = 0; i < MEMBERS * HOMES; i++)
	{
		const Home *home = &machines[cluster * MEMBERS + i / HOMES].homes[i % HOMES];
		const ClusterView *view = host_view(home->host);

		if (view == NULL || !view->is_loaded || !view->has_leader || view->n_members < MEMBERS)
			return false;
	}
	return true;
}

/* --- figures --- */

static int
compare(const void *a, const void *b)
{
	double		difference = *(const double *) a - *(const double *) b;

	return (difference > 0) - (difference < 0);
}

static json_t *
figures(double *values, int n)
{
	if (n == 0)
		return json_null();
	qsort(values, (size_t) n, sizeof(double), compare);
	return json_pack("{s:f, s:f, s:f, s:f, s:i}", "min", values[0], "median", values[n / 2],
					 "p99", values[(int) ceil(n * 0.99) - 1], "max", values[n - 1], "n", n);
}

static double
processor_ms(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
		(double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
}

/* The wrapper looks at etcd between these two. */
static void
tell(const char *word)
{
	printf("%s\n", word);
	fflush(stdout);
	if (getchar() == EOF)
		exit(1);
}

/* The leader of that cluster falls silent.  When do the others know, and when do they lead? */
static bool
take_over(int cluster, double *known_ms, double *led_ms)
{
	Machine	   *first = &machines[cluster * MEMBERS];
	Machine	   *leader = NULL;
	int64_t		end_us;

	for (int i = 0; i < MEMBERS; i++)
		if (!first[i].is_silent && ha_has_lease(host_node(first[i].homes[0].host)))
			leader = &first[i];
	if (leader == NULL)
		return false;
	end_us = host_store_answered_ms(leader->homes[0].host) * 1000 + (int64_t) ttl_s * 1000000;
	leader->is_silent = true;
	*known_ms = *led_ms = -1;
	for (int64_t give_up_us = end_us + 20000000; clock_now_us() < give_up_us && *led_ms < 0;)
	{
		run_once(clock_now_ms() + 20);
		for (int i = 0; i < MEMBERS; i++)
		{
			const Host *host = first[i].homes[0].host;

			if (first[i].is_silent)
				continue;
			if (*known_ms < 0 && !host_view(host)->has_leader)
				*known_ms = (double) (clock_now_us() - end_us) / 1e3;
			if (ha_has_lease(host_node(host)))
				*led_ms = (double) (clock_now_us() - end_us) / 1e3;
		}
	}
	return *known_ms >= 0 && *led_ms >= 0;
}

int
main(int argc, char **argv)
{
	struct rlimit files = {1 << 20, 1 << 20};
	int			seconds;
	int			n_takeovers;
	int			n_done = 0;
	int			n_settled = 0;
	double	   *known;
	double	   *led;
	double		used_ms;
	int64_t		end_ms;
	json_t	   *result;

	if (argc < 5)
	{
		fprintf(stderr, "usage: many_clusters HOST:PORT CLUSTERS SECONDS TAKEOVERS [TTL]\n");
		return 2;
	}
	store_url = argv[1];
	n_clusters = atoi(argv[2]);
	seconds = atoi(argv[3]);
	n_takeovers = atoi(argv[4]);
	if (argc > 5)
		ttl_s = atoi(argv[5]);
	is_verbose = getenv("VERBOSE") != NULL;
	n_machines = n_clusters * MEMBERS;
	if (n_clusters < 1 || seconds < 1 || n_takeovers < 0 || n_takeovers > n_clusters || ttl_s < 2)
		give_up("nothing to do", "see usage");
	if (setrlimit(RLIMIT_NOFILE, &files) != 0)
	{
		getrlimit(RLIMIT_NOFILE, &files);
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	signal(SIGPIPE, SIG_IGN);
	curl_global_init(CURL_GLOBAL_ALL);
	machines = calloc((size_t) n_machines, sizeof(Machine));
	known = calloc((size_t) n_takeovers + 1, sizeof(double));
	led = calloc((size_t) n_takeovers + 1, sizeof(double));
	poll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (machines == NULL || known == NULL || led == NULL || poll_fd < 0)
		give_up("could not start", "out of memory");

	bootstrap();
	end_ms = clock_now_ms() + START_MS;
	for (int i = 0; i < n_machines; i++)
	{
		machines[i].cluster = i / MEMBERS;
		machines[i].number = i % MEMBERS;
		start_machine(&machines[i]);
		run_once(clock_now_ms());
	}
	while (n_settled < n_clusters && clock_now_ms() < end_ms)
	{
		run_once(clock_now_ms() + 100);
		while (n_settled < n_clusters && is_settled(n_settled))
			n_settled++;
	}
	if (n_settled < n_clusters)
		give_up("the clusters did not settle", "is the store too slow?");
	run_for((int64_t) ttl_s * 1000);

	tell("idle begins");
	used_ms = processor_ms();
	run_for((int64_t) seconds * 1000);
	used_ms = processor_ms() - used_ms;
	tell("idle ends");

	for (int i = 0; i < n_takeovers; i++)
		if (take_over((int) ((int64_t) i * n_clusters / n_takeovers), &known[n_done], &led[n_done]))
			n_done++;
	result = json_pack("{s:i, s:i, s:i, s:i, s:f, s:i, s:o, s:o}", "clusters", n_clusters, "members", n_machines,
					   "ttl_s", ttl_s, "idle_s", seconds, "homes_cpu_ms_per_s", used_ms / seconds,
					   "takeovers_failed", n_takeovers - n_done,
					   "key_gone_ms", figures(known, n_done), "led_again_ms", figures(led, n_done));
	json_dumpf(result, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
	printf("\n");
	return n_done == n_takeovers ? 0 : 1;
}
