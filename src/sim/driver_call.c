/*-------------------------------------------------------------------------
 *
 * driver_call.c
 *      One question to the simulated store, as etcd3.c and http.c ask it: it
 *      is tried until it is answered, refused, or its time is over.
 *
 * What is simplified: there is one endpoint.  A connection is kept after an
 * answer and given up after a failure; a new one costs a round trip, fails at
 * once where the network says so, and otherwise by time.  Only then is a
 * request "not sent".  A kept connection that dies before an answer makes
 * the request go out once more, as libcurl does.
 *-------------------------------------------------------------------------
 */
#include "sim/driver_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

static void
copy(char *to, size_t size, const char *from)
{
	size_t		length = strlen(from);

	if (length >= size)
	{
		sim_fail("bug in the simulator: \"%.40s...\" is too long for the store", from);
		length = size - 1;
	}
	memcpy(to, from, length);
	to[length] = '\0';
}

/* A request to the store; texts may be NULL. */
SimRequest *
driver_request(const Driver *driver, SimRequestKind kind, const char *key, const char *value,
			   const char *session)
{
	return driver_request_both(driver, kind, key, value, NULL, session);
}

/* The same with a value of the key "promotions", or NULL. */
SimRequest *
driver_request_both(const Driver *driver, SimRequestKind kind, const char *key, const char *value,
					const char *promotions, const char *session)
{
	size_t		length = value != NULL ? strlen(value) : 0;
	size_t		size = sizeof(SimRequest) + length + 1 +
		(promotions != NULL ? strlen(promotions) + 1 : 0);
	SimRequest *request = calloc(1, size);

	if (request == NULL)
		abort();
	request->size = size;
	request->node = driver->node;
	request->home = driver->home;
	request->driver_id = driver->id;
	request->kind = kind;
	copy(request->key, sizeof(request->key), key != NULL ? key : "");
	copy(request->session, sizeof(request->session), session != NULL ? session : "");
	if (length > 0)
		memcpy(request->value, value, length);
	request->has_promotions = promotions != NULL;
	if (promotions != NULL)
		memcpy(request->value + length + 1, promotions, strlen(promotions));
	return request;
}

/* The next key of an answer; its value points into the answer.  False: no more. */
bool
driver_key_next(const SimReply *reply, size_t *at, SimKey *key)
{
	const char *data = reply->data;

	if (*at >= reply->size - sizeof(SimReply))
		return false;
	memset(key, 0, sizeof(*key));
	memcpy(&key->version, data + *at, sizeof(key->version));
	*at += sizeof(key->version);
	copy(key->name, sizeof(key->name), data + *at);
	*at += strlen(data + *at) + 1;
	copy(key->session, sizeof(key->session), data + *at);
	*at += strlen(data + *at) + 1;
	key->value = (char *) data + *at;
	*at += strlen(data + *at) + 1;
	return true;
}

/* An answer that the driver's own host gives. */
static void
answer_locally(Driver *driver, uint64_t call_id, SimAnswer answer)
{
	SimReply   *reply = calloc(1, sizeof(SimReply));

	if (reply == NULL)
		abort();
	reply->size = sizeof(SimReply);
	reply->driver_id = driver->id;
	reply->call_id = call_id;
	reply->home = driver->home;
	reply->answer = answer;
	sim_later_in(driver->node, sim_process_of(driver->home),
				 2 * sim.link[driver->node][SIM_STORE].delay_us, sim_driver_reply, 0, reply);
}

/*
 * Send a copy of a request.  n_sent grows when it left, whether or not it
 * arrives.
 */
void
driver_transmit(Driver *driver, const SimRequest *request, bool *used_kept, int *n_sent)
{
	int			node = driver->node;
	int64_t		delay_us = 0;
	int64_t		way_us;
	SimRequest *sent;

	*used_kept = driver->is_connected;
	if (sim_link_refuses(node, SIM_STORE))
	{
		/* Bytes leave on a kept connection before it is known to be dead. */
		if (*used_kept)
			++*n_sent;
		driver->is_connected = false;
		answer_locally(driver, request->call_id, *used_kept ? SIM_RESET : SIM_REFUSED);
		return;
	}
	if (!*used_kept)
	{
		int64_t		there_us = sim_send_delay(node, SIM_STORE);
		int64_t		back_us = sim_send_delay(SIM_STORE, node);

		if (there_us < 0 || back_us < 0)
			return;
		delay_us = there_us + back_us;
	}
	++*n_sent;
	way_us = sim_send_delay(node, SIM_STORE);
	if (way_us < 0)
		return;
	delay_us += way_us;
	if (sim_chance(sim.store_faults.late_request))
		delay_us += sim_between(SIM_MS(200), SIM_MS(8000));
	sent = malloc(request->size);
	if (sent == NULL)
		abort();
	memcpy(sent, request, request->size);
	sim_later(delay_us, sim_store_arrive, node, 0, sent);
}

