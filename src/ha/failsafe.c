/*-------------------------------------------------------------------------
 *
 * failsafe.c
 *      failsafe_mode: a leader that cannot reach the store goes on leading as
 *      long as every member agrees.
 *
 * The leader keeps the key "failsafe" (name -> api_url of all members).  When
 * its lease is not renewed it sends POST /failsafe to all others.  Who accepts
 * promises, by its own clock and from the receipt on, not to lead for the ttl
 * that the leader asked for, and a margin.  When all have accepted, the fence
 * is moved to the time at which the requests were sent + ttl - margin.
 *
 * That no other member leads meanwhile follows from these invariants.
 *
 * The promise:
 *  (1) A promise is in the lease page before it is answered, and is taken up
 *      from there by whoever drives next.  The page does not outlive the host:
 *      a node with a new page behaves as if it had promised something at that
 *      moment.
 *  (2) Who has promised takes no lease, and a lease that it gets all the same
 *      (by a request that the store carries out late) opens no fence and
 *      promotes nothing: it is given back.  An operator's wish, a pause and
 *      failsafe_mode switched off change nothing in that.
 *  (3) Who leads, is being promoted or is asking for the lease promises nothing;
 *      nor does who knows of another leader.
 *
 * Who is asked:
 *  (4) A key that names members, but not this one, keeps it from leading, with
 *      failsafe_mode off as well: the leader that it speaks of may not have
 *      heard of that.  The leader who has heard of it deletes the key.
 *  (5) The lease is taken only while the store still has that version of the
 *      key by which this was decided (etcd3_body_acquire()).
 *  (6) Only the leader writes the key, by compare-and-swap.  It relies on a
 *      key only after a write of its own under the present lease was confirmed:
 *      before that, one of an earlier leader could still be carried out.
 *  (7) It asks all members that the key names and all that are named by a write
 *      of its own that may still be carried out.  What a home that died has
 *      written is not known to the next: that one writes first, see (6).
 *  So who takes the lease, when that of an old leader has run out in the store,
 *  is named by a key that the old leader asks by.
 *
 * The deadline:
 *  (8) It is counted from before the first request of a round was sent; the
 *      promise from after it came.  Both margins are those of the lease.
 *  (9) A round counts only if it is complete before the deadline that it
 *      prolongs: then every member is bound before the lease, or its last
 *      promise, ends.  What has ended is not begun anew without the store.
 * (10) A member that is gone for a moment only stays in the key: the one that
 *      is left over would else be free to go on alone, and keep all others from
 *      leading.
 *
 * A leader that finds its key gone when the store is back takes it again, while
 * the promises keep its fence open.  Formats: patroni/ha.py,
 * _failsafe_config() and check_failsafe_topology().
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "ha/internal.h"

#define RETRY_MS			250		/* after a round that was refused */
#define TIMEOUT_MIN_MS		300
#define TIMEOUT_MAX_MS		2000

/* --- the key --- */

static const FailsafeMember *
find_in(const FailsafeMember *members, int n_members, const char *name)
{
	for (int i = 0; i < n_members; i++)
		if (strcmp(members[i].name, name) == 0)
			return &members[i];
	return NULL;
}

/* Does the key keep this member from leading?  Invariant (4). */
static bool
is_left_out(const HaNode *node)
{
	const HaFailsafe *failsafe = &node->failsafe;

	return failsafe->n_listed != 0 &&
		find_in(failsafe->listed, failsafe->n_listed, node->settings.name) == NULL;
}

/* Does it name anybody but this member? */
static bool
names_others(const HaNode *node)
{
	const HaFailsafe *failsafe = &node->failsafe;

	return failsafe->n_listed < 0 || failsafe->n_listed > 1 ||
		(failsafe->n_listed == 1 && is_left_out(node));
}

static void
read_key(HaNode *node)
{
	HaFailsafe *failsafe = &node->failsafe;
	const ClusterView *view = &node->view;

	if (!view->is_loaded)
		return;
	/* writes that would replace an older version cannot happen any more */
	if (view->failsafe_seen > failsafe->base_version)
		failsafe->n_maybe = 0;
	if (failsafe->has_read && failsafe->read_version == view->failsafe_seen)
		return;
	failsafe->has_read = true;
	failsafe->read_version = view->failsafe_seen;
	/* a text that is no object is no key, as for Patroni */
	failsafe->n_listed = failsafe_from_text(failsafe->listed, view->failsafe_json);
}

