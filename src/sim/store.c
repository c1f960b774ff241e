/*-------------------------------------------------------------------------
 *
 * store.c
 *      The model of an etcd cluster: keys, revisions, leases, transactions.
 *
 * Invariants:
 *  (1) A request takes effect at one instant, when it arrives, or not at all.
 *  (2) Each put and each deletion has a revision of its own, one more than
 *      the one before.
 *  (3) No lease ends before its time.  It ends 0 to 350 ms late, as measured
 *      with etcd 3.4, or up to a second later still when a fault says so.
 *  (4) While the store is down or frozen no lease runs; afterwards, and after
 *      a change of the store's leader, all have their full time again.
 *
 * What is simplified: the members of the store are not seen, they show only
 * in what they may do: a load that is not linearisable may be older than the
 * newest state, watches may lag, and a change of leader leaves requests
 * without a clear answer.  There is no authentication.
 *-------------------------------------------------------------------------
 */
#include "sim/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define KEYS_MAX		256
#define LEASES_MAX		512
#define CHANGES_MAX		1024		/* that a watch can go on from */
#define HELD_MAX		512			/* requests that wait for a frozen store */
#define STALE_MAX		20			/* revisions that an old state may be behind */
#define TTL_MIN_US		SIM_MS(2000)	/* etcd grants no less */
#define LATE_US			SIM_MS(350)
#define LATER_US		SIM_MS(1000)
#define LOOK_US			SIM_MS(50)

typedef struct Lease
{
	char		session[SIM_SESSION_MAX];
	uint64_t	id;
	int64_t		ttl_us;
	int64_t		deadline_us;	/* its time */
	int64_t		end_us;			/* when it really ends; 0 = not drawn yet */
} Lease;

/* Who changes a key, and how. */
typedef struct Cause
{
	bool		was_compared;
	bool		is_rightful;	/* the old holder itself, the end of its lease, or an operator */
} Cause;

static SimKey keys[KEYS_MAX];
static int	n_keys;
static Lease leases[LEASES_MAX];
static int	n_leases;
static SimChange changes[CHANGES_MAX];	/* at revision % CHANGES_MAX */
static uint64_t revision;
static uint64_t first_revision;		/* of what is in "changes" */
static uint64_t compacted;			/* older changes are not to be had */
static uint64_t next_id;
static uint64_t n_sessions;
static int64_t electing_until_us;
static bool was_stopped;
static bool is_looking;
static SimRequest *held[HELD_MAX];
static int	n_held;

static void lease_event(int node, int64_t number, void *owned);
static void look_again(int node, int64_t number, void *owned);

/* ---------------------------------------------------------------- texts */

static SimText *
text_new(const char *from)
{
	size_t		length = strlen(from);
	SimText    *text = malloc(sizeof(SimText) + length + 1);

	if (text == NULL)
		abort();
	text->references = 1;
	memcpy(text->text, from, length + 1);
	return text;
}

static void
text_drop(SimText *text)
{
	if (text != NULL && --text->references == 0)
		free(text);
}

/* SimKey.value is the text of a SimText. */
static SimText *
text_of(char *value)
{
	return value == NULL ? NULL : (SimText *) (void *) (value - offsetof(SimText, text));
}

static void
copy(char *to, size_t size, const char *from)
{
	size_t		length = strlen(from);

	if (length >= size)
	{
		sim_fail("bug in the simulator: \"%.40s...\" is too long for the store", from);
		length = size - 1;
	}
	memcpy(to, from, length);
	to[length] = '\0';
}

/* ---------------------------------------------------------------- keys */

static SimKey *
find(const char *name)
{
	for (int i = 0; i < n_keys; i++)
		if (strcmp(keys[i].name, name) == 0)
			return &keys[i];
	return NULL;
}

/* The key as it is now; valid until the next change.  NULL: absent. */
const SimKey *
sim_store_find(const char *name)
{
	return find(name);
}

/* The node of that name, -1 if there is none. */
int
sim_node_of(const char *name)
{
	for (int n = 0; n < sim.n_nodes; n++)
		if (strcmp(sim.node[n].name, name) == 0)
			return n;
	return -1;
}

