/*-------------------------------------------------------------------------
 *
 * cmd_switchover.c
 *      switchover and failover: ask what is missing, then ask the leader over
 *      its REST API; when nobody answers there, write the request to the store.
 *
 *-------------------------------------------------------------------------
 */
#include "ctl/ctl.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

typedef struct Change
{
	Ctl *ctl;
	CtlCluster *cluster;
	const CtlGroup *group;
	const char *action;	   /* "switchover" or "failover" */
	char *leader;		   /* owned; NULL = none */
	char *candidate;	   /* owned; "" = any */
	char scheduled_at[48]; /* "" = now */
} Change;

static const char *
title_case(const char *action)
{
	return strcmp(action, "switchover") == 0 ? "Switchover" : "Failover";
}

static bool
may_be_candidate(const Change *change, const CtlMember *member)
{
	return (change->leader == NULL || strcmp(member->known.name, change->leader) != 0) &&
		   !member->known.tags.nofailover;
}

/* "Candidate ['a', 'b']"; malloc'ed, *count says how many. */
static char *
candidate_question(const Change *change, int *count)
{
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);

	*count = 0;
	if (out == NULL)
		return NULL;
	fputs("Candidate [", out);
	for (int i = 0; i < change->group->n_members; i++)
		if (may_be_candidate(change, &change->group->members[i]))
			fprintf(out, "%s'%s'", (*count)++ > 0 ? ", " : "",
					change->group->members[i].known.name);
	putc(']', out);
	fclose(out);
	return text;
}

static bool
choose_leader(Change *change)
{
	const CtlGroup *group = change->group;
	const char *given = change->ctl->values[OPTION_LEADER];
	bool is_switchover = strcmp(change->action, "switchover") == 0;

	if (is_switchover && group->leader[0] == '\0')
	{
		ctl_fail("This cluster has no leader");
		return false;
	}
	if (given != NULL)
		change->leader = strdup(given);
	else if (group->leader[0] != '\0' && (change->ctl->flags[OPTION_FORCE] || !is_switchover))
		change->leader = strdup(group->leader);
	else if (is_switchover)
		change->leader = ctl_prompt(group_is_standby_cluster(group) ? "Standby Leader" : "Primary",
									group->leader);
	if (change->leader != NULL && group->leader[0] != '\0' &&
		strcmp(change->leader, group->leader) != 0)
	{
		ctl_fail("Member %s is not the leader of cluster %s", change->leader,
				 change->cluster->name);
		return false;
	}
	return true;
}

static bool
choose_candidate(Change *change)
{
	const char *given = change->ctl->values[OPTION_CANDIDATE];
	const CtlMember *member;
	int count;
	char *question = candidate_question(change, &count);

	if (question == NULL || count == 0)
	{
		free(question);
		ctl_fail("No candidates found to %s to", change->action);
		return false;
	}
	if (given != NULL)
		change->candidate = strdup(given);
	else if (change->ctl->flags[OPTION_FORCE])
		change->candidate = strdup("");
	else
		change->candidate = ctl_prompt(question, "");
	free(question);
	if (change->candidate == NULL)
		return false;
	if (change->candidate[0] == '\0')
	{
		if (strcmp(change->action, "failover") != 0)
			return true;
		ctl_fail("Failover could be performed only to a specific candidate");
		return false;
	}
	if (change->leader != NULL && strcmp(change->candidate, change->leader) == 0)
	{
		ctl_fail("Member %s is already the leader of cluster %s", change->candidate,
				 change->cluster->name);
		return false;
	}
	member = group_find_member(change->group, change->candidate);
	if (member == NULL || !may_be_candidate(change, member))
	{
		ctl_fail("Member %s does not exist in cluster %s or is tagged as nofailover",
				 change->candidate, change->cluster->name);
		return false;
	}
	return true;
}