/* Everybody but this member that may be named by the key in the store. */
static int
find_voters(const HaNode *node, const FailsafeMember **voters)
{
	const HaFailsafe *failsafe = &node->failsafe;
	int			n = 0;

	for (int i = 0; i < failsafe->n_listed; i++)
		if (strcmp(failsafe->listed[i].name, node->settings.name) != 0)
			voters[n++] = &failsafe->listed[i];
	for (int i = 0; i < failsafe->n_maybe; i++)
		if (strcmp(failsafe->maybe[i].name, node->settings.name) != 0 &&
			find_in(failsafe->listed, failsafe->n_listed, failsafe->maybe[i].name) == NULL)
			voters[n++] = &failsafe->maybe[i];
	return n;
}

/* May this leader rely on the key that it sees?  Invariants (6) and (7). */
static bool
is_armed(const HaNode *node)
{
	const HaFailsafe *failsafe = &node->failsafe;

	return node->settings.failsafe_mode && !node->settings.is_paused && failsafe->has_read &&
		failsafe->n_listed > 0 && !is_left_out(node) &&
		failsafe->trusted_version != 0 && failsafe->trusted_version == failsafe->read_version &&
		failsafe->trusted_version > node->lease_version;
}

/* --- the leader's rounds --- */

/* Until when all have agreed that this one leads; 0 = they have not. */
int64_t
ha_failsafe_deadline_ms(const HaNode *node)
{
	return node->failsafe.until_ms;
}

/* Do the others keep their hands off, although the lease may be gone in the store? */
bool
ha_failsafe_holds(const HaNode *node)
{
	return node->now_ms < node->failsafe.until_ms;
}

/* This member leads no more, or lets others lead. */
void
ha_failsafe_end(HaNode *node)
{
	node->failsafe.until_ms = 0;
	node->failsafe.is_asking = false;
}

static bool
may_ask(const HaNode *node)
{
	return is_armed(node) && ha_is_primary(node) && !node->is_giving_away &&
		(node->has_lease || ha_failsafe_holds(node)) && !ha_lease_is_over(node);
}

static char *
request_text(const HaNode *node, const char *member)
{
	const HaSettings *settings = &node->settings;
	json_t	   *body = json_pack("{s:s, s:s, s:s, s:{}, s:s, s:I}", "name", settings->name,
								 "conn_url", settings->conn_url, "api_url", settings->api_url,
								 "slots", "member", member,
								 "ttl_ms", (json_int_t) node->failsafe.ttl_ms);
	char	   *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);

	json_decref(body);
	return text;
}

static void
round_failed(HaNode *node, const char *name, const char *why)
{
	HaFailsafe *failsafe = &node->failsafe;
	char		refusal[HA_REASON_MAX];

	failsafe->is_asking = false;
	failsafe->next_ms = node->now_ms + RETRY_MS;
	snprintf(refusal, sizeof(refusal), "\"%.60s\" %s%.130s", name,
			 why[0] != '\0' ? "refuses: " : "does not answer", why);
	if (strcmp(refusal, failsafe->refusal) != 0)
		ha_log(node, 2, "failsafe-refused",
			   "not all members agree that this one goes on leading without the store: %s", refusal);
	memcpy(failsafe->refusal, refusal, sizeof(refusal));
}

/* Have all accepted that have to, and in time? */
static void
finish_round(HaNode *node)
{
	HaFailsafe *failsafe = &node->failsafe;
	const FailsafeMember *voters[2 * CLUSTER_MEMBERS_MAX];
	int			n_voters = find_voters(node, voters);

	for (int i = 0; i < failsafe->n_asked; i++)
		if (!failsafe->has_accepted[i])
			return;
	failsafe->is_asking = false;
	if (!may_ask(node))
		return;					/* too late: invariant (9) */
	for (int i = 0; i < n_voters; i++)
	{
		bool		is_asked = false;

		for (int k = 0; k < failsafe->n_asked; k++)
			is_asked = is_asked || strcmp(failsafe->asked[k], voters[i]->name) == 0;
		if (!is_asked)
			return;				/* it was added meanwhile: another round */
	}
	failsafe->agreed_ms = failsafe->sent_ms;
	failsafe->until_ms = failsafe->sent_ms + failsafe->ttl_ms - ha_margin_ms(failsafe->ttl_ms);
	failsafe->refusal[0] = '\0';
}