/* Whom the leader key names; -1 nobody. */
int
sim_store_leader(void)
{
	const SimKey *leader = find("leader");

	return leader == NULL ? -1 : sim_node_of(leader->value);
}

/* A number that was not given before in this run. */
uint64_t
sim_store_next_id(void)
{
	return ++next_id;
}

/* What changed with that revision; NULL: not known any more. */
const SimChange *
sim_store_change(uint64_t wanted)
{
	if (wanted < first_revision || wanted > revision)
		return NULL;
	return &changes[wanted % CHANGES_MAX];
}

static Lease *
lease_find(const char *session)
{
	for (int i = 0; i < n_leases; i++)
		if (strcmp(leases[i].session, session) == 0)
			return &leases[i];
	return NULL;
}

/* Does this lease still run, by its own time? */
bool
sim_store_lease_runs(const char *session)
{
	const Lease *lease = lease_find(session);

	return lease != NULL && sim.now_us < lease->deadline_us;
}

/*
 * S3.  "lease_ran" is what the check is told: the leader key named somebody
 * whose lease had not come to its end by the store's own clock, and neither
 * that member itself, nor the end of the lease, nor an operator who deletes
 * keys made this change.
 */
static void
check_leader_key(const SimKey *old, const char *value, Cause cause)
{
	bool		lease_ran = old != NULL && old->session[0] != '\0' && !cause.is_rightful &&
		sim_store_lease_runs(old->session);

	sim_check_leader_key(old != NULL ? old->value : NULL, lease_ran, value, cause.was_compared);
}

/* A put, or a deletion when "value" is NULL.  True: something changed. */
static bool
change(const char *name, const char *value, const char *session, Cause cause)
{
	SimKey	   *key = find(name);
	SimChange  *entry;

	if (key == NULL && value == NULL)
		return false;
	if (strcmp(name, "leader") == 0)
		check_leader_key(key, value, cause);
	if (strcmp(name, "sync") == 0)
	{
		sim_check_sync_key(value != NULL);
		sim_moment(sim_store_leader());
	}

	revision++;
	entry = &changes[revision % CHANGES_MAX];
	text_drop(entry->value);
	text_drop(entry->old_value);
	memset(entry, 0, sizeof(*entry));
	if (revision - first_revision >= CHANGES_MAX)
		first_revision = revision - CHANGES_MAX + 1;
	entry->revision = revision;
	copy(entry->name, sizeof(entry->name), name);
	if (key != NULL)
	{
		entry->old_value = text_of(key->value);		/* its reference goes over */
		entry->old_version = key->version;
		copy(entry->old_session, sizeof(entry->old_session), key->session);
	}
	if (value == NULL)
	{
		*key = keys[--n_keys];
		sim_trace(-1, "store: %llu deletes %s", (unsigned long long) revision, name);
	}
	else
	{
		if (key == NULL)
		{
			if (n_keys == KEYS_MAX)
			{
				sim_fail("bug in the simulator: too many keys");
				return true;
			}
			key = &keys[n_keys++];
			memset(key, 0, sizeof(*key));
			key->created = revision;
			copy(key->name, sizeof(key->name), name);
		}
		entry->value = text_new(value);
		entry->value->references++;
		key->value = entry->value->text;
		key->version = revision;
		copy(key->session, sizeof(key->session), session != NULL ? session : "");
		memcpy(entry->session, key->session, sizeof(entry->session));
		sim_trace(-1, "store: %llu %s under %s: %.300s", (unsigned long long) revision, name,
				  key->session[0] != '\0' ? key->session : "-", value);
	}
	sim_note(-1, "key", hash_text(name), value != NULL ? hash_text(value) : 0);
	sim_watches_tell(revision);
	return true;
}

/* ---------------------------------------------------------------- leases */

/* "cause" of a deletion by this node or under this session. */
static bool
is_holder(const char *name, int node, const char *session)
{
	const SimKey *key = find(name);

	if (key == NULL)
		return false;
	if (node >= 0 && strcmp(key->value, sim.node[node].name) == 0)
		return true;
	return session != NULL && session[0] != '\0' && strcmp(key->session, session) == 0;
}

