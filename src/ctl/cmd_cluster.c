/*-------------------------------------------------------------------------
 *
 * cmd_cluster.c
 *      Commands for a whole cluster: pause, resume, remove, demote-cluster,
 *      promote-cluster.
 *
 *-------------------------------------------------------------------------
 */
#include "ctl/ctl.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

#define POLL_S			  1
#define REMOVE_ROUNDS_MAX 3

static void
sleep_a_second(void)
{
	fflush(stdout);
	nanosleep(&(struct timespec){ .tv_sec = POLL_S }, NULL);
}

/* Does the member say about the pause what it should? */
static bool
has_recognized(const CtlMember *member, bool is_paused)
{
	return json_is_true(json_object_get(member->data, "pause")) == is_paused;
}

/* Until all members show it, at most loop_wait + 1 s. */
static int
wait_until_recognized(Ctl *ctl, const CtlCluster *before, bool is_paused)
{
	const json_t *configured = json_object_get(before->groups[0].config, "loop_wait");
	int64_t loop_wait = json_is_integer(configured) ? json_integer_value(configured) : 10;
	int64_t until_ms = clock_now_ms() + (loop_wait + 1) * 1000;
	CtlMembers remaining;

	printf("'%s' request sent, waiting until it is recognized by all nodes\n",
		   is_paused ? "pause" : "resume");
	for (;;)
	{
		CtlCluster *now = cluster_load(ctl, before->name);
		bool is_over = clock_now_ms() >= until_ms;
		char *names;
		int kept = 0;

		if (now == NULL)
			return CTL_EXIT_ERROR;
		members_of_role(now, "any", &remaining);
		for (int i = 0; i < remaining.count; i++)
		{
			const CtlMember *old =
				group_find_member(&before->groups[0], remaining.items[i]->known.name);

			if (old != NULL && old->known.api_url[0] != '\0' &&
				!has_recognized(remaining.items[i], is_paused))
				remaining.items[kept++] = remaining.items[i];
		}
		remaining.count = kept;
		names = members_names(&remaining);
		members_free(&remaining);
		cluster_unload(now);
		if (kept == 0)
			printf("Success: cluster management is %s\n", is_paused ? "paused" : "resumed");
		else if (is_over)
			printf("%s members didn't recognized pause state after %lld seconds\n", names,
				   (long long) loop_wait);
		free(names);
		if (kept == 0 || is_over)
			return CTL_EXIT_OK;
		sleep_a_second();
	}
}

/* Tell the first member that answers. */
static int
ask_for_pause(Ctl *ctl, CtlCluster *cluster, bool is_paused)
{
	json_t *body = json_pack("{s:o}", "pause", is_paused ? json_true() : json_null());
	int status = -1;
	CtlMembers members;

	members_leader_first(cluster, &members);
	for (int i = 0; i < members.count && status < 0; i++)
	{
		RestAnswer answer;
		Error error;

		if (!client_call(ctl, members.items[i], "PATCH", "config", body, 0, &answer, &error))
		{
			ctl_warn("%s", error.message);
			ctl_warn("Member %s is not accessible", members.items[i]->known.name);
			continue;
		}
		status = CTL_EXIT_OK;
		if (answer.status != 200)
			printf("Failed: %s cluster management status code=%d, (%s)\n",
				   is_paused ? "pause" : "resume", answer.status, answer.text);
		else if (ctl->flags[OPTION_WAIT])
			status = wait_until_recognized(ctl, cluster, is_paused);
		else
			printf("Success: cluster management is %s\n", is_paused ? "paused" : "resumed");
		client_answer_free(&answer);
	}
	members_free(&members);
	json_decref(body);
	return status >= 0 ? status : ctl_fail("Can not find accessible cluster member");
}

static int
toggle_pause(Ctl *ctl, bool is_paused)
{
	CtlCluster *cluster = cluster_load(ctl, ctl->scope);
	int status;

	if (cluster == NULL)
		return CTL_EXIT_ERROR;
	if (group_is_paused(&cluster->groups[0]) == is_paused)
		status = ctl_fail("Cluster is %s paused", is_paused ? "already" : "not");
	else
		status = ask_for_pause(ctl, cluster, is_paused);
	cluster_unload(cluster);
	return status;
}

