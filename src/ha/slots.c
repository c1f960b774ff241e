/*-------------------------------------------------------------------------
 *
 * slots.c
 *      Keeps the replication slots of this server as slot_plan.c wants them.
 *
 * On the leader slots move by themselves: whoever streams from them moves
 * them.  It publishes their positions in the key "status"; the other members
 * move their physical slots there, and copy logical ones from the leader.
 *
 * Invariants:
 *  (1) What "ignore_slots" names, what somebody uses and what the server
 *      itself keeps is never dropped; nothing is in pause, but for a slot
 *      that is not of the kind that is wanted.
 *  (2) A logical slot that was on the leader before and is not here is not
 *      made anew: its consumer would go on behind a gap without noticing.
 *  (3) Lists are bounded; what does not fit is not dropped.
 *
 * The slots themselves are made, moved and dropped by the worker.
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "ha/internal.h"

/* Other settings: read the lists again. */
void
ha_slots_settings(HaNode *node)
{
	slot_configs_read(&node->slots.configs, node->settings.permanent_slots,
					  node->settings.ignore_slots);
	if (node->slots.configs.problem[0] != '\0')
		ha_log(node, 2, "slots", "%s", node->slots.configs.problem);
}

/* What was allocated. */
void
ha_slots_free(HaNode *node)
{
	free(node->slots.copy_text);
}

static const HaSlot *
find_here(const HaNode *node, const char *name)
{
	for (int i = 0; i < node->postgres.n_slots; i++)
	{
		if (strcmp(node->postgres.slots[i].name, name) == 0)
			return &node->postgres.slots[i];
	}
	return NULL;
}

/* What is remembered of a slot, from now on if nothing is yet; NULL: too many. */
static HaSeenSlot *
seen(HaNode *node, const char *name)
{
	HaSlots    *slots = &node->slots;
	HaSeenSlot *entry;

	for (int i = 0; i < slots->n_seen; i++)
	{
		if (strcmp(slots->seen[i].slot, name) == 0)
			return &slots->seen[i];
	}
	if (slots->n_seen == HA_SEEN_SLOTS_MAX)
		return NULL;
	entry = &slots->seen[slots->n_seen++];
	memset(entry, 0, sizeof(*entry));
	ha_name_copy(entry->slot, sizeof(entry->slot), name);
	entry->seen_ms = node->now_ms;
	return entry;
}

/* Forget what is neither wanted nor here, so that there is room for others. */
static void
forget_unseen(HaNode *node)
{
	HaSlots    *slots = &node->slots;
	int			n = 0;

	for (int i = 0; i < slots->n_seen; i++)
	{
		HaSeenSlot *entry = &slots->seen[i];

		if (slot_plan_find(&slots->plan, entry->slot) != NULL || find_here(node, entry->slot) != NULL ||
			(entry->is_member && node->now_ms < entry->seen_ms + node->settings.member_slots_ttl_ms))
			slots->seen[n++] = *entry;
	}
	slots->n_seen = n;
}

/* Who begins to lead goes on with the list of retained slots that the last leader published. */
static void
take_over_retained(HaNode *node)
{
	const char *text = node->view.status.retain_slots_json;
	json_t	   *list;
	json_t	   *name;
	size_t		i;

	if (!node->has_lease)
		node->slots.is_leading = false;
	if (node->slots.is_leading || !node->has_lease || !ha_is_primary(node))
		return;
	node->slots.is_leading = true;
	for (int k = 0; k < node->slots.n_seen; k++)
		node->slots.seen[k].was_here = false;
	list = text == NULL ? NULL : json_loads(text, 0, NULL);
	json_array_foreach(list, i, name)
	{
		HaSeenSlot *entry = json_is_string(name) && strlen(json_string_value(name)) < 64 ?
			seen(node, json_string_value(name)) : NULL;

		if (entry != NULL)
		{
			entry->is_member = true;
			entry->seen_ms = node->now_ms;
		}
	}
	json_decref(list);
}

