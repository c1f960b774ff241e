/*-------------------------------------------------------------------------
 *
 * edit_config.c
 *      Changes of the dynamic configuration: pause, resume, edit_config,
 *      and PATCH and PUT of REST.
 *
 * A change is a patch.  It is applied to the configuration as it is in the
 * store, checked, and written by compare-and-swap; who loses the race starts
 * again from the new text, HOST_EDIT_ATTEMPTS times in all.  A whole new
 * configuration takes the place of any that it finds.  Every change
 * ends by time alone, and is answered once.
 *
 * This does not need the baton: the configuration belongs to the cluster.
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "node/host_internal.h"

#define EDIT_TIMEOUT_MS     60000
#define HOST_PUT_TIMEOUT_MS 15000
#define NAMES_MAX           400

static void
edit_end(Host *host, HostEdit *edit, bool ok, const char *text, const char *detail,
         const char *sqlstate)
{
	uint64_t command_id = edit->command_id;
	char event[HA_REASON_MAX];
	char *copy = strdup(text);

	free(edit->patch);
	free(edit->written);
	memset(edit, 0, sizeof(*edit));
	snprintf(event, sizeof(event), "%s: %.200s", ok ? "configuration" : "refused", text);
	host_event(host, "command", "edit-config", event);
	host_answer(host, command_id, ok, copy != NULL ? copy : "out of memory", detail, sqlstate);
	free(copy);
}

static void
edit_refuse(Host *host, HostEdit *edit, const char *text, const char *detail)
{
	edit_end(host, edit, false, text, detail, "55000");
}

/* The text that was written is the answer; it is freed with the edit. */
static void
edit_succeed(Host *host, HostEdit *edit)
{
	char *written = edit->written;

	edit->written = NULL;
	edit_end(host, edit, true, written, NULL, NULL);
	free(written);
}

static bool
json_pause(const json_t *config)
{
	const json_t *value = json_object_get(config, "pause");
	bool is_paused = false;

	if (value == NULL || json_is_null(value) || !value_to_bool(value, &is_paused))
		return false;
	return is_paused;
}

/* What does the patch say about pause? */
static void
edit_read_patch(HostEdit *edit)
{
	json_t *patch = json_loads(edit->patch, 0, NULL);

	edit->is_about_pause = json_object_get(patch, "pause") != NULL;
	edit->is_only_pause = edit->is_about_pause && json_object_size(patch) == 1;
	edit->pause_wanted = json_pause(patch);
	json_decref(patch);
}

static bool
config_is_paused(const char *config_json)
{
	json_t *config = json_loads(config_json, 0, NULL);
	bool is_paused = json_pause(config);

	json_decref(config);
	return is_paused;
}

/*
 * Names of the members that do not show the wanted pause state yet, for a
 * message; returns how many there are.
 */
static int
members_without(const ClusterView *view, bool pause_wanted, char names[NAMES_MAX])
{
	int count = 0;
	size_t used = 0;

	names[0] = '\0';
	for (int i = 0; i < view->n_members; i++)
	{
		const Member *member = &view->members[i];

		if (member->is_paused == pause_wanted)
			continue;
		if (member->role == ROLE_UNKNOWN && member->state == MEMBER_STATE_UNKNOWN)
			continue; /* says nothing about itself */
		if (used + strlen(member->name) + 5 < NAMES_MAX)
			used += (size_t) snprintf(names + used, NAMES_MAX - used, "%s\"%s\"",
			                          count == 0 ? "" : ", ", member->name);
		count++;
	}
	return count;
}

static void
edit_time_out(Host *host, HostEdit *edit)
{
	const ClusterView *view = host_view(host);
	char names[NAMES_MAX] = "";
	char message[NAMES_MAX + 100];

	if (edit->state != HOST_EDIT_WAITING)
	{
		edit_refuse(host, edit, "could not change the configuration in time", NULL);
		return;
	}
	if (view != NULL)
		(void) members_without(view, edit->pause_wanted, names);
	snprintf(message, sizeof(message), "members have not recognised the %s yet: %s",
	         edit->pause_wanted ? "pause" : "resumption", names);
	edit_refuse(host, edit, message, "The configuration was changed; they may still follow it.");
}

