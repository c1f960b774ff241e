/*-------------------------------------------------------------------------
 *
 * status.c
 *      What REST is told.
 *
 * While the worker drives it is asked, so that what is shown is what the
 * server is now; a worker that does not answer in time is not waited for, and
 * the answer says so (is_fresh).
 *
 * Invariants:
 *  (1) An answer is never older than its question: what comes in while the
 *      worker is being asked waits for the next time.
 *  (2) One message to the worker is under way at a time, for all who waited
 *      when it was sent.  So the work of the worker does not grow with the
 *      number of requests.
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "supervisor/supervisor_internal.h"

/* The leader key names us under our own session, and the fence is open. */
static bool
has_lease_by_view(const Supervisor *supervisor)
{
	const ClusterView *view = host_view(supervisor->host);
	const Settings *settings = host_settings(supervisor->host);
	char session[LEASE_SESSION_MAX];

	if (view == NULL || settings == NULL || !cluster_is_leader(view, settings->name))
		return false;
	lease_page_get_session(supervisor->page, session);
	return strcmp(session, view->leader_session) == 0 && lease_page_is_open(supervisor->page);
}

/* Role and state as the server shows them, while the worker's engine drives. */
static void
status_by_server(const Supervisor *supervisor, RestStatus *status)
{
	const HaPostgres *postgres = status->postgres;

	status->role = ROLE_UNINITIALIZED;
	status->state = MEMBER_STATE_UNKNOWN;
	status->has_lease = has_lease_by_view(supervisor);
	if (postgres == NULL)
		return;
	if (postgres->data == HA_DATA_PRESENT)
		status->role = postgres->is_in_recovery ? ROLE_REPLICA : ROLE_PRIMARY;
	switch (postgres->server)
	{
		case HA_SERVER_RUNNING:
			status->state = MEMBER_RUNNING;
			break;
		case HA_SERVER_STARTING:
			status->state = MEMBER_STARTING;
			break;
		case HA_SERVER_STOPPING:
			status->state = MEMBER_STOPPING;
			break;
		case HA_SERVER_STOPPED:
			status->state = MEMBER_STOPPED;
			break;
		case HA_SERVER_UNKNOWN:
			break;
	}
}

static void
answer(Supervisor *supervisor, RestDone done, void *arg, bool is_fresh)
{
	RestStatus status;

	memset(&status, 0, sizeof(status));
	status.number = supervisor->status_number;
	status.settings = host_settings(supervisor->host);
	status.page = supervisor->page;
	status.view = host_view(supervisor->host);
	status.postgres = host_last_postgres(supervisor->host);
	status.is_fresh = is_fresh;
	status.is_paused = status.settings != NULL && status.settings->is_paused;
	status.store_is_reachable = host_store_is_reachable(supervisor->host);
	status.hang = observe_hang(supervisor);
	status.can_lead = status.store_is_reachable && status.hang[0] == '\0' &&
		atomic_load(&supervisor->page->bound_until_ms) <= clock_now_ms();
	status.is_failsafe_active = atomic_load(&supervisor->page->failsafe_until_ms) > clock_now_ms();
	status.missing_slots = host_missing_slots(supervisor->host);
	status.store_last_seen_ms = host_store_last_seen_ms(supervisor->host);
	status.replayed_at_ms = is_fresh && !host_is_driving(supervisor->host) ?
		supervisor->replayed_at_ms : 0;
	status.senders = is_fresh && !host_is_driving(supervisor->host) ? supervisor->senders : NULL;
	status.takeovers = &supervisor->takeovers;
	if (host_is_driving(supervisor->host))
	{
		const HaNode *node = host_node(supervisor->host);

		status.is_remembered = true;
		status.role = ha_role(node);
		status.state = ha_state(node);
		status.has_lease = ha_has_lease(node);
		status.last_step_ms = clock_now_ms();
	}
	else
	{
		status_by_server(supervisor, &status);
		status.last_step_ms =
			atomic_load_explicit(&supervisor->page->worker_heartbeat_ms, memory_order_acquire);
	}
	done(arg, &status);
}