/* Whose slot an action is about; the next look waits until the server shows what became of it. */
static void
ask(HaNode *node, HaAction *action, const char *slot)
{
	ha_name_copy(action->slot, sizeof(action->slot), slot);
	node->slots.asked_ms = node->now_ms;
}

/*
 * Was this logical slot on a leader before, and never here since we lead?
 * Then only people can tell where its consumer stands.
 */
static bool
is_gone(HaNode *node, const WantedSlot *wanted)
{
	const HaSeenSlot *entry = seen(node, wanted->name);
	Lsn			lsn;

	return wanted->is_logical && wanted->lsn != 0 && (entry == NULL || !entry->was_here) &&
		slot_status_position(&node->view.status, wanted->name, &lsn);
}

/* A slot that does not come (there is room for so many only) is asked for less and less often. */
static bool
may_ask(HaNode *node, HaSeenSlot *entry)
{
	int64_t		pause_ms = HA_SLOTS_PAUSE_MS;

	if (entry == NULL)
		return true;
	for (int i = 1; i < entry->n_asked && pause_ms < node->settings.loop_wait_ms; i++)
		pause_ms *= 2;
	if (entry->n_asked > 0 && node->now_ms < entry->asked_ms + pause_ms)
	{
		ha_wake(node, entry->asked_ms + pause_ms);
		return false;
	}
	entry->asked_ms = node->now_ms;
	entry->n_asked++;
	return true;
}

static void
create(HaNode *node, const WantedSlot *wanted)
{
	HaSeenSlot *entry = seen(node, wanted->name);
	HaAction   *action;

	if (!wanted->is_logical)
	{
		if (!may_ask(node, entry))
			return;
		action = wanted->reason == SLOT_FOR_MEMBER ?
			ha_add(node, HA_CREATE_SLOT, "slots", "for member \"%s\"", wanted->member) :
			ha_add(node, HA_CREATE_SLOT, "slots", "%s", wanted->reason == SLOT_PERMANENT ?
				   "it is a permanent slot" : "its member was there lately");
		ask(node, action, wanted->name);
		return;
	}
	/* elsewhere the worker copies it */
	if (!node->has_lease || !ha_is_primary(node) || entry == NULL)
		return;
	if (is_gone(node, wanted))
	{
		if (entry->asked_ms == 0)
			ha_log(node, 2, "slots",
				   "logical slot \"%s\" was not copied here before the last leader was lost; it is "
				   "not made anew, as changes would be missing without notice", wanted->name);
		entry->asked_ms = node->now_ms;
		return;
	}
	if (entry->asked_ms != 0 && node->now_ms < entry->asked_ms + HA_CREATE_LOGICAL_MS)
	{
		ha_wake(node, entry->asked_ms + HA_CREATE_LOGICAL_MS);
		return;
	}
	entry->asked_ms = node->now_ms;
	action = ha_add(node, HA_CREATE_SLOT, "slots", "it is a permanent slot");
	ask(node, action, wanted->name);
	ha_name_copy(action->database, sizeof(action->database), wanted->database);
	ha_name_copy(action->plugin, sizeof(action->plugin), wanted->plugin);
}

static void
drop(HaNode *node, const char *name, const char *because)
{
	ask(node, ha_add(node, HA_DROP_SLOT, "slots", "%s", because), name);
}

/*
 * Move a physical slot that nobody uses here to where the leader's stands, or,
 * on the leader, to where its member is, which streams from somebody else.
 */
static void
advance(HaNode *node, const WantedSlot *wanted, const HaSlot *slot, bool is_primary)
{
	const HaPostgres *postgres = &node->postgres;
	Lsn			end = is_primary ? postgres->flush_lsn : postgres->replayed_lsn;
	Lsn			to = wanted->lsn != 0 || is_primary ? wanted->lsn : postgres->checkpoint_redo;
	HaAction   *action;

	if (to > end)
		to = end;
	if (slot->restart_lsn == 0 || to <= slot->restart_lsn)
		return;
	action = ha_add(node, HA_ADVANCE_SLOT, "slots", "to where its user is");
	ask(node, action, wanted->name);
	action->lsn = to;
}

