/*-------------------------------------------------------------------------
 *
 * driver_operation.c
 *      A request of the front on the simulated store, made of one to four
 *      calls in the order and with the conclusions of etcd3.c.
 *
 * The functions have the names that they have there.
 *-------------------------------------------------------------------------
 */
#include "sim/driver_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/* Where an operation stands; kept in DcsPending.driver_data. */
typedef struct Operation
{
	Driver	   *driver;
	Call	   *call;			/* under way, or NULL */
	bool		granted;		/* a new lease was granted for it */
	bool		waits;			/* for the lease that another operation is granting */
	int64_t		session_sent_at_ms; /* before the lease was extended */
	uint64_t	extended_revision;	/* of the store when it was extended; 0 = not known */
	char		session[CLUSTER_SESSION_MAX];	/* that the key was written under */
	bool		was_refused;	/* the compare failed; the key is being looked at */
	const char *error;			/* why its outcome is not known */
} Operation;

static void operation_leader_step(DcsPending *pending);
static void operation_write(DcsPending *pending);
static void operation_grant(DcsPending *pending, Driver *driver);

static void
operation_end(DcsPending *pending, DcsOutcome outcome, uint64_t version, const char *why)
{
	Operation  *operation = pending->driver_data;
	Dcs		   *dcs = operation->driver->dcs;
	Error		error;

	pending->driver_data = NULL;
	free(operation);
	if (outcome == DCS_DONE || outcome == DCS_LOST_RACE)
	{
		dcs_complete(dcs, pending, outcome, version, NULL);
		return;
	}
	error_clear(&error);
	error_set(&error, "%s", why != NULL ? why : "");
	dcs_complete(dcs, pending, outcome, version, &error);
}

static void
operation_fail(DcsPending *pending, const CallResult *result)
{
	operation_end(pending, result->outcome == CALL_UNKNOWN ? DCS_UNKNOWN : DCS_NOT_SENT, 0,
				  result->error);
}

static void
operation_session_lost(DcsPending *pending)
{
	pending->reply.session_lost = true;
	operation_end(pending, DCS_LOST_RACE, 0, NULL);
}

static void
operation_call(DcsPending *pending, SimRequest *request, bool is_idempotent,
			   void (*done) (Call *call, const CallResult *result))
{
	Operation  *operation = pending->driver_data;
	Call	   *call = driver_call(operation->driver, request, pending->deadline_ms, done, pending);

	operation->call = call;
	call->is_idempotent = is_idempotent;
	driver_call_try(call, clock_now_ms());
}

static void
session_forget(Driver *driver, const char *session)
{
	if (strcmp(driver->dcs->session, session) != 0)
		return;
	driver->dcs->session[0] = '\0';
	driver->session_sent_at_ms = 0;
	driver->session_ttl_s = 0;
}

static void
operation_with_session(DcsPending *pending)
{
	if (pending->request.operation == DCS_RENEW)
		operation_leader_step(pending);
	else
		operation_write(pending);
}

static void
grant_resume(Driver *driver, const char *error)
{
	for (int i = 0; i < DCS_PENDING_MAX; i++)
	{
		DcsPending *pending = &driver->dcs->pending[i];
		Operation  *operation = pending->driver_data;

		if (operation == NULL || !operation->waits)
			continue;
		operation->waits = false;
		if (error != NULL)
			operation_end(pending, DCS_NOT_SENT, 0, error);
		else if (driver->session_ttl_s == driver_ttl_s(driver) && driver->dcs->session[0] != '\0')
		{
			operation->session_sent_at_ms = driver->session_sent_at_ms;
			pending->sent_at_ms = driver->session_sent_at_ms;
			operation->granted = true;
			operation_with_session(pending);
		}
		else
			operation_grant(pending, driver);
	}
}

static void
grant_done(Call *call, const CallResult *result)
{
	DcsPending *pending = call->pending;
	Operation  *operation = pending->driver_data;
	Driver	   *driver = call->driver;

	driver->granting = NULL;
	operation->call = NULL;
	pending->may_be_done = false;
	if (result->outcome != CALL_ANSWERED)
	{
		operation_end(pending, DCS_NOT_SENT, 0, result->error);
		grant_resume(driver, result->error);
		return;
	}
	snprintf(driver->dcs->session, sizeof(driver->dcs->session), "%s", result->answer->session);
	driver->session_ttl_s = driver_ttl_s(driver);
	driver->session_sent_at_ms = result->sent_at_ms;
	operation->session_sent_at_ms = result->sent_at_ms;
	pending->sent_at_ms = result->sent_at_ms;
	operation->granted = true;
	operation_with_session(pending);
	grant_resume(driver, NULL);
}

