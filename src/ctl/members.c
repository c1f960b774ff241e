/*-------------------------------------------------------------------------
 *
 * members.c
 *      The table of members, and choosing some of them (patroni/ctl.py,
 *      output_members() and get_members()).
 *
 * The columns are those of Patroni 3.0, or with --layout 4.1 those of 4.1: two
 * positions of the WAL with their lags, and the system identifier in the title.
 *-------------------------------------------------------------------------
 */
#include "ctl/ctl.h"
#include "cluster/ascii.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define REASON_WIDTH_MAX 50

typedef struct Listing
{
	const Ctl *ctl;
	const CtlCluster *cluster;
	const char *format;
	bool is_extended;
	bool has_ports; /* the hosts alone do not tell members apart */
	bool has_pending;
	bool has_reason;
	bool has_scheduled;
	bool has_tags;
	json_t *columns;
	json_t *rows;
	char align[32];
} Listing;

static const char *
member_role_text(const Ctl *ctl, const CtlGroup *group, const CtlMember *member)
{
	const char *name = member->known.name;
	const json_t *mode = json_object_get(group->config, "synchronous_mode");
	const char *mode_text = json_string_value(mode);

	if (group->leader[0] != '\0' && strcmp(name, group->leader) == 0)
		return group_is_standby_cluster(group) ? "Standby Leader" : "Leader";
	if (!group_sync_names(group, name))
		return "Replica";
	if (ctl->has_lsn_columns && mode_text != NULL && strcmp(mode_text, "quorum") == 0)
		return "Quorum Standby";
	return "Sync Standby";
}

/* As the member says it; of a standby how it replicates, since 4.1. */
static json_t *
state_cell(const Ctl *ctl, const CtlMember *member, bool is_leader)
{
	json_t *state = NULL;

	if (ctl->has_lsn_columns && !is_leader)
		state = json_object_get(member->data, "replication_state");
	if (!value_is_true(state))
		state = json_object_get(member->data, "state");
	return state != NULL ? json_incref(state) : json_string("");
}

static json_t *
megabytes(Lsn optime, Lsn lsn)
{
	Lsn lag = optime > lsn ? optime - lsn : 0;

	/* halves go to the even number */
	return json_integer((json_int_t) nearbyint((double) lag / 1024 / 1024));
}

static json_t *
lsn_cell(Lsn lsn)
{
	char text[24];

	if (lsn == 0)
		return json_string("unknown");
	lsn_to_text(lsn, text);
	return json_string(text);
}

/* "Lag in MB", or the two positions with their lags. */
static void
add_lag_cells(const Listing *listing, json_t *row, const CtlGroup *group, const CtlMember *member,
			  bool is_leader)
{
	const json_t *location = json_object_get(member->data, "xlog_location");
	Lsn lsn = (Lsn) json_integer_value(location);
	Lsn lsns[2] = { member->known.receive_lsn, member->known.replay_lsn };

	if (!listing->ctl->has_lsn_columns)
	{
		if (is_leader)
			json_array_append_new(row, json_string(""));
		else if (!json_is_integer(location))
			json_array_append_new(row, json_string("unknown"));
		else
			json_array_append_new(row, megabytes(group->optime, lsn));
		return;
	}
	/* a member older than 4.1 knows one position only */
	if (lsns[0] == 0 && lsns[1] == 0)
		lsns[strcmp(member->known.replication_state, "streaming") == 0 ? 0 : 1] = lsn;
	for (int i = 0; i < 2; i++)
	{
		json_array_append_new(row, is_leader ? json_string("") : lsn_cell(lsns[i]));
		if (is_leader || lsns[i] == 0)
			json_array_append_new(row, json_string(""));
		else
			json_array_append_new(row, megabytes(group->optime, lsns[i]));
	}
}

/* "name: old->new" for each setting. */
static json_t *
reason_cell(const Listing *listing, const CtlMember *member)
{
	json_t *reasons = json_object_get(member->data, "pending_restart_reason");
	bool is_drawn =
		strcmp(listing->format, "pretty") == 0 || strcmp(listing->format, "topology") == 0;
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);
	const char *name;
	json_t *reason;
	json_t *cell;
	bool is_first = true;

	if (out == NULL)
		return json_string("");
	json_object_foreach(reasons, name, reason)
	{
		char *old = format_plain(json_object_get(reason, "old_value"));
		char *new = format_plain(json_object_get(reason, "new_value"));
		size_t width = strlen(name) + 4;

		if (old != NULL && new != NULL)
		{
			width += strlen(old) + strlen(new);
			fprintf(out, "%s%s: ", is_first ? "" : "\n", name);
			if (is_drawn && width > REASON_WIDTH_MAX)
				fputs("[hidden - too long]", out);
			else
				fprintf(out, "%s->%s", old, new);
		}
		is_first = false;
		free(old);
		free(new);
	}
	fclose(out);
	cell = json_string(text);
	free(text);
	return cell;
}