/* One slot that is wanted. */
static void
keep(HaNode *node, const WantedSlot *wanted, bool is_primary)
{
	const HaSlot *slot = find_here(node, wanted->name);
	HaSeenSlot *entry = seen(node, wanted->name);

	if (entry != NULL)
	{
		entry->seen_ms = node->now_ms;
		entry->is_member = wanted->reason != SLOT_PERMANENT;
		if (slot != NULL)
			entry->n_asked = 0;
		if (slot != NULL && !slot->is_copying && is_primary && node->has_lease)
			entry->was_here = true;
	}
	if (entry != NULL && slot != NULL && is_primary && slot->is_logical &&
		entry->has_problem != (slot->problem[0] != '\0'))
	{
		entry->has_problem = !entry->has_problem;
		if (entry->has_problem)
			ha_log(node, 2, "slots", "logical slot \"%s\": %s", slot->name, slot->problem);
	}
	if (slot == NULL)
		create(node, wanted);
	else if (slot->is_active || slot->is_native || slot->is_copying)
		return;
	else if (slot_differs(wanted, slot))
		drop(node, slot->name, "it is not of the kind that is wanted");
	else if (node->settings.is_paused)
		return;
	else if (slot->is_lost)
	{
		/* of a logical one on the leader its consumer has to be told */
		if (!slot->is_logical || !is_primary)
			drop(node, slot->name, "it has lost what it needs; it is made anew");
	}
	else if (!slot->is_logical && !wanted->is_used_here)
	{
		if (slot->has_xmin)
			drop(node, slot->name, "it holds back vacuum for nobody; it is made anew");
		else
			advance(node, wanted, slot, is_primary);
	}
}

/*
 * One slot that is not wanted.  A member's waits for member_slots_ttl where
 * the leader does not tell; others are given loop_wait, for somebody who is
 * about to use what he made.
 */
static void
drop_unwanted(HaNode *node, const HaSlot *slot, bool is_primary)
{
	HaSeenSlot *entry = seen(node, slot->name);
	bool		is_told = !is_primary && node->view.status.retain_slots_json != NULL;
	int64_t		drop_ms;

	if (entry == NULL || slot->is_native || slot->is_copying ||
		slot_is_ignored(&node->slots.configs, slot))
		return;
	if (slot->is_active)
	{
		entry->seen_ms = node->now_ms;
		return;
	}
	drop_ms = entry->seen_ms + (entry->is_member && !is_told ? node->settings.member_slots_ttl_ms :
								node->settings.loop_wait_ms);
	if (node->now_ms < drop_ms)
		ha_wake(node, drop_ms);
	else if (entry->is_member)
		drop(node, slot->name, "its member has been gone for longer than member_slots_ttl");
	else
		drop(node, slot->name,
			 "it belongs to no member, and neither slots nor ignore_slots of the configuration has it");
}

/* Say what is wrong with the configuration, once. */
static void
complain(HaNode *node)
{
	const char *conflict = node->slots.plan.conflict;

	if (strcmp(conflict, node->slots.said) == 0)
		return;
	ha_name_copy(node->slots.said, sizeof(node->slots.said), conflict);
	if (conflict[0] != '\0')
		ha_log(node, 2, "slots", "%s: it cannot be had", conflict);
}

/*
 * The slot on the leader that holds back vacuum for this member: its own, or that
 * of the member through which it streams.
 */
static void
held_by(const HaNode *node, char slot[64])
{
	const char *name = node->settings.name;
	const char *from = node->settings.tags.replicatefrom;

	for (int i = 0; i < CLUSTER_MEMBERS_MAX && from[0] != '\0'; i++)
	{
		const Member *upstream = cluster_find_member(&node->view, from);

		if (upstream == NULL || strcmp(from, node->view.leader) == 0)
			break;
		name = upstream->name;
		from = upstream->tags.replicatefrom;
	}
	member_slot_name(name, slot);
}

