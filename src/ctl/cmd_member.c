/*-------------------------------------------------------------------------
 *
 * cmd_member.c
 *      Commands for some members, by their REST API: reload, restart, reinit,
 *      flush.
 *
 * A member that refuses is told of on standard output, and is no error of the
 * command, as ever; one that does not answer makes its exit code 1.
 *-------------------------------------------------------------------------
 */
#include "ctl/ctl.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define REINIT_POLL_S 2

/* "Success: ..." or "Failed: ..."; false if the member refused. */
static bool
report_answer(const RestAnswer *answer, const CtlMember *member, const char *action, bool is_silent)
{
	if (answer->status >= 400)
	{
		printf("Failed: %s for member %s, status code=%d, (%s)\n", action, member->known.name,
			   answer->status, answer->text);
		return false;
	}
	if (!is_silent)
		printf("Success: %s for member %s\n", action, member->known.name);
	return true;
}

static void
report_silence(const CtlMember *member, const char *action, const Error *error)
{
	printf("Failed: %s for member %s, (%s)\n", action, member->known.name, error->message);
}

static json_int_t
configured_loop_wait(const CtlCluster *cluster)
{
	const json_t *value = json_object_get(cluster->groups[0].config, "loop_wait");

	return json_is_integer(value) ? json_integer_value(value) : 10;
}

static const char *
chosen_role(const Ctl *ctl)
{
	return ctl->values[OPTION_ROLE] != NULL ? ctl->values[OPTION_ROLE] : "any";
}

/* What a command does to the members that were chosen; returns the exit code. */
typedef int (*MembersAction)(Ctl *ctl, CtlCluster *cluster, CtlMembers *members);

/* Do it to the members of a role that the command line names. */
static int
on_members(Ctl *ctl, const char *role, const char *what, MembersAction action)
{
	CtlCluster *cluster = cluster_load(ctl, ctl->scope);
	int status = CTL_EXIT_ERROR;
	CtlMembers members;

	if (cluster == NULL)
		return CTL_EXIT_ERROR;
	if (members_select(ctl, cluster, role, ctl->words + 1, ctl->n_words - 1, what, &members))
	{
		status = action(ctl, cluster, &members);
		members_free(&members);
	}
	cluster_unload(cluster);
	return status;
}

static int
reload_members(Ctl *ctl, CtlCluster *cluster, CtlMembers *members)
{
	int status = CTL_EXIT_OK;

	if (!members_confirm(ctl, members, "reload", NULL))
		return CTL_EXIT_ERROR;
	for (int i = 0; i < members->count; i++)
	{
		const CtlMember *member = members->items[i];
		RestAnswer answer;
		Error error;

		if (!client_call(ctl, member, "POST", "reload", NULL, 0, &answer, &error))
		{
			report_silence(member, "reload", &error);
			status = CTL_EXIT_ERROR;
			continue;
		}
		if (answer.status == 200)
			printf("No changes to apply on member %s\n", member->known.name);
		else if (answer.status == 202)
			printf("Reload request received for member %s and will be processed within "
				   "%" JSON_INTEGER_FORMAT " seconds\n",
				   member->known.name, configured_loop_wait(cluster));
		else
			printf("Failed: reload for member %s, status code=%d, (%s)\n", member->known.name,
				   answer.status, answer.text);
		client_answer_free(&answer);
	}
	return status;
}

int
command_reload(Ctl *ctl)
{
	return on_members(ctl, chosen_role(ctl), "reload", reload_members);
}

/* X.Y or X.Y.Z, as POST /restart asks for: patroni/postgresql/misc.py, postgres_version_to_int(). */
static bool
check_server_version(const char *version)
{
	int n_parts = 1;
	bool ok = version[0] != '\0';

	for (const char *p = version; *p != '\0'; p++)
	{
		bool is_dot = *p == '.';

		n_parts += is_dot;
		if ((!is_dot && !isdigit((unsigned char) *p)) ||
			(is_dot && (p == version || !isdigit((unsigned char) p[1]))))
			ok = false;
	}
	if (!ok)
		ctl_fail("Invalid PostgreSQL version: %s", version);
	else if (n_parts < 2 || n_parts > 3)
		ctl_fail("Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted: %s", version);
	return ok && n_parts >= 2 && n_parts <= 3;
}

