/*-------------------------------------------------------------------------
 *
 * many_clusters.c
 *      Many idle clusters of three members on one etcd: what do they cost it,
 *      and how long after the end of a lease do the others know?
 *
 *      many_clusters URL CLUSTERS SECONDS TAKEOVERS [TTL [PROCESSES]]
 *
 * Each member is what a node has: the engine, the store's driver and the HTTP
 * for its peers, twice: the home that drives, as in the worker, and the one
 * that only watches, as in the supervisor.  The server is missing: it is said
 * to run, to stream and to follow at once.
 *
 * A home needs about ten descriptors, so that the limit of a process is soon
 * reached: the clusters are shared out among as many processes as that takes,
 * each with one thread.  The first process only leads them from phase to phase
 * and adds up what they report.  One that fails is the end of all.
 *
 * First all clusters start, a few at a time, as no site starts a thousand at
 * once: the primary, and when it leads, its standbys.  Then nothing happens for
 * SECONDS.  Then leaders fall silent, one after the other, as when their hosts
 * lose power: both of their homes are not run any more.  Delays are counted from
 * the end of the lease, that is the ttl after the newest renewal that the store
 * answered was sent, and end when a home that lives does not see the key of
 * that leader any more, and when another one leads.  With more takeovers than
 * clusters, the silent host comes back as a standby before the next.
 *
 * Prints one JSON object.  bench/many_clusters.sh starts etcd and adds its side.
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <curl/curl.h>
#include <jansson.h>

#include "dcs/base64.h"
#include "ha/internal.h"
#include "node/host.h"

#define MEMBERS				3
#define HOMES				2	/* the driving one is the first */
#define END_OF_WAL			UINT64_C(0x3000000)
#define SYSTEM_IDENTIFIER	UINT64_C(7400000000000000001)
#define DESCRIPTORS			12	/* of a home: those of libcurl and epoll, the watch, two or three connections */
#define STARTING_MAX		8	/* clusters that start at the same time, in each process */
#define START_MS			400000
#define LEADER_MS			300 /* between two leaders that fall silent, of all processes */
#define PROCESSES_MAX		64
#define TAKEOVERS_MAX		32	/* of a cluster: its history has 64 entries */
#define SERVER_PORT			5432
#define REST_PORT			1

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
	int			cluster;			/* of this process */
	int			number;
	char		address[16];
	bool		is_silent;
	LeasePage	page;
	HaPostgres *postgres;
	bool		postgres_changed;
	Home		homes[HOMES];
};

/* The leader of that cluster falls silent: when do the others know, and when do they lead? */
typedef struct Takeover
{
	int			cluster;
	int64_t		begin_ms;			/* not before */
	Machine    *silent;				/* NULL: not yet */
	int64_t		end_us;				/* of its lease */
	double		known_ms[MEMBERS * HOMES];	/* when each home knew; negative = not yet */
	double		led_ms;
	bool		is_over;
	bool		has_failed;
} Takeover;

static Machine *machines;
static int	n_machines;
static int	n_clusters;				/* of this process */
static int	first_cluster;
static int	ttl_s = 30;
static const char *store_url;
static int	poll_fd;
static int64_t next_due_ms;			/* nothing is due before */
static bool is_verbose;

static void
give_up(const char *what, const char *why)
{
	fprintf(stderr, "many_clusters: %s: %s\n", what, why);
	exit(1);
}

static int
loop_wait_s(void)
{
	return ttl_s >= 20 ? 10 : ttl_s / 2;
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

	snprintf(key, sizeof(key), "/service/many%d/%s", first_cluster + cluster, name);
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
			 "\"postgresql\":{\"use_slots\":false}}", ttl_s, loop_wait_s(), ttl_s >= 20 ? 10 : 1);
	for (int i = 0; i < n_clusters; i++)
	{
		put_key(curl, i, "config", config);
		put_key(curl, i, "initialize", identifier);
	}
	curl_easy_cleanup(curl);
}

/* --- a member without a server --- */

