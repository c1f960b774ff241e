/*-------------------------------------------------------------------------
 *
 * driver.c
 *      The driver of the simulated store, in the place of etcd3.c: the
 *      follower, which loads the keys and keeps a watch, and the entry points.
 *
 * The functions of the follower have the names and the conclusions that they
 * have in etcd3.c.  What arrives waits in an inbox until the home's loop turns,
 * as it would in a socket: a paused process handles nothing.
 *
 * What is simplified: one endpoint, no authentication, no member list; the
 * version is asked for once.  A half-open watch is found out by a look every
 * third of ttl, where the real one has TCP keepalives of the same length.
 *-------------------------------------------------------------------------
 */
#include "sim/driver_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

static Driver *drivers[SIM_NODES_MAX][2];

static void watch_failed(Driver *driver, int64_t now_ms, const char *why);

static void
unreachable(Driver *driver, const char *why)
{
	Error		error;

	error_clear(&error);
	error_set(&error, "%s", why);
	dcs_set_reachable(driver->dcs, false, &error);
}

/* ---------------------------------------------------------------- the follower */

static void
sync_later(Driver *driver, int64_t now_ms)
{
	driver->sync_at_ms = now_ms + driver->sync_backoff_ms;
	driver->sync_backoff_ms *= 2;
	if (driver->sync_backoff_ms > BACKOFF_MAX_MS)
		driver->sync_backoff_ms = BACKOFF_MAX_MS;
}

static void
sync_failed(Driver *driver, int64_t now_ms, const char *why)
{
	unreachable(driver, why);
	sync_later(driver, now_ms);
}

static void
watch_stop(Driver *driver)
{
	driver->watch_state = WATCH_NONE;
	driver->watch_id = 0;
	driver->is_suspect = false;
	if (driver->probe_call != NULL)
		driver_call_free(driver->probe_call);
	driver->probe_call = NULL;
}

static void
watch_failed(Driver *driver, int64_t now_ms, const char *why)
{
	bool		was_healthy = driver->watch_state == WATCH_HEALTHY;

	dcs_log(driver->dcs, was_healthy ? 1 : 0, "watch of the etcd keys ended: %s", why);
	watch_stop(driver);
	if (was_healthy)
		driver->sync_at_ms = now_ms;
	else
		sync_failed(driver, now_ms, why);
}

/*
 * Is the store at "revision" as the watch has told it?  Then nothing of this
 * cluster was changed since.  A member that is behind, or a store that went
 * back in time, shows an older revision, which tells nothing.
 */
bool
driver_watch_is_complete(const Driver *driver, uint64_t revision)
{
	uint64_t	checked = driver->checked_revision > driver->watch_revision ?
		driver->checked_revision : driver->watch_revision;

	return driver->watch_state == WATCH_HEALTHY && !driver->needs_load &&
		!driver->is_suspect && revision >= driver->watch_revision && revision <= checked;
}

/* A request sent at "at_ms" has shown that the watch tells of everything. */
void
driver_watch_was_checked(Driver *driver, int64_t at_ms)
{
	driver->dcs->sighting.revision = driver->watch_revision;
	driver->dcs->sighting.at_ms = at_ms;
	driver->probe_at_ms = at_ms + driver_probe_interval_ms(driver);
}

/* Has the watch told of all keys of this answer? */
bool
driver_watch_has_told(const Driver *driver, const SimReply *answer)
{
	const DcsKey *leader = dcs_cache_find(driver->dcs, "leader");
	uint64_t	version = 0;
	uint64_t	newest = 0;
	SimKey		key;
	size_t		at = 0;

	for (int i = 0; i < answer->n_keys && driver_key_next(answer, &at, &key); i++)
	{
		if (strcmp(key.name, "leader") == 0)
			version = key.version;
		if (key.version > newest)
			newest = key.version;
	}
	return (version == (leader != NULL ? leader->version : 0) && newest <= driver->watch_revision) ||
		answer->revision <= driver->watch_revision;
}