static bool
is_stopped(void)
{
	return sim.store_faults.is_down || sim.store_faults.is_frozen;
}

static void
leases_refresh(int64_t from_us)
{
	for (int i = 0; i < n_leases; i++)
	{
		if (from_us + leases[i].ttl_us > leases[i].deadline_us)
			leases[i].deadline_us = from_us + leases[i].ttl_us;
		leases[i].end_us = 0;
	}
}

/* The switches may have been moved since: go on where the store stopped. */
static void
look(void)
{
	if (is_stopped())
	{
		was_stopped = true;
		if (!is_looking)
		{
			is_looking = true;
			sim_later(LOOK_US, look_again, -1, 0, NULL);
		}
		return;
	}
	if (!was_stopped)
		return;
	was_stopped = false;
	leases_refresh(sim.now_us);
	for (int i = 0; i < n_held; i++)
	{
		/* Those sent to a store that went down afterwards are gone. */
		sim_later(i, sim_store_arrive, held[i]->node, 0, held[i]);
	}
	n_held = 0;
	sim_watches_tell(revision);
}

static void
look_again(int node, int64_t number, void *owned)
{
	(void) node;
	(void) number;
	(void) owned;
	is_looking = false;
	look();
}

static void
lease_end(Lease *lease)
{
	char		session[SIM_SESSION_MAX];

	memcpy(session, lease->session, sizeof(session));
	*lease = leases[--n_leases];
	sim_trace(-1, "store: lease %s is over", session);
	for (int i = n_keys - 1; i >= 0; i--)
	{
		Cause		cause = {.was_compared = true,.is_rightful = true};
		char		name[SIM_KEY_MAX];

		/* The last key took the place of a deleted one: it was looked at. */
		if (strcmp(keys[i].session, session) != 0)
			continue;
		memcpy(name, keys[i].name, sizeof(name));
		change(name, NULL, NULL, cause);
	}
}

/* The time of a lease may be over. */
static void
lease_event(int node, int64_t number, void *owned)
{
	Lease	   *lease = NULL;

	(void) node;
	(void) owned;
	look();
	for (int i = 0; i < n_leases && lease == NULL; i++)
		if (leases[i].id == (uint64_t) number)
			lease = &leases[i];
	if (lease == NULL)
		return;
	if (is_stopped())
	{
		sim_later(SIM_MS(500), lease_event, -1, number, NULL);
		return;
	}
	if (sim.now_us < lease->deadline_us)
	{
		sim_later(lease->deadline_us - sim.now_us, lease_event, -1, number, NULL);
		return;
	}
	if (lease->end_us == 0)
	{
		/* nobody promised that it is always late: in every third run it is not */
		lease->end_us = sim.now_us + sim_between(0, sim.seed % 3 == 0 ? SIM_MS(2) : LATE_US);
		if (sim.store_faults.lets_expire_late)
			lease->end_us += sim_between(0, LATER_US);
		sim_later(lease->end_us - sim.now_us, lease_event, -1, number, NULL);
		return;
	}
	lease_end(lease);
}

/* Grant a lease, or give it its full time again. */
void
sim_store_grant(const char *session, int64_t ttl_us)
{
	Lease	   *lease = lease_find(session);

	if (ttl_us < TTL_MIN_US)
		ttl_us = TTL_MIN_US;
	if (lease != NULL)
	{
		/* One that is about to end cannot be renewed any more. */
		if (lease->end_us == 0)
			lease->deadline_us = sim.now_us + lease->ttl_us;
		return;
	}
	if (n_leases == LEASES_MAX)
	{
		sim_fail("bug in the simulator: too many leases");
		return;
	}
	lease = &leases[n_leases++];
	memset(lease, 0, sizeof(*lease));
	copy(lease->session, sizeof(lease->session), session);
	lease->id = sim_store_next_id();
	lease->ttl_us = ttl_us;
	lease->deadline_us = sim.now_us + ttl_us;
	sim_later(ttl_us, lease_event, -1, (int64_t) lease->id, NULL);
}