static void
stream_from(HaPostgres *postgres, const Machine *upstream)
{
	snprintf(postgres->upstream_host, sizeof(postgres->upstream_host), "%s", upstream->address);
	postgres->upstream_port = SERVER_PORT;
	postgres->is_streaming = true;
}

static void
change(Machine *machine)
{
	machine->postgres_changed = true;
	machine->homes[0].due_ms = next_due_ms = 0;
}

static void
promote(Machine *machine, uint32_t timeline)
{
	HaPostgres *postgres = machine->postgres;

	postgres->is_in_recovery = postgres->is_streaming = false;
	postgres->is_standby_configured = false;
	postgres->upstream_host[0] = '\0';
	postgres->history[postgres->n_history].timeline = postgres->timeline;
	postgres->history[postgres->n_history++].switch_lsn = END_OF_WAL;
	postgres->timeline = postgres->newest_timeline = postgres->checkpoint_timeline = timeline;
	postgres->write_lsn = postgres->flush_lsn = END_OF_WAL;
	postgres->received_lsn = postgres->replayed_lsn = 0;
	change(machine);
}

/* A standby that streams goes over to its upstream's timeline. */
static void
take_timeline(Machine *machine, const Machine *upstream)
{
	machine->postgres->timeline = machine->postgres->newest_timeline = upstream->postgres->timeline;
	machine->postgres->n_history = upstream->postgres->n_history;
	memcpy(machine->postgres->history, upstream->postgres->history, sizeof(upstream->postgres->history));
	change(machine);
}

static void
follow(Machine *machine, const char *member)
{
	Machine    *first = &machines[machine->cluster * MEMBERS];

	for (int i = 0; i < MEMBERS; i++)
	{
		char		name[16];

		snprintf(name, sizeof(name), "node%d", i + 1);
		if (strcmp(name, member) != 0)
			continue;
		stream_from(machine->postgres, &first[i]);
		take_timeline(machine, &first[i]);
	}
}

static void
act(void *context, const HaAction *action)
{
	const Home *home = context;
	Machine    *machine = home->machine;
	Machine    *first = &machines[machine->cluster * MEMBERS];

	if (action->kind == HA_FOLLOW)
		follow(machine, action->member);
	if (action->kind != HA_PROMOTE)
		return;
	promote(machine, action->timeline);
	for (int i = 0; i < MEMBERS; i++)
		if (first[i].postgres != NULL && !first[i].is_silent && first[i].postgres->is_streaming &&
			strcmp(first[i].postgres->upstream_host, machine->address) == 0)
			take_timeline(&first[i], machine);
}

static void
log_message(void *context, int level, const char *message, const char *detail, const char *hint)
{
	const Home *home = context;

	(void) hint;
	if (is_verbose || level >= 2)
		fprintf(stderr, "%d/node%d: %s%s%s\n", first_cluster + home->machine->cluster, home->machine->number + 1, message,
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
		stream_from(postgres, machine - machine->number);
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
	home->due_ms = next_due_ms = 0;
	if (!host_open(&home->host, which == 0 ? HA_HOME_WORKER : HA_HOME_SUPERVISOR, &machine->page, &ops, &error))
		give_up("could not start a member", error.message);
	snprintf(text, sizeof(text),
			 "{\"scope\":\"many%d\",\"name\":\"node%d\",\"etcd3\":{\"hosts\":[\"%s\"]},"
			 "\"restapi\":{\"listen\":\"%s:%d\",\"connect_address\":\"%s:%d\"},"
			 "\"postgresql\":{\"listen\":\"%s:%d\",\"connect_address\":\"%s:%d\","
			 "\"data_dir\":\"/nonexistent/many_clusters\",\"authentication\":{"
			 "\"superuser\":{\"username\":\"postgres\"},\"replication\":{\"username\":\"replicator\"}}}}",
			 first_cluster + machine->cluster, machine->number + 1, store_url,
			 machine->address, REST_PORT, machine->address, REST_PORT,
			 machine->address, SERVER_PORT, machine->address, SERVER_PORT);
	config_problems_init(&problems);
	if (!host_configure(home->host, local_config_from_json(text), &problems))
		give_up("could not configure a member", problems.count > 0 ? problems.items[0].message : "");
	config_problems_free(&problems);
	if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, host_fd(home->host), &event) != 0)
		give_up("could not wait for a member", strerror(errno));
}