/* In synchronous mode others may lack what was acknowledged. */
static bool
confirm_asynchronous(const Change *change)
{
	const json_t *mode = json_object_get(change->group->config, "synchronous_mode");
	const char *text = json_string_value(mode);
	bool is_on = false;

	if (mode != NULL && !value_to_bool(mode, &is_on))
		is_on = text != NULL && strcmp(text, "quorum") == 0;
	if (!is_on || strcmp(change->action, "failover") != 0 || change->ctl->flags[OPTION_FORCE] ||
		group_sync_names(change->group, change->candidate))
		return true;
	if (ctl_confirm("Are you sure you want to failover to the asynchronous node %s?",
					change->candidate))
		return true;
	ctl_fail("Aborting failover");
	return false;
}

static bool
choose_time(Change *change)
{
	const char *given = change->ctl->values[OPTION_SCHEDULED];
	char *answer = NULL;
	char question[120];
	char example[24];
	bool ok = true;
	When when;

	if (strcmp(change->action, "switchover") != 0)
		return true;
	if (given == NULL && !change->ctl->flags[OPTION_FORCE])
	{
		ctl_next_hour(example);
		snprintf(question, sizeof(question), "When should the switchover take place (e.g. %s ) ",
				 example);
		given = answer = ctl_prompt(question, "now");
	}
	if (given != NULL && given[0] != '\0' && strcmp(given, "now") != 0)
	{
		ok = when_parse(given, clock_wall_ms(), &when);
		if (!ok)
			ctl_fail("Unable to parse scheduled timestamp (%s). It should be in an unambiguous "
					 "format (e.g. ISO 8601)",
					 given);
		else if (group_is_paused(change->group))
		{
			ok = false;
			ctl_fail("Can't schedule switchover in the paused state");
		}
		else
			when_to_text(&when, change->scheduled_at);
	}
	free(answer);
	return ok;
}

static bool
confirm_change(const Change *change)
{
	const char *name = change->cluster->name;
	bool has_leader = change->leader != NULL;
	const char *comma = has_leader ? ", demoting current leader " : "";
	const char *leader = has_leader ? change->leader : "";

	if (change->ctl->flags[OPTION_FORCE])
		return true;
	if (change->scheduled_at[0] != '\0')
	{
		if (ctl_confirm("Are you sure you want to schedule %s of cluster %s at %s%s%s?",
						change->action, name, change->scheduled_at, comma, leader))
			return true;
		ctl_fail("Aborting scheduled %s", change->action);
		return false;
	}
	if (ctl_confirm("Are you sure you want to %s cluster %s%s%s?", change->action, name, comma,
					leader))
		return true;
	ctl_fail("Aborting %s", change->action);
	return false;
}

static json_t *
request_body(const Change *change)
{
	const char *candidate = change->candidate[0] != '\0' ? change->candidate : NULL;
	const char *at = change->scheduled_at[0] != '\0' ? change->scheduled_at : NULL;

	if (strcmp(change->action, "failover") == 0)
		return json_pack("{s:s?}", "candidate", candidate);
	return json_pack("{s:s?,s:s?,s:s?}", "leader", change->leader, "candidate", candidate,
					 "scheduled_at", at);
}

/* Nobody answered: leave the request where the leader looks for it. */
static bool
write_to_store(const Change *change)
{
	FailoverRequest request;
	DcsOutcome outcome;
	Error error;
	char *text;

	memset(&request, 0, sizeof(request));
	request.exists = true;
	if (strcmp(change->action, "switchover") == 0 && change->leader != NULL)
		snprintf(request.leader, sizeof(request.leader), "%s", change->leader);
	snprintf(request.candidate, sizeof(request.candidate), "%s", change->candidate);
	if (change->scheduled_at[0] != '\0')
	{
		bool has_zone;

		request.is_scheduled =
			timestamp_from_text(change->scheduled_at, &request.scheduled_at_ms, &has_zone);
		snprintf(request.scheduled_at, sizeof(request.scheduled_at), "%s", change->scheduled_at);
	}
	text = failover_to_text(&request);
	if (text == NULL)
		return false;
	outcome = store_write(change->cluster->store, DCS_PUT, "failover", text, 0, &error);
	free(text);
	if (outcome != DCS_DONE)
		ctl_fail("could not write the request to the store: %s", error.message);
	return outcome == DCS_DONE;
}