/* It has, as an answer of this revision to a request sent at that time shows. */
void
driver_watch_is_right(Driver *driver, uint64_t revision, int64_t sent_at_ms)
{
	driver->is_suspect = false;
	driver->checked_revision = revision;
	driver_watch_was_checked(driver, sent_at_ms);
}

/* A request went wrong: is the watch still good? */
void
driver_endpoint_failed(Driver *driver, int64_t now_ms)
{
	if (driver->watch_state == WATCH_HEALTHY && driver->probe_call == NULL &&
		driver->probe_at_ms > now_ms)
		driver->probe_at_ms = now_ms;
}

static void
watch_start(Driver *driver, int64_t now_ms)
{
	SimRequest *request = driver_request(driver, SIM_WATCH, NULL, NULL, NULL);
	bool		kept = driver->is_connected;
	bool		used_kept;
	int			n_sent = 0;

	request->version = driver->watch_revision + 1;
	request->call_id = driver->watch_id = sim_store_next_id();
	driver->watch_state = WATCH_STARTING;
	driver->watch_deadline_ms = now_ms + 2 * TRY_MIN_MS;
	/* A stream has a connection of its own. */
	driver->is_connected = false;
	driver_transmit(driver, request, &used_kept, &n_sent);
	driver->is_connected = kept;
	free(request);
}

/* Take the changes up to "revision" from the log; false: it does not go back so far. */
static bool
watch_events(Driver *driver, uint64_t revision)
{
	while (driver->watch_revision < revision)
	{
		const SimChange *change = sim_store_change(driver->watch_revision + 1);

		if (change == NULL)
			return false;
		driver->watch_revision++;
		dcs_cache_apply(driver->dcs, change->name,
						change->value != NULL ? change->value->text : NULL,
						change->session, change->revision);
	}
	dcs_cache_settle(driver->dcs, driver->watch_revision);
	return true;
}

/* One document of the stream, or its end. */
static void
watch_document(Driver *driver, const SimReply *reply, int64_t now_ms)
{
	switch (reply->answer)
	{
		case SIM_ANSWERED:
			break;
		case SIM_WATCH_EVENTS:
			if (driver->needs_load)
			{
				watch_failed(driver, now_ms, "the keys must be read again");
				return;
			}
			if (watch_events(driver, reply->revision))
				break;
			/* FALLTHROUGH */
		case SIM_WATCH_COMPACTED:
			driver->needs_load = true;
			watch_failed(driver, now_ms, "its revision was compacted");
			return;
		default:
			watch_failed(driver, now_ms, "the connection was closed");
			return;
	}
	driver->probe_at_ms = now_ms + driver_probe_interval_ms(driver);
	driver->alive_at_ms = now_ms + driver_dead_peer_ms(driver);
	/* the extension was answered before the watch told of a change before it */
	if (driver->extended_ms > driver->dcs->sighting.at_ms && driver->extended_revision <= driver->watch_revision &&
		!driver->is_suspect)
		driver_watch_was_checked(driver, driver->extended_ms);
	dcs_was_heard(driver->dcs);
	if (driver->watch_state != WATCH_HEALTHY)
	{
		driver->watch_state = WATCH_HEALTHY;
		driver->sync_backoff_ms = BACKOFF_MIN_MS;
		dcs_set_reachable(driver->dcs, true, NULL);
	}
}

static char *
text_copy(const char *from)
{
	char	   *text = strdup(from);

	if (text == NULL)
		abort();
	return text;
}