/* The time that was given or asked for, "" = now. */
static bool
choose_restart_time(const Ctl *ctl, char scheduled_at[48])
{
	const char *given = ctl->values[OPTION_SCHEDULED];
	char *answer = NULL;
	char question[120];
	char example[24];
	bool ok = true;
	When when;

	scheduled_at[0] = '\0';
	if (given == NULL && !ctl->flags[OPTION_FORCE])
	{
		ctl_next_hour(example);
		snprintf(question, sizeof(question), "When should the restart take place (e.g. %s) ",
				 example);
		given = answer = ctl_prompt(question, "now");
	}
	if (given != NULL && given[0] != '\0' && strcmp(given, "now") != 0)
	{
		ok = when_parse(given, clock_wall_ms(), &when);
		if (ok)
			when_to_text(&when, scheduled_at);
		else
			ctl_fail("Unable to parse scheduled timestamp (%s). It should be in an unambiguous "
					 "format (e.g. ISO 8601)",
					 given);
	}
	free(answer);
	return ok;
}

/* What is sent to each of them; NULL: it has been said why not. */
static json_t *
restart_body(const Ctl *ctl, const CtlCluster *cluster, const char *scheduled_at)
{
	json_t *body = json_pack("{}");
	char *answer = NULL;
	const char *version = ctl->values[OPTION_PG_VERSION];
	bool ok = true;

	if (version == NULL && !ctl->flags[OPTION_FORCE])
		version = answer =
			ctl_prompt("Restart if the PostgreSQL version is less than provided (e.g. 9.5.2) ", "");
	if (ctl->flags[OPTION_PENDING])
		json_object_set_new(body, "restart_pending", json_true());
	if (version != NULL && version[0] != '\0')
	{
		ok = check_server_version(version);
		json_object_set_new(body, "postgres_version", json_string(version));
	}
	free(answer);
	if (ok && scheduled_at[0] != '\0')
	{
		json_object_set_new(body, "schedule", json_string(scheduled_at));
		if (group_is_paused(&cluster->groups[0]))
		{
			ctl_fail("Can't schedule restart in the paused state");
			ok = false;
		}
	}
	if (ctl->values[OPTION_TIMEOUT] != NULL)
		json_object_set_new(body, "timeout", json_string(ctl->values[OPTION_TIMEOUT]));
	if (ok)
		return body;
	json_decref(body);
	return NULL;
}

static bool
restart_member(Ctl *ctl, const CtlMember *member, const json_t *body)
{
	const char *name = member->known.name;
	RestAnswer answer;
	Error error;

	if (json_object_get(body, "schedule") != NULL && ctl->flags[OPTION_FORCE] &&
		json_object_get(member->data, "scheduled_restart") != NULL &&
		client_call(ctl, member, "DELETE", "restart", NULL, 0, &answer, &error))
	{
		report_answer(&answer, member, "flush scheduled restart", true);
		client_answer_free(&answer);
	}
	fflush(stdout);
	if (!client_call(ctl, member, "POST", "restart", body, 0, &answer, &error))
	{
		report_silence(member, "restart", &error);
		return false;
	}
	if (answer.status == 200)
		printf("Success: restart on member %s\n", name);
	else if (answer.status == 202)
		printf("Success: restart scheduled on member %s\n", name);
	else if (answer.status == 409)
		printf("Failed: another restart is already scheduled on member %s\n", name);
	else
		printf("Failed: restart for member %s, status code=%d, (%s)\n", name, answer.status,
			   answer.text);
	client_answer_free(&answer);
	return true;
}

/* Only those that wait for a restart; later others may, so not for a schedule. */
static void
keep_pending(CtlMembers *members)
{
	int kept = 0;

	for (int i = 0; i < members->count; i++)
		if (members->items[i]->known.has_pending_restart)
			members->items[kept++] = members->items[i];
	members->count = kept;
}