/* ---------------------------------------------------------------- requests */

/* The answer to a request, with room for "extra" bytes of data. */
static SimReply *
reply_new(const SimRequest *request, size_t extra)
{
	SimReply   *reply = calloc(1, sizeof(SimReply) + extra);

	if (reply == NULL)
		abort();
	reply->size = sizeof(SimReply) + extra;
	reply->driver_id = request->driver_id;
	reply->call_id = request->call_id;
	reply->home = request->home;
	reply->answer = SIM_ANSWERED;
	reply->succeeded = true;
	return reply;
}

static size_t
pack(SimReply *reply, size_t at, const SimKey *key)
{
	const char *texts[3] = {key->name, key->session, key->value};

	if (reply != NULL)
		memcpy(reply->data + at, &key->version, sizeof(key->version));
	at += sizeof(key->version);
	for (int i = 0; i < 3; i++)
	{
		size_t		length = strlen(texts[i]) + 1;

		if (reply != NULL)
			memcpy(reply->data + at, texts[i], length);
		at += length;
	}
	return at;
}

static SimReply *
reply_with_keys(const SimRequest *request, const SimKey *shown, int n_shown)
{
	SimReply   *reply;
	size_t		size = 0;

	for (int i = 0; i < n_shown; i++)
		size = pack(NULL, size, &shown[i]);
	reply = reply_new(request, size);
	size = 0;
	for (int i = 0; i < n_shown; i++)
		size = pack(reply, size, &shown[i]);
	reply->n_keys = n_shown;
	return reply;
}

/* Undo one change in a copy of the keys. */
static void
undo(SimKey *shown, int *n_shown, const SimChange *last)
{
	int			at;

	for (at = 0; at < *n_shown; at++)
		if (strcmp(shown[at].name, last->name) == 0)
			break;
	if (last->old_value == NULL)
	{
		if (at < *n_shown)
			shown[at] = shown[--*n_shown];
		return;
	}
	if (at == *n_shown)
	{
		if (*n_shown == KEYS_MAX)
			return;
		++*n_shown;
		copy(shown[at].name, sizeof(shown[at].name), last->name);
	}
	shown[at].value = last->old_value->text;
	shown[at].version = last->old_version;
	memcpy(shown[at].session, last->old_session, sizeof(shown[at].session));
}

static SimReply *
load(const SimRequest *request)
{
	static SimKey shown[KEYS_MAX];
	int			n_shown = n_keys;
	uint64_t	as_of = revision;
	SimReply   *reply;

	memcpy(shown, keys, sizeof(SimKey) * (size_t) n_keys);
	if (request->is_serializable && sim_chance(sim.store_faults.stale_read))
	{
		uint64_t	behind = (uint64_t) sim_between(1, STALE_MAX);

		/* Not before what the log knows to undo, and revisions begin with 1. */
		while (behind-- > 0 && as_of > 1 && as_of >= first_revision)
			undo(shown, &n_shown, &changes[as_of-- % CHANGES_MAX]);
	}
	reply = reply_with_keys(request, shown, n_shown);
	reply->revision = as_of;
	return reply;
}

static bool
has_version(const char *name, uint64_t version)
{
	const SimKey *key = sim_store_find(name);

	return (key != NULL && key->value != NULL ? key->version : 0) == version;
}

/* Has nobody been promoted since the one who asks has read the store? */
static bool
is_known(const SimRequest *request)
{
	return has_version("promotions", request->promotions_version) &&
		has_version("history", request->history_version) &&
		has_version("failsafe", request->failsafe_version);
}

/* Does who asks lead still, if that matters? */
static bool
leads(const SimRequest *request)
{
	return request->leader_version == 0 || has_version("leader", request->leader_version);
}