/* Give the order; what comes of it is shown, and is no error of ours. */
static int
carry_out(Change *change)
{
	Ctl *ctl = change->ctl;
	const CtlMember *member = change->group->leader_member != NULL
								  ? change->group->leader_member
								  : group_find_member(change->group, change->candidate);
	json_t *body = request_body(change);
	CtlCluster *after;
	RestAnswer answer;
	Error error;
	char now[40];
	bool is_answered;

	fflush(stdout);
	is_answered = client_call(ctl, member, "POST", change->action, body, 0, &answer, &error);
	if (is_answered && answer.status == 501 && strcmp(change->action, "switchover") == 0 &&
		strstr(answer.text, "Server does not support this operation") != NULL)
	{
		client_answer_free(&answer);
		is_answered = client_call(ctl, member, "POST", "failover", body, 0, &answer, &error);
	}
	json_decref(body);
	if (!is_answered)
	{
		ctl_warn("%s", error.message);
		ctl_timestamp(now, true);
		printf("%s Could not %s using Patroni api, falling back to DCS\n", now, change->action);
		if (!write_to_store(change))
			return CTL_EXIT_ERROR;
		members_print(ctl, change->cluster, "pretty", false);
		return CTL_EXIT_OK;
	}
	if (answer.status != 200 && answer.status != 202)
	{
		bool is_unknown = strstr(answer.text, "status unknown") != NULL;

		printf("%s %s, details: %d, %s\n", title_case(change->action),
			   is_unknown ? "result unknown" : "failed", answer.status, answer.text);
		client_answer_free(&answer);
		return CTL_EXIT_OK;
	}
	after = cluster_load(ctl, change->cluster->name);
	ctl_timestamp(now, true);
	printf("%s %s\n", now, answer.text);
	client_answer_free(&answer);
	if (after == NULL)
		return CTL_EXIT_ERROR;
	members_print(ctl, after, "pretty", false);
	cluster_unload(after);
	return CTL_EXIT_OK;
}

/* Which group of a Citus cluster is meant? */
static bool
choose_group(Change *change)
{
	Ctl *ctl = change->ctl;
	char *end;

	if (!ctl->is_citus || ctl->has_group)
		return true;
	if (ctl->flags[OPTION_FORCE])
	{
		ctl_fail("For Citus clusters the --group must me specified");
		return false;
	}
	while (!ctl->has_group)
	{
		char *answer = ctl_prompt("Citus group", NULL);

		ctl->group = (int) strtol(answer, &end, 10);
		ctl->has_group = *end == '\0' && ctl->group >= 0;
		if (!ctl->has_group)
			printf("Error: '%s' is not a valid integer.\n", answer);
		free(answer);
	}
	cluster_unload(change->cluster);
	change->cluster = cluster_load(ctl, ctl->scope);
	return change->cluster != NULL;
}

static int
change_leader(Ctl *ctl, const char *action)
{
	Change change = { .ctl = ctl, .action = action };
	int status = CTL_EXIT_ERROR;

	change.cluster = cluster_load(ctl, ctl->scope);
	if (change.cluster == NULL)
		return CTL_EXIT_ERROR;
	puts("Current cluster topology");
	members_print(ctl, change.cluster, "pretty", false);
	if (choose_group(&change))
	{
		change.group = &change.cluster->groups[0];
		if (choose_leader(&change) && choose_candidate(&change) && confirm_asynchronous(&change) &&
			choose_time(&change) && confirm_change(&change))
			status = carry_out(&change);
	}
	free(change.leader);
	free(change.candidate);
	cluster_unload(change.cluster);
	return status;
}

int
command_switchover(Ctl *ctl)
{
	return change_leader(ctl, "switchover");
}

/* Of a leader that is named it has always been a switchover. */
int
command_failover(Ctl *ctl)
{
	return change_leader(ctl, ctl->values[OPTION_LEADER] != NULL ? "switchover" : "failover");
}