static int
restart_members(Ctl *ctl, CtlCluster *cluster, CtlMembers *members)
{
	bool is_pending = ctl->flags[OPTION_PENDING];
	char scheduled_at[48];
	json_t *body;
	int status = CTL_EXIT_OK;

	if (!choose_restart_time(ctl, scheduled_at))
		return CTL_EXIT_ERROR;
	if (is_pending && scheduled_at[0] == '\0')
		keep_pending(members);
	if (ctl->flags[OPTION_ANY] && members->count > 1)
	{
		srand((unsigned) (clock_now_us() ^ getpid()));
		members->items[0] = members->items[rand() % members->count];
		members->count = 1;
	}
	if (is_pending && scheduled_at[0] != '\0' && !ctl->flags[OPTION_FORCE])
	{
		if (!ctl_confirm("The nodes needing a restart will be identified at the scheduled time, "
						 "and might be different from the ones showing pending restart right "
						 "now. Is this fine?"))
			return ctl_fail("Aborted scheduled restart");
	}
	else if (members->count > 0 && !members_confirm(ctl, members, "restart",
													scheduled_at[0] != '\0' ? scheduled_at : NULL))
		return CTL_EXIT_ERROR;
	body = restart_body(ctl, cluster, scheduled_at);
	if (body == NULL)
		return CTL_EXIT_ERROR;
	for (int i = 0; i < members->count; i++)
		if (!restart_member(ctl, members->items[i], body))
			status = CTL_EXIT_ERROR;
	json_decref(body);
	return status;
}

int
command_restart(Ctl *ctl)
{
	return on_members(ctl, chosen_role(ctl), "restart", restart_members);
}

/* Ask one member; true if it began. */
static bool
reinitialize_member(Ctl *ctl, const CtlMember *member, int *status)
{
	static const char in_progress[] = " already in progress";
	bool is_forced = ctl->flags[OPTION_FORCE];

	for (;;)
	{
		json_t *body = json_pack("{s:b}", "force", is_forced);
		RestAnswer answer;
		Error error;
		bool has_begun;
		bool is_busy;

		if (ctl->flags[OPTION_FROM_LEADER])
			json_object_set_new(body, "from_leader", json_true());
		if (!client_call(ctl, member, "POST", "reinitialize", body, 0, &answer, &error))
		{
			json_decref(body);
			report_silence(member, "reinitialize", &error);
			*status = CTL_EXIT_ERROR;
			return false;
		}
		json_decref(body);
		has_begun = report_answer(&answer, member, "reinitialize", false);
		is_busy = strlen(answer.text) >= strlen(in_progress) &&
				  strcmp(answer.text + strlen(answer.text) - strlen(in_progress), in_progress) == 0;
		client_answer_free(&answer);
		if (has_begun || !is_busy || is_forced ||
			!ctl_confirm("Do you want to cancel it and reinitialize anyway?"))
			return has_begun;
		is_forced = true;
	}
}

/* Does the member say that it is done?  No answer is none. */
static bool
is_reinitialized(Ctl *ctl, const CtlMember *member)
{
	RestAnswer answer;
	Error error;
	json_t *status;
	const char *state;
	bool is_done;

	if (!client_call(ctl, member, "GET", "patroni", NULL, 10000, &answer, &error))
		return false;
	status = json_loads(answer.text, 0, NULL);
	state = json_string_value(json_object_get(status, "state"));
	is_done = state != NULL && strcmp(state, "creating replica") != 0;
	json_decref(status);
	client_answer_free(&answer);
	return is_done;
}

static void
wait_for_reinitialize(Ctl *ctl, CtlMembers *members)
{
	int shown = -1;

	while (members->count > 0)
	{
		int kept = 0;

		if (members->count != shown)
		{
			char *names = members_names(members);

			printf("Waiting for reinitialize to complete on: %s\n", names);
			free(names);
			shown = members->count;
		}
		fflush(stdout);
		nanosleep(&(struct timespec){ .tv_sec = REINIT_POLL_S }, NULL);
		for (int i = 0; i < members->count; i++)
		{
			if (is_reinitialized(ctl, members->items[i]))
				printf("Reinitialize is completed on: %s\n", members->items[i]->known.name);
			else
				members->items[kept++] = members->items[i];
		}
		members->count = kept;
	}
}