static void
begin_round(HaNode *node)
{
	HaFailsafe *failsafe = &node->failsafe;
	const FailsafeMember *voters[2 * CLUSTER_MEMBERS_MAX];
	int			n_voters = find_voters(node, voters);
	int64_t		timeout_ms = node->settings.ttl_ms / 6;

	if (timeout_ms < TIMEOUT_MIN_MS)
		timeout_ms = TIMEOUT_MIN_MS;
	if (timeout_ms > TIMEOUT_MAX_MS)
		timeout_ms = TIMEOUT_MAX_MS;
	failsafe->is_asking = true;
	failsafe->must_ask = false;
	failsafe->round++;
	failsafe->sent_ms = node->now_ms;
	failsafe->ttl_ms = node->settings.ttl_ms;
	failsafe->give_up_ms = node->now_ms + timeout_ms + RETRY_MS;
	failsafe->n_asked = 0;
	for (int i = 0; i < n_voters; i++)
	{
		const Member *member = cluster_find_member(&node->view, voters[i]->name);
		HaAction   *action = ha_add(node, HA_ASK_CONSENT, "failsafe",
									"the lease is not renewed: may this member go on leading?");

		ha_name_copy(failsafe->asked[failsafe->n_asked], CLUSTER_NAME_MAX, voters[i]->name);
		failsafe->has_accepted[failsafe->n_asked++] = false;
		ha_name_copy(action->member, sizeof(action->member), voters[i]->name);
		ha_name_copy(action->url, sizeof(action->url), member != NULL && member->api_url[0] != '\0' ?
					 member->api_url : voters[i]->api_url);
		action->round = failsafe->round;
		action->timeout_ms = (int) timeout_ms;
		ha_set_text(node, action, request_text(node, voters[i]->name));
	}
	if (n_voters == 0)
		finish_round(node);
	else
		ha_wake(node, failsafe->give_up_ms);
}

/* One member's answer, or its silence. */
void
ha_failsafe_voted(HaNode *node, const HaPeer *vote)
{
	HaFailsafe *failsafe = &node->failsafe;

	if (!failsafe->is_asking || vote->round != failsafe->round)
		return;
	for (int i = 0; i < failsafe->n_asked; i++)
	{
		if (strcmp(failsafe->asked[i], vote->name) != 0)
			continue;
		if (!vote->has_accepted)
		{
			round_failed(node, vote->name, vote->refusal);
			return;
		}
		failsafe->has_accepted[i] = true;
	}
	finish_round(node);
}

/* The store and all standbys are silent: a round now tells whether we are alone. */
void
ha_failsafe_wanted(HaNode *node)
{
	node->failsafe.must_ask = true;
}

/* When the next round has to begin; INT64_MAX = none has to. */
static int64_t
round_due_ms(const HaNode *node)
{
	const HaFailsafe *failsafe = &node->failsafe;
	bool		is_troubled = node->store_silent || !node->has_lease ||
		node->pending[FOR_RENEW].failures > 0;
	int64_t		last_ms = failsafe->agreed_ms;

	if (node->has_lease && node->lease_sent_ms > last_ms)
		last_ms = node->lease_sent_ms;
	if (failsafe->must_ask)
		return failsafe->next_ms;
	last_ms += is_troubled ? node->settings.ttl_ms / 3 : node->settings.ttl_ms / 2;
	return last_ms > failsafe->next_ms ? last_ms : failsafe->next_ms;
}