static json_t *
scheduled_cell(const CtlMember *member)
{
	const json_t *scheduled = json_object_get(member->data, "scheduled_restart");
	const char *at = json_string_value(json_object_get(scheduled, "schedule"));
	const char *version = json_string_value(json_object_get(scheduled, "postgres_version"));
	char text[160];

	if (at == NULL)
		return json_string("");
	snprintf(text, sizeof(text), version != NULL ? "%s if version < %s" : "%s", at, version);
	return json_string(text);
}

static json_t *
tags_cell(const Listing *listing, const CtlMember *member)
{
	json_t *tags = json_object_get(member->data, "tags");
	const char *format = listing->format;
	char *text;
	json_t *cell;
	size_t length;

	if (tags == NULL)
		return json_string("");
	if (strcmp(format, "json") == 0 || format[0] == 'y' || !value_is_true(tags))
		return json_incref(tags);
	text = format_yaml(tags, strcmp(format, "pretty") != 0);
	if (text == NULL)
		return json_string("");
	length = strlen(text);
	while (length > 0 && ascii_is_space(text[length - 1]))
		text[--length] = '\0';
	cell = json_string(text);
	free(text);
	return cell;
}

static json_t *
host_cell(const Listing *listing, const CtlMember *member)
{
	char text[300];

	if (listing->has_ports && member->has_host && member->port != 0)
		snprintf(text, sizeof(text), "%s:%d", member->host, member->port);
	else
		snprintf(text, sizeof(text), "%s", member->has_host ? member->host : "");
	return json_string(text);
}

/* depth: in a topology, how far below the leader. */
static void
add_row(Listing *listing, const CtlGroup *group, const CtlMember *member, int depth)
{
	bool is_leader = group->leader[0] != '\0' && strcmp(member->known.name, group->leader) == 0;
	json_t *row = json_array();
	const json_t *timeline = json_object_get(member->data, "timeline");
	char name[CLUSTER_NAME_MAX + 2 * CLUSTER_MEMBERS_MAX + 4];

	snprintf(name, sizeof(name), "%*s%s%s", depth > 1 ? 2 * (depth - 1) : 0, "",
			 depth > 0 ? "+ " : "", member->known.name);
	json_array_append_new(row, json_string(listing->cluster->name));
	if (listing->ctl->is_citus)
		json_array_append_new(row, json_integer(group->number));
	json_array_append_new(row, json_string(name));
	json_array_append_new(row, host_cell(listing, member));
	json_array_append_new(row, json_string(member_role_text(listing->ctl, group, member)));
	json_array_append_new(row, state_cell(listing->ctl, member, is_leader));
	json_array_append_new(row,
						  timeline != NULL ? json_incref((json_t *) timeline) : json_string(""));
	add_lag_cells(listing, row, group, member, is_leader);
	if (listing->has_pending)
		json_array_append_new(
			row, json_string(value_is_true(json_object_get(member->data, "pending_restart")) ? "*" : ""));
	if (listing->has_reason)
		json_array_append_new(row, reason_cell(listing, member));
	if (listing->has_scheduled)
		json_array_append_new(row, scheduled_cell(member));
	if (listing->has_tags)
		json_array_append_new(row, tags_cell(listing, member));
	json_array_append_new(listing->rows, row);
}

/* Whom a member replicates from: a replica it names, else the leader. */
static bool
is_below(const CtlGroup *group, const CtlMember *member, const char *parent)
{
	const char *from =
		json_string_value(json_object_get(json_object_get(member->data, "tags"), "replicatefrom"));

	if (strcmp(member->known.name, group->leader) == 0 && group->leader[0] != '\0')
		return false;
	if (from != NULL &&
		(from[0] == '\0' || strcmp(from, member->known.name) == 0 ||
		 strcmp(from, group->leader) == 0 || group_find_member(group, from) == NULL))
		from = NULL;
	return strcmp(from != NULL ? from : group->leader, parent) == 0;
}

static void
add_tree(Listing *listing, const CtlGroup *group, const char *parent, int depth)
{
	for (int i = 0; i < group->n_members && depth <= CLUSTER_MEMBERS_MAX; i++)
	{
		const CtlMember *member = &group->members[i];

		if (!is_below(group, member, parent))
			continue;
		add_row(listing, group, member, depth);
		add_tree(listing, group, member->known.name, depth + 1);
	}
}

