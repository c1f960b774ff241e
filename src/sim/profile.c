/*-------------------------------------------------------------------------
 *
 * profile.c
 *      What kind of run it is: how many nodes, which settings, which trouble.
 *
 * Everything is drawn from the seed, in one fixed order.  Short times to live
 * are common: more happens in a second, and every bound scales with them.
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "sim/trouble.h"

typedef struct Weight
{
	SimFault	fault;
	int			weight;
} Weight;

/* How often each fault strikes, by group.  Sums do not matter. */
#define W(name, weight) {SIM_FAULT_##name, weight}

static const Weight process_faults[] = {
	W(SERVER_KILL, 10), W(SUPERVISOR_KILL, 8), W(WORKER_KILL, 6), W(WORKER_LEAVE, 5),
	W(HOST_CRASH, 10), {SIM_FAULT_COUNT, 0}
};
static const Weight freeze_faults[] = {
	W(PAUSE_WORKER, 6), W(PAUSE_SUPERVISOR, 5), W(PAUSE_SERVER, 4), W(PAUSE_HOST, 7),
	{SIM_FAULT_COUNT, 0}
};
static const Weight network_faults[] = {
	W(CUT_STORE, 8), W(CUT_NODE, 8), W(CUT_LINK, 6), W(CUT_ONE_WAY, 5), W(LOSSY, 4),
	W(SLOW_NETWORK, 3), {SIM_FAULT_COUNT, 0}
};
static const Weight store_faults[] = {
	W(STORE_DOWN, 6), W(STORE_FROZEN, 4), W(STORE_LEADER, 3), W(STORE_COMPACT, 3),
	W(STORE_LOSES_REPLIES, 6), W(STORE_LATE, 6), W(STORE_STALE, 4), W(STORE_EXPIRES_LATE, 2),
	W(WATCH_LAG, 4), {SIM_FAULT_COUNT, 0}
};
static const Weight disk_faults[] = {
	W(SLOW_DISK, 6), W(FULL_DISK, 3), W(TASKS_FAIL, 5), W(BROKEN_DATA, 3), {SIM_FAULT_COUNT, 0}
};
static const Weight operator_faults[] = {
	W(SWITCHOVER, 10), W(FAILOVER, 6), W(SCHEDULED_SWITCHOVER, 4), W(RESTART, 7),
	W(REINITIALIZE, 4), W(RELOAD, 2), W(PAUSE_CLUSTER, 4), W(CONFIG_CHANGE, 4), W(ADD_NODE, 2),
	W(REMOVE_NODE, 2), W(SUPERVISOR_STOP, 5), W(KEY_DELETED, 4), W(PROMOTE_BY_HAND, 3),
	{SIM_FAULT_COUNT, 0}
};

/* Patroni members are there: nothing they have no model for. */
static const Weight mixed_faults[] = {
	W(SERVER_KILL, 8), W(SUPERVISOR_KILL, 6), W(WORKER_KILL, 3), W(HOST_CRASH, 8),
	W(PAUSE_SUPERVISOR, 4), W(PAUSE_HOST, 5), W(CUT_STORE, 6), W(CUT_NODE, 6), W(CUT_LINK, 3),
	W(STORE_DOWN, 4), W(STORE_LOSES_REPLIES, 3), W(SLOW_DISK, 3), W(SWITCHOVER, 10),
	W(FAILOVER, 5), W(PAUSE_CLUSTER, 2), {SIM_FAULT_COUNT, 0}
};

/* An upgrade restarts supervisors and workers, and people go on meanwhile. */
static const Weight upgrade_faults[] = {
	W(SUPERVISOR_KILL, 8), W(SUPERVISOR_STOP, 8), W(WORKER_LEAVE, 10), W(WORKER_KILL, 4),
	W(SERVER_KILL, 3), W(SWITCHOVER, 8), W(RESTART, 5), W(CUT_STORE, 2), {SIM_FAULT_COUNT, 0}
};