static void
load_done(Call *call, const CallResult *result)
{
	Driver	   *driver = call->driver;
	int64_t		now_ms = clock_now_ms();
	uint64_t	revision;
	DcsKey	   *keys;
	SimKey		key;
	size_t		at = 0;
	int			n_keys = 0;
	Error		error;

	driver->sync_call = NULL;
	if (result->outcome != CALL_ANSWERED)
	{
		driver->load_linearizable = false;
		sync_failed(driver, now_ms, result->error);
		return;
	}
	revision = result->answer->revision;
	if (!driver->load_linearizable && revision < driver->dcs->revision)
	{
		driver->load_linearizable = true;
		driver->sync_at_ms = now_ms;
		return;
	}
	keys = calloc((size_t) result->answer->n_keys + 1, sizeof(DcsKey));
	if (keys == NULL)
		abort();
	while (n_keys < result->answer->n_keys && driver_key_next(result->answer, &at, &key))
	{
		DcsKey	   *loaded = &keys[n_keys++];

		loaded->name = text_copy(key.name);
		loaded->value = text_copy(key.value);
		loaded->version = key.version;
		memcpy(loaded->session, key.session, sizeof(key.session));
	}
	if (driver->load_linearizable && revision < driver->dcs->revision)
		dcs_cache_forget(driver->dcs);
	error_clear(&error);
	if (!dcs_load(driver->dcs, keys, n_keys, revision, &error))
	{
		sync_failed(driver, now_ms, error.message);
		return;
	}
	driver->watch_revision = driver->checked_revision = revision;
	driver->needs_load = driver->load_linearizable = false;
	driver->sync_at_ms = now_ms;
}

static void
version_done(Call *call, const CallResult *result)
{
	Driver	   *driver = call->driver;
	int64_t		now_ms = clock_now_ms();

	driver->sync_call = NULL;
	if (result->outcome != CALL_ANSWERED)
	{
		sync_failed(driver, now_ms, result->error);
		return;
	}
	driver->knows_version = true;
	driver->sync_at_ms = now_ms;
	driver_calls_kick(driver, now_ms);
}

/* Take the next step towards a healthy watch. */
static void
sync_step(Driver *driver, int64_t now_ms)
{
	int64_t		deadline_ms = now_ms + driver->dcs->config.retry_timeout_ms;
	SimRequest *request;
	Call	   *call;

	driver->sync_at_ms = -1;
	if (driver->sync_call != NULL)
		return;
	if (!driver->knows_version)
	{
		request = driver_request(driver, SIM_VERSION, NULL, NULL, NULL);
		call = driver_call(driver, request, deadline_ms, version_done, NULL);
	}
	else if (!driver->dcs->is_loaded || driver->needs_load || driver->load_linearizable)
	{
		watch_stop(driver);
		request = driver_request(driver, SIM_LOAD, NULL, NULL, NULL);
		request->is_serializable = !driver->load_linearizable;
		call = driver_call(driver, request, deadline_ms, load_done, NULL);
	}
	else
	{
		if (driver->watch_state == WATCH_NONE)
			watch_start(driver, now_ms);
		return;
	}
	call->is_idempotent = true;
	call->is_single_pass = true;
	driver->sync_call = call;
	driver_call_try(call, now_ms);
}

/*
 * A linearizable look at the leader key, also that it is gone, and at the last
 * write of the cluster: is the silent watch right?
 */
static void
probe_done(Call *call, const CallResult *result)
{
	Driver	   *driver = call->driver;
	int64_t		now_ms = clock_now_ms();
	uint64_t	revision;

	driver->probe_call = NULL;
	driver->probe_at_ms = now_ms + driver_probe_interval_ms(driver);
	if (driver->watch_state != WATCH_HEALTHY)
		return;
	if (result->outcome != CALL_ANSWERED)
	{
		watch_failed(driver, now_ms, result->error);
		unreachable(driver, result->error);
		return;
	}
	revision = result->answer->revision;
	if (revision < driver->probe_revision)
	{
		driver->needs_load = driver->load_linearizable = true;
		watch_failed(driver, now_ms, "the store went back in time");
		return;
	}
	if (!driver_watch_has_told(driver, result->answer))
	{
		if (driver->is_suspect && (driver->watch_revision == driver->suspect_revision ||
								   driver->suspect_until_ms <= now_ms))
		{
			watch_failed(driver, now_ms, "it does not tell of changes");
			return;
		}
		if (!driver->is_suspect)
			driver->suspect_until_ms = now_ms + driver_dead_peer_ms(driver) + STALE_CHECK_MS;
		driver->is_suspect = true;
		driver->suspect_revision = driver->watch_revision;
		driver->probe_at_ms = now_ms + STALE_CHECK_MS;
		return;
	}
	driver_watch_is_right(driver, revision, result->sent_at_ms);
}