static void
operation_grant(DcsPending *pending, Driver *driver)
{
	Operation  *operation = pending->driver_data;
	SimRequest *request;

	if (driver->granting != NULL)
	{
		operation->waits = true;
		return;
	}
	driver->granting = pending;
	request = driver_request(driver, SIM_GRANT, NULL, NULL, NULL);
	request->ttl_us = driver_ttl_s(driver) * 1000000;
	operation_call(pending, request, true, grant_done);
	if (driver->granting == pending && pending->driver_data == NULL)
		driver->granting = NULL;
}

static void
keepalive_done(Call *call, const CallResult *result)
{
	DcsPending *pending = call->pending;
	Operation  *operation = pending->driver_data;
	Driver	   *driver = call->driver;
	int64_t		granted_s;

	operation->call = NULL;
	operation->extended_revision = 0;
	if (result->outcome != CALL_ANSWERED && result->outcome != CALL_REFUSED)
	{
		if (pending->request.operation == DCS_RENEW)
			operation_fail(pending, result);
		else
		{
			pending->may_be_done = false;
			operation_end(pending, DCS_NOT_SENT, 0, result->error);
		}
		return;
	}
	if (strcmp(operation->session, driver->dcs->session) != 0)
	{
		operation_end(pending, DCS_UNKNOWN, 0, "session was changed while it was renewed");
		return;
	}
	granted_s = result->answer->ttl_us / 1000000;
	pending->may_be_done = false;
	if (granted_s == 0)
	{
		session_forget(driver, operation->session);
		if (pending->request.operation == DCS_RENEW && pending->request.key != NULL)
			operation_session_lost(pending);
		else
			operation_grant(pending, driver);
		return;
	}
	if (driver->session_ttl_s != driver_ttl_s(driver) && granted_s != driver_ttl_s(driver))
	{
		operation_grant(pending, driver);
		return;
	}
	driver->session_ttl_s = driver_ttl_s(driver);
	driver->session_sent_at_ms = result->sent_at_ms;
	operation->session_sent_at_ms = result->sent_at_ms;
	pending->sent_at_ms = result->sent_at_ms;
	operation->extended_revision = driver->extended_revision = result->answer->revision;
	driver->extended_ms = result->sent_at_ms;
	if (driver_watch_is_complete(driver, operation->extended_revision))
		driver_watch_was_checked(driver, result->sent_at_ms);
	operation_with_session(pending);
}

static void
confirm_done(Call *call, const CallResult *result)
{
	DcsPending *pending = call->pending;
	Operation  *operation = pending->driver_data;
	Driver	   *driver = call->driver;
	uint64_t	revision;

	operation->call = NULL;
	if (result->outcome == CALL_REFUSED)
	{
		session_forget(driver, operation->session);
		operation_session_lost(pending);
		return;
	}
	if (result->outcome != CALL_ANSWERED)
	{
		operation_fail(pending, result);
		return;
	}
	if (!result->answer->succeeded)
	{
		if (operation->was_refused)
			operation_end(pending, DCS_LOST_RACE, 0, NULL);
		else
		{
			operation->was_refused = true;
			operation_leader_step(pending);
		}
		return;
	}
	pending->sent_at_ms = operation->session_sent_at_ms;
	revision = result->answer->revision;
	dcs_cache_apply(driver->dcs, "leader", pending->request.value, operation->session, revision);
	operation_end(pending, DCS_DONE, revision, NULL);
}

static const char *
leader_was_read(Driver *driver, const SimReply *answer, const char *name,
				char session[SIM_SESSION_MAX], uint64_t *version)
{
	SimKey		key;
	size_t		at = 0;

	*version = 0;
	session[0] = '\0';
	/* alone, or among all keys */
	do
		if (!driver_key_next(answer, &at, &key))
			key.name[0] = '\0';
	while (key.name[0] != '\0' && strcmp(key.name, "leader") != 0);
	if (key.name[0] == '\0')
	{
		if (dcs_cache_find(driver->dcs, "leader") != NULL)
			dcs_cache_apply(driver->dcs, "leader", NULL, "", answer->revision);
		return NULL;
	}
	*version = key.version;
	snprintf(session, SIM_SESSION_MAX, "%s", key.session);
	dcs_cache_apply(driver->dcs, "leader", key.value, key.session, key.version);
	return strcmp(key.value, name) == 0 ? session : NULL;
}