/* Before the fence is looked at: read the key, ask the members if it is time. */
void
ha_failsafe_look(HaNode *node)
{
	HaFailsafe *failsafe = &node->failsafe;
	const ClusterView *view = &node->view;
	int64_t		due_ms;

	read_key(node);
	if (!node->settings.failsafe_mode || node->settings.is_paused ||
		(ha_is_running(node) && node->postgres.is_in_recovery) ||
		(view->is_loaded && view->has_leader && !cluster_is_leader(view, node->settings.name)))
		ha_failsafe_end(node);
	if (ha_lease_is_over(node))
		failsafe->until_ms = 0;
	if (failsafe->is_asking && node->now_ms >= failsafe->give_up_ms)
	{
		for (int i = 0; i < failsafe->n_asked && failsafe->is_asking; i++)
			if (!failsafe->has_accepted[i])
				round_failed(node, failsafe->asked[i], "");
		failsafe->is_asking = false;
	}
	if (node->has_lease && !node->store_silent && node->pending[FOR_RENEW].failures == 0)
		failsafe->refusal[0] = '\0';
	if (!may_ask(node))
	{
		failsafe->is_asking = failsafe->must_ask = false;
		return;
	}
	if (failsafe->is_asking)
	{
		ha_wake(node, failsafe->give_up_ms);
		return;
	}
	due_ms = round_due_ms(node);
	if (node->now_ms >= due_ms)
		begin_round(node);
	else
		ha_wake(node, due_ms);
}

/* --- the leader's key --- */

/* Is that member, which the store does not show, gone for a moment only?  Invariant (10). */
static bool
is_kept(HaNode *node, const char *name)
{
	HaFailsafe *failsafe = &node->failsafe;
	HaGoneMember *gone = NULL;
	int64_t		until_ms;

	for (int i = 0; i < failsafe->n_gone; i++)
		if (strcmp(failsafe->gone[i].name, name) == 0)
			gone = &failsafe->gone[i];
	if (gone == NULL)
	{
		if (failsafe->n_gone == CLUSTER_MEMBERS_MAX)
			failsafe->n_gone = 0;
		gone = &failsafe->gone[failsafe->n_gone++];
		ha_name_copy(gone->name, sizeof(gone->name), name);
		gone->since_ms = node->now_ms;
	}
	until_ms = gone->since_ms + 2 * node->settings.ttl_ms + node->settings.loop_wait_ms;
	if (node->now_ms >= until_ms)
		return false;
	ha_wake(node, until_ms);
	return true;
}

static void
forget_gone(HaNode *node)
{
	HaFailsafe *failsafe = &node->failsafe;

	for (int i = failsafe->n_gone - 1; i >= 0; i--)
		if (cluster_find_member(&node->view, failsafe->gone[i].name) != NULL ||
			find_in(failsafe->listed, failsafe->n_listed, failsafe->gone[i].name) == NULL)
			failsafe->gone[i] = failsafe->gone[--failsafe->n_gone];
}

/* Whom the key should name. */
static int
find_wanted(HaNode *node, FailsafeMember *wanted)
{
	const HaFailsafe *failsafe = &node->failsafe;
	const ClusterView *view = &node->view;
	int			n = 1;

	forget_gone(node);
	ha_name_copy(wanted[0].name, sizeof(wanted[0].name), node->settings.name);
	ha_name_copy(wanted[0].api_url, sizeof(wanted[0].api_url), node->settings.api_url);
	for (int i = 0; i < view->n_members && n < CLUSTER_MEMBERS_MAX; i++)
	{
		const Member *member = &view->members[i];

		if (member->api_url[0] == '\0' || strcmp(member->name, node->settings.name) == 0)
			continue;
		ha_name_copy(wanted[n].name, sizeof(wanted[n].name), member->name);
		ha_name_copy(wanted[n].api_url, sizeof(wanted[n].api_url), member->api_url);
		n++;
	}
	for (int i = 0; i < failsafe->n_listed && n < CLUSTER_MEMBERS_MAX; i++)
	{
		if (find_in(wanted, n, failsafe->listed[i].name) == NULL &&
			is_kept(node, failsafe->listed[i].name))
			wanted[n++] = failsafe->listed[i];
	}
	return n;
}

static bool
is_wanted(const HaFailsafe *failsafe, const FailsafeMember *wanted, int n_wanted)
{
	if (n_wanted != failsafe->n_listed)
		return false;
	for (int i = 0; i < n_wanted; i++)
	{
		const FailsafeMember *listed = find_in(failsafe->listed, failsafe->n_listed, wanted[i].name);

		if (listed == NULL || strcmp(listed->api_url, wanted[i].api_url) != 0)
			return false;
	}
	return true;
}

static bool
add_maybe(HaFailsafe *failsafe, const FailsafeMember *wanted, int n_wanted)
{
	for (int i = 0; i < n_wanted; i++)
	{
		if (find_in(failsafe->maybe, failsafe->n_maybe, wanted[i].name) != NULL)
			continue;
		if (failsafe->n_maybe == CLUSTER_MEMBERS_MAX)
			return false;
		failsafe->maybe[failsafe->n_maybe++] = wanted[i];
	}
	return true;
}