/* A primary that is cut off from those who would hear of its writes. */
static const Weight isolation_faults[] = {
	W(CUT_NODE, 10), W(CUT_STORE, 6), W(CUT_ONE_WAY, 4), W(CUT_LINK, 4), W(STORE_DOWN, 5),
	W(STORE_FROZEN, 5), W(PAUSE_SERVER, 3), W(PAUSE_HOST, 3), W(PAUSE_WORKER, 2), W(LOSSY, 4),
	{SIM_FAULT_COUNT, 0}
};
/* Outages of the store for some, or for all, while members come, go and are cut off. */
static const Weight outage_faults[] = {
	W(STORE_DOWN, 12), W(STORE_FROZEN, 10), W(CUT_STORE, 8), W(STORE_LATE, 3),
	W(STORE_LOSES_REPLIES, 2), W(CUT_NODE, 3), W(WATCH_LAG, 2), {SIM_FAULT_COUNT, 0}
};
static const Weight member_faults[] = {
	W(SUPERVISOR_KILL, 6), W(WORKER_KILL, 3), W(WORKER_LEAVE, 3), W(HOST_CRASH, 6),
	W(SERVER_KILL, 4), W(PAUSE_WORKER, 4), W(PAUSE_SUPERVISOR, 4), W(PAUSE_HOST, 6),
	W(SUPERVISOR_STOP, 3), {SIM_FAULT_COUNT, 0}
};
static const Weight failsafe_faults[] = {
	W(CONFIG_CHANGE, 10), W(SWITCHOVER, 5), W(FAILOVER, 4), W(PAUSE_CLUSTER, 3), W(ADD_NODE, 6),
	W(REMOVE_NODE, 3), W(RESTART, 4), W(REINITIALIZE, 3), W(KEY_DELETED, 3), {SIM_FAULT_COUNT, 0}
};

/* A server that hangs without being dead. */
static const Weight gray_faults[] = {
	W(DISK_HANGS, 10), {SIM_FAULT_COUNT, 0}
};

static const Weight quiet_faults[] = {{SIM_FAULT_COUNT, 0}};

#define GROUPS_MAX	6

typedef struct Kind
{
	const char *name;
	const Weight *groups[GROUPS_MAX];	/* NULL after the last */
	int			shares[GROUPS_MAX];		/* how often each group is chosen */
} Kind;

static const Kind kinds[] = {
	{"default", {process_faults, freeze_faults, network_faults, store_faults, disk_faults, operator_faults},
	{6, 4, 6, 5, 3, 6}},
	{"quiet", {quiet_faults}, {1}},
	{"network", {network_faults, process_faults, operator_faults}, {6, 1, 1}},
	{"store", {store_faults, process_faults, operator_faults}, {6, 1, 1}},
	{"crash", {process_faults, network_faults, operator_faults}, {6, 1, 1}},
	{"freeze", {freeze_faults, network_faults, operator_faults}, {6, 1, 1}},
	{"disk", {disk_faults, process_faults, operator_faults}, {5, 3, 1}},
	{"operators", {operator_faults, process_faults}, {8, 1}},
	{"mixed", {mixed_faults}, {1}},
	{"upgrade", {upgrade_faults}, {1}},
	{"sync", {process_faults, freeze_faults, network_faults, store_faults, operator_faults}, {6, 2, 5, 2, 4}},
	{"quorum", {process_faults, freeze_faults, network_faults, store_faults, operator_faults}, {6, 2, 5, 2, 4}},
	{"isolation", {isolation_faults, network_faults, process_faults, operator_faults}, {6, 3, 1, 1}},
	{"failsafe", {outage_faults, member_faults, network_faults, failsafe_faults}, {8, 4, 3, 4}},
	{"single", {process_faults, freeze_faults, store_faults, disk_faults, operator_faults}, {5, 3, 4, 2, 2}},
	/* from here on only when named: the seeds of all others stay what they were */
	{"gray", {gray_faults, process_faults, freeze_faults, network_faults, operator_faults}, {8, 2, 1, 2, 3}},
};