/* Has the node's other home looked lately, and seen what the watch has told here? */
static bool
probe_is_spared(Driver *driver, int64_t now_ms)
{
	const DcsSighting *others = &driver->dcs->others_sighting;
	int64_t		until_ms = others->at_ms + driver_dead_peer_ms(driver) * 2;

	if (others->at_ms == 0 || until_ms <= now_ms || others->revision > driver->watch_revision ||
		driver->is_suspect)
		return false;
	driver->probe_at_ms = until_ms;
	return true;
}

static void
probe_start(Driver *driver, int64_t now_ms)
{
	int64_t		wait_ms = driver_dead_peer_ms(driver) / 2;

	if (wait_ms < TRY_MIN_MS)
		wait_ms = TRY_MIN_MS;
	driver->probe_at_ms = now_ms + wait_ms + driver_probe_interval_ms(driver);
	if (driver->probe_call != NULL)
		return;
	driver->probe_call = driver_call(driver, driver_request(driver, SIM_LOAD, NULL, NULL, NULL),
									 now_ms + wait_ms, probe_done, NULL);
	driver->probe_revision = driver->watch_revision;
	driver->probe_call->is_idempotent = true;
	driver->probe_call->is_single_pass = true;
	driver_call_try(driver->probe_call, now_ms);
}

/* ---------------------------------------------------------------- the driver */

/* Event in the home's process: an answer or a piece of the stream came in. */
void
sim_driver_reply(int node, int64_t number, void *owned)
{
	const SimReply *reply = owned;
	Driver	   *driver = drivers[node][reply->home];
	SimReply   *kept;

	(void) number;
	if (driver == NULL || driver->id != reply->driver_id)
		return;
	kept = malloc(reply->size);
	if (kept == NULL)
		abort();
	memcpy(kept, reply, reply->size);
	kept->next = NULL;
	*driver->inbox_end = kept;
	driver->inbox_end = &kept->next;
	sim_host_wake(node, driver->home);
}

static int
sim_etcd3_fd(const Dcs *dcs)
{
	(void) dcs;
	return 1000000000;			/* as in shims.c */
}

static void
sim_etcd3_socket_ready(Dcs *dcs, int64_t now_ms)
{
	Driver	   *driver = driver_of(dcs);

	while (driver->inbox != NULL)
	{
		SimReply   *reply = driver->inbox;

		driver->inbox = reply->next;
		if (driver->inbox == NULL)
			driver->inbox_end = &driver->inbox;
		if (driver->watch_id != 0 && reply->call_id == driver->watch_id)
			watch_document(driver, reply, now_ms);
		else
			driver_calls_answer(driver, reply, now_ms);
		free(reply);
	}
	driver_calls_time_out(driver, now_ms);
}

static void
earlier(int64_t *at_ms, int64_t candidate_ms)
{
	if (candidate_ms >= 0 && (*at_ms < 0 || candidate_ms < *at_ms))
		*at_ms = candidate_ms;
}

static int64_t
sim_etcd3_timer_at_ms(const Dcs *dcs, int64_t now_ms)
{
	const Driver *driver = driver_of(dcs);
	int64_t		at_ms = -1;

	earlier(&at_ms, driver->sync_at_ms);
	if (driver->inbox != NULL)
		earlier(&at_ms, now_ms);
	if (driver->watch_state == WATCH_STARTING)
		earlier(&at_ms, driver->watch_deadline_ms);
	if (driver->watch_state == WATCH_HEALTHY)
	{
		earlier(&at_ms, driver->probe_at_ms);
		earlier(&at_ms, driver->alive_at_ms);
	}
	for (const Call *call = driver->calls; call != NULL; call = call->next)
	{
		if (call->state != CALL_WAITING)
		{
			earlier(&at_ms, call->attempt_until_ms);
			continue;
		}
		earlier(&at_ms, call->deadline_ms);
		if (call->pause_until_ms > now_ms)
			earlier(&at_ms, call->pause_until_ms);
		else if (call->request->kind == SIM_VERSION || driver->knows_version)
			earlier(&at_ms, now_ms);
	}
	return at_ms;
}