static void
send_key(HaNode *node, HaActionKind kind, char *text, const char *because)
{
	HaAction   *action = ha_request(node, FOR_FAILSAFE, kind, "failsafe-key", because);

	ha_name_copy(action->key, sizeof(action->key), "failsafe");
	action->version = node->view.failsafe_seen;
	node->failsafe.is_deleting = kind == HA_DELETE_KEY;
	if (text != NULL)
		ha_set_text(node, action, text);
}

/* What the leader owes the key, each step.  The caller knows that this member leads. */
void
ha_failsafe_lead(HaNode *node)
{
	HaFailsafe *failsafe = &node->failsafe;
	const ClusterView *view = &node->view;
	FailsafeMember wanted[CLUSTER_MEMBERS_MAX];
	int			n_wanted;
	char	   *text;

	if (node->store_silent || node->is_giving_away || !failsafe->has_read ||
		failsafe->trusted_version > view->complete_revision ||
		failsafe->base_version > view->complete_revision)
		return;					/* the view is older than what we know of the key */
	if (!node->settings.failsafe_mode)
	{
		if (view->failsafe_seen != 0 && ha_is_ready(node, FOR_FAILSAFE))
			send_key(node, HA_DELETE_KEY, NULL, "failsafe_mode is off: any member may lead");
		return;
	}
	n_wanted = find_wanted(node, wanted);
	if (failsafe->trusted_version == failsafe->read_version &&
		failsafe->trusted_version > node->lease_version && is_wanted(failsafe, wanted, n_wanted))
		return;
	if (!ha_is_ready(node, FOR_FAILSAFE))
		return;
	if (failsafe->base_version != view->failsafe_seen)
	{
		failsafe->base_version = view->failsafe_seen;
		failsafe->n_maybe = 0;
	}
	text = failsafe_to_text(wanted, n_wanted);
	if (text == NULL)
	{
		node->out->is_incomplete = true;	/* no test: in one memory does not run out */
		return;
	}
	if (!add_maybe(failsafe, wanted, n_wanted))
	{
		free(text);
		return;					/* more names than can be asked: the store has to show first which it has */
	}
	send_key(node, ha_put_kind(view->failsafe_seen), text,
			 "the members whose consent a leader without the store needs");
}

/* The end of a write of the key. */
void
ha_failsafe_replied(HaNode *node, HaOutcome outcome, uint64_t version)
{
	if (outcome == HA_OUTCOME_DONE && !node->failsafe.is_deleting)
		node->failsafe.trusted_version = version;
}

/*
 * A new lease: what was written under the last one says nothing.  Invariant (6).
 * Who was free to take it has not promised anything before its start either.
 */
void
ha_failsafe_lease_acquired(HaNode *node, bool by_request)
{
	HaFailsafe *failsafe = &node->failsafe;

	failsafe->trusted_version = 0;
	if (!by_request || failsafe->page_made_ms == 0)
		return;
	failsafe->page_made_ms = 0;
	ha_add(node, HA_PROMISE, "failsafe", "this member was free to take the lease")->ok = true;
}

/* --- the member's promise --- */

/* The page tells what this node has promised before this home drove it. */
void
ha_failsafe_remember(HaNode *node, int64_t until_ms, int64_t page_made_ms)
{
	HaFailsafe *failsafe = &node->failsafe;

	if (until_ms > node->now_ms + 2 * HA_TTL_MAX_MS)
		until_ms = node->now_ms + 2 * HA_TTL_MAX_MS;
	if (until_ms > failsafe->promise_ms)
		failsafe->promise_ms = until_ms;
	failsafe->page_made_ms = page_made_ms;
}

/* Until when this member may not lead; 0 = it may.  Invariants (1) and (2). */
int64_t
ha_failsafe_bound_ms(const HaNode *node)
{
	const HaFailsafe *failsafe = &node->failsafe;
	int64_t		bound_ms = failsafe->promise_ms;

	if (failsafe->page_made_ms != 0 && names_others(node) && !node->settings.is_paused)
	{
		int64_t		ttl_ms = node->settings.ttl_ms;

		if (failsafe->page_made_ms + ttl_ms + ha_margin_ms(ttl_ms) > bound_ms)
			bound_ms = failsafe->page_made_ms + ttl_ms + ha_margin_ms(ttl_ms);
	}
	return node->now_ms < bound_ms ? bound_ms : 0;
}