static void
edit_check_members(Host *host, HostEdit *edit)
{
	const ClusterView *view = host_view(host);
	char names[NAMES_MAX];

	if (view != NULL && members_without(view, edit->pause_wanted, names) == 0)
		edit_succeed(host, edit);
}

/* It is in the store. */
static void
edit_written(Host *host, HostEdit *edit)
{
	if (!edit->wait || !edit->is_about_pause)
	{
		edit_succeed(host, edit);
		return;
	}
	edit->state = HOST_EDIT_WAITING;
	edit_check_members(host, edit);
}

/* Refuse what no member could use; the first error is the message. */
static bool
edit_validate(Host *host, HostEdit *edit)
{
	ConfigProblems problems;
	char message[600] = "the configuration is not valid";
	bool ok;

	config_problems_init(&problems);
	ok = dynamic_validate(edit->written, &problems);
	for (int i = 0; !ok && i < problems.count; i++)
	{
		if (!problems.items[i].is_error)
			continue;
		snprintf(message, sizeof(message), "%s: %s", problems.items[i].key,
		         problems.items[i].message);
		break;
	}
	config_problems_free(&problems);
	if (!ok)
		edit_end(host, edit, false, message, NULL, "22023");
	return ok;
}

static void
edit_submit(Host *host, HostEdit *edit, uint64_t version)
{
	DcsRequest request;
	Error error;

	error_clear(&error);
	memset(&request, 0, sizeof(request));
	edit->request_id = HOST_REQUEST_BIT | host->next_request_id++;
	edit->seen_version = version;
	edit->attempts++;
	edit->state = HOST_EDIT_WRITING;
	request.id = edit->request_id;
	request.operation = DCS_PUT;
	request.key = "config";
	request.value = edit->written;
	request.version = version;
	if (!dcs_submit(host->dcs, &request, &error))
		edit_refuse(host, edit, "could not send the configuration to the store", error.message);
}

/* Apply the patch to what the store holds, check it and write it. */
static void
edit_attempt(Host *host, HostEdit *edit)
{
	const ClusterView *view = host_view(host);
	Error error;

	error_clear(&error);
	if (view == NULL || !view->is_loaded)
	{
		edit_refuse(host, edit, "the store has not been read yet", NULL);
		return;
	}
	if (view->config_json == NULL && !edit->is_whole)
	{
		edit_refuse(host, edit, "the cluster has no configuration in the store yet", NULL);
		return;
	}
	if (edit->is_only_pause && config_is_paused(view->config_json) == edit->pause_wanted)
	{
		edit_refuse(host, edit,
		            edit->pause_wanted ? "cluster is already paused" : "cluster is not paused",
		            NULL);
		return;
	}
	free(edit->written);
	edit->written =
	    dynamic_patch(edit->is_whole ? NULL : view->config_json, edit->patch, &error);
	if (edit->written == NULL)
	{
		edit_end(host, edit, false, error.message, error.detail, "22023");
		return;
	}
	if (!edit_validate(host, edit))
		return;
	if (view->config_json != NULL && json_text_equal(view->config_json, edit->written))
		edit_written(host, edit);
	else
		edit_submit(host, edit, view->config_version);
}

/* The store's answer to one of our writes. */
void
edit_reply(Host *host, const DcsReply *reply)
{
	HostEdit *edit = NULL;

	for (int i = 0; i < HOST_EDITS && edit == NULL; i++)
	{
		if (host->edits[i].state == HOST_EDIT_WRITING && host->edits[i].request_id == reply->id)
			edit = &host->edits[i];
	}
	if (edit == NULL)
		return;
	switch (reply->outcome)
	{
		case DCS_DONE:
			edit_written(host, edit);
			break;
		case DCS_LOST_RACE:
			if (edit->attempts >= HOST_EDIT_ATTEMPTS)
				edit_end(host, edit, false, "the configuration is being changed by others",
				         "Each attempt found that somebody else had changed it.", "40001");
			else
				edit->state = HOST_EDIT_RACING;
			break;
		case DCS_NOT_SENT:
			edit_refuse(host, edit, "could not write the configuration to the store",
			            reply->error.message);
			break;
		case DCS_UNKNOWN:
			edit_end(host, edit, false, "it is not known whether the configuration was changed",
			         reply->error.message, "08007");
			break;
	}
}