static int
reinitialize_members(Ctl *ctl, CtlCluster *cluster, CtlMembers *members)
{
	int status = CTL_EXIT_OK;
	int kept = 0;

	(void) cluster;
	if (!members_confirm(ctl, members, "reinitialize", NULL))
		return CTL_EXIT_ERROR;
	for (int i = 0; i < members->count; i++)
		if (reinitialize_member(ctl, members->items[i], &status))
			members->items[kept++] = members->items[i];
	members->count = kept;
	if (ctl->flags[OPTION_WAIT])
		wait_for_reinitialize(ctl, members);
	return status;
}

int
command_reinit(Ctl *ctl)
{
	return on_members(ctl, "replica", "reinitialize", reinitialize_members);
}

static int
flush_restarts(Ctl *ctl, CtlCluster *cluster)
{
	int status = CTL_EXIT_OK;
	CtlMembers members;

	if (!members_select(ctl, cluster, chosen_role(ctl), ctl->words + 1, ctl->n_words - 2, "flush",
						&members))
		return CTL_EXIT_ERROR;
	if (!members_confirm(ctl, &members, "flush", NULL))
	{
		members_free(&members);
		return CTL_EXIT_ERROR;
	}
	for (int i = 0; i < members.count; i++)
	{
		const CtlMember *member = members.items[i];
		RestAnswer answer;
		Error error;

		if (json_object_get(member->data, "scheduled_restart") == NULL)
			printf("No scheduled restart for member %s\n", member->known.name);
		else if (client_call(ctl, member, "DELETE", "restart", NULL, 0, &answer, &error))
		{
			report_answer(&answer, member, "flush scheduled restart", false);
			client_answer_free(&answer);
		}
		else
		{
			report_silence(member, "flush scheduled restart", &error);
			status = CTL_EXIT_ERROR;
		}
	}
	members_free(&members);
	return status;
}

/* Ask the first that answers; true: somebody knew. */
static bool
flush_by_members(Ctl *ctl, CtlCluster *cluster)
{
	CtlMembers members;
	bool is_done = false;

	members_leader_first(cluster, &members);
	for (int i = 0; i < members.count && !is_done; i++)
	{
		const char *name = members.items[i]->known.name;
		RestAnswer answer;
		Error error;

		if (!client_call(ctl, members.items[i], "DELETE", "switchover", NULL, 0, &answer, &error))
		{
			ctl_warn("%s", error.message);
			ctl_warn("Member %s is not accessible", name);
			continue;
		}
		is_done = answer.status == 200 || answer.status == 404;
		if (is_done)
			printf("%s: %s\n", answer.status == 200 ? "Success" : "Failed", answer.text);
		else
			printf("Failed: member=%s, status_code=%d, (%s)\n", name, answer.status, answer.text);
		client_answer_free(&answer);
	}
	members_free(&members);
	return is_done;
}

static int
flush_switchover(Ctl *ctl, CtlCluster *cluster)
{
	char now[40];
	Error error;

	if (!cluster->groups[0].failover.is_scheduled)
	{
		puts("No pending scheduled switchover");
		return CTL_EXIT_OK;
	}
	if (flush_by_members(ctl, cluster))
		return CTL_EXIT_OK;
	ctl_warn("Failing over to DCS");
	ctl_timestamp(now, true);
	printf("%s Could not find any accessible member of cluster %s\n", now, cluster->name);
	if (store_write(cluster->store, DCS_PUT, "failover", "{}", cluster->groups[0].failover.version,
					&error) != DCS_DONE)
		return ctl_fail("could not clear the scheduled switchover in the store: %s",
						error.message[0] != '\0' ? error.message : "it has changed since");
	return CTL_EXIT_OK;
}

int
command_flush(Ctl *ctl)
{
	const char *target = ctl->words[ctl->n_words - 1];
	bool is_restart = strcmp(target, "restart") == 0;
	CtlCluster *cluster;
	int status;

	if (!is_restart && strcmp(target, "switchover") != 0)
		return ctl_usage_error(ctl,
							   "Invalid value for '{restart|switchover}': '%s' is not one of "
							   "'restart', 'switchover'.",
							   target);
	cluster = cluster_load(ctl, ctl->scope);
	if (cluster == NULL)
		return CTL_EXIT_ERROR;
	status = is_restart ? flush_restarts(ctl, cluster) : flush_switchover(ctl, cluster);
	cluster_unload(cluster);
	return status;
}