static void
refuse(HaNode *node, uint64_t id, const char *sqlstate, const char *text)
{
	HaAction   *action = ha_add(node, HA_ANSWER, "failsafe", "nothing is promised");

	action->command_id = id;
	action->sqlstate = sqlstate;
	ha_set_text(node, action, strdup(text));
}

/* POST /failsafe: does this member promise not to lead? */
void
ha_failsafe_asked(HaNode *node, const HaCommand *command)
{
	HaFailsafe *failsafe = &node->failsafe;
	const ClusterView *view = &node->view;
	int64_t		ttl_ms = command->timeout_ms > node->settings.ttl_ms ? command->timeout_ms :
		node->settings.ttl_ms;
	char		text[HA_REASON_MAX];
	HaAction   *action;

	read_key(node);
	if (!node->settings.failsafe_mode)
		refuse(node, command->id, "0A000", "failsafe_mode is off");
	else if (!node->has_postgres)
		refuse(node, command->id, "57P03", "this member has not looked at its server yet");
	else if (ha_is_primary(node))
		refuse(node, command->id, "55000", "Running as a leader");
	else if (node->has_lease || node->is_promoting || ha_is_pending(node, FOR_ACQUIRE) ||
			 ha_failsafe_holds(node))
		refuse(node, command->id, "55000", "this member is about to lead");
	else if (command->member[0] != '\0' && strcmp(command->member, node->settings.name) != 0)
		refuse(node, command->id, "55006", "this is another member");
	else if (ttl_ms > HA_TTL_MAX_MS)
		refuse(node, command->id, "22023", "the time asked for is too long");
	else if (view->is_loaded && view->has_leader && strcmp(view->leader, command->leader) != 0)
	{
		snprintf(text, sizeof(text), "\"%.100s\" leads, as far as this member knows", view->leader);
		refuse(node, command->id, "55006", text);
	}
	else if (failsafe->has_read && failsafe->n_listed != 0 &&
			 find_in(failsafe->listed, failsafe->n_listed, command->leader) == NULL)
		refuse(node, command->id, "55006", "the failsafe key does not name the one that asks");
	else
	{
		bool		is_news = node->now_ms >= failsafe->promise_ms ||
			strcmp(failsafe->promised_to, command->leader) != 0;
		int64_t		until_ms = node->now_ms + ttl_ms + ha_margin_ms(ttl_ms);

		if (until_ms > failsafe->promise_ms)
			failsafe->promise_ms = until_ms;
		ha_name_copy(failsafe->promised_to, sizeof(failsafe->promised_to), command->leader);
		if (is_news)
			ha_log(node, 1, "failsafe-promise",
				   "\"%.100s\" goes on leading without the store: this member has promised not to lead for %lld ms",
				   command->leader, (long long) (until_ms - node->now_ms));
		ha_add(node, HA_PROMISE, "failsafe", "\"%.100s\" goes on leading without the store",
			   command->leader)->deadline_ms = failsafe->promise_ms;
		action = ha_add(node, HA_ANSWER, "failsafe", "promised not to lead");
		action->command_id = command->id;
		action->ok = true;
		action->lsn = ha_own_position(node);
		ha_set_text(node, action, strdup("Accepted"));
	}
}

/* --- for the tables, and for people --- */

/* What the tables ask about failsafe mode. */
HaFacts
ha_failsafe_facts(HaNode *node)
{
	int64_t		bound_ms = ha_failsafe_bound_ms(node);
	HaFacts		facts = 0;

	if (ha_failsafe_holds(node))
		facts |= HA_FACT(FAILSAFE);
	if (bound_ms != 0)
	{
		facts |= HA_FACT(PROMISED);
		ha_wake(node, bound_ms);
	}
	if (is_left_out(node))
		facts |= HA_FACT(NOT_LISTED);
	return facts;
}

/* A member that the key names, for the race; NULL past the end. */
const FailsafeMember *
ha_failsafe_listed(const HaNode *node, int index)
{
	return index < node->failsafe.n_listed ? &node->failsafe.listed[index] : NULL;
}

