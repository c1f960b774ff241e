/*-------------------------------------------------------------------------
 *
 * slot_plan.c
 *      Which replication slots a member shall have, and why.
 *
 * Each other member has one on every member that it may have to stream from:
 * a switchover shall not make it wait.  What the dynamic configuration lists
 * under "slots" is on every member that can become primary.
 *
 * Invariants:
 *  (1) A name is in the plan once.  A physical permanent slot that has the
 *      name of a member's is one slot for both; a logical one is refused.
 *  (2) The plan depends on its arguments only, in their order.
 *
 * What is done about it is decided in slots.c.
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "ha/slot_plan.h"

static void
copy(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from == NULL ? "" : from);
}

/* ^[a-z0-9_]{1,63}$ */
static bool
is_slot_name(const char *name)
{
	size_t		length = strlen(name);

	return length > 0 && length < 64 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == length;
}

static const char *
text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL && strlen(text) < 64 ? text : "";
}

static void
read_slot(SlotConfigs *configs, const char *name, const json_t *value)
{
	SlotConfig *slot = &configs->slots[configs->n_slots];
	const char *type = text_of(value, "type");

	if (!is_slot_name(name))
	{
		snprintf(configs->problem, sizeof(configs->problem),
				 "permanent slot \"%.80s\": the name may have 1 to 63 characters a to z, 0 to 9 and _", name);
		return;
	}
	if (strcmp(text_of(value, "cluster_type"), "standby") == 0)
		return;					/* for standby clusters only */
	memset(slot, 0, sizeof(*slot));
	copy(slot->name, sizeof(slot->name), name);
	slot->is_logical = strcmp(type, "logical") == 0;
	copy(slot->database, sizeof(slot->database), text_of(value, "database"));
	copy(slot->plugin, sizeof(slot->plugin), text_of(value, "plugin"));
	if (!slot->is_logical && type[0] != '\0' && strcmp(type, "physical") != 0)
		snprintf(configs->problem, sizeof(configs->problem),
				 "permanent slot \"%s\": the type \"%s\" is neither physical nor logical", name, type);
	else if (slot->is_logical && (slot->database[0] == '\0' || slot->plugin[0] == '\0'))
		snprintf(configs->problem, sizeof(configs->problem),
				 "permanent slot \"%s\": a logical slot needs \"database\" and \"plugin\"", name);
	else
		configs->n_slots++;
}

static void
read_matcher(SlotConfigs *configs, const json_t *value)
{
	SlotMatcher *matcher = &configs->matchers[configs->n_matchers];

	if (!json_is_object(value))
		return;
	memset(matcher, 0, sizeof(*matcher));
	copy(matcher->name, sizeof(matcher->name), text_of(value, "name"));
	copy(matcher->type, sizeof(matcher->type), text_of(value, "type"));
	copy(matcher->database, sizeof(matcher->database), text_of(value, "database"));
	copy(matcher->plugin, sizeof(matcher->plugin), text_of(value, "plugin"));
	configs->n_matchers++;
}

/* "slots" and "ignore_slots" of the dynamic configuration, as JSON; "" = absent. */
void
slot_configs_read(SlotConfigs *configs, const char *slots_json, const char *ignore_json)
{
	json_t	   *slots = slots_json[0] == '\0' ? NULL : json_loads(slots_json, 0, NULL);
	json_t	   *ignore = ignore_json[0] == '\0' ? NULL : json_loads(ignore_json, 0, NULL);
	const char *name;
	json_t	   *value;
	size_t		i;

	configs->n_slots = configs->n_matchers = 0;
	configs->problem[0] = '\0';
	json_object_foreach(slots, name, value)
	{
		if (configs->n_slots < SLOT_CONFIG_MAX)
			read_slot(configs, name, value);
		else
			snprintf(configs->problem, sizeof(configs->problem),
					 "more than %d permanent slots are configured", SLOT_CONFIG_MAX);
	}
	json_array_foreach(ignore, i, value)
	{
		if (configs->n_matchers < SLOT_MATCHERS_MAX)
			read_matcher(configs, value);
		else
			snprintf(configs->problem, sizeof(configs->problem),
					 "\"ignore_slots\" has more than %d entries", SLOT_MATCHERS_MAX);
	}
	json_decref(slots);
	json_decref(ignore);
}