static void
start_homes(Machine *machine)
{
	Error		error;

	memset(&machine->page, 0, sizeof(machine->page));
	atomic_store(&machine->page.lease, UINT64_C(1) << LEASE_DEADLINE_BITS);
	atomic_store(&machine->page.holder, LEASE_HOLDER_WORKER);
	machine->postgres_changed = false;
	for (int which = 0; which < HOMES; which++)
		start_home(machine, which);
	host_postgres(machine->homes[0].host, machine->postgres);
	if (!host_drive(machine->homes[0].host, 1, NULL, &error))
		give_up("could not start a member", error.message);
}

static void
start_machine(Machine *machine)
{
	start_server(machine);
	start_homes(machine);
}

/* Its host lost power.  What it had open stays open, as nobody is there to close it. */
static void
silence(Machine *machine)
{
	machine->is_silent = true;
	/* what comes for it would wake us again and again */
	for (int which = 0; which < HOMES; which++)
		(void) epoll_ctl(poll_fd, EPOLL_CTL_DEL, host_fd(machine->homes[which].host), NULL);
}

/* Its host is back, and its server a standby of who leads now. */
static void
come_back(Machine *machine, const Machine *leader)
{
	for (int which = 0; which < HOMES; which++)
	{
		host_close(machine->homes[which].host);
		machine->homes[which].host = NULL;
	}
	ha_postgres_copy(machine->postgres, leader->postgres);
	machine->postgres->is_in_recovery = machine->postgres->is_standby_configured = true;
	machine->postgres->control_state = HA_CONTROL_IN_ARCHIVE_RECOVERY;
	machine->postgres->write_lsn = machine->postgres->flush_lsn = 0;
	machine->postgres->received_lsn = machine->postgres->replayed_lsn = END_OF_WAL;
	stream_from(machine->postgres, leader);
	machine->is_silent = false;
	start_homes(machine);
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
	timeout_ms = machine->postgres_changed ? 0 : host_timeout_ms(home->host, now_ms);
	home->due_ms = timeout_ms < 0 ? INT64_MAX : now_ms + timeout_ms;
	if (home->due_ms < next_due_ms)
		next_due_ms = home->due_ms;
}

static void
run_due(void)
{
	int64_t		now_ms = clock_now_ms();

	if (now_ms < next_due_ms)
		return;
	next_due_ms = INT64_MAX;
	for (int i = 0; i < n_machines * HOMES; i++)
	{
		Home	   *home = &machines[i / HOMES].homes[i % HOMES];

		if (home->host == NULL || home->machine->is_silent)
			continue;
		if (home->due_ms <= now_ms)
			run_home(home);
		else if (home->due_ms < next_due_ms)
			next_due_ms = home->due_ms;
	}
}

/* Run what is due, wait for the rest at most until then.  True: our parent wants something. */
static bool
run_once(int64_t until_ms)
{
	struct epoll_event events[256];
	int64_t		wait_ms;
	bool		is_wanted = false;
	int			n;

	run_due();
	wait_ms = (until_ms < next_due_ms ? until_ms : next_due_ms) - clock_now_ms();
	n = epoll_wait(poll_fd, events, 256, wait_ms < 0 ? 0 : wait_ms > 1000 ? 1000 : (int) wait_ms);
	for (int i = 0; i < n; i++)
	{
		Home	   *home = events[i].data.ptr;

		if (home == NULL)
			is_wanted = true;
		else if (!home->machine->is_silent)
			run_home(home);
	}
	return is_wanted;
}

static void
run_for(int64_t ms)
{
	int64_t		end_ms = clock_now_ms() + ms;

	while (clock_now_ms() < end_ms)
		(void) run_once(end_ms);
}