/* Why it does not go on without the store; "" = it does, or nobody was asked. */
const char *
ha_failsafe_refusal(const HaNode *node)
{
	return node->settings.failsafe_mode ? node->failsafe.refusal : "";
}

/* Whom this member has promised not to lead; "" = nobody, or it is not known. */
const char *
ha_failsafe_promised_to(const HaNode *node)
{
	return node->now_ms < node->failsafe.promise_ms ? node->failsafe.promised_to : "";
}

/* Until when failsafe mode is active here; see ha.h. */
int64_t
ha_failsafe_until_ms(const HaNode *node)
{
	const HaFailsafe *failsafe = &node->failsafe;

	/* on the leader it ends when the store answers again */
	if (ha_failsafe_holds(node) && (node->store_silent || !node->has_lease ||
									failsafe->agreed_ms > node->lease_sent_ms))
		return failsafe->until_ms;
	return node->now_ms < failsafe->promise_ms ? failsafe->promise_ms : 0;
}

/* When the round began in which all agreed last; 0 = never. */
int64_t
ha_failsafe_agreed_ms(const HaNode *node)
{
	return node->failsafe.agreed_ms;
}

/* --- the hand-over --- */

/* What another home must know; a new reference, NULL without memory. */
json_t *
ha_failsafe_save(const HaNode *node)
{
	const HaFailsafe *failsafe = &node->failsafe;
	char	   *maybe = failsafe_to_text(failsafe->maybe, failsafe->n_maybe);
	json_t	   *saved = json_pack("{s:I, s:I, s:I, s:I, s:I, s:s?, s:I, s:s}",
								  "until_ms", (json_int_t) failsafe->until_ms,
								  "agreed_ms", (json_int_t) failsafe->agreed_ms,
								  "round", (json_int_t) failsafe->round,
								  "trusted_version", (json_int_t) (maybe != NULL ? failsafe->trusted_version : 0),
								  "base_version", (json_int_t) failsafe->base_version,
								  "maybe", maybe,
								  "promise_ms", (json_int_t) failsafe->promise_ms,
								  "promised_to", failsafe->promised_to);

	free(maybe);
	return saved;
}

/*
 * Go on from a saved state (not an object: from nothing).  A promise is never
 * forgotten; of the rest only what was saved is known.
 */
void
ha_failsafe_load(HaNode *node, const json_t *saved, int64_t now_ms)
{
	HaFailsafe *failsafe = &node->failsafe;
	int64_t		promise_ms = failsafe->promise_ms;
	char		promised_to[CLUSTER_NAME_MAX];
	uint64_t	round = failsafe->round;
	json_int_t	number;

	memcpy(promised_to, failsafe->promised_to, sizeof(promised_to));
	memset(failsafe, 0, sizeof(*failsafe));
	failsafe->promise_ms = promise_ms;
	memcpy(failsafe->promised_to, promised_to, sizeof(promised_to));
	failsafe->round = round;
	if (!json_is_object(saved))
		return;
	number = json_integer_value(json_object_get(saved, "promise_ms"));
	if (number > failsafe->promise_ms)
	{
		const char *name = json_string_value(json_object_get(saved, "promised_to"));

		ha_failsafe_remember(node, number, 0);
		ha_name_copy(failsafe->promised_to, sizeof(failsafe->promised_to), name ? name : "");
	}
	number = json_integer_value(json_object_get(saved, "round"));
	if (number > 0 && (uint64_t) number > failsafe->round)
		failsafe->round = (uint64_t) number;
	failsafe->n_maybe = failsafe_from_text(failsafe->maybe,
										   json_string_value(json_object_get(saved, "maybe")));
	number = json_integer_value(json_object_get(saved, "agreed_ms"));
	if (failsafe->n_maybe < 0 || number < 0 || number > now_ms ||
		json_integer_value(json_object_get(saved, "until_ms")) > number + HA_TTL_MAX_MS)
	{
		failsafe->n_maybe = 0;
		return;
	}
	failsafe->agreed_ms = number;
	failsafe->until_ms = json_integer_value(json_object_get(saved, "until_ms"));
	failsafe->trusted_version = (uint64_t) json_integer_value(json_object_get(saved, "trusted_version"));
	failsafe->base_version = (uint64_t) json_integer_value(json_object_get(saved, "base_version"));
}