/* The slot of that name in the plan, or NULL. */
const WantedSlot *
slot_plan_find(const SlotPlan *plan, const char *name)
{
	for (int i = 0; i < plan->n; i++)
	{
		if (strcmp(plan->items[i].name, name) == 0)
			return &plan->items[i];
	}
	return NULL;
}

/* The position that the leader has published for a slot. */
bool
slot_status_position(const ClusterStatus *status, const char *name, Lsn *lsn)
{
	for (int i = 0; i < status->n_slots; i++)
	{
		if (strcmp(status->slots[i].name, name) != 0)
			continue;
		*lsn = status->slots[i].lsn;
		return true;
	}
	return false;
}

static WantedSlot *
add(SlotPlan *plan, const char *name, SlotReason reason, const ClusterStatus *status)
{
	WantedSlot *slot = &plan->items[plan->n];

	if (plan->n == SLOT_PLAN_MAX)
		return NULL;
	plan->n++;
	memset(slot, 0, sizeof(*slot));
	copy(slot->name, sizeof(slot->name), name);
	slot->reason = reason;
	(void) slot_status_position(status, name, &slot->lsn);
	return slot;
}

/* Would this member stream from me as the cluster is now? */
static bool
streams_from_here(const Member *member, const HaSettings *settings, const ClusterView *view,
				  bool is_primary)
{
	const char *from = member->tags.replicatefrom;

	if (strcmp(from, settings->name) == 0)
		return is_primary || !cluster_is_leader(view, member->name);
	return is_primary && (from[0] == '\0' || cluster_find_member(view, from) == NULL);
}

static void
add_member(SlotPlan *plan, const Member *member, const HaSettings *settings, const ClusterView *view,
		   bool is_primary)
{
	bool		is_used_here = streams_from_here(member, settings, view, is_primary);
	const WantedSlot *other;
	char		name[64];
	WantedSlot *slot;

	/* a person may have promoted a member tagged nofailover */
	if (!is_used_here &&
		((settings->tags.nofailover && !is_primary &&
		  strcmp(member->tags.replicatefrom, settings->name) != 0) || settings->member_slots_ttl_ms == 0))
		return;
	member_slot_name(member->name, name);
	other = slot_plan_find(plan, name);
	if (other != NULL)
	{
		snprintf(plan->conflict, sizeof(plan->conflict),
				 "members \"%.60s\" and \"%.60s\" share the replication slot \"%.63s\"", other->member,
				 member->name, name);
		return;
	}
	slot = add(plan, name, SLOT_FOR_MEMBER, &view->status);
	if (slot == NULL)
		return;
	copy(slot->member, sizeof(slot->member), member->name);
	slot->is_used_here = is_used_here;
	/* a leader of an older release publishes no positions of members */
	if ((slot->lsn == 0 || member->tags.replicatefrom[0] != '\0') && member->xlog_location > slot->lsn)
		slot->lsn = member->xlog_location;
}

static void
add_retained(SlotPlan *plan, const HaSettings *settings, const ClusterStatus *status)
{
	json_t	   *list = status->retain_slots_json == NULL ? NULL : json_loads(status->retain_slots_json, 0, NULL);
	json_t	   *value;
	char		own[64];
	size_t		i;

	member_slot_name(settings->name, own);
	json_array_foreach(list, i, value)
	{
		const char *name = json_string_value(value);

		if (name != NULL && is_slot_name(name) && strcmp(name, own) != 0 && slot_plan_find(plan, name) == NULL)
			(void) add(plan, name, SLOT_RETAINED, status);
	}
	json_decref(list);
}