/* A new call; takes the request over.  driver_call_try() begins it. */
Call *
driver_call(Driver *driver, SimRequest *request, int64_t deadline_ms,
			void (*done) (Call *call, const CallResult *result), DcsPending *pending)
{
	Call	   *call = calloc(1, sizeof(*call));

	if (call == NULL)
		abort();
	call->driver = driver;
	call->number = sim_store_next_id();
	call->request = request;
	call->deadline_ms = deadline_ms;
	call->done = done;
	call->pending = pending;
	call->backoff_ms = BACKOFF_MIN_MS;
	call->next = driver->calls;
	driver->calls = call;
	return call;
}

/* Forget a call; what is on its way may still happen. */
void
driver_call_free(Call *call)
{
	Call	  **link;

	for (link = &call->driver->calls; *link != NULL; link = &(*link)->next)
		if (*link == call)
		{
			*link = call->next;
			break;
		}
	/* What is cancelled takes its connection with it. */
	if (call->state == CALL_RUNNING)
		call->driver->is_connected = false;
	free(call->request);
	free(call);
}

static void
call_end(Call *call, CallResult *result)
{
	call->state = CALL_ENDED;
	result->sent_at_ms = call->sent_at_ms;
	result->repeated = result->repeated || call->may_be_done;
	if (result->error == NULL)
		result->error = call->last_error != NULL ? call->last_error : "";
	call->done(call, result);
	driver_call_free(call);
}

static void
call_give_up(Call *call)
{
	CallResult	result = {.outcome = call->may_be_done ? CALL_UNKNOWN : CALL_NOT_SENT};

	if (call->last_error == NULL)
		result.error = call->driver->knows_version ? "etcd did not answer in time" :
			"no endpoint of etcd has answered yet";
	call_end(call, &result);
}

static void
call_pause(Call *call, int64_t now_ms)
{
	call->state = CALL_WAITING;
	call->was_tried = false;
	call->pause_until_ms = now_ms + call->backoff_ms;
	call->backoff_ms = call->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : call->backoff_ms * 2;
	if (call->pause_until_ms >= call->deadline_ms)
		call_give_up(call);
}

/* An attempt ended with neither answer nor refusal. */
static void
call_attempt_failed(Call *call, bool was_sent, int64_t now_ms)
{
	call->state = CALL_WAITING;
	if (was_sent)
		call->may_be_done = true;
	else if (!call->may_be_done && call->pending != NULL)
		call->pending->may_be_done = false;
	driver_endpoint_failed(call->driver, now_ms);
	if (was_sent && !call->is_idempotent)
	{
		call_give_up(call);
		return;
	}
	driver_call_try(call, now_ms);
}

static int
try_timeout_ms(const Call *call, int64_t remaining_ms)
{
	int64_t		share = remaining_ms;

	if (call->is_idempotent && !call->is_single_pass)
		share = remaining_ms / 2;
	if (share < TRY_MIN_MS)
		share = TRY_MIN_MS;
	return (int) (share < remaining_ms ? share : remaining_ms);
}

/* Begin the next attempt, or wait for what is missing, or give up. */
void
driver_call_try(Call *call, int64_t now_ms)
{
	Driver	   *driver = call->driver;
	int64_t		remaining_ms = call->deadline_ms - now_ms;
	int			timeout_ms;

	call->state = CALL_WAITING;
	if (remaining_ms <= 0)
	{
		call_give_up(call);
		return;
	}
	if (call->request->kind != SIM_VERSION && !driver->knows_version)
		return;
	if (call->pause_until_ms > now_ms)
		return;
	if (call->was_tried)
	{
		if (call->is_single_pass)
			call_give_up(call);
		else
			call_pause(call, now_ms);
		return;
	}
	call->was_tried = true;
	timeout_ms = try_timeout_ms(call, remaining_ms);
	call->sent_at_ms = clock_now_ms();
	if (call->pending != NULL)
	{
		call->pending->may_be_done = true;
		if (call->pending->sent_at_ms == 0)
			call->pending->sent_at_ms = call->sent_at_ms;
	}
	call->state = CALL_RUNNING;
	call->id = call->request->call_id = sim_store_next_id();
	call->n_sent = 0;
	driver_transmit(driver, call->request, &call->used_kept, &call->n_sent);
	/* Without a connection its own, shorter time is over first. */
	if (call->n_sent == 0)
		timeout_ms = timeout_ms > 2 * TRY_MIN_MS ? timeout_ms / 2 :
			timeout_ms < TRY_MIN_MS ? timeout_ms : TRY_MIN_MS;
	call->attempt_until_ms = now_ms + timeout_ms;
}