int
command_pause(Ctl *ctl)
{
	return toggle_pause(ctl, true);
}

int
command_resume(Ctl *ctl)
{
	return toggle_pause(ctl, false);
}

/* Three answers that nobody gives by accident. */
static bool
confirm_removal(const CtlCluster *cluster)
{
	static const char aware[] = "Yes I am aware";
	char question[CLUSTER_NAME_MAX + 120];
	char *answer = ctl_prompt("Please confirm the cluster name to remove", NULL);
	bool ok = strcmp(answer, cluster->name) == 0;

	free(answer);
	if (!ok)
	{
		ctl_fail("Cluster names specified do not match");
		return false;
	}
	snprintf(question, sizeof(question),
			 "You are about to remove all information in DCS for %s, please type: \"%s\"",
			 cluster->name, aware);
	answer = ctl_prompt(question, NULL);
	ok = strcmp(answer, aware) == 0;
	free(answer);
	if (!ok)
	{
		ctl_fail("You did not exactly type \"%s\"", aware);
		return false;
	}
	if (cluster->groups[0].leader[0] == '\0')
		return true;
	answer = ctl_prompt("This cluster currently is healthy. "
						"Please specify the leader name to continue",
						NULL);
	ok = strcmp(answer, cluster->groups[0].leader) == 0;
	free(answer);
	if (!ok)
		ctl_fail("You did not specify the current leader of the cluster");
	return ok;
}

/* All keys, the leader's last: until then nobody begins anew. */
static bool
remove_keys(CtlCluster *cluster)
{
	char *names[CLUSTER_MEMBERS_MAX * 2];
	Error error;

	for (int round = 0; round < REMOVE_ROUNDS_MAX; round++)
	{
		bool is_empty = true;
		ClusterKey key;
		int n;

		do
		{
			n = 0;
			for (int i = 0;
				 n < (int) (sizeof(names) / sizeof(names[0])) && store_key(cluster->store, i, &key);
				 i++)
				if (key.value != NULL && strcmp(key.name, "leader") != 0 &&
					(names[n] = strdup(key.name)) != NULL)
					n++;
			for (int i = 0; i < n; i++)
			{
				DcsOutcome outcome =
					store_write(cluster->store, DCS_DELETE, names[i], NULL, 0, &error);

				free(names[i]);
				if (outcome == DCS_DONE)
					continue;
				while (++i < n)
					free(names[i]);
				ctl_fail("could not remove all keys: %s", error.message);
				return false;
			}
		} while (n > 0);
		if (cluster->groups[0].leader[0] != '\0' &&
			store_write(cluster->store, DCS_RELEASE_LEADER, "leader", cluster->groups[0].leader, 0,
						&error) == DCS_UNKNOWN)
		{
			ctl_fail("could not remove the leader key: %s", error.message);
			return false;
		}
		for (int i = 0; store_key(cluster->store, i, &key); i++)
			is_empty &= key.value == NULL;
		if (is_empty)
			break;
	}
	return true;
}

int
command_remove(Ctl *ctl)
{
	const char *format = ctl->values[OPTION_FORMAT];
	CtlCluster *cluster = cluster_load(ctl, ctl->scope);
	int status = CTL_EXIT_ERROR;

	if (cluster == NULL)
		return CTL_EXIT_ERROR;
	if (ctl->is_citus && !ctl->has_group)
		status = ctl_fail("For Citus clusters the --group must me specified");
	else
	{
		members_print(ctl, cluster, format != NULL ? format : "pretty", false);
		if (confirm_removal(cluster) && remove_keys(cluster))
			status = CTL_EXIT_OK;
	}
	cluster_unload(cluster);
	return status;
}

/* What the leader says of itself; NULL while it says nothing.  A new reference. */
static json_t *
leader_status(Ctl *ctl, const CtlMember *member)
{
	RestAnswer answer;
	Error error;
	json_t *status;

	if (member == NULL || !client_call(ctl, member, "GET", "patroni", NULL, 10000, &answer, &error))
		return NULL;
	status = json_loads(answer.text, 0, NULL);
	client_answer_free(&answer);
	return status;
}