static void
ask_timer_arm(Supervisor *supervisor)
{
	int64_t first_ms = INT64_MAX;
	int64_t wait_ms;
	struct timeval wait;

	for (int i = 0; i < ASKS_MAX; i++)
	{
		if (supervisor->asks[i].done != NULL && supervisor->asks[i].deadline_ms < first_ms)
			first_ms = supervisor->asks[i].deadline_ms;
	}
	if (first_ms == INT64_MAX)
	{
		event_del(supervisor->ask_timer);
		return;
	}
	wait_ms = first_ms - clock_now_ms();
	if (wait_ms < 1)
		wait_ms = 1;
	wait.tv_sec = wait_ms / 1000;
	wait.tv_usec = (wait_ms % 1000) * 1000;
	event_add(supervisor->ask_timer, &wait);
}

/* Ask the worker for all who wait, unless it is being asked. */
static void
ask_worker(Supervisor *supervisor)
{
	int64_t now_ms = clock_now_ms();
	uint64_t id = supervisor->next_ask_id + 1;
	bool is_wanted = false;

	if (supervisor->worker == NULL ||
		(supervisor->asked_ms != 0 && now_ms < supervisor->asked_ms + ASK_TIMEOUT_MS))
		return;
	for (int i = 0; i < ASKS_MAX; i++)
	{
		Ask *ask = &supervisor->asks[i];

		if (ask->done != NULL && ask->id == 0)
		{
			ask->id = id;
			is_wanted = true;
		}
	}
	supervisor->asked_ms = 0;
	if (!is_wanted)
		return;
	supervisor->asked_ms = now_ms;
	supervisor->next_ask_id = id;
	/* when it fails the link was closed, and that answered all */
	baton_send(supervisor, json_pack("{s:s, s:I}", "type", "ask", "id", (json_int_t) id));
}

/* RestOps.status: find out the status and call done(). */
void
status_request(void *context, RestDone done, void *arg)
{
	Supervisor *supervisor = context;
	Ask *ask = NULL;
	bool was_asking = false;

	if (host_is_driving(supervisor->host))
	{
		observe_and_tell(supervisor);
		supervisor->status_number++;
		answer(supervisor, done, arg, true);
		return;
	}
	for (int i = 0; i < ASKS_MAX; i++)
	{
		if (supervisor->asks[i].done == NULL)
			ask = ask == NULL ? &supervisor->asks[i] : ask;
		else
			was_asking = true;
	}
	if (supervisor->worker == NULL || ask == NULL)
	{
		supervisor->status_number++;
		answer(supervisor, done, arg, false);
		return;
	}
	ask->done = done;
	ask->arg = arg;
	ask->id = 0;
	ask->deadline_ms = clock_now_ms() + ASK_TIMEOUT_MS;
	if (!was_asking)
		ask_timer_arm(supervisor);
	ask_worker(supervisor);
}

/* The worker answered the question "id", and with it all that are older. */
void
status_answer(Supervisor *supervisor, uint64_t id)
{
	supervisor->status_number++;
	for (int i = 0; i < ASKS_MAX; i++)
	{
		Ask ask = supervisor->asks[i];

		if (ask.done == NULL || ask.id == 0 || ask.id > id)
			continue;
		supervisor->asks[i].done = NULL;
		answer(supervisor, ask.done, ask.arg, true);
	}
	if (id == supervisor->next_ask_id)
		supervisor->asked_ms = 0;
	ask_worker(supervisor);
	ask_timer_arm(supervisor);
}

/* Answer from memory what waited too long; with "all" everything that waits. */
void
status_give_up(Supervisor *supervisor, bool all)
{
	int64_t now_ms = clock_now_ms();

	supervisor->status_number++;
	for (int i = 0; i < ASKS_MAX; i++)
	{
		Ask ask = supervisor->asks[i];

		if (ask.done == NULL || (!all && ask.deadline_ms > now_ms))
			continue;
		supervisor->asks[i].done = NULL;
		answer(supervisor, ask.done, ask.arg, false);
	}
	if (all)
		supervisor->asked_ms = 0;
	else
		ask_worker(supervisor);
	ask_timer_arm(supervisor);
}
