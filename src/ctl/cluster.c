/*-------------------------------------------------------------------------
 *
 * cluster.c
 *      A cluster as the keys of the store show it.
 *
 * The members' keys are kept as they were written besides what we understand
 * of them: tables show values that only their writer knows.
 *-------------------------------------------------------------------------
 */
#include "ctl/ctl.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static json_t *
load_json(const char *text, json_type type)
{
	json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);

	if (value != NULL && json_typeof(value) == type)
		return value;
	json_decref(value);
	return NULL;
}

static bool
take_member(CtlGroup *group, const char *name, const char *value)
{
	CtlMember *members =
		realloc(group->members, (size_t) (group->n_members + 1) * sizeof(CtlMember));
	CtlMember *member;
	const json_t *kwargs;
	const char *host;

	if (members == NULL)
		return false;
	group->members = members;
	member = &members[group->n_members];
	memset(member, 0, sizeof(*member));
	member_init(&member->known);
	member_from_text(&member->known, value);
	snprintf(member->known.name, sizeof(member->known.name), "%s", name);
	member->has_key = true;
	member->data = load_json(value, JSON_OBJECT);
	if (member->data == NULL)
		member->data = json_pack("{}");
	member->has_host = member_host_port(&member->known, member->host, &member->port);
	kwargs = json_object_get(member->data, "conn_kwargs");
	host = json_string_value(json_object_get(kwargs, "host"));
	if (host != NULL)
	{
		const json_t *port = json_object_get(kwargs, "port");

		snprintf(member->host, sizeof(member->host), "%s", host);
		member->port =
			json_is_string(port) ? atoi(json_string_value(port)) : (int) json_integer_value(port);
		member->has_host = true;
	}
	group->n_members++;
	return member->data != NULL;
}

static bool
take_key(CtlGroup *group, const char *name, const ClusterKey *key)
{
	if (strncmp(name, "members/", 8) == 0)
		return strchr(name + 8, '/') != NULL || take_member(group, name + 8, key->value);
	if (strcmp(name, "initialize") == 0)
	{
		group->has_initialize = true;
		free(group->initialize);
		group->initialize = strdup(key->value);
		return group->initialize != NULL;
	}
	if (strcmp(name, "leader") == 0)
		snprintf(group->leader, sizeof(group->leader), "%s", key->value);
	else if (strcmp(name, "config") == 0)
	{
		group->config = load_json(key->value, JSON_OBJECT);
		group->config_version = key->version;
	}
	else if (strcmp(name, "history") == 0)
		group->history = load_json(key->value, JSON_ARRAY);
	else if (strcmp(name, "sync") == 0)
		group->sync = load_json(key->value, JSON_OBJECT);
	else if (strcmp(name, "failover") == 0)
	{
		failover_from_text(&group->failover, key->value);
		group->failover.version = key->version;
	}
	else if (strcmp(name, "status") == 0)
	{
		json_t *status = load_json(key->value, JSON_OBJECT);

		group->optime = (Lsn) json_integer_value(json_object_get(status, "optime"));
		json_decref(status);
	}
	else if (strcmp(name, "optime/leader") == 0)
		group->legacy_optime = (Lsn) strtoull(key->value, NULL, 10);
	return true;
}

static CtlGroup *
find_group(CtlCluster *cluster, int number)
{
	CtlGroup *groups;

	for (int i = 0; i < cluster->n_groups; i++)
		if (cluster->groups[i].number == number)
			return &cluster->groups[i];
	groups = realloc(cluster->groups, (size_t) (cluster->n_groups + 1) * sizeof(CtlGroup));
	if (groups == NULL)
		return NULL;
	cluster->groups = groups;
	memset(&groups[cluster->n_groups], 0, sizeof(CtlGroup));
	groups[cluster->n_groups].number = number;
	return &groups[cluster->n_groups++];
}

static int
compare_groups(const void *a, const void *b)
{
	return ((const CtlGroup *) a)->number - ((const CtlGroup *) b)->number;
}

