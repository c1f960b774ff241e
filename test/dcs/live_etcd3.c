/*-------------------------------------------------------------------------
 *
 * live_etcd3.c
 *      The contract of dcs.h against a real etcd.  Started by live_etcd3.sh,
 *      which makes the directory, the certificates and the ports.
 *
 *      live_etcd3 DIRECTORY CLIENT_PORT PEER_PORT DEAD_PORT
 *-------------------------------------------------------------------------
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "dcs/dcs.h"

#define NODES 2

typedef struct Node
{
	Dcs		   *dcs;
	DcsReply	reply;
	bool		has_reply;
	int			n_views;
	int			n_reachable;
	int			n_unreachable;
} Node;

static Node nodes[NODES];
static const char *directory;
static int	client_port;
static int	peer_port;
static int	dead_port;
static pid_t etcd_pid;
static int	n_tests;
static int	n_failed;
static uint64_t next_id;

static void
ok(bool condition, const char *name)
{
	n_tests++;
	if (!condition)
		n_failed++;
	printf("%sok %d - %s\n", condition ? "" : "not ", n_tests, name);
	fflush(stdout);
}

/* Some machines have no IPv6, not even with themselves. */
static bool
has_ipv6(void)
{
	struct sockaddr_in6 address = {.sin6_family = AF_INET6,.sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int			fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool		has = fd >= 0 && bind(fd, (struct sockaddr *) &address, sizeof(address)) == 0;

	if (fd >= 0)
		close(fd);
	return has;
}

static void
etcd_start(bool tls)
{
	char		data[600];
	char		client[100];
	char		listen[140];
	char		peer[100];
	char		cluster[120];
	char		ca[600];
	char		cert[600];
	char		key[600];
	const char *arguments[32];
	int			n = 0;

	snprintf(data, sizeof(data), "%s/%s", directory, tls ? "tls" : "plain");
	snprintf(ca, sizeof(ca), "%s/ca.crt", directory);
	snprintf(cert, sizeof(cert), "%s/server.crt", directory);
	snprintf(key, sizeof(key), "%s/server.key", directory);
	snprintf(client, sizeof(client), "%s://127.0.0.1:%d", tls ? "https" : "http", client_port);
	snprintf(listen, sizeof(listen), "%s,http://[::1]:%d", client, client_port);
	snprintf(peer, sizeof(peer), "http://127.0.0.1:%d", peer_port);
	snprintf(cluster, sizeof(cluster), "default=%s", peer);
	arguments[n++] = "etcd";
	arguments[n++] = "--data-dir";
	arguments[n++] = data;
	arguments[n++] = "--listen-client-urls";
	arguments[n++] = tls || !has_ipv6() ? client : listen;
	arguments[n++] = "--advertise-client-urls";
	arguments[n++] = client;
	arguments[n++] = "--listen-peer-urls";
	arguments[n++] = peer;
	arguments[n++] = "--initial-advertise-peer-urls";
	arguments[n++] = peer;
	arguments[n++] = "--initial-cluster";
	arguments[n++] = cluster;
	if (tls)
	{
		arguments[n++] = "--client-cert-auth";
		arguments[n++] = "--trusted-ca-file";
		arguments[n++] = ca;
		arguments[n++] = "--cert-file";
		arguments[n++] = cert;
		arguments[n++] = "--key-file";
		arguments[n++] = key;
	}
	arguments[n] = NULL;
	fflush(stdout);
	etcd_pid = fork();
	if (etcd_pid == 0)
	{
		char		log[600];
		int			fd;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		snprintf(log, sizeof(log), "%s/etcd.log", directory);
		fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
		dup2(fd, 1);
		dup2(fd, 2);
		execvp("etcd", (char *const *) arguments);
		_exit(127);
	}
}

static void
etcd_stop(void)
{
	if (etcd_pid <= 0)
		return;
	kill(etcd_pid, SIGKILL);
	waitpid(etcd_pid, NULL, 0);
	etcd_pid = 0;
}

static bool
etcdctl(const char *arguments)
{
	char		command[1024];

	snprintf(command, sizeof(command),
			 "ETCDCTL_API=3 etcdctl --endpoints http://127.0.0.1:%d %s >>'%s/etcdctl.log' 2>&1",
			 client_port, arguments, directory);
	return system(command) == 0;
}

static void
on_view(void *context, const ClusterView *view)
{
	(void) view;
	((Node *) context)->n_views++;
}

static void
on_reply(void *context, const DcsReply *reply)
{
	Node	   *node = context;

	node->reply = *reply;
	node->has_reply = true;
}

static void
on_reachable(void *context, bool is_reachable, const Error *error)
{
	Node	   *node = context;

	printf("# %lld node %d is %s%s\n", (long long) clock_now_ms() % 100000,
		   (int) (node - nodes), is_reachable ? "reachable" : "unreachable: ",
		   error != NULL ? error->message : "");
	if (is_reachable)
		node->n_reachable++;
	else
		node->n_unreachable++;
}

static void
on_log(void *context, int level, const Error *message)
{
	(void) context;
	printf("# log %d: %s\n", level, message->message);
}

static void
turn(int wait_ms)
{
	struct pollfd fds[NODES];
	int			timeout_ms = wait_ms;
	int			i;

	for (i = 0; i < NODES; i++)
	{
		fds[i].fd = nodes[i].dcs != NULL ? dcs_fd(nodes[i].dcs) : -1;
		fds[i].events = POLLIN;
		if (nodes[i].dcs != NULL)
		{
			int			own_ms = dcs_timeout_ms(nodes[i].dcs, clock_now_ms());

			if (own_ms >= 0 && own_ms < timeout_ms)
				timeout_ms = own_ms;
		}
	}
	poll(fds, NODES, timeout_ms);
	for (i = 0; i < NODES; i++)
		if (nodes[i].dcs != NULL)
			dcs_process(nodes[i].dcs, clock_now_ms());
}

/* Turn until the condition holds or time is over. */
#define UNTIL(condition, limit_ms) \
	({ \
		int64_t		until_ms = clock_now_ms() + (limit_ms); \
		while (!(condition) && clock_now_ms() < until_ms) \
			turn(20); \
		(condition); \
	})

static const ClusterView empty_view;

static const ClusterView *
view_of(Node *node)
{
	const ClusterView *view = dcs_view(node->dcs);

	return view != NULL ? view : &empty_view;
}

static DcsOutcome
send_request(Node *node, DcsRequest *wanted)
{
	Error		error;

	error_clear(&error);
	wanted->id = ++next_id;
	node->has_reply = false;
	if (!dcs_submit(node->dcs, wanted, &error))
	{
		printf("# refused: %s\n", error.message);
		return (DcsOutcome) -1;
	}
	if (!UNTIL(node->has_reply, 8000) || node->reply.id != wanted->id)
		return (DcsOutcome) -2;
	if (node->reply.outcome != DCS_DONE)
		printf("# outcome %d: %s\n", node->reply.outcome, node->reply.error.message);
	return node->reply.outcome;
}

static DcsOutcome
request(Node *node, DcsOperation operation, const char *key, const char *value,
		uint64_t version, int timeout_ms)
{
	DcsRequest	wanted = {.operation = operation,.key = key,.value = value,
	.version = version,.timeout_ms = timeout_ms};

	return send_request(node, &wanted);
}

/* Write the history as the leader whose key has this version. */
static DcsOutcome
create_as_leader(Node *node, uint64_t leader_version)
{
	DcsRequest	wanted = {.operation = DCS_CREATE,.key = "history",.value = "[]",
	.leader_version = leader_version};

	return send_request(node, &wanted);
}

/* By what the view says, or by what a view said that knew only these versions. */
static DcsOutcome
acquire_by(Node *node, const char *name, uint64_t promotions, uint64_t history, const char *claim)
{
	DcsRequest	wanted = {.operation = DCS_ACQUIRE_LEADER,.value = name,
	.promotions = claim,.version = promotions,.history_version = history,
	.failsafe_version = view_of(node) == NULL ? 0 : view_of(node)->failsafe_seen};

	return send_request(node, &wanted);
}

static DcsOutcome
acquire(Node *node, const char *name)
{
	return acquire_by(node, name, view_of(node)->promotions_seen, view_of(node)->history_seen, NULL);
}

static void
open_node(int i, DcsConfig *config)
{
	DcsCallbacks callbacks = {.context = &nodes[i],.view = on_view,.reply = on_reply,
	.reachable = on_reachable,.log = on_log};
	Error		error;

	memset(&nodes[i], 0, sizeof(nodes[i]));
	if (!dcs_open(&nodes[i].dcs, config, &callbacks, &error))
	{
		printf("Bail out! %s\n", error.message);
		exit(1);
	}
}

static void
close_nodes(void)
{
	int			i;

	for (i = 0; i < NODES; i++)
	{
		dcs_close(nodes[i].dcs);
		nodes[i].dcs = NULL;
	}
}

static void
configure(DcsConfig *config, const char *const *hosts, int n_hosts)
{
	memset(config, 0, sizeof(*config));
	strcpy(config->driver, "etcd3");
	strcpy(config->base, "/service/batman");
	strcpy(config->protocol, "http");
	config->hosts = hosts;
	config->n_hosts = n_hosts;
	config->ttl_ms = 4000;
	config->loop_wait_ms = 1000;
	config->retry_timeout_ms = 2000;
}

static void
test_basics(DcsConfig *config)
{
	Node	   *a = &nodes[0];
	Node	   *b = &nodes[1];
	char		session[64];
	int64_t		start_ms;
	uint64_t	version;
	Error		error;
	DcsRequest	bad = {.id = 1,.operation = DCS_PUT,.key = "leader",.value = "x"};
	int			n_unreachable;

	open_node(0, config);
	open_node(1, config);
	ok(UNTIL(dcs_view(a->dcs) && dcs_view(b->dcs) && dcs_is_reachable(a->dcs) &&
			 dcs_is_reachable(b->dcs), 5000), "first load by itself");
	ok(!dcs_submit(a->dcs, &bad, &error), "an unconditional put of the leader key is refused");
	ok(request(a, DCS_PUT_MEMBER, "a", "{\"state\":\"running\"}", 0, 0) == DCS_DONE, "member put");
	ok(UNTIL(view_of(b)->n_members == 1, 1000) &&
	   strcmp(view_of(b)->members[0].session, dcs_session(a->dcs)) == 0, "watch delivers the member");
	ok(acquire(a, "a") == DCS_DONE &&
	   a->reply.version > 0 && a->reply.sent_at_ms > 0, "acquire");
	ok(cluster_is_leader(view_of(a), "a"), "own write shows at once");
	ok(UNTIL(cluster_is_leader(view_of(b), "a"), 1000), "watch delivers the leader");
	ok(acquire(b, "b") == DCS_LOST_RACE, "second acquire loses");
	ok(acquire(a, "a") == DCS_DONE, "acquire finds its own write");
	version = view_of(a)->leader_version;
	start_ms = clock_now_ms();
	ok(request(a, DCS_RENEW, "leader", "a", 0, 0) == DCS_DONE && !a->reply.session_lost &&
	   a->reply.sent_at_ms >= start_ms && a->reply.sent_at_ms <= clock_now_ms(), "renew");
	ok(a->reply.version == version && view_of(a)->leader_version == version,
	   "renewing did not write");
	ok(request(b, DCS_RENEW, "leader", "b", 0, 0) == DCS_LOST_RACE && !b->reply.session_lost,
	   "renew by another loses");
	ok(request(a, DCS_CREATE, "initialize", "", 0, 0) == DCS_DONE, "create");
	ok(request(b, DCS_CREATE, "initialize", "", 0, 0) == DCS_LOST_RACE, "create twice");
	ok(create_as_leader(b, version + 1) == DCS_LOST_RACE && create_as_leader(b, version - 1) == DCS_LOST_RACE,
	   "create as a leader that another one has followed");
	ok(create_as_leader(a, version) == DCS_DONE && create_as_leader(a, version) == DCS_LOST_RACE,
	   "create as the leader, once");
	ok(request(a, DCS_PUT, "config", "{\"ttl\":30}", 0, 0) == DCS_DONE, "put");
	version = a->reply.version;
	ok(request(a, DCS_PUT, "config", "{\"ttl\":31}", version, 0) == DCS_DONE, "put of a version");
	ok(request(b, DCS_PUT, "config", "{\"ttl\":32}", version, 0) == DCS_LOST_RACE,
	   "put of an old version loses");
	ok(request(b, DCS_DELETE, "config", NULL, version, 0) == DCS_LOST_RACE,
	   "delete of an old version loses");
	ok(UNTIL(view_of(b)->config_json && strstr(view_of(b)->config_json, "31"), 1000),
	   "watch delivers the config");
	ok(request(b, DCS_DELETE, "config", NULL, 0, 0) == DCS_DONE &&
	   UNTIL(view_of(a)->config_json == NULL, 1000), "delete");
	ok(request(b, DCS_RELEASE_LEADER, NULL, "b", 0, 0) == DCS_LOST_RACE, "release by another loses");
	ok(request(a, DCS_RELEASE_LEADER, NULL, "a", 0, 0) == DCS_DONE &&
	   UNTIL(!view_of(b)->has_leader, 1000), "release is seen by the watcher");
	ok(request(a, DCS_RENEW, "leader", "a", 0, 0) == DCS_LOST_RACE && !a->reply.session_lost &&
	   !etcdctl("get --print-value-only /service/batman/leader | grep -x a"),
	   "a renewal does not make a released key anew");

	/* a person deletes the key, of which the cache has not heard when the renewal is sent */
	ok(acquire(a, "a") == DCS_DONE && UNTIL(cluster_is_leader(view_of(b), "a"), 1000) &&
	   etcdctl("del /service/batman/leader") && cluster_is_leader(view_of(a), "a") &&
	   request(a, DCS_RENEW, "leader", "a", 0, 0) == DCS_LOST_RACE && !a->reply.session_lost &&
	   !view_of(a)->has_leader &&
	   !etcdctl("get --print-value-only /service/batman/leader | grep -x a"),
	   "nor a deleted one, and the cache knows that it is gone");

	/* a request that was decided by an older view than the cache when it is carried out */
	ok(etcdctl("put /service/batman/promotions '{\"2\":{\"name\":\"b\",\"from\":1,\"lsn\":1}}'") &&
	   UNTIL(view_of(a)->n_taken == 1, 1000) && view_of(a)->promotions_seen != 0 &&
	   acquire_by(a, "a", 0, 0, "{}") == DCS_LOST_RACE && !view_of(b)->has_leader,
	   "no acquisition decided before a promotion was claimed");
	ok(view_of(b)->n_taken == 1, "nor is anything claimed then");
	ok(acquire_by(a, "a", view_of(a)->promotions_seen, view_of(a)->history_seen,
				  "{\"3\":{\"name\":\"a\",\"from\":1,\"lsn\":2}}") == DCS_DONE &&
	   cluster_is_leader(view_of(a), "a") && view_of(a)->n_taken == 1 &&
	   view_of(a)->taken[0].timeline == 3 && view_of(a)->promotions_seen == a->reply.version,
	   "the leader key and a claim in one transaction, and both show at once");
	ok(UNTIL(cluster_is_leader(view_of(b), "a") && view_of(b)->taken[0].timeline == 3 &&
			 view_of(b)->promotions_seen == view_of(a)->promotions_seen, 1000),
	   "the watch delivers both");
	ok(request(a, DCS_RELEASE_LEADER, NULL, "a", 0, 0) == DCS_DONE &&
	   !etcdctl("get /service/batman/promotions -w json | grep '\"lease\"'"),
	   "the claim belongs to no lease");
	ok(etcdctl("put /service/batman/history '[[1,1,\"\"]]'") &&
	   UNTIL(view_of(a)->history_seen != 0, 1000) &&
	   acquire_by(a, "a", view_of(a)->promotions_seen, 0, "{}") == DCS_LOST_RACE,
	   "nor before one got into the history");
	ok(etcdctl("put /service/batman/history nonsense") &&
	   UNTIL(view_of(a)->history_seen > view_of(a)->promotions_seen + 2, 1000) &&
	   acquire(a, "a") == DCS_DONE && request(a, DCS_RELEASE_LEADER, NULL, "a", 0, 0) == DCS_DONE &&
	   etcdctl("del /service/batman/history") && UNTIL(view_of(a)->history_seen == 0, 1000),
	   "a key that cannot be read keeps nobody from leading");

	/* hand-over of the session, and another ttl */
	ok(acquire(a, "a") == DCS_DONE, "acquire again");

	/* a new leader opens when the store has been read up to its acquisition */
	start_ms = clock_now_ms();
	ok(UNTIL(view_of(a)->complete_revision >= a->reply.version, 1000),
	   "watch delivers the own acquisition");
	printf("# %lld ms after the reply\n", (long long) (clock_now_ms() - start_ms));

	/* a release that arrives late finds another key of the same value: who sends it knows the old one */
	{
		Dcs		   *late = b->dcs;

		ok(UNTIL(cluster_is_leader(view_of(b), "a"), 1000), "both know the key");
		b->dcs = NULL;
		ok(request(a, DCS_RELEASE_LEADER, NULL, "a", 0, 0) == DCS_DONE &&
		   acquire(a, "a") == DCS_DONE, "released and acquired");
		b->dcs = late;
		ok(request(b, DCS_RELEASE_LEADER, NULL, "a", 0, 0) == DCS_LOST_RACE &&
		   etcdctl("get --print-value-only /service/batman/leader | grep -x a"),
		   "late release does not delete a key acquired anew");
	}
	snprintf(session, sizeof(session), "%s", dcs_session(a->dcs));
	dcs_close(a->dcs);
	open_node(0, config);
	dcs_set_session(a->dcs, session);
	ok(request(a, DCS_RENEW, "leader", "a", 0, 4000) == DCS_DONE &&
	   strcmp(session, dcs_session(a->dcs)) == 0, "session goes on after a hand-over");
	config->ttl_ms = 3000;
	ok(dcs_reconfigure(a->dcs, config, &error) &&
	   strcmp(session, dcs_session(a->dcs)) == 0, "new ttl keeps the session at first");
	ok(request(a, DCS_RENEW, "leader", "a", 0, 0) == DCS_DONE &&
	   strcmp(session, dcs_session(a->dcs)) != 0 &&
	   strcmp(view_of(a)->leader_session, dcs_session(a->dcs)) == 0,
	   "renewal moves the leader key to a new session");

	/* several requests without a session share one */
	dcs_set_session(b->dcs, "");
	{
		DcsRequest	first = {.id = ++next_id,.operation = DCS_PUT_MEMBER,.key = "b",.value = "{}"};

		(void) !dcs_submit(b->dcs, &first, &error);
		ok(request(b, DCS_RENEW, NULL, NULL, 0, 0) == DCS_DONE &&
		   UNTIL(cluster_find_member(view_of(b), "b"), 1000) &&
		   strcmp(cluster_find_member(view_of(b), "b")->session, dcs_session(b->dcs)) == 0,
		   "requests without a session share the new one");
	}

	/* an idle handle sleeps */
	{
		int			n_turns = 0;

		start_ms = clock_now_ms();
		while (clock_now_ms() - start_ms < 500)
		{
			turn(500);
			n_turns++;
		}
		printf("# %d turns in 500 ms\n", n_turns);
		ok(n_turns < 30, "an idle handle sleeps");
	}

	/* dead leader: the lease ends, the watcher sees it */
	snprintf(session, sizeof(session), "%s", dcs_session(a->dcs));
	start_ms = clock_now_ms();
	ok(UNTIL(!view_of(b)->has_leader, 6000) && clock_now_ms() - start_ms > 1500,
	   "end of the lease is seen by the watcher");
	ok(request(a, DCS_RENEW, "leader", "a", 0, 0) == DCS_LOST_RACE && a->reply.session_lost,
	   "renewal of a lost session says so");
	dcs_set_session(a->dcs, session);
	ok(request(a, DCS_PUT_MEMBER, "a", "{}", 0, 0) == DCS_DONE &&
	   strcmp(session, dcs_session(a->dcs)) != 0, "member put gets a new session");

	/* compaction while the stream is cut */
	etcdctl("put /elsewhere 1");
	kill(etcd_pid, SIGSTOP);
	/* All of its threads have stopped when this returns. */
	waitpid(etcd_pid, NULL, WUNTRACED);
	n_unreachable = b->n_unreachable;
	start_ms = clock_now_ms();
	ok(request(a, DCS_PUT, "history", "[]", 0, 1500) == DCS_UNKNOWN &&
	   clock_now_ms() - start_ms < 1800, "frozen etcd: outcome unknown within the bound");
	ok(UNTIL(b->n_unreachable > n_unreachable, 4500), "silent watch is noticed");
	kill(etcd_pid, SIGCONT);
	ok(UNTIL(dcs_is_reachable(a->dcs) && dcs_is_reachable(b->dcs), 4000), "recovery");
	/* the put may have happened: the key is acquired by who has read it */
	UNTIL(view_of(a)->has_history, 1000);
	ok(acquire(a, "a") == DCS_DONE &&
	   UNTIL(cluster_is_leader(view_of(b), "a"), 1000), "watch works after the recovery");

	/* restart; compaction of what the watchers have seen last */
	etcd_stop();
	ok(request(a, DCS_PUT, "history", "[]", 0, 600) == DCS_NOT_SENT, "no etcd: certainly not sent");
	etcd_start(false);
	while (!etcdctl("put /service/batman/failsafe '{}'"))
		usleep(50000);
	etcdctl("put /elsewhere 2");
	{
		char		command[600];

		snprintf(command, sizeof(command), "compaction $(ETCDCTL_API=3 etcdctl --endpoints "
				 "http://127.0.0.1:%d get /elsewhere -w json | sed 's/.*\"revision\":\\([0-9]*\\).*/\\1/')",
				 client_port);
		ok(etcdctl(command), "compact");
	}
	ok(UNTIL(dcs_is_reachable(a->dcs) && dcs_is_reachable(b->dcs) &&
			 view_of(a)->failsafe_json && view_of(b)->failsafe_json, 6000),
	   "restart and compaction: everything is read again");
	ok(request(a, DCS_PUT, "config", "{\"ttl\":33}", 0, 0) == DCS_DONE &&
	   UNTIL(view_of(b)->config_json && strstr(view_of(b)->config_json, "33"), 1000),
	   "watch works after the compaction");
	close_nodes();
}

/* How many messages of a kind ("" = all) etcd has been sent so far; asking for the number is none. */
static int
etcd_messages_of(const char *method)
{
	char		command[300];
	char		line[64];
	int			n = -1;
	FILE	   *pipe;

	snprintf(command, sizeof(command), "curl -sS http://127.0.0.1:%d/metrics | "
			 "awk '/^grpc_server_msg_received_total.*grpc_method=\"%s/ { n += $NF } END { print n }'",
			 client_port, method);
	pipe = popen(command, "r");
	if (pipe != NULL && fgets(line, sizeof(line), pipe) != NULL)
		n = atoi(line);
	if (pipe != NULL)
		pclose(pipe);
	return n;
}

static int
etcd_messages(void)
{
	return etcd_messages_of("");
}

/* What a loaded store does: its answer to a probe comes after newer events of the watch. */
static void
test_late_answer(DcsConfig *config)
{
	Node	   *b = &nodes[1];
	int64_t		until_ms;
	int			n_before;
	int			n_watches;

	config->ttl_ms = 3000;
	open_node(1, config);
	ok(UNTIL(dcs_is_reachable(b->dcs), 5000) && etcdctl("put /service/batman/members/c '{}'") &&
	   UNTIL(cluster_find_member(view_of(b), "c"), 1000) && etcdctl("put /elsewhere 4"), "a watch that works");
	n_watches = etcd_messages_of("Watch");
	n_before = etcd_messages_of("Txn");
	for (until_ms = clock_now_ms() + 4000; etcd_messages_of("Txn") == n_before && clock_now_ms() < until_ms;)
		turn(20);
	/* the probe is with etcd, and its answer may be here, but has not been read */
	ok(etcdctl("put /service/batman/members/d '{}'"), "a change while a probe is under way");
	usleep(100000);
	ok(UNTIL(cluster_find_member(view_of(b), "d"), 1000), "is told by the watch");
	for (until_ms = clock_now_ms() + 700; clock_now_ms() < until_ms;)
		turn(20);
	ok(etcd_messages_of("Watch") == n_watches, "which goes on: the store did not go back in time");
	ok(etcdctl("del /service/batman/members/c") && etcdctl("del /service/batman/members/d"), "no members");
	close_nodes();
}

/* A node that has nothing to do: "a" is the home that drives, "b" the other one. */
static void
test_idle(DcsConfig *config)
{
	Node	   *a = &nodes[0];
	Node	   *b = &nodes[1];
	int			n_renewals = 0;
	int			n_before;
	int			n_messages;
	int64_t		until_ms;
	bool		renewed = true;
	DcsSighting silence;

	config->ttl_ms = 3000;
	config->loop_wait_ms = 1000;
	open_node(0, config);
	open_node(1, config);
	ok(UNTIL(dcs_is_reachable(a->dcs) && dcs_is_reachable(b->dcs), 5000), "both homes watch");
	UNTIL(!view_of(a)->has_leader, 6000);
	ok(acquire(a, "a") == DCS_DONE && UNTIL(view_of(a)->complete_revision >= a->reply.version &&
											cluster_is_leader(view_of(b), "a"), 1000), "acquire");
	n_before = etcd_messages();
	for (until_ms = clock_now_ms() + 6000; clock_now_ms() < until_ms; n_renewals++)
	{
		int64_t		next_ms = clock_now_ms() + 900;

		renewed = renewed && request(a, DCS_RENEW, "leader", "a", 0, 0) == DCS_DONE;
		while (clock_now_ms() < next_ms)
		{
			dcs_set_sighting(b->dcs, dcs_sighting(a->dcs));
			turn(100);
		}
	}
	n_messages = etcd_messages() - n_before;
	printf("# %d messages for %d renewals\n", n_messages, n_renewals);
	ok(renewed && n_messages == n_renewals, "an idle node sends one message for each renewal");
	ok(clock_wall_ms() - dcs_last_seen_wall_ms(b->dcs) < 2000, "the home that rests has seen the store by that");

	ok(etcdctl("put /elsewhere 3"), "somebody else's key");
	n_before = etcd_messages();
	ok(request(a, DCS_RENEW, "leader", "a", 0, 0) == DCS_DONE && etcd_messages() == n_before + 2,
	   "after a change anywhere the leader key is read");

	/* in a store that others write to, the driving home's reads of the leader key are a look for both */
	n_before = etcd_messages_of("Txn");
	renewed = true;
	n_renewals = 0;
	for (until_ms = clock_now_ms() + 5000; clock_now_ms() < until_ms; n_renewals++)
	{
		int64_t		next_ms = clock_now_ms() + 900;

		renewed = renewed && etcdctl("put /elsewhere 5") &&
			request(a, DCS_RENEW, "leader", "a", 0, 0) == DCS_DONE;
		while (clock_now_ms() < next_ms)
		{
			dcs_set_sighting(b->dcs, dcs_sighting(a->dcs));
			turn(100);
		}
	}
	n_messages = etcd_messages_of("Txn") - n_before;
	printf("# %d reads for %d renewals\n", n_messages, n_renewals);
	ok(renewed && n_messages == n_renewals, "also when others write, no home probes beside the renewals");

	/* a standby renews without a read: its driving home probes, for both */
	ok(request(a, DCS_RELEASE_LEADER, NULL, "a", 0, 0) == DCS_DONE &&
	   UNTIL(!view_of(b)->has_leader, 1000), "a standby");
	n_before = etcd_messages();
	renewed = true;
	for (n_renewals = 0; n_renewals < 3; n_renewals++)
	{
		int64_t		next_ms = clock_now_ms() + config->ttl_ms / 2;

		renewed = renewed && request(a, DCS_RENEW, NULL, NULL, 0, 0) == DCS_DONE;
		while (clock_now_ms() < next_ms)
		{
			dcs_set_sighting(b->dcs, dcs_sighting(a->dcs));
			turn(100);
		}
	}
	n_messages = etcd_messages() - n_before;
	printf("# %d messages for %d renewals\n", n_messages, n_renewals);
	ok(renewed && n_messages == n_renewals, "that renews each half of ttl sends nothing else");
	ok(etcdctl("put /elsewhere 6"), "somebody else's key");
	n_before = etcd_messages_of("Txn");
	for (until_ms = clock_now_ms() + 6400; clock_now_ms() < until_ms;)
	{
		dcs_set_sighting(b->dcs, dcs_sighting(a->dcs));
		turn(100);
	}
	n_messages = etcd_messages_of("Txn") - n_before;
	printf("# %d probes in 6.4 s\n", n_messages);
	ok(n_messages >= 3 && n_messages <= 5, "one of the homes probes, not both");
	memset(&silence, 0, sizeof(silence));
	dcs_set_sighting(b->dcs, silence);

	n_before = etcd_messages();
	/* long enough for one probe of each, and for one that finds it was right */
	UNTIL(etcd_messages() >= n_before + 2, 4000);
	ok(etcd_messages() >= n_before + 2, "a watch that nobody checks is probed");
	close_nodes();
}

static void
test_two_endpoints(void)
{
	char		dead[40];
	char		live[40];
	const char *hosts[2] = {dead, live};
	DcsConfig	config;

	snprintf(dead, sizeof(dead), "127.0.0.1:%d", dead_port);
	snprintf(live, sizeof(live), "127.0.0.1:%d", client_port);
	configure(&config, hosts, 2);
	config.use_proxies = true;
	open_node(0, &config);
	ok(request(&nodes[0], DCS_PUT_MEMBER, "a", "{}", 0, 0) == DCS_DONE, "one of two endpoints is dead");
	ok(UNTIL(view_of(&nodes[0])->n_members > 0 && dcs_is_reachable(nodes[0].dcs), 3000) &&
	   nodes[0].n_unreachable == 0, "and is never called unreachable");
	close_nodes();
}

static void
test_ipv6(void)
{
	char		host[40];
	const char *hosts[1] = {host};
	DcsConfig	config;

	if (!has_ipv6())
	{
		printf("ok %d - IPv6 # SKIP there is none\n", ++n_tests);
		return;
	}
	snprintf(host, sizeof(host), "[::1]:%d", client_port);
	configure(&config, hosts, 1);
	config.use_proxies = true;
	open_node(0, &config);
	ok(request(&nodes[0], DCS_PUT_MEMBER, "a", "{}", 0, 0) == DCS_DONE &&
	   UNTIL(dcs_is_reachable(nodes[0].dcs), 3000), "IPv6");
	close_nodes();
}

static void
test_auth(DcsConfig *config)
{
	Node	   *a = &nodes[0];

	ok(etcdctl("user add root:secret") && etcdctl("user grant-role root root") &&
	   etcdctl("auth enable"), "enable authentication");
	open_node(1, config);
	ok(request(&nodes[1], DCS_PUT, "config", "{}", 0, 0) == DCS_NOT_SENT, "no user: refused");
	close_nodes();
	strcpy(config->username, "root");
	strcpy(config->password, "wrong");
	open_node(1, config);
	ok(request(&nodes[1], DCS_PUT, "config", "{}", 0, 0) == DCS_NOT_SENT, "wrong password: refused");
	close_nodes();
	strcpy(config->password, "secret");
	open_node(0, config);
	ok(request(a, DCS_PUT, "config", "{\"ttl\":34}", 0, 4000) == DCS_DONE, "put with a token");
	ok(UNTIL(dcs_is_reachable(a->dcs) && view_of(a)->config_json, 3000), "watch with a token");
	etcd_stop();
	etcd_start(false);
	ok(request(a, DCS_PUT, "config", "{\"ttl\":35}", 0, 6000) == DCS_DONE,
	   "token that the restart made invalid is renewed");
	ok(UNTIL(dcs_is_reachable(a->dcs), 4000), "watch with the new token");
	ok(acquire(a, "a") != DCS_UNKNOWN, "acquire with the new token");
	close_nodes();
}

static void
test_tls(DcsConfig *config)
{
	config->username[0] = '\0';
	etcd_stop();
	etcd_start(true);
	strcpy(config->protocol, "https");
	snprintf(config->cacert, sizeof(config->cacert), "%s/ca.crt", directory);
	open_node(1, config);
	ok(request(&nodes[1], DCS_PUT, "config", "{}", 0, 1000) != DCS_DONE, "TLS without client certificate");
	close_nodes();
	snprintf(config->cert, sizeof(config->cert), "%s/client.crt", directory);
	snprintf(config->key, sizeof(config->key), "%s/client.key", directory);
	open_node(0, config);
	ok(UNTIL(dcs_is_reachable(nodes[0].dcs), 6000) && acquire(&nodes[0], "a") == DCS_DONE,
	   "acquire over TLS");
	ok(UNTIL(dcs_is_reachable(nodes[0].dcs) && cluster_is_leader(view_of(&nodes[0]), "a"), 3000),
	   "watch over TLS");
	close_nodes();
}

int
main(int argc, char **argv)
{
	char		host[40];
	const char *hosts[1] = {host};
	DcsConfig	config;

	if (argc != 5)
		return 2;
	directory = argv[1];
	client_port = atoi(argv[2]);
	peer_port = atoi(argv[3]);
	dead_port = atoi(argv[4]);
	snprintf(host, sizeof(host), "127.0.0.1:%d", client_port);

	configure(&config, hosts, 1);
	etcd_start(false);
	test_basics(&config);
	test_idle(&config);
	test_late_answer(&config);
	test_two_endpoints();
	test_ipv6();
	configure(&config, hosts, 1);
	test_auth(&config);
	test_tls(&config);
	etcd_stop();
	printf("1..%d\n", n_tests);
	return n_failed > 0;
}