static bool
compare(const SimRequest *request, const SimKey *key)
{
	switch (request->kind)
	{
		case SIM_CREATE:
			return key == NULL && leads(request);
		case SIM_PUT_VERSION:
			return key != NULL && key->version == request->version && leads(request);
		case SIM_DELETE_VERSION:
			return key != NULL && key->version == request->version;
		case SIM_DELETE_VALUE:
			return key != NULL && strcmp(key->value, request->value) == 0 &&
				key->created <= request->version;
		case SIM_ACQUIRE:
			return key == NULL && is_known(request);
		case SIM_CONFIRM:
			return key != NULL && strcmp(key->value, request->value) == 0 &&
				key->version == request->version;
		default:
			return true;
	}
}

static SimReply *
write_key(const SimRequest *request)
{
	SimReply   *reply = reply_new(request, 0);
	bool		deletes = request->kind == SIM_DELETE || request->kind == SIM_DELETE_VERSION ||
		request->kind == SIM_DELETE_VALUE;
	Cause		cause = {
		.was_compared = request->kind != SIM_PUT && request->kind != SIM_DELETE,
		.is_rightful = is_holder(request->key, request->node, NULL),
	};

	if (!compare(request, find(request->key)))
		reply->succeeded = false;
	else if (!deletes && request->session[0] != '\0' && lease_find(request->session) == NULL)
		reply->answer = SIM_LEASE_NOT_FOUND;
	else
	{
		if (request->has_promotions)
			(void) change("promotions", request->value + strlen(request->value) + 1, "", cause);
		(void) change(request->key, deletes ? NULL : request->value, request->session, cause);
	}
	reply->revision = revision;
	return reply;
}

static SimReply *
grant(const SimRequest *request)
{
	SimReply   *reply = reply_new(request, 0);

	snprintf(reply->session, sizeof(reply->session), "s%llu", (unsigned long long) ++n_sessions);
	sim_store_grant(reply->session, request->ttl_us);
	reply->ttl_us = request->ttl_us < TTL_MIN_US ? TTL_MIN_US : request->ttl_us;
	return reply;
}

static SimReply *
keepalive(const SimRequest *request)
{
	SimReply   *reply = reply_new(request, 0);
	Lease	   *lease = lease_find(request->session);

	copy(reply->session, sizeof(reply->session), request->session);
	reply->revision = revision;
	if (lease != NULL)
	{
		sim_store_grant(request->session, lease->ttl_us);
		reply->ttl_us = lease->ttl_us;
	}
	return reply;
}

/* What a request does; NULL: its answer comes by another way. */
static SimReply *
execute(const SimRequest *request)
{
	SimReply   *reply;

	switch (request->kind)
	{
		case SIM_VERSION:
			return reply_new(request, 0);
		case SIM_LOAD:
			return load(request);
		case SIM_READ:
			{
				SimKey	   *key = find(request->key);

				reply = reply_with_keys(request, key, key != NULL ? 1 : 0);
				reply->revision = revision;
				return reply;
			}
		case SIM_GRANT:
			return grant(request);
		case SIM_KEEPALIVE:
			return keepalive(request);
		case SIM_WATCH:
			sim_watch_open(request, revision, compacted);
			return NULL;
		default:
			return write_key(request);
	}
}

static void
hold(const SimRequest *request)
{
	SimRequest *again;

	if (n_held == HELD_MAX)
		return;					/* as if its connection had been given up */
	again = malloc(request->size);
	if (again == NULL)
		abort();
	memcpy(again, request, request->size);
	held[n_held++] = again;
}