static void
add_permanent(SlotPlan *plan, const SlotConfig *config, const HaSettings *settings,
			  const ClusterView *view, bool is_primary)
{
	WantedSlot *slot = (WantedSlot *) slot_plan_find(plan, config->name);
	char		own[64];

	member_slot_name(settings->name, own);
	if (config->is_logical && (slot != NULL || strcmp(config->name, own) == 0))
	{
		snprintf(plan->conflict, sizeof(plan->conflict),
				 "the permanent logical slot \"%s\" has the name of the slot of member \"%.80s\"",
				 config->name, slot == NULL ? settings->name : slot->member);
		return;
	}
	if (strcmp(config->name, own) == 0)
		return;
	if (slot == NULL)
	{
		slot = add(plan, config->name, SLOT_PERMANENT, &view->status);
		if (slot == NULL)
			return;
		slot->is_used_here = is_primary;
	}
	slot->reason = SLOT_PERMANENT;
	slot->is_logical = config->is_logical;
	copy(slot->database, sizeof(slot->database), config->database);
	copy(slot->plugin, sizeof(slot->plugin), config->plugin);
}

/* The slots that this member shall have. */
void
slot_plan_make(SlotPlan *plan, const HaSettings *settings, const SlotConfigs *configs,
			   const ClusterView *view, bool is_primary)
{
	plan->n = 0;
	plan->conflict[0] = '\0';
	for (int i = 0; i < view->n_members; i++)
	{
		const Member *member = &view->members[i];

		if (strcmp(member->name, settings->name) != 0 && !member->tags.nostream)
			add_member(plan, member, settings, view, is_primary);
	}
	if (!is_primary && !settings->tags.nofailover && settings->member_slots_ttl_ms > 0)
		add_retained(plan, settings, &view->status);
	/* what cannot become primary needs none; logical ones need what is streamed */
	if (settings->tags.nofailover && !is_primary)
		return;
	for (int i = 0; i < configs->n_slots; i++)
	{
		if (!configs->slots[i].is_logical || is_primary || !settings->tags.nostream)
			add_permanent(plan, &configs->slots[i], settings, view, is_primary);
	}
}

/*
 * Made for a while by a subscription that copies a table,
 * pg_<number>_sync_<number>_<number>, or by Citus that moves a shard?
 */
static bool
is_transient(const char *name)
{
	static const char digits[] = "0123456789";
	const char *at = name;

	if (strncmp(name, "citus_shard_", 12) == 0)
		return true;
	if (strncmp(at, "pg_", 3) != 0)
		return false;
	at += 3 + strspn(at + 3, digits);
	if (strncmp(at, "_sync_", 6) != 0)
		return false;
	at += 6 + strspn(at + 6, digits);
	return at[0] == '_' && at[1] != '\0' && at[1 + strspn(at + 1, digits)] == '\0';
}

/* Does "ignore_slots" say that this slot is none of our business? */
bool
slot_is_ignored(const SlotConfigs *configs, const HaSlot *slot)
{
	if (slot->is_logical && is_transient(slot->name))
		return true;
	for (int i = 0; i < configs->n_matchers; i++)
	{
		const SlotMatcher *matcher = &configs->matchers[i];

		if ((matcher->name[0] == '\0' || strcmp(matcher->name, slot->name) == 0) &&
			(matcher->type[0] == '\0' ||
			 strcmp(matcher->type, slot->is_logical ? "logical" : "physical") == 0) &&
			/* the name of the database may not be known: then it may be that one */
			(matcher->database[0] == '\0' || (slot->is_logical && slot->database[0] == '\0') ||
			 strcmp(matcher->database, slot->database) == 0) &&
			(matcher->plugin[0] == '\0' || strcmp(matcher->plugin, slot->plugin) == 0))
			return true;
	}
	return false;
}

/* Is the slot of that name not the one that is wanted? */
bool
slot_differs(const WantedSlot *wanted, const HaSlot *slot)
{
	if (wanted->is_logical != slot->is_logical)
		return true;
	return wanted->is_logical && (strcmp(wanted->plugin, slot->plugin) != 0 ||
								  (slot->database[0] != '\0' && strcmp(wanted->database, slot->database) != 0));
}