/* Go on with all changes under way. */
void
edit_process(Host *host, int64_t now_ms)
{
	for (int i = 0; i < HOST_EDITS; i++)
	{
		HostEdit *edit = &host->edits[i];
		const ClusterView *view = host_view(host);

		if (edit->state == HOST_EDIT_NEW)
			edit_attempt(host, edit);
		else if (edit->state == HOST_EDIT_RACING && view != NULL &&
		         view->config_version != edit->seen_version)
			edit_attempt(host, edit);
		else if (edit->state == HOST_EDIT_WAITING)
			edit_check_members(host, edit);

		if (edit->state != HOST_EDIT_FREE && now_ms >= edit->deadline_ms)
			edit_time_out(host, edit);
	}
}

/* When edit_process() must be called at the latest; INT64_MAX = never. */
int64_t
edit_deadline_ms(const Host *host)
{
	int64_t deadline_ms = INT64_MAX;

	for (int i = 0; i < HOST_EDITS; i++)
	{
		const HostEdit *edit = &host->edits[i];

		if (edit->state == HOST_EDIT_NEW)
			return 0;
		if (edit->state != HOST_EDIT_FREE && edit->deadline_ms < deadline_ms)
			deadline_ms = edit->deadline_ms;
	}
	return deadline_ms;
}

/* Answer all changes whose end will not be heard of any more. */
void
edit_give_up(Host *host, const char *reason)
{
	for (int i = 0; i < HOST_EDITS; i++)
	{
		if (host->edits[i].state != HOST_EDIT_FREE)
			edit_end(host, &host->edits[i], false, reason,
			         "The configuration may have been changed.", "55000");
	}
}

/* A free place with this change in it, to be looked at by edit_process(); NULL: none. */
static HostEdit *
edit_begin(Host *host, uint64_t command_id, const char *patch_json, int64_t timeout_ms)
{
	for (int i = 0; i < HOST_EDITS; i++)
	{
		HostEdit *edit = &host->edits[i];

		if (edit->state != HOST_EDIT_FREE)
			continue;
		memset(edit, 0, sizeof(*edit));
		edit->patch = strdup(patch_json);
		if (edit->patch == NULL)
			return NULL;
		edit->state = HOST_EDIT_NEW;
		edit->command_id = command_id;
		edit->deadline_ms = clock_now_ms() + (timeout_ms > 0 ? timeout_ms : EDIT_TIMEOUT_MS);
		return edit;
	}
	return NULL;
}

/*
 * Change the dynamic configuration.  The answer comes through an HA_ANSWER
 * action from a later host_process(): its text is the new configuration, or
 * the reason why not.  False: too many changes are under way, no answer comes.
 */
bool
host_edit_config(Host *host, uint64_t command_id, const char *patch_json, bool wait,
                 int64_t timeout_ms)
{
	HostEdit *edit = edit_begin(host, command_id, patch_json, timeout_ms);

	if (edit == NULL)
		return false;
	edit->wait = wait;
	edit_read_patch(edit);
	return true;
}

/*
 * The same as REST has it: a change that changes nothing is no mistake, and
 * nobody is waited for.  Without is_patch the text is the whole configuration.
 */
bool
host_put_config(Host *host, uint64_t command_id, const char *config_json, bool is_patch)
{
	HostEdit *edit = edit_begin(host, command_id, config_json, HOST_PUT_TIMEOUT_MS);

	if (edit == NULL)
		return false;
	edit->is_whole = !is_patch;
	return true;
}