static int
compare_members(const void *a, const void *b)
{
	return strcmp(((const CtlMember *) a)->known.name, ((const CtlMember *) b)->known.name);
}

/* When all keys are there: who is who. */
static void
group_finish(CtlGroup *group)
{
	if (group->optime == 0)
		group->optime = group->legacy_optime;
	if (group->n_members > 0)
		qsort(group->members, (size_t) group->n_members, sizeof(CtlMember), compare_members);
	if (group->leader[0] == '\0')
		return;
	group->leader_member = group_find_member(group, group->leader);
	if (group->leader_member == NULL)
	{
		member_init(&group->bare_leader.known);
		snprintf(group->bare_leader.known.name, sizeof(group->bare_leader.known.name), "%s",
				 group->leader);
		group->bare_leader.data = json_pack("{}");
		group->leader_member = &group->bare_leader;
	}
}

static bool
take_all_keys(Ctl *ctl, CtlCluster *cluster)
{
	bool all_groups = ctl->is_citus && !ctl->has_group;
	ClusterKey key;

	if (find_group(cluster, ctl->has_group ? ctl->group : 0) == NULL)
		return false;
	for (int i = 0; store_key(cluster->store, i, &key); i++)
	{
		const char *name = key.name;
		CtlGroup *group = &cluster->groups[0];

		if (key.value == NULL)
			continue;
		if (all_groups)
		{
			char *rest;
			long number = strtol(name, &rest, 10);

			if (!isdigit((unsigned char) name[0]) || *rest != '/' || number > 1000000)
				continue;
			group = find_group(cluster, (int) number);
			name = rest + 1;
		}
		if (group == NULL || !take_key(group, name, &key))
			return false;
	}
	qsort(cluster->groups, (size_t) cluster->n_groups, sizeof(CtlGroup), compare_groups);
	for (int i = 0; i < cluster->n_groups; i++)
		group_finish(&cluster->groups[i]);
	return true;
}

/* Read a cluster; NULL when that has failed, and it has been said why. */
CtlCluster *
cluster_load(Ctl *ctl, const char *scope)
{
	CtlCluster *cluster;
	Settings settings;
	Error error;
	bool ok;

	if (scope == NULL || scope[0] == '\0')
	{
		ctl_fail("No cluster name was provided, and the configuration has no \"scope\"");
		return NULL;
	}
	if (!ctl_settings(ctl, scope, &settings))
		return NULL;
	cluster = calloc(1, sizeof(*cluster));
	error_clear(&error);
	ok = cluster != NULL &&
		 store_open(&cluster->store, &settings, ctl->has_group ? ctl->group : -1, &error);
	settings_free(&settings);
	if (ok)
	{
		snprintf(cluster->name, sizeof(cluster->name), "%s", scope);
		if (take_all_keys(ctl, cluster))
			return cluster;
	}
	ctl_fail("%s", error.message[0] != '\0' ? error.message : "out of memory");
	cluster_unload(cluster);
	return NULL;
}

static void
member_unload(CtlMember *member)
{
	member_free(&member->known);
	json_decref(member->data);
}

void
cluster_unload(CtlCluster *cluster)
{
	if (cluster == NULL)
		return;
	for (int i = 0; i < cluster->n_groups; i++)
	{
		CtlGroup *group = &cluster->groups[i];

		for (int j = 0; j < group->n_members; j++)
			member_unload(&group->members[j]);
		if (group->leader_member == &group->bare_leader)
			member_unload(&group->bare_leader);
		free(group->members);
		free(group->initialize);
		json_decref(group->config);
		json_decref(group->history);
		json_decref(group->sync);
	}
	free(cluster->groups);
	store_close(cluster->store);
	free(cluster);
}

/* The member of a name, NULL if it has no key. */
CtlMember *
group_find_member(const CtlGroup *group, const char *name)
{
	for (int i = 0; i < group->n_members; i++)
		if (strcmp(group->members[i].known.name, name) == 0)
			return &group->members[i];
	return NULL;
}