/* A standby has the worker copy the logical slots of the leader. */
static void
copy_logical(HaNode *node, bool is_primary)
{
	HaSlots    *slots = &node->slots;
	const Member *leader = ha_leader_member(node);
	bool		is_wanted = !is_primary;
	json_t	   *list;
	char	   *text;
	HaAction   *action;

	/* without a leader what is known of the copies stays true */
	if (is_wanted && (leader == NULL || leader->conn_url[0] == '\0'))
		return;
	list = json_pack("[]");
	for (int i = 0; is_wanted && i < slots->plan.n; i++)
	{
		const WantedSlot *wanted = &slots->plan.items[i];

		if (wanted->is_logical)
			json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "name", wanted->name,
												  "database", wanted->database, "plugin", wanted->plugin));
	}
	text = list == NULL ? NULL : json_dumps(list, JSON_COMPACT);
	json_decref(list);
	if (text == NULL)
		return;
	if ((slots->copy_text == NULL && strcmp(text, "[]") == 0) ||
		(slots->copy_text != NULL && strcmp(text, slots->copy_text) == 0 &&
		 (strcmp(text, "[]") == 0 || (strcmp(slots->copy_url, leader->conn_url) == 0 &&
									  node->now_ms < slots->copy_ms + node->settings.loop_wait_ms))))
	{
		free(text);
		return;
	}
	free(slots->copy_text);
	slots->copy_text = strdup(text);
	slots->copy_ms = node->now_ms;
	action = ha_add(node, HA_COPY_SLOTS, "slots", "logical slots are kept as the leader has them");
	slots->copy_url[0] = '\0';
	if (is_wanted && strcmp(text, "[]") != 0)
	{
		ha_name_copy(slots->copy_url, sizeof(slots->copy_url), leader->conn_url);
		ha_name_copy(action->url, sizeof(action->url), leader->conn_url);
		ha_name_copy(action->member, sizeof(action->member), leader->name);
		held_by(node, action->slot);
	}
	ha_set_text(node, action, text);
}

/* Make, move and drop slots, each step of the worker's engine. */
void
ha_keep_slots(HaNode *node)
{
	const HaPostgres *postgres = &node->postgres;
	HaSlots    *slots = &node->slots;
	bool		is_primary = ha_is_primary(node);

	if (node->home != HA_HOME_WORKER || !postgres->is_observed || !ha_is_running(node) ||
		!node->settings.use_slots || !node->view.is_loaded || node->is_promoting)
		return;
	if (slots->asked_ms != 0 && node->now_ms < slots->asked_ms + HA_SLOTS_PAUSE_MS)
	{
		ha_wake(node, slots->asked_ms + HA_SLOTS_PAUSE_MS);
		return;
	}
	slots->asked_ms = 0;
	slot_plan_make(&slots->plan, &node->settings, &slots->configs, &node->view, is_primary);
	forget_unseen(node);
	take_over_retained(node);
	complain(node);
	for (int i = 0; i < slots->plan.n; i++)
		keep(node, &slots->plan.items[i], is_primary);
	for (int i = 0; i < postgres->n_slots && !node->settings.is_paused; i++)
	{
		if (slot_plan_find(&slots->plan, postgres->slots[i].name) == NULL)
			drop_unwanted(node, &postgres->slots[i], is_primary);
	}
	copy_logical(node, is_primary);
}

static bool
is_usable(const HaSlot *slot)
{
	return !slot->is_lost && !slot->is_copying && slot->problem[0] == '\0';
}

/* How many permanent logical slots could not be used on this standby. */
int
ha_missing_slots(const HaSettings *settings, const HaPostgres *postgres)
{
	SlotConfigs configs;
	int			n = 0;

	if (!settings->use_slots || settings->permanent_slots[0] == '\0')
		return 0;
	slot_configs_read(&configs, settings->permanent_slots, "");
	for (int i = 0; i < configs.n_slots; i++)
	{
		bool		is_there = !configs.slots[i].is_logical;

		for (int k = 0; k < postgres->n_slots; k++)
			is_there |= strcmp(postgres->slots[k].name, configs.slots[i].name) == 0 &&
				is_usable(&postgres->slots[k]);
		n += !is_there;
	}
	return n;
}