static void
add_column(Listing *listing, const char *name, char align)
{
	size_t n = strlen(listing->align);

	json_array_append_new(listing->columns, json_string(name));
	if (n + 1 < sizeof(listing->align))
	{
		listing->align[n] = align;
		listing->align[n + 1] = '\0';
	}
}

static void
add_columns(Listing *listing)
{
	bool is_drawn =
		strcmp(listing->format, "pretty") == 0 || strcmp(listing->format, "topology") == 0;

	add_column(listing, "Cluster", 'l');
	if (listing->ctl->is_citus)
		add_column(listing, "Group", 'r');
	add_column(listing, "Member", 'l');
	add_column(listing, "Host", 'l');
	add_column(listing, "Role", 'l');
	add_column(listing, "State", 'l');
	add_column(listing, "TL", 'r');
	if (listing->ctl->has_lsn_columns)
	{
		add_column(listing, "Receive LSN", 'r');
		add_column(listing, is_drawn ? "Lag" : "Receive Lag", 'r');
		add_column(listing, "Replay LSN", 'r');
		add_column(listing, is_drawn ? "Lag" : "Replay Lag", 'r');
	}
	else
		add_column(listing, "Lag in MB", 'r');
	if (listing->has_pending)
		add_column(listing, "Pending restart", 'l');
	if (listing->has_reason)
		add_column(listing, "Pending restart reason", 'l');
	if (listing->has_scheduled)
		add_column(listing, "Scheduled restart", 'l');
	if (listing->has_tags)
		add_column(listing, "Tags", 'l');
}

/* Which of the columns that are not always there, and do hosts need ports? */
static void
look_at_members(Listing *listing)
{
	const CtlCluster *cluster = listing->cluster;
	bool is_new = listing->ctl->has_lsn_columns;

	listing->has_pending = listing->has_scheduled = listing->has_tags = listing->is_extended;
	listing->has_reason = listing->is_extended && is_new;
	for (int i = 0; i < cluster->n_groups; i++)
		for (int j = 0; j < cluster->groups[i].n_members; j++)
		{
			const CtlMember *member = &cluster->groups[i].members[j];
			const json_t *data = member->data;

			if (!member->has_host)
				continue;
			listing->has_pending |= value_is_true(json_object_get(data, "pending_restart"));
			listing->has_reason |=
				is_new && value_is_true(json_object_get(data, "pending_restart_reason"));
			listing->has_scheduled |= value_is_true(json_object_get(data, "scheduled_restart"));
			listing->has_tags |= value_is_true(json_object_get(data, "tags"));
			listing->has_ports |= member->port != 0 && member->port != 5432;
			for (int k = 0; k <= i; k++)
				for (int l = 0; l < (k == i ? j : cluster->groups[k].n_members); l++)
					listing->has_ports |=
						cluster->groups[k].members[l].has_host &&
						strcmp(cluster->groups[k].members[l].host, member->host) == 0;
		}
}

/* In drawings the title has the first column, so to say. */
static void
drop_columns(Listing *listing, size_t count)
{
	json_t *row;
	size_t row_index;

	for (size_t i = 0; i < count; i++)
		json_array_remove(listing->columns, 0);
	json_array_foreach(listing->rows, row_index, row) for (size_t i = 0; i < count; i++)
		json_array_remove(row, 0);
	memmove(listing->align, listing->align + count, strlen(listing->align + count) + 1);
}

static void
make_title(const Ctl *ctl, const CtlCluster *cluster, char *title, size_t size)
{
	const CtlGroup *group = &cluster->groups[0];
	const char *initialize = !group->has_initialize			? "uninitialized"
							 : group->initialize[0] == '\0' ? "initializing"
															: group->initialize;
	const char *word = ctl->is_citus ? "Citus cluster" : "Cluster";

	if (ctl->has_group)
		snprintf(title, size, " %s: %s (group: %d, %s) ", word, cluster->name, ctl->group,
				 initialize);
	else if (ctl->has_lsn_columns && !ctl->is_citus)
		snprintf(title, size, " %s: %s (%s) ", word, cluster->name, initialize);
	else
		snprintf(title, size, " %s: %s ", word, cluster->name);
}

/* What is going on besides: a pause, a scheduled switchover. */
static void
print_service_info(const Ctl *ctl, const CtlGroup *group)
{
	const FailoverRequest *failover = &group->failover;
	bool is_paused = group_is_paused(group);
	char at[64];
	When when;

	if (!is_paused && !failover->is_scheduled)
		return;
	if (ctl->is_citus && !ctl->has_group)
		printf("Citus group: %d\n", group->number);
	if (is_paused)
		puts(" Maintenance mode: on");
	if (!failover->is_scheduled)
		return;
	snprintf(at, sizeof(at), "%s", failover->scheduled_at);
	if (when_parse(failover->scheduled_at, 0, &when))
		when_to_text(&when, at);
	printf(" Switchover scheduled at: %s\n", at);
	if (failover->leader[0] != '\0')
		printf("%24s: %s\n", "from", failover->leader);
	if (failover->candidate[0] != '\0')
		printf("%24s: %s\n", "to", failover->candidate);
}