/* Do all homes run and know a leader and all members, and does one lead? */
static bool
is_settled(int cluster)
{
	const Machine *leader = NULL;

	for (int i = 0; i < MEMBERS; i++)
	{
		const Machine *machine = &machines[cluster * MEMBERS + i];

		if (machine->is_silent)
			return false;
		for (int which = 0; which < HOMES; which++)
		{
			const ClusterView *view = host_view(machine->homes[which].host);

			if (view == NULL || !view->is_loaded || !view->has_leader || view->n_members < MEMBERS)
				return false;
		}
		if (ha_has_lease(host_node(machine->homes[0].host)))
			leader = machine;
	}
	return leader != NULL;
}

/* --- what a process does --- */

static double
processor_ms(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
		(double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
}

/* Tell our parent that this phase is over; go on running until all others have said so, too. */
static void
meet(int parent_fd)
{
	char		byte = '.';

	if (write(parent_fd, &byte, 1) != 1)
		exit(1);
	while (!run_once(clock_now_ms() + 1000))
		;
	if (read(parent_fd, &byte, 1) != 1)
		exit(1);
}

/*
 * Start all clusters, STARTING_MAX at a time: the standbys of each when its
 * primary leads, so that nobody has to be elected.
 */
static void
start_clusters(void)
{
	int			starting[STARTING_MAX];
	int			n_starting = 0;
	int			n_begun = 0;
	int64_t		end_ms = clock_now_ms() + START_MS;

	while (n_begun < n_clusters || n_starting > 0)
	{
		while (n_starting < STARTING_MAX && n_begun < n_clusters)
		{
			start_machine(&machines[n_begun * MEMBERS]);
			starting[n_starting++] = n_begun++;
		}
		(void) run_once(clock_now_ms() + 100);
		for (int i = n_starting - 1; i >= 0; i--)
		{
			Machine    *first = &machines[starting[i] * MEMBERS];

			if (first[1].postgres == NULL)
			{
				if (ha_has_lease(host_node(first->homes[0].host)))
					for (int k = 1; k < MEMBERS; k++)
						start_machine(&first[k]);
			}
			else if (is_settled(starting[i]))
				starting[i] = starting[--n_starting];
		}
		if (clock_now_ms() > end_ms)
			give_up("the clusters did not settle", "is the store too slow?");
	}
}

/*
 * The leader falls silent when its last renewal was answered a while ago and the
 * next is not due yet: nobody would know of one that is under way then whether
 * it has moved the end of the lease.
 */
static void
fall_silent(Takeover *takeover)
{
	Machine    *first = &machines[takeover->cluster * MEMBERS];

	for (int i = 0; i < MEMBERS; i++)
	{
		const HaNode *node = host_node(first[i].homes[0].host);
		int64_t		end_ms = ha_lease_deadline_ms(node) + ha_margin_ms(ttl_s * 1000);
		int64_t		age_ms = clock_now_ms() - (end_ms - ttl_s * 1000);

		if (!ha_has_lease(node) || age_ms < loop_wait_s() * 100 || age_ms > loop_wait_s() * 600)
			continue;
		takeover->end_us = end_ms * 1000;
		takeover->silent = &first[i];
		silence(&first[i]);
		for (int k = 0; k < MEMBERS * HOMES; k++)
			takeover->known_ms[k] = -1;
		takeover->led_ms = -1;
	}
}

static void
watch_takeover(Takeover *takeover, bool comes_back)
{
	Machine    *first = &machines[takeover->cluster * MEMBERS];
	double		late_ms = (double) (clock_now_us() - takeover->end_us) / 1e3;
	char		silent[16];
	const Machine *leader = NULL;
	int			n_unknowing = 0;

	snprintf(silent, sizeof(silent), "node%d", takeover->silent->number + 1);
	for (int i = 0; i < MEMBERS * HOMES; i++)
	{
		const Machine *machine = &first[i / HOMES];
		const ClusterView *view = host_view(machine->homes[i % HOMES].host);

		if (machine->is_silent)
			continue;
		if (takeover->known_ms[i] < 0 && (!view->has_leader || strcmp(view->leader, silent) != 0))
			takeover->known_ms[i] = late_ms;
		if (takeover->known_ms[i] < 0)
			n_unknowing++;
		if (ha_has_lease(host_node(machine->homes[0].host)))
			leader = machine;
	}
	if (leader != NULL && takeover->led_ms < 0)
		takeover->led_ms = late_ms;
	takeover->is_over = leader != NULL && !leader->postgres->is_in_recovery && n_unknowing == 0;
	if (takeover->is_over && comes_back)
		come_back(takeover->silent, leader);
	if (!takeover->is_over && late_ms > 20000)
		takeover->is_over = takeover->has_failed = true;
}

/* One takeover after the other, also when several are under way; of one cluster one at a time. */
static void
take_over(Takeover *takeovers, int n)
{
	int			n_over;

	do
	{
		(void) run_once(clock_now_ms() + 20);
		n_over = 0;
		for (int i = 0; i < n; i++)
		{
			Takeover   *takeover = &takeovers[i];
			int			next = i + 1;

			while (next < n && takeovers[next].cluster != takeover->cluster)
				next++;
			if (takeover->silent != NULL && !takeover->is_over)
				watch_takeover(takeover, next < n);
			else if (takeover->silent == NULL && clock_now_ms() >= takeover->begin_ms &&
					 is_settled(takeover->cluster))
				fall_silent(takeover);
			else if (takeover->silent == NULL &&
					 clock_now_ms() >= takeover->begin_ms + (TAKEOVERS_MAX + 1) * (ttl_s + 30) * 1000)
				takeover->is_over = takeover->has_failed = true;
			if (takeover->is_over)
				n_over++;
		}
	} while (n_over < n);
}

/* The takeovers of all processes, of which those of our clusters are ours. */
static int
plan_takeovers(Takeover *takeovers, int n_all, int n_all_clusters)
{
	int64_t		now_ms = clock_now_ms();
	int			n = 0;

	for (int i = 0; i < n_all; i++)
	{
		int			cluster = n_all > n_all_clusters ? i % n_all_clusters :
			(int) ((int64_t) i * n_all_clusters / n_all);

		if (cluster < first_cluster || cluster >= first_cluster + n_clusters)
			continue;
		takeovers[n].cluster = cluster - first_cluster;
		takeovers[n++].begin_ms = now_ms + i * LEADER_MS;
	}
	return n;
}

static void
report(int parent_fd, double used_ms, const Takeover *takeovers, int n)
{
	json_t	   *known = json_array();
	json_t	   *led = json_array();
	json_t	   *result;
	int			n_failed = 0;

	for (int i = 0; i < n; i++)
	{
		if (takeovers[i].has_failed)
		{
			n_failed++;
			continue;
		}
		for (int k = 0; k < MEMBERS * HOMES; k++)
			if (takeovers[i].known_ms[k] >= 0)
				json_array_append_new(known, json_real(takeovers[i].known_ms[k]));
		json_array_append_new(led, json_real(takeovers[i].led_ms));
	}
	result = json_pack("{s:f, s:i, s:o, s:o}", "used_ms", used_ms, "failed", n_failed, "known", known, "led", led);
	if (result == NULL || json_dumpfd(result, parent_fd, JSON_COMPACT) != 0)
		exit(1);
	json_decref(result);
}

static void
run_clusters(int parent_fd, int seconds, int n_takeovers, int n_all_clusters)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
	Takeover   *takeovers = calloc((size_t) n_takeovers + 1, sizeof(Takeover));
	double		used_ms;
	int			n;

	n_machines = n_clusters * MEMBERS;
	machines = calloc((size_t) n_machines, sizeof(Machine));
	poll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (machines == NULL || takeovers == NULL || poll_fd < 0 ||
		epoll_ctl(poll_fd, EPOLL_CTL_ADD, parent_fd, &event) != 0)
		give_up("could not start", "out of memory");
	for (int i = 0; i < n_machines; i++)
	{
		int			number = first_cluster * MEMBERS + i;

		machines[i].cluster = i / MEMBERS;
		machines[i].number = i % MEMBERS;
		/* nobody listens there: a question is refused at once, as by a host that is up */
		snprintf(machines[i].address, sizeof(machines[i].address), "127.1.%d.%d",
				 number / 250 % 250, number % 250 + 1);
	}
	curl_global_init(CURL_GLOBAL_ALL);
	bootstrap();
	start_clusters();
	meet(parent_fd);

	run_for((int64_t) ttl_s * 1000);
	meet(parent_fd);
	used_ms = processor_ms();
	run_for((int64_t) seconds * 1000);
	used_ms = processor_ms() - used_ms;
	meet(parent_fd);

	n = plan_takeovers(takeovers, n_takeovers, n_all_clusters);
	take_over(takeovers, n);
	meet(parent_fd);
	report(parent_fd, used_ms, takeovers, n);
}