/* Is this call still there, and in this state?  Ending one may end others. */
static bool
is_there(const Driver *driver, const Call *wanted, uint64_t number, CallState state)
{
	for (const Call *call = driver->calls; call != NULL; call = call->next)
		if (call == wanted)
			return call->state == state && call->number == number;
	return false;
}

/* Let waiting calls try; the list may change under us. */
void
driver_calls_kick(Driver *driver, int64_t now_ms)
{
	Call	   *waiting[DCS_PENDING_MAX + 8];
	uint64_t	numbers[DCS_PENDING_MAX + 8];
	int			n = 0;

	for (Call *call = driver->calls; call != NULL && n < DCS_PENDING_MAX + 8; call = call->next)
	{
		if (call->state != CALL_WAITING)
			continue;
		numbers[n] = call->number;
		waiting[n++] = call;
	}
	for (int i = n - 1; i >= 0; i--)
		if (is_there(driver, waiting[i], numbers[i], CALL_WAITING))
			driver_call_try(waiting[i], now_ms);
}

/* End the attempts that nobody has answered. */
void
driver_calls_time_out(Driver *driver, int64_t now_ms)
{
	Call	   *late[DCS_PENDING_MAX + 8];
	uint64_t	numbers[DCS_PENDING_MAX + 8];
	int			n = 0;

	for (Call *call = driver->calls; call != NULL && n < DCS_PENDING_MAX + 8; call = call->next)
	{
		if (call->state != CALL_RUNNING || call->attempt_until_ms > now_ms)
			continue;
		numbers[n] = call->number;
		late[n++] = call;
	}
	for (int i = n - 1; i >= 0; i--)
	{
		if (!is_there(driver, late[i], numbers[i], CALL_RUNNING))
			continue;
		driver->is_connected = false;
		late[i]->last_error = late[i]->n_sent > 0 ? "etcd does not answer" :
			"could not connect to etcd";
		call_attempt_failed(late[i], late[i]->n_sent > 0, now_ms);
	}
}

/* The connection of a call is gone, or there was none. */
static void
call_disconnected(Call *call, int64_t now_ms)
{
	Driver	   *driver = call->driver;

	driver->is_connected = false;
	call->last_error = "the connection to etcd was closed";
	if (call->used_kept && call->n_sent == 1)
	{
		/* As libcurl does, on a new connection. */
		driver_transmit(driver, call->request, &call->used_kept, &call->n_sent);
		call->used_kept = false;
		return;
	}
	call_attempt_failed(call, call->n_sent > 0, now_ms);
}

/* An answer for one of the calls, perhaps for one that was given up. */
void
driver_calls_answer(Driver *driver, const SimReply *reply, int64_t now_ms)
{
	Call	   *call;
	CallResult	result = {.answer = reply};

	for (call = driver->calls; call != NULL; call = call->next)
		if (call->id == reply->call_id && call->state == CALL_RUNNING)
			break;
	if (call == NULL)
		return;
	switch (reply->answer)
	{
		case SIM_RESET:
		case SIM_REFUSED:
			call_disconnected(call, now_ms);
			return;
		case SIM_UNAVAILABLE:
			driver->is_connected = true;
			call->last_error = "etcdserver: leader changed";
			call_attempt_failed(call, true, now_ms);
			return;
		case SIM_LEASE_NOT_FOUND:
			driver->is_connected = true;
			if (call->n_sent > 1)
				call->may_be_done = true;
			call->last_error = "etcdserver: requested lease not found";
			result.outcome = CALL_REFUSED;
			break;
		default:
			driver->is_connected = true;
			if (call->n_sent > 1)
				call->may_be_done = true;
			result.outcome = CALL_ANSWERED;
			dcs_was_heard(driver->dcs);
			sim_check_store_answered(driver->node, driver->home);
			break;
	}
	call_end(call, &result);
}