/* Print the members of a cluster, and what is going on in it. */
void
members_print(const Ctl *ctl, const CtlCluster *cluster, const char *format, bool extended)
{
	Listing listing = {
		.ctl = ctl,
		.cluster = cluster,
		.format = format,
		.is_extended = extended,
		.columns = json_array(),
		.rows = json_array(),
	};
	bool is_tree = strcmp(format, "topology") == 0;
	bool is_drawn = is_tree || strcmp(format, "pretty") == 0;
	char title[CLUSTER_NAME_MAX + 100];

	look_at_members(&listing);
	add_columns(&listing);
	for (int i = 0; i < cluster->n_groups; i++)
	{
		const CtlGroup *group = &cluster->groups[i];
		const CtlMember *leader =
			group->leader[0] != '\0' ? group_find_member(group, group->leader) : NULL;

		if (!is_tree)
			for (int j = 0; j < group->n_members; j++)
				add_row(&listing, group, &group->members[j], 0);
		else
		{
			if (leader != NULL)
				add_row(&listing, group, leader, 0);
			add_tree(&listing, group, group->leader, 1);
		}
	}
	make_title(ctl, cluster, title, sizeof(title));
	if (is_drawn)
		drop_columns(&listing, ctl->is_citus && ctl->has_group ? 2 : 1);
	ctl_print_rows(format, title, listing.columns, listing.align, listing.rows, "\t");
	json_decref(listing.columns);
	json_decref(listing.rows);
	for (int i = 0; is_drawn && i < cluster->n_groups; i++)
		print_service_info(ctl, &cluster->groups[i]);
}

/* Ask whether they are to be restarted, reloaded, ... */
bool
members_confirm(const Ctl *ctl, const CtlMembers *members, const char *action,
				const char *scheduled_at)
{
	char *names;
	bool is_confirmed;

	if (ctl->flags[OPTION_FORCE])
		return true;
	names = members_names(members);
	if (scheduled_at == NULL)
	{
		is_confirmed = ctl_confirm("Are you sure you want to %s members %s?", action, names);
		if (!is_confirmed)
			ctl_fail("Aborted %s", action);
	}
	else
	{
		/* with a blank between day and time, other than for a switchover */
		is_confirmed =
			ctl_confirm("Are you sure you want to schedule %s of members %s at %.10s %s?", action,
						names, scheduled_at, scheduled_at + 11);
		if (!is_confirmed)
			ctl_fail("Aborted scheduled %s", action);
	}
	free(names);
	return is_confirmed;
}

static bool
is_among(const char *name, char **names, int n_names)
{
	for (int i = 0; i < n_names; i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

/* Keep those that are named. */
static void
keep_named(CtlMembers *members, char **names, int n_names)
{
	int kept = 0;

	for (int i = 0; i < members->count; i++)
		if (is_among(members->items[i]->known.name, names, n_names))
			members->items[kept++] = members->items[i];
	members->count = kept;
}

/* Which members are meant; see ctl.h. */
bool
members_select(const Ctl *ctl, const CtlCluster *cluster, const char *role, char **names,
			   int n_names, const char *action, CtlMembers *members)
{
	bool is_reinitialize = strcmp(action, "reinitialize") == 0;
	char *all;
	char *answer;
	char question[2048];

	members_of_role(cluster, role, members);
	if (n_names == 0 && members->count == 0)
	{
		ctl_fail("%s cluster doesn't have any members", cluster->name);
		return false;
	}
	members_print(ctl, cluster, "pretty", false);
	all = members_names(members);
	if (n_names > 0)
	{
		keep_named(members, names, n_names);
		if (members->count == 0)
			ctl_fail(is_reinitialize ? "No %s among provided members"
									 : "No '%s' among provided members",
					 role);
	}
	else if (is_reinitialize && ctl->flags[OPTION_FORCE])
		members->count = 0;
	else if (is_reinitialize)
	{
		snprintf(question, sizeof(question), "Which member do you want to %s [%s]?", action, all);
		answer = ctl_prompt(question, "");
		keep_named(members, &answer, 1);
		if (members->count == 0)
			ctl_fail("%s is not a member of cluster", answer);
		free(answer);
	}
	free(all);
	if (members->count == 0 && !(is_reinitialize && ctl->flags[OPTION_FORCE] && n_names == 0))
	{
		members_free(members);
		return false;
	}
	return true;
}