#define N_KINDS ((int) (sizeof(kinds) / sizeof(kinds[0])))
#define N_KINDS_NAMED	1		/* the last ones */

static const Kind *kind = &kinds[0];

/* The names of the profiles, "default" first; NULL at the end. */
const char *const *
sim_profile_names(void)
{
	static const char *names[N_KINDS + 1];

	for (int i = 0; i < N_KINDS; i++)
		names[i] = kinds[i].name;
	return names;
}

/* How many of them take turns when none is named. */
int
sim_profiles_in_turn(void)
{
	return N_KINDS - N_KINDS_NAMED;
}

/* Index of one of n shares, each as likely as it is big. */
static int
pick_share(const int *shares, int n)
{
	int			sum = 0;
	int			at;

	for (int i = 0; i < n; i++)
		sum += shares[i];
	at = sim_pick(sum);
	for (int i = 0; i < n; i++)
	{
		at -= shares[i];
		if (at < 0)
			return i;
	}
	return n - 1;
}

/* Which fault strikes next, by the weights of this run's profile. */
SimFault
sim_profile_fault(void)
{
	const Weight *weights;
	int			n_groups = 0;
	int			n_weights = 0;
	int			shares[32];

	while (n_groups < GROUPS_MAX && kind->groups[n_groups] != NULL)
		n_groups++;
	weights = kind->groups[pick_share(kind->shares, n_groups)];
	for (; weights[n_weights].fault != SIM_FAULT_COUNT; n_weights++)
		shares[n_weights] = weights[n_weights].weight;
	if (n_weights == 0)
		return SIM_FAULT_COUNT;
	return weights[pick_share(shares, n_weights)].fault;
}

/* Three nodes mostly, as people have them. */
static int
draw_nodes(void)
{
	static const int shares[SIM_NODES_MAX] = {3, 12, 60, 6, 10, 2, 3, 1, 3};

	return 1 + pick_share(shares, SIM_NODES_MAX);
}

/* Whole seconds, as in the configuration: settings.c fits them as it ships. */
static void
draw_timing(SimProfile *profile)
{
	int64_t		ttl_s = sim_chance(750) ? sim_between(2, 10) : sim_between(11, 30);
	int64_t		loop_wait_s = sim_between(1, ttl_s / 2);
	int64_t		retry_s = sim_between(1, ttl_s / 2);

	if (profile->n_patroni > 0)
	{
		/* Patroni's own rules: ttl >= 20, loop_wait + 2 * retry_timeout <= ttl */
		ttl_s = 20;
		retry_s = sim_between(3, 6);
		loop_wait_s = sim_between(2, 8);
	}
	if (ttl_s >= 20 && loop_wait_s + 2 * retry_s > ttl_s)
	{
		retry_s = ttl_s / 3;
		loop_wait_s = ttl_s - 2 * retry_s;
	}
	profile->ttl_ms = ttl_s * 1000;
	profile->loop_wait_ms = loop_wait_s * 1000;
	profile->retry_timeout_ms = retry_s * 1000;
}

static bool
is_named(const char *name)
{
	return strcmp(kind->name, name) == 0;
}

/* What clients and servers do about commits that wait.  From the seed, too. */
static void
draw_commits(SimProfile *profile)
{
	static const int holds_ms[] = {500, 500, 500, 50, 200, 1000, 2000};
	uint64_t	seed = sim.seed;

	profile->isolation_hold_after_ms = -1;
	if (is_named("isolation") || (profile->engine_keeps_sync && seed / 11 % 2 == 0) || seed % 9 == 1)
		profile->isolation_hold_after_ms = holds_ms[seed / 13 % 7];
	if (!profile->engine_keeps_sync)
		return;
	if (seed / 3 % 2 == 0)
		profile->patience_us = SIM_MS(50 << seed / 17 % 7);
	profile->defers_cancel = seed / 19 % 8 == 0;
	if (seed / 23 % 4 == 0)
		profile->commit_wait_timeout_us = SIM_MS(1000 << seed / 29 % 3);
}

/*
 * Draw the configuration of a run into sim.profile.  n_nodes 0: by chance.
 * False: there is no profile of that name.
 */