/* --- the key "status" --- */

static int
compare_slots(const void *a, const void *b)
{
	return strcmp(((const ClusterSlot *) a)->name, ((const ClusterSlot *) b)->name);
}

static void
put_position(ClusterStatus *status, const char *name, Lsn lsn)
{
	if (lsn == 0 || status->n_slots == CLUSTER_SLOTS_MAX)
		return;
	ha_name_copy(status->slots[status->n_slots].name, sizeof(status->slots[0].name), name);
	status->slots[status->n_slots++].lsn = lsn;
}

/* The slots of members that are there or were lately, as a JSON list; NULL: none. */
static char *
retained_to_text(HaNode *node, bool *ok)
{
	const HaSlots *slots = &node->slots;
	ClusterSlot names[HA_SEEN_SLOTS_MAX];
	int			n = 0;
	json_t	   *list;
	char	   *text;

	for (int i = 0; i < slots->n_seen; i++)
	{
		const HaSeenSlot *entry = &slots->seen[i];

		if (entry->is_member && find_here(node, entry->slot) != NULL &&
			node->now_ms < entry->seen_ms + node->settings.member_slots_ttl_ms)
			ha_name_copy(names[n++].name, sizeof(names[0].name), entry->slot);
	}
	if (n == 0)
		return NULL;
	qsort(names, (size_t) n, sizeof(names[0]), compare_slots);
	list = json_pack("[]");
	for (int i = 0; i < n; i++)
		json_array_append_new(list, json_pack("s", names[i].name));
	text = list == NULL ? NULL : json_dumps(list, JSON_COMPACT);
	json_decref(list);
	*ok = text != NULL;
	return text;
}

/* What was published last; the slots themselves cannot be seen now. */
static bool
keep_status(const ClusterStatus *from, ClusterStatus *status)
{
	if (from->slots != NULL)
	{
		status->slots = calloc((size_t) from->n_slots + 1, sizeof(*status->slots));
		if (status->slots == NULL)
			return false;
		memcpy(status->slots, from->slots, sizeof(*status->slots) * (size_t) from->n_slots);
		status->n_slots = from->n_slots;
	}
	if (from->retain_slots_json != NULL)
		status->retain_slots_json = strdup(from->retain_slots_json);
	return from->retain_slots_json == NULL || status->retain_slots_json != NULL;
}

/*
 * What the leader publishes of its slots.  The lists are the caller's to
 * free.  False: no memory.
 */
bool
ha_slots_status(HaNode *node, ClusterStatus *status)
{
	const HaPostgres *postgres = &node->postgres;
	HaSlots    *slots = &node->slots;
	char		own[64];
	bool		ok = true;

	if (!node->settings.use_slots)
		return true;
	if (node->home != HA_HOME_WORKER || !postgres->is_observed)
		return keep_status(&node->view.status, status);
	take_over_retained(node);
	slot_plan_make(&slots->plan, &node->settings, &slots->configs, &node->view, true);
	status->slots = calloc(CLUSTER_SLOTS_MAX, sizeof(*status->slots));
	if (status->slots == NULL)
		return false;
	for (int i = 0; i < slots->plan.n; i++)
	{
		const WantedSlot *wanted = &slots->plan.items[i];
		const HaSlot *slot = find_here(node, wanted->name);

		if (wanted->reason != SLOT_PERMANENT && node->settings.member_slots_ttl_ms == 0)
			continue;
		if (slot != NULL && !slot->is_copying && slot->is_logical == wanted->is_logical)
			put_position(status, wanted->name, wanted->is_logical ? slot->confirmed_lsn : slot->restart_lsn);
		else if ((slot == NULL || slot->is_copying) && is_gone(node, wanted))
			put_position(status, wanted->name, wanted->lsn);
	}
	/* of members that are gone */
	for (int i = 0; i < postgres->n_slots && node->settings.member_slots_ttl_ms > 0; i++)
	{
		const HaSlot *slot = &postgres->slots[i];
		const HaSeenSlot *entry = seen(node, slot->name);

		if (entry != NULL && entry->is_member && !slot->is_logical &&
			slot_plan_find(&slots->plan, slot->name) == NULL)
			put_position(status, slot->name, slot->restart_lsn);
	}
	member_slot_name(node->settings.name, own);
	if (node->settings.member_slots_ttl_ms > 0)
	{
		put_position(status, own, status->optime);
		status->retain_slots_json = retained_to_text(node, &ok);
	}
	qsort(status->slots, (size_t) status->n_slots, sizeof(status->slots[0]), compare_slots);
	return ok;
}