/* --- the first process --- */

typedef struct Child
{
	pid_t		pid;
	int			fd;
} Child;

static Child children[PROCESSES_MAX];
static int	n_children;

static void
end_children(void)
{
	for (int i = 0; i < n_children; i++)
		if (children[i].pid > 0)	/* not waited for yet */
			(void) kill(children[i].pid, SIGKILL);
	while (wait(NULL) > 0)
		;
}

static void
give_up_all(const char *what, const char *why)
{
	end_children();
	give_up(what, why);
}

static void
start_child(int first, int count, int seconds, int n_takeovers, int n_all_clusters)
{
	Child	   *child = &children[n_children];
	pid_t		parent = getpid();
	int			fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
		give_up_all("could not start a process", strerror(errno));
	child->pid = fork();
	if (child->pid < 0)
		give_up_all("could not start a process", strerror(errno));
	if (child->pid == 0)
	{
		/* our end is its end, however it comes */
		(void) prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		for (int i = 0; i < n_children; i++)
			close(children[i].fd);
		close(fds[0]);
		first_cluster = first;
		n_clusters = count;
		run_clusters(fds[1], seconds, n_takeovers, n_all_clusters);
		exit(0);
	}
	close(fds[1]);
	child->fd = fds[0];
	n_children++;
}