static void
leader_read_done(Call *call, const CallResult *result)
{
	DcsPending *pending = call->pending;
	Operation  *operation = pending->driver_data;
	Driver	   *driver = call->driver;
	const DcsRequest *request = &pending->request;
	SimRequest *confirm;
	const char *session;
	char		buffer[SIM_SESSION_MAX];
	uint64_t	version;

	operation->call = NULL;
	if (result->outcome != CALL_ANSWERED)
	{
		operation_fail(pending, result);
		return;
	}
	if (driver->watch_state == WATCH_HEALTHY && !driver->needs_load &&
		result->answer->revision >= driver->watch_revision && driver_watch_has_told(driver, result->answer))
		driver_watch_is_right(driver, result->answer->revision, result->sent_at_ms);
	session = leader_was_read(driver, result->answer, request->value, buffer, &version);
	if (session == NULL)
		operation_end(pending, DCS_LOST_RACE, 0, NULL);
	else if (strcmp(session, operation->session) == 0)
	{
		pending->sent_at_ms = operation->session_sent_at_ms;
		operation_end(pending, DCS_DONE, version, NULL);
	}
	else
	{
		confirm = driver_request(driver, SIM_CONFIRM, "leader", request->value, operation->session);
		confirm->version = version;
		operation_call(pending, confirm, true, confirm_done);
	}
}

static void
operation_leader_step(DcsPending *pending)
{
	Operation  *operation = pending->driver_data;
	Driver	   *driver = operation->driver;
	const DcsKey *leader = dcs_cache_find(driver->dcs, "leader");

	if (pending->request.key == NULL)
	{
		operation_end(pending, DCS_DONE, 0, NULL);
		return;
	}
	snprintf(operation->session, sizeof(operation->session), "%s", driver->dcs->session);
	if (driver_watch_is_complete(driver, operation->extended_revision) && leader != NULL &&
		leader->value != NULL && strcmp(leader->value, pending->request.value) == 0 &&
		strcmp(leader->session, operation->session) == 0)
	{
		operation_end(pending, DCS_DONE, leader->version, NULL);
		return;
	}
	operation_call(pending, driver_request(driver, SIM_LOAD, NULL, NULL, NULL), true,
				   leader_read_done);
}

static void
acquire_check_done(Call *call, const CallResult *result)
{
	DcsPending *pending = call->pending;
	Operation  *operation = pending->driver_data;
	Driver	   *driver = call->driver;
	const char *session;
	char		buffer[SIM_SESSION_MAX];
	uint64_t	version;

	operation->call = NULL;
	pending->may_be_done = true;
	if (result->outcome != CALL_ANSWERED)
	{
		operation_end(pending, DCS_UNKNOWN, 0, result->error);
		return;
	}
	session = leader_was_read(driver, result->answer, pending->request.value, buffer, &version);
	if (session != NULL && strcmp(session, operation->session) == 0)
	{
		pending->sent_at_ms = operation->session_sent_at_ms;
		operation_end(pending, DCS_DONE, version, NULL);
	}
	else if (operation->was_refused)
		operation_end(pending, DCS_LOST_RACE, 0, NULL);
	else
		operation_end(pending, DCS_UNKNOWN, 0, operation->error);
}

static void
operation_check_leader(DcsPending *pending, bool was_refused, const char *error)
{
	Operation  *operation = pending->driver_data;

	operation->was_refused = was_refused;
	operation->error = error;
	operation_call(pending, driver_request(operation->driver, SIM_READ, "leader", NULL, NULL), true,
				   acquire_check_done);
	/* An earlier write is what may be done. */
	pending->may_be_done = true;
}

static void
operation_key(const DcsRequest *request, char *name, size_t size)
{
	switch (request->operation)
	{
		case DCS_ACQUIRE_LEADER:
		case DCS_RELEASE_LEADER:
		case DCS_RENEW:
			snprintf(name, size, "leader");
			break;
		case DCS_PUT_MEMBER:
		case DCS_DELETE_MEMBER:
			snprintf(name, size, "members/%s", request->key);
			break;
		default:
			snprintf(name, size, "%s", request->key);
			break;
	}
}

static void
write_done(Call *call, const CallResult *result)
{
	DcsPending *pending = call->pending;
	const DcsRequest *request = &pending->request;
	Operation  *operation = pending->driver_data;
	Driver	   *driver = call->driver;
	bool		has_session = request->operation == DCS_ACQUIRE_LEADER ||
		request->operation == DCS_PUT_MEMBER;
	bool		deletes = request->operation == DCS_RELEASE_LEADER ||
		request->operation == DCS_DELETE_MEMBER || request->operation == DCS_DELETE;
	char		name[640];
	uint64_t	revision;

	operation->call = NULL;
	if (result->outcome == CALL_REFUSED && has_session)
	{
		session_forget(driver, operation->session);
		if (operation->granted)
			operation_session_lost(pending);
		else
		{
			pending->may_be_done = false;
			operation_grant(pending, driver);
		}
		return;
	}
	if (result->outcome == CALL_UNKNOWN && request->operation == DCS_ACQUIRE_LEADER)
	{
		operation_check_leader(pending, false, result->error);
		return;
	}
	if (result->outcome != CALL_ANSWERED)
	{
		operation_fail(pending, result);
		return;
	}
	if (!result->answer->succeeded)
	{
		if (request->operation == DCS_ACQUIRE_LEADER)
			operation_check_leader(pending, true, result->error);
		else if (result->repeated && request->operation != DCS_RELEASE_LEADER)
			operation_end(pending, DCS_UNKNOWN, 0,
						  "request to etcd was sent twice, the first may have been done");
		else
			operation_end(pending, DCS_LOST_RACE, 0, NULL);
		return;
	}
	if (request->operation == DCS_ACQUIRE_LEADER)
		pending->sent_at_ms = operation->session_sent_at_ms;
	revision = result->answer->revision;
	operation_key(request, name, sizeof(name));
	dcs_cache_apply(driver->dcs, name, deletes ? NULL : request->value,
					has_session ? operation->session : "", revision);
	if (request->operation == DCS_ACQUIRE_LEADER && request->promotions != NULL)
		dcs_cache_apply(driver->dcs, "promotions", request->promotions, "", revision - 1);
	operation_end(pending, DCS_DONE, revision, NULL);
}