/* A request comes in. */
void
sim_store_arrive(int node, int64_t number, void *owned)
{
	const SimRequest *request = owned;
	SimReply   *reply = NULL;
	int64_t		delay_us;

	(void) number;
	look();
	if (sim.store_faults.is_down)
	{
		/* Told if the network can: the connection is gone. */
		reply = reply_new(request, 0);
		reply->answer = SIM_RESET;
		delay_us = sim.node[node].host_is_up && !sim.link[SIM_STORE][node].is_cut ?
			sim.link[SIM_STORE][node].delay_us : -1;
		if (delay_us < 0)
			free(reply);
		else
			sim_later_in(node, sim_process_of(request->home), delay_us, sim_driver_reply, 0, reply);
		return;
	}
	if (sim.store_faults.is_frozen)
	{
		hold(request);
		return;
	}
	if (request->kind == SIM_KEEPALIVE)
	{
		const Lease *lease = lease_find(request->session);

		/* etcd lets a renewal wait for the end of a lease whose time is over. */
		if (lease != NULL && sim.now_us >= lease->deadline_us)
		{
			SimRequest *again = malloc(request->size);

			if (again == NULL)
				abort();
			memcpy(again, request, request->size);
			sim_later(SIM_MS(20), sim_store_arrive, node, 0, again);
			return;
		}
	}
	if (sim.now_us < electing_until_us && request->kind != SIM_WATCH &&
		!(request->kind == SIM_LOAD && request->is_serializable))
	{
		/* Proposed and lost with the old leader, or not. */
		if (sim_chance(250))
			reply = execute(request);
		free(reply);
		reply = reply_new(request, 0);
		reply->answer = SIM_UNAVAILABLE;
	}
	else
		reply = execute(request);
	if (reply == NULL)
		return;
	if (sim_chance(sim.store_faults.lost_reply))
	{
		/* The connection dies with it, or hangs. */
		if (sim_chance(500))
			reply->answer = SIM_RESET;
		else
		{
			free(reply);
			return;
		}
	}
	delay_us = sim_send_delay(SIM_STORE, node);
	if (delay_us < 0)
		free(reply);
	else
		sim_later_in(node, sim_process_of(request->home), delay_us, sim_driver_reply, 0, reply);
}

/* ---------------------------------------------------------------- the world's side */

/*
 * Put a key, or delete it with NULL, as an operator or a Patroni member would
 * without a compare.  Returns its version; 0: the session is not known.
 */
uint64_t
sim_store_put(const char *name, const char *value, const char *session)
{
	Cause		cause = {.is_rightful = value == NULL || is_holder(name, -1, session)};

	look();
	if (value != NULL && session != NULL && session[0] != '\0' && lease_find(session) == NULL)
		return 0;
	(void) change(name, value, session, cause);
	return revision;
}

/*
 * The same if the key still has this version; 0: if it is absent.  A deletion
 * (value NULL) under the key's own session is one by its holder.
 */
bool
sim_store_cas(const char *name, const char *value, const char *session, uint64_t version)
{
	const SimKey *key = find(name);
	Cause		cause = {
		.was_compared = true,
		.is_rightful = is_holder(name, sim.current_node, session),
	};

	look();
	if ((key != NULL ? key->version : 0) != version)
		return false;
	if (value != NULL && session != NULL && session[0] != '\0' && lease_find(session) == NULL)
		return false;
	(void) change(name, value, session, cause);
	return true;
}

/* Another member leads the store: a pause, and full time for all leases. */
void
sim_store_new_leader(void)
{
	look();
	electing_until_us = sim.now_us + sim_between(SIM_MS(50), SIM_MS(1500));
	leases_refresh(electing_until_us);
}

/* Older changes cannot be had any more; who watches has to load again. */
void
sim_store_compact(void)
{
	look();
	compacted = revision;
	sim_watches_end(SIM_WATCH_COMPACTED);
}

/* The whole store goes down or comes back. */
void
sim_store_outage(bool is_down)
{
	look();
	if (is_down && !sim.store_faults.is_down)
		sim_watches_end(SIM_WATCH_ENDED);
	sim.store_faults.is_down = is_down;
	look();
}

/* An empty store, as a run begins. */
void
sim_store_reset(void)
{
	for (int i = 0; i < n_keys; i++)
		text_drop(text_of(keys[i].value));
	for (int i = 0; i < CHANGES_MAX; i++)
	{
		text_drop(changes[i].value);
		text_drop(changes[i].old_value);
	}
	for (int i = 0; i < n_held; i++)
		free(held[i]);
	memset(changes, 0, sizeof(changes));
	n_keys = n_leases = n_held = 0;
	revision = 1;
	first_revision = 2;
	compacted = 0;
	next_id = n_sessions = 0;
	electing_until_us = 0;
	was_stopped = is_looking = false;
	sim_watches_reset();
}