/* Wait until all have come to the end of a phase. */
static void
await_children(void)
{
	struct pollfd polls[PROCESSES_MAX];
	char		byte;

	for (int i = 0; i < n_children; i++)
		polls[i] = (struct pollfd) {.fd = children[i].fd, .events = POLLIN};
	for (int n_missing = n_children; n_missing > 0;)
	{
		if (poll(polls, (nfds_t) n_children, -1) < 0)
			continue;
		for (int i = 0; i < n_children; i++)
		{
			if (polls[i].fd < 0 || polls[i].revents == 0)
				continue;
			if (read(polls[i].fd, &byte, 1) != 1)
				give_up_all("a process failed", "see its message");
			polls[i].fd = -1;
			n_missing--;
		}
	}
}

static void
release_children(void)
{
	for (int i = 0; i < n_children; i++)
		if (write(children[i].fd, ".", 1) != 1)
			give_up_all("a process failed", "see its message");
}

/* The wrapper looks at etcd between these. */
static void
tell(const char *word)
{
	printf("%s\n", word);
	fflush(stdout);
	if (getchar() == EOF)
		give_up_all("standard input has ended", "is nobody there any more?");
}

static int
compare(const void *a, const void *b)
{
	double		difference = *(const double *) a - *(const double *) b;

	return (difference > 0) - (difference < 0);
}

static json_t *
figures(const json_t *reals)
{
	int			n = (int) json_array_size(reals);
	double	   *values = calloc((size_t) n + 1, sizeof(double));
	json_t	   *result;

	if (n == 0 || values == NULL)
	{
		free(values);
		return json_null();
	}
	for (int i = 0; i < n; i++)
		values[i] = json_real_value(json_array_get(reals, (size_t) i));
	qsort(values, (size_t) n, sizeof(double), compare);
	result = json_pack("{s:f, s:f, s:f, s:f, s:i}", "min", values[0], "median", values[n / 2],
					   "p99", values[(int) ceil(n * 0.99) - 1], "max", values[n - 1], "n", n);
	free(values);
	return result;
}