static void
sim_etcd3_timer_due(Dcs *dcs, int64_t now_ms)
{
	Driver	   *driver = driver_of(dcs);

	driver_calls_kick(driver, now_ms);
	if (driver->watch_state == WATCH_STARTING && driver->watch_deadline_ms <= now_ms)
		watch_failed(driver, now_ms, "etcd did not answer in time");
	if (driver->watch_state == WATCH_HEALTHY && driver->alive_at_ms <= now_ms)
	{
		driver->alive_at_ms = now_ms + driver_dead_peer_ms(driver);
		if (sim_is_connected(driver->node, SIM_STORE) &&
			!sim_store_watches(driver->node, driver->home, driver->watch_id))
			watch_failed(driver, now_ms, "the connection was reset");
	}
	if (driver->watch_state == WATCH_HEALTHY && driver->probe_at_ms <= now_ms &&
		!probe_is_spared(driver, now_ms))
		probe_start(driver, now_ms);
	if (driver->sync_at_ms >= 0 && driver->sync_at_ms <= now_ms)
		sync_step(driver, now_ms);
}

/* A session from elsewhere: nobody here knows when it was extended. */
static void
sim_etcd3_session_was_set(Dcs *dcs)
{
	Driver	   *driver = driver_of(dcs);

	driver->session_sent_at_ms = 0;
	driver->session_ttl_s = 0;
}

static bool
sim_etcd3_reconfigure(Dcs *dcs, Error *error)
{
	Driver	   *driver = driver_of(dcs);

	(void) error;
	if (driver->sync_call == NULL)
		driver->sync_at_ms = clock_now_ms();
	return true;
}

static void
sim_etcd3_close(Dcs *dcs)
{
	Driver	   *driver = driver_of(dcs);

	if (driver == NULL)
		return;
	if (drivers[driver->node][driver->home] == driver)
		drivers[driver->node][driver->home] = NULL;
	watch_stop(driver);
	while (driver->calls != NULL)
		driver_call_free(driver->calls);
	while (driver->inbox != NULL)
	{
		SimReply   *reply = driver->inbox;

		driver->inbox = reply->next;
		free(reply);
	}
	free(driver);
	dcs->driver_data = NULL;
}

static bool
sim_etcd3_open(Dcs *dcs, Error *error)
{
	Driver	   *driver = calloc(1, sizeof(*driver));

	if (driver == NULL)
		return error_set(error, "out of memory");
	if (sim.current_node < 0)
	{
		sim_fail("bug in the simulator: a store was opened outside of a node");
		free(driver);
		return error_set(error, "store was opened outside of a node");
	}
	driver->dcs = dcs;
	driver->node = sim.current_node;
	driver->home = (HaHome) sim.current_home;
	driver->id = sim_store_next_id();
	driver->inbox_end = &driver->inbox;
	driver->sync_backoff_ms = BACKOFF_MIN_MS;
	driver->sync_at_ms = clock_now_ms();
	dcs->driver_data = driver;
	drivers[driver->node][driver->home] = driver;
	return true;
}

const DcsDriver etcd3_driver = {
	.name = "etcd3",
	.features = DCS_FEATURE_WATCH,
	.open = sim_etcd3_open,
	.reconfigure = sim_etcd3_reconfigure,
	.fd = sim_etcd3_fd,
	.submit = driver_submit,
	.abandon = driver_abandon,
	.socket_ready = sim_etcd3_socket_ready,
	.timer_at_ms = sim_etcd3_timer_at_ms,
	.timer_due = sim_etcd3_timer_due,
	.session_was_set = sim_etcd3_session_was_set,
	.close = sim_etcd3_close,
};