bool
sim_profile_draw(const char *name, int n_nodes)
{
	SimProfile *profile = &sim.profile;
	bool		is_found = false;
	int			drawn_nodes;

	for (int i = 0; i < N_KINDS && !is_found; i++)
	{
		if (strcmp(kinds[i].name, name) == 0)
		{
			kind = &kinds[i];
			is_found = true;
		}
	}
	if (!is_found || n_nodes < 0 || n_nodes > SIM_NODES_MAX)
		return false;
	memset(profile, 0, sizeof(*profile));
	profile->name = kind->name;

	/* drawn also when it is not used, so that the rest of the run is the same */
	drawn_nodes = draw_nodes();
	if (is_named("single"))
		drawn_nodes = 1;
	else if (drawn_nodes < 2 && !is_named("default") && !is_named("quiet"))
		drawn_nodes = 2;
	profile->n_nodes = n_nodes > 0 ? n_nodes : drawn_nodes;
	if (is_named("mixed") && profile->n_nodes > 1)
		profile->n_patroni = 1 + sim_pick(profile->n_nodes - 1);
	draw_timing(profile);

	/* WAL of a run is short: a small bound is one that matters */
	profile->maximum_lag = sim_chance(500) ? 1048576 : sim_between(100, 10000);
	profile->has_faults = !is_named("quiet");
	profile->duration_us = sim_chance(800) ? SIM_MS(sim_between(10000, 35000))
		: SIM_MS(sim_between(35000, 60000));
	if (profile->ttl_ms > 10000 && profile->duration_us < 2 * SIM_MS(profile->ttl_ms))
		profile->duration_us = 2 * SIM_MS(profile->ttl_ms);
	profile->n_faults = profile->has_faults ? 1 + sim_pick(12) : 0;
	profile->sync_mode = SIM_ASYNC;
	if (is_named("sync"))
		profile->sync_mode = SIM_SYNC_PRIORITY;
	else if (is_named("quorum"))
		profile->sync_mode = SIM_SYNC_QUORUM;
	profile->failsafe_mode = is_named("failsafe");
	if (profile->failsafe_mode)
	{
		profile->n_faults += 3;
		profile->duration_us += 2 * SIM_MS(profile->ttl_ms);
	}
	if (profile->failsafe_mode && sim.seed % 4 == 0)
		profile->sync_mode = sim.seed % 8 == 0 ? SIM_SYNC_PRIORITY : SIM_SYNC_QUORUM;
	if (is_named("gray") && sim.seed % 3 != 0)
		profile->sync_mode = sim.seed % 3 == 1 ? SIM_SYNC_PRIORITY : SIM_SYNC_QUORUM;
	if (is_named("gray"))
		profile->n_faults += 3;
	profile->engine_keeps_sync = profile->sync_mode != SIM_ASYNC;
	/* from the seed, so that all other draws are what they were */
	profile->sync_is_strict = sim.seed / 3 % 4 == 0;
	profile->sync_node_count = sim.seed / 5 % 3 == 0 ? 2 : 1;
	profile->maximum_lag_on_syncnode = sim.seed / 7 % 5 == 0 ? 2000 : -1;
	draw_commits(profile);
	profile->use_pg_rewind = sim_chance(850);
	profile->may_remove_data = sim_chance(700);
	if (!profile->use_pg_rewind)
		profile->may_remove_data = true;	/* or a diverged member waits for a person */
	profile->primary_start_timeout_ms = sim_chance(700) ? 300000 : 1000 * sim_between(0, 20);
	profile->write_every_us = SIM_MS(sim_between(20, 200));
	profile->nofailover = -1;
	if (profile->n_nodes >= 3 && sim_chance(200))
		profile->nofailover = sim_pick(profile->n_nodes - profile->n_patroni);
	if (profile->n_nodes - profile->n_patroni < 2)
		profile->nofailover = -1;
	profile->is_mixed_release = is_named("upgrade") || (is_named("default") && sim_chance(50));
	return true;
}