/* Every second, until the leader runs in its new role. */
static int
wait_for_role(Ctl *ctl, const char *name, const char *wanted)
{
	bool is_demotion = strcmp(wanted, "standby_leader") == 0;

	for (;;)
	{
		CtlCluster *cluster;
		json_t *status;
		const char *role;
		const char *state;
		char now[40];
		bool is_done;

		sleep_a_second();
		cluster = cluster_load(ctl, name);
		if (cluster == NULL)
			return CTL_EXIT_ERROR;
		status = leader_status(ctl, cluster->groups[0].leader_member);
		role = json_string_value(json_object_get(status, "role"));
		state = json_string_value(json_object_get(status, "state"));
		ctl_timestamp(now, true);
		printf("%s cluster is unlocked: %s, leader role: %s, leader state: %s\n", now,
			   cluster->groups[0].leader[0] == '\0' ? "True" : "False", role ? role : "None",
			   state ? state : "None");
		is_done = role != NULL && state != NULL && strcmp(state, "running") == 0 &&
				  (strcmp(role, wanted) == 0 || (!is_demotion && strcmp(role, "master") == 0));
		json_decref(status);
		if (is_done)
		{
			ctl_timestamp(now, true);
			printf("%s cluster is successfully %s\n", now, is_demotion ? "demoted" : "promoted");
			members_print(ctl, cluster, "pretty", false);
		}
		cluster_unload(cluster);
		if (is_done)
			return CTL_EXIT_OK;
	}
}

/* "section" is what the cluster shall follow from now on; null = nothing. */
static int
change_cluster_role(Ctl *ctl, json_t *section)
{
	bool is_demotion = json_is_object(section);
	const char *verb = is_demotion ? "demote" : "promote";
	json_t *body = json_pack("{s:o}", "standby_cluster", section);
	CtlCluster *cluster = cluster_load(ctl, ctl->scope);
	int status = CTL_EXIT_ERROR;
	const CtlGroup *group;
	RestAnswer answer;
	Error error;

	if (cluster == NULL)
	{
		json_decref(body);
		return CTL_EXIT_ERROR;
	}
	group = &cluster->groups[0];
	if (group->leader_member == NULL)
		ctl_fail("Cluster has no leader, %s is not possible",
				 is_demotion ? "demotion" : "promotion");
	else if (group_is_standby_cluster(group) == is_demotion)
		ctl_fail("Cluster is already in the required state");
	else
	{
		members_print(ctl, cluster, "pretty", false);
		if (!ctl->flags[OPTION_FORCE] &&
			!ctl_confirm("Are you sure you want to %s %s cluster?", verb, cluster->name))
			ctl_fail("Aborted cluster %s", is_demotion ? "demotion" : "promotion");
		else if (!client_call(ctl, group->leader_member, "PATCH", "config", body, 0, &answer,
							  &error))
			ctl_fail("Failed to %s %s cluster: %s", verb, cluster->name, error.message);
		else
		{
			if (answer.status != 200)
				ctl_fail("Failed to %s %s cluster: /config PATCH status code=%d, (%s)", verb,
						 cluster->name, answer.status, answer.text);
			else
				status =
					wait_for_role(ctl, cluster->name, is_demotion ? "standby_leader" : "primary");
			client_answer_free(&answer);
		}
	}
	json_decref(body);
	cluster_unload(cluster);
	return status;
}

int
command_demote_cluster(Ctl *ctl)
{
	static const struct
	{
		OptionId id;
		const char *key;
	} keys[] = {
		{ OPTION_HOST, "host" },
		{ OPTION_PORT, "port" },
		{ OPTION_RESTORE_COMMAND, "restore_command" },
		{ OPTION_PRIMARY_SLOT_NAME, "primary_slot_name" },
	};
	json_t *section;

	if (ctl->values[OPTION_HOST] == NULL && ctl->values[OPTION_PORT] == NULL &&
		ctl->values[OPTION_RESTORE_COMMAND] == NULL)
		return ctl_fail("At least --host, --port or --restore-command should be specified");
	section = json_pack("{}");
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
	{
		const char *value = ctl->values[keys[i].id];

		if (value != NULL)
			json_object_set_new(section, keys[i].key,
								keys[i].id == OPTION_PORT ? json_integer(atoi(value))
														  : json_string(value));
	}
	return change_cluster_role(ctl, section);
}

int
command_promote_cluster(Ctl *ctl)
{
	return change_cluster_role(ctl, json_null());
}
