/*-------------------------------------------------------------------------
 *
 * cmd_show.c
 *      Commands that only look: list, topology, history, dsn, version.
 *
 *-------------------------------------------------------------------------
 */
#include "ctl/ctl.h"

#include <stdlib.h>
#include <string.h>

#include "base/version.h"

static int
show_members(Ctl *ctl, const char *format)
{
	char *configured[] = { (char *) ctl->scope };
	char **names = ctl->n_words > 0 ? ctl->words : configured;
	int n_names = ctl->n_words > 0 ? ctl->n_words : ctl->scope != NULL;

	if (n_names == 0)
	{
		ctl_warn("Listing members: No cluster names were provided");
		return CTL_EXIT_OK;
	}
	for (bool is_first = true; ctl_watch(ctl, is_first, true); is_first = false)
	{
		if (ctl->flags[OPTION_TIMESTAMP])
		{
			char now[40];

			ctl_timestamp(now, false);
			puts(now);
		}
		for (int i = 0; i < n_names; i++)
		{
			CtlCluster *cluster = cluster_load(ctl, names[i]);

			/* who watches wants to see the end of an outage */
			if (cluster == NULL && is_first)
				return CTL_EXIT_ERROR;
			if (cluster == NULL)
				continue;
			members_print(ctl, cluster, format, ctl->flags[OPTION_EXTENDED]);
			cluster_unload(cluster);
		}
	}
	return CTL_EXIT_OK;
}

int
command_list(Ctl *ctl)
{
	const char *format = ctl->values[OPTION_FORMAT];

	return show_members(ctl, format != NULL ? format : "pretty");
}

int
command_topology(Ctl *ctl)
{
	return show_members(ctl, "topology");
}

int
command_history(Ctl *ctl)
{
	static const char *const names[] = { "TL", "LSN", "Reason", "Timestamp", "New Leader" };
	const char *format = ctl->values[OPTION_FORMAT];
	CtlCluster *cluster = cluster_load(ctl, ctl->scope);
	json_t *columns;
	json_t *rows;
	json_t *line;
	size_t line_index;

	if (cluster == NULL)
		return CTL_EXIT_ERROR;
	columns = json_array();
	rows = json_array();
	for (int i = 0; i < 5; i++)
		json_array_append_new(columns, json_string(names[i]));
	json_array_foreach(cluster->groups[0].history, line_index, line)
	{
		json_t *row = json_is_array(line) ? json_copy(line) : NULL;

		while (row != NULL && json_array_size(row) < 5)
			json_array_append_new(row, json_string(""));
		if (row != NULL)
			json_array_append_new(rows, row);
	}
	ctl_print_rows(format != NULL ? format : "pretty", NULL, columns, "rr", rows, "\t");
	json_decref(columns);
	json_decref(rows);
	cluster_unload(cluster);
	return CTL_EXIT_OK;
}

int
command_dsn(Ctl *ctl)
{
	const char *role = ctl->values[OPTION_ROLE];
	const char *name = ctl->values[OPTION_MEMBER];
	CtlCluster *cluster;
	CtlMembers members;
	int status = CTL_EXIT_ERROR;

	if (role != NULL && name != NULL)
		return ctl_fail("--role and --member are mutually exclusive options");
	cluster = cluster_load(ctl, ctl->scope);
	if (cluster == NULL)
		return CTL_EXIT_ERROR;
	members_of_role(cluster, name != NULL ? "any" : role != NULL ? role : "leader", &members);
	for (int i = 0; i < members.count && status != CTL_EXIT_OK; i++)
	{
		const CtlMember *member = members.items[i];

		if (!member->has_host || (name != NULL && strcmp(member->known.name, name) != 0))
			continue;
		printf("host=%s port=%d\n", member->host, member->port);
		status = CTL_EXIT_OK;
	}
	if (status != CTL_EXIT_OK)
		ctl_fail("Can not find a suitable member");
	members_free(&members);
	cluster_unload(cluster);
	return status;
}

/* "16.4", "9.6.24" */
static void
server_version_text(json_int_t version, char text[32])
{
	if (version < 100000)
		snprintf(text, 32, "%d.%d.%d", (int) (version / 10000), (int) (version / 100 % 100),
				 (int) (version % 100));
	else
		snprintf(text, 32, "%d.%d", (int) (version / 10000), (int) (version % 10000));
}

static void
show_version_of(Ctl *ctl, const CtlMember *member)
{
	const char *name = member->known.name;
	RestAnswer answer;
	Error error;
	json_t *status;
	json_int_t server;
	const char *agent;
	char text[32];

	if (!client_call(ctl, member, "GET", NULL, NULL, 0, &answer, &error))
	{
		printf("%s: failed to get version: %s\n", name, error.message);
		return;
	}
	status = json_loads(answer.text, 0, NULL);
	agent = json_string_value(json_object_get(json_object_get(status, "patroni"), "version"));
	server = json_integer_value(json_object_get(status, "server_version"));
	server_version_text(server, text);
	if (!json_is_object(status))
		printf("%s: failed to get version: the answer is no JSON object\n", name);
	else
		printf("%s: Patroni %s%s%s\n", name, agent != NULL ? agent : "None",
			   server != 0 ? " PostgreSQL " : "", server != 0 ? text : "");
	json_decref(status);
	client_answer_free(&answer);
}

int
command_version(Ctl *ctl)
{
	CtlCluster *cluster;
	CtlMembers members;

	printf("%s version %s\n", ctl->program, PATRONI_BGW_VERSION);
	if (ctl->n_words == 0)
		return CTL_EXIT_OK;
	putchar('\n');
	cluster = cluster_load(ctl, ctl->words[0]);
	if (cluster == NULL)
		return CTL_EXIT_ERROR;
	members_of_role(cluster, "any", &members);
	for (int i = 0; i < members.count; i++)
	{
		bool is_wanted = ctl->n_words == 1;

		for (int j = 1; j < ctl->n_words; j++)
			is_wanted |= strcmp(ctl->words[j], members.items[i]->known.name) == 0;
		if (is_wanted && members.items[i]->known.api_url[0] != '\0')
			show_version_of(ctl, members.items[i]);
	}
	members_free(&members);
	cluster_unload(cluster);
	return CTL_EXIT_OK;
}