static void
operation_write(DcsPending *pending)
{
	Operation  *operation = pending->driver_data;
	Driver	   *driver = operation->driver;
	const DcsRequest *request = &pending->request;
	SimRequestKind kind = SIM_PUT;
	const char *value = request->value;
	const char *session = NULL;
	SimRequest *write;
	char		name[640];

	operation_key(request, name, sizeof(name));
	snprintf(operation->session, sizeof(operation->session), "%s", driver->dcs->session);
	switch (request->operation)
	{
		case DCS_ACQUIRE_LEADER:
			kind = SIM_ACQUIRE;
			session = operation->session;
			break;
		case DCS_RELEASE_LEADER:
			kind = SIM_DELETE_VALUE;
			break;
		case DCS_PUT_MEMBER:
			session = operation->session;
			break;
		case DCS_CREATE:
			kind = SIM_CREATE;
			break;
		case DCS_PUT:
			kind = request->version != 0 ? SIM_PUT_VERSION : SIM_PUT;
			break;
		case DCS_DELETE:
		case DCS_DELETE_MEMBER:
			kind = request->version != 0 ? SIM_DELETE_VERSION : SIM_DELETE;
			value = NULL;
			break;
		case DCS_RENEW:
			break;
	}
	write = driver_request_both(driver, kind, name, value, request->promotions, session);
	write->version = request->operation == DCS_RELEASE_LEADER ? driver->dcs->revision : request->version;
	write->promotions_version = request->version;
	write->history_version = request->history_version;
	write->failsafe_version = request->failsafe_version;
	write->leader_version = request->leader_version;
	operation_call(pending, write, false, write_done);
}

/* Begin what the front asks for. */
void
driver_submit(Dcs *dcs, DcsPending *pending)
{
	Driver	   *driver = driver_of(dcs);
	DcsOperation kind = pending->request.operation;
	Operation  *operation = calloc(1, sizeof(*operation));
	int64_t		age_ms = clock_now_ms() - driver->session_sent_at_ms;
	bool		is_fresh;

	if (operation == NULL)
		abort();
	operation->driver = driver;
	operation->session_sent_at_ms = driver->session_sent_at_ms;
	pending->driver_data = operation;
	sim_check_request(driver->node, driver->home, &pending->request);
	if (kind != DCS_RENEW && kind != DCS_ACQUIRE_LEADER && kind != DCS_PUT_MEMBER)
	{
		operation_write(pending);
		return;
	}
	is_fresh = driver->session_sent_at_ms > 0 && age_ms < dcs->config.loop_wait_ms &&
		age_ms < dcs->config.ttl_ms / 3;
	if (dcs->session[0] == '\0' ||
		(driver->session_ttl_s != 0 && driver->session_ttl_s != driver_ttl_s(driver)))
	{
		if (kind == DCS_PUT_MEMBER && dcs->session[0] != '\0')
			operation_write(pending);	/* the next renewal will move it */
		else
			operation_grant(pending, driver);
	}
	else if (kind == DCS_RENEW || (kind == DCS_ACQUIRE_LEADER && !is_fresh))
	{
		snprintf(operation->session, sizeof(operation->session), "%s", dcs->session);
		operation_call(pending,
					   driver_request(driver, SIM_KEEPALIVE, NULL, NULL, operation->session),
					   true, keepalive_done);
	}
	else
		operation_write(pending);
}

/* The front gave up waiting. */
void
driver_abandon(Dcs *dcs, DcsPending *pending)
{
	Driver	   *driver = driver_of(dcs);
	Operation  *operation = pending->driver_data;

	if (operation == NULL)
		return;
	if (operation->call != NULL)
		driver_call_free(operation->call);
	pending->driver_data = NULL;
	free(operation);
	if (driver->granting == pending)
	{
		driver->granting = NULL;
		grant_resume(driver, NULL);
	}
}