bool
group_is_paused(const CtlGroup *group)
{
	const json_t *value = json_object_get(group->config, "pause");
	bool is_on;

	return value != NULL && value_to_bool(value, &is_on) && is_on;
}

/* Does it follow another cluster? */
bool
group_is_standby_cluster(const CtlGroup *group)
{
	static const char *const keys[] = { "host", "port", "restore_command" };
	const json_t *section = json_object_get(group->config, "standby_cluster");

	for (int i = 0; i < 3; i++)
	{
		const json_t *value = json_object_get(section, keys[i]);

		if (value != NULL && !json_is_null(value) && !format_is_empty(value))
			return true;
	}
	return false;
}

/* Is the member one of the synchronous standbys? */
bool
group_sync_names(const CtlGroup *group, const char *name)
{
	const char *p = json_string_value(json_object_get(group->sync, "sync_standby"));

	while (p != NULL && *p != '\0')
	{
		size_t length;

		p += strspn(p, ", ");
		length = strcspn(p, ", ");
		if (length == strlen(name) && strncmp(p, name, length) == 0)
			return true;
		p += length;
	}
	return false;
}

static bool
members_add(CtlMembers *members, CtlMember *member)
{
	CtlMember **items =
		realloc(members->items, (size_t) (members->count + 1) * sizeof(CtlMember *));

	if (items == NULL)
		return false;
	items[members->count++] = member;
	members->items = items;
	return true;
}

void
members_free(CtlMembers *members)
{
	free(members->items);
	memset(members, 0, sizeof(*members));
}

/* Does the leader have this role?  patroni/ctl.py, get_all_members(). */
static bool
leader_has_role(const CtlMember *leader, const char *role)
{
	const char *own = json_string_value(json_object_get(leader->data, "role"));

	if (strcmp(role, "leader") == 0)
		return true;
	if (own == NULL)
		own = "";
	if (strcmp(role, "standby-leader") == 0)
		return strcmp(own, "primary") != 0 && strcmp(own, "master") != 0;
	return strcmp(own, "standby_leader") != 0;
}

/* The members of a role, in the order of groups and names. */
void
members_of_role(const CtlCluster *cluster, const char *role, CtlMembers *members)
{
	bool of_leader = strcmp(role, "leader") == 0 || strcmp(role, "primary") == 0 ||
					 strcmp(role, "master") == 0 || strcmp(role, "standby-leader") == 0;
	bool is_any = strcmp(role, "any") == 0;

	memset(members, 0, sizeof(*members));
	for (int i = 0; i < cluster->n_groups; i++)
	{
		CtlGroup *group = &cluster->groups[i];

		if (of_leader)
		{
			if (group->leader_member != NULL && leader_has_role(group->leader_member, role))
				members_add(members, group->leader_member);
			continue;
		}
		for (int j = 0; j < group->n_members; j++)
			if (is_any || strcmp(group->members[j].known.name, group->leader) != 0)
				members_add(members, &group->members[j]);
	}
}

void
members_leader_first(const CtlCluster *cluster, CtlMembers *members)
{
	CtlGroup *group = &cluster->groups[0];

	memset(members, 0, sizeof(*members));
	if (group->leader_member != NULL && group->leader_member->known.api_url[0] != '\0')
		members_add(members, group->leader_member);
	for (int i = 0; i < group->n_members; i++)
		if (group->members[i].known.api_url[0] != '\0' &&
			&group->members[i] != group->leader_member)
			members_add(members, &group->members[i]);
}

/* Their names with ", " between them.  malloc'ed. */
char *
members_names(const CtlMembers *members)
{
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);

	if (out == NULL)
		return NULL;
	for (int i = 0; i < members->count; i++)
		fprintf(out, "%s%s", i > 0 ? ", " : "", members->items[i]->known.name);
	fclose(out);
	return text;
}