/* What all have measured, as one. */
static json_t *
merge_reports(int seconds, int n_all_clusters)
{
	json_t	   *known = json_array();
	json_t	   *led = json_array();
	json_t	   *result;
	double		used_ms = 0;
	int			n_failed = 0;

	for (int i = 0; i < n_children; i++)
	{
		json_t	   *one = json_loadfd(children[i].fd, 0, NULL);

		if (one == NULL)
			give_up_all("a process failed", "see its message");
		used_ms += json_real_value(json_object_get(one, "used_ms"));
		n_failed += (int) json_integer_value(json_object_get(one, "failed"));
		json_array_extend(known, json_object_get(one, "known"));
		json_array_extend(led, json_object_get(one, "led"));
		json_decref(one);
	}
	result = json_pack("{s:i, s:i, s:i, s:i, s:i, s:f, s:i, s:o, s:o}", "clusters", n_all_clusters,
					   "members", n_all_clusters * MEMBERS, "processes", n_children, "ttl_s", ttl_s,
					   "idle_s", seconds, "homes_cpu_percent", used_ms / seconds / 10,
					   "takeovers_failed", n_failed, "key_gone_ms", figures(known), "led_again_ms", figures(led));
	json_decref(known);
	json_decref(led);
	return result;
}

/* All descriptors that we may have. */
static int
raise_limit(void)
{
	struct rlimit files = {1 << 20, 1 << 20};

	if (setrlimit(RLIMIT_NOFILE, &files) != 0)
	{
		getrlimit(RLIMIT_NOFILE, &files);
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	return (int) files.rlim_cur;
}

static void
usage(void)
{
	fprintf(stderr, "usage: many_clusters HOST:PORT CLUSTERS SECONDS TAKEOVERS [TTL [PROCESSES]]\n");
	exit(2);
}

int
main(int argc, char **argv)
{
	int			per_process = raise_limit() / (MEMBERS * HOMES * DESCRIPTORS);
	int			n_all_clusters;
	int			n_processes = 1;
	int			n_takeovers;
	int			seconds;
	json_t	   *result;

	if (argc < 5 || argc > 7)
		usage();
	store_url = argv[1];
	n_all_clusters = atoi(argv[2]);
	seconds = atoi(argv[3]);
	n_takeovers = atoi(argv[4]);
	if (argc > 5)
		ttl_s = atoi(argv[5]);
	if (argc > 6)
		n_processes = atoi(argv[6]);
	if (n_all_clusters < 1 || seconds < 1 || n_takeovers < 0 || ttl_s < 2 || n_processes < 1 ||
		n_takeovers > n_all_clusters * TAKEOVERS_MAX)
		usage();
	if (per_process < 1)
		give_up("too few descriptors", "raise \"ulimit -n\"");
	if (n_processes * per_process < n_all_clusters)
		n_processes = (n_all_clusters + per_process - 1) / per_process;
	if (n_processes > n_all_clusters || n_processes > PROCESSES_MAX)
		give_up("too many processes", "fewer clusters, or a higher \"ulimit -n\"");
	is_verbose = getenv("VERBOSE") != NULL;
	signal(SIGPIPE, SIG_IGN);

	for (int i = 0; i < n_processes; i++)
	{
		int			first = (int) ((int64_t) n_all_clusters * i / n_processes);
		int			next = (int) ((int64_t) n_all_clusters * (i + 1) / n_processes);

		start_child(first, next - first, seconds, n_takeovers, n_all_clusters);
	}
	await_children();			/* all have started */
	tell("settled");
	release_children();
	await_children();			/* and settled */
	tell("idle begins");
	release_children();
	await_children();
	tell("idle ends");
	release_children();
	await_children();			/* the takeovers are over */
	release_children();
	result = merge_reports(seconds, n_all_clusters);
	for (int i = 0; i < n_children; i++)
	{
		pid_t		pid = children[i].pid;
		int			status;

		children[i].pid = 0;
		if (waitpid(pid, &status, 0) != pid || status != 0)
			give_up_all("a process failed", "see its message");
	}
	json_dumpf(result, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
	printf("\n");
	return json_integer_value(json_object_get(result, "takeovers_failed")) == 0 ? 0 : 1;
}