/* --- for people --- */

static void
report_one(HaSlotReport *row, const HaSlot *slot, bool is_primary)
{
	row->exists = true;
	row->is_logical = slot->is_logical;
	row->is_active = slot->is_active && !slot->is_copying;
	row->restart_lsn = slot->restart_lsn;
	row->confirmed_lsn = slot->confirmed_lsn;
	ha_name_copy(row->database, sizeof(row->database), slot->database);
	ha_name_copy(row->plugin, sizeof(row->plugin), slot->plugin);
	row->is_safe = is_usable(slot);
	if (slot->is_lost)
		ha_name_copy(row->because, sizeof(row->because), "it has lost WAL or rows that it needs");
	else if (slot->problem[0] != '\0')
		ha_name_copy(row->because, sizeof(row->because), slot->problem);
	else if (slot->is_copying)
		ha_name_copy(row->because, sizeof(row->because), "it is being copied from the leader");
	else if (slot->is_native)
		ha_name_copy(row->because, sizeof(row->because), "the server itself keeps it on standbys");
	else if (slot->is_logical)
		ha_name_copy(row->because, sizeof(row->because),
					 is_primary ? "consumers use it here" : "its consumer can go on here");
	else
		ha_name_copy(row->because, sizeof(row->because), "it keeps WAL from its position on");
}

/* What slots there are and should be.  Returns how many rows were filled. */
int
ha_slot_report(const HaNode *node, HaSlotReport *rows, int max)
{
	static const char *const kinds[] = {"member", "retained", "permanent"};
	const SlotPlan *plan = &node->slots.plan;
	bool		is_primary = ha_is_primary(node);
	int			n = 0;

	for (int i = 0; i < plan->n && n < max; i++)
	{
		const WantedSlot *wanted = &plan->items[i];
		const HaSlot *slot = find_here(node, wanted->name);
		HaSlotReport *row = &rows[n++];

		memset(row, 0, sizeof(*row));
		ha_name_copy(row->name, sizeof(row->name), wanted->name);
		row->kind = kinds[wanted->reason];
		row->is_logical = wanted->is_logical;
		ha_name_copy(row->member, sizeof(row->member), wanted->member);
		if (slot != NULL)
			report_one(row, slot, is_primary);
		else
			ha_name_copy(row->because, sizeof(row->because),
						 !wanted->is_logical ? "it is not made yet" :
						 !is_primary ? "it is not copied yet" :
						 wanted->lsn != 0 ? "it was on the last leader and was not copied here: make it when its consumer has all it needs" :
						 "it is not made yet");
		ha_name_copy(row->database, sizeof(row->database), wanted->database);
		ha_name_copy(row->plugin, sizeof(row->plugin), wanted->plugin);
		row->leader_lsn = wanted->lsn;
	}
	for (int i = 0; i < node->postgres.n_slots && n < max; i++)
	{
		const HaSlot *slot = &node->postgres.slots[i];
		HaSlotReport *row = &rows[n];

		if (slot_plan_find(plan, slot->name) != NULL)
			continue;
		n++;
		memset(row, 0, sizeof(*row));
		ha_name_copy(row->name, sizeof(row->name), slot->name);
		row->kind = slot_is_ignored(&node->slots.configs, slot) ? "ignored" : "foreign";
		report_one(row, slot, is_primary);
	}
	return n;
}
