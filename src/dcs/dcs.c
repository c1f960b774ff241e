/*-------------------------------------------------------------------------
 *
 * dcs.c
 *      The front of the consensus store: checks requests, bounds their wait,
 *      keeps the cache of keys and delivers what the driver found out.
 *
 * Invariants:
 *  (1) Each accepted request gets exactly one reply, unless it is forgotten,
 *      and gets it no later than its deadline.
 *  (2) Callbacks run from dcs_process() only, after the driver has returned.
 *  (3) The cache never goes back to an older version of a key, except by a
 *      new load that the driver vouches for.
 *  (4) The leader key is never written without a compare.
 *-------------------------------------------------------------------------
 */
#include "dcs/dcs.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "dcs/dcs_internal.h"

/* Adding a store is one file and one line here. */
static const DcsDriver *const drivers[] = {
	&etcd3_driver,
};

/* ---------------------------------------------------------------- configuration */

static void
config_free(DcsConfig *config)
{
	int			i;

	for (i = 0; i < config->n_hosts; i++)
		free((char *) config->hosts[i]);
	free((void *) config->hosts);
	explicit_bzero(config, sizeof(*config));
}

static bool
config_copy(DcsConfig *to, const DcsConfig *from, Error *error)
{
	char	  **hosts;
	int			i;

	*to = *from;
	to->hosts = NULL;
	to->n_hosts = 0;
	hosts = calloc((size_t) from->n_hosts + 1, sizeof(char *));
	if (hosts == NULL)
		return error_set(error, "out of memory");
	to->hosts = (const char *const *) hosts;
	for (i = 0; i < from->n_hosts; i++)
	{
		hosts[i] = strdup(from->hosts[i]);
		if (hosts[i] == NULL)
		{
			config_free(to);
			return error_set(error, "out of memory");
		}
		to->n_hosts++;
	}
	return true;
}

static bool
config_check(const DcsConfig *config, Error *error)
{
	if (config->base[0] != '/' || config->base[1] == '\0')
		return error_set(error, "base path \"%s\" of the store is not absolute", config->base);
	if (config->n_hosts < 0 || (config->n_hosts == 0 && config->proxy[0] == '\0'))
		return error_set(error, "no host of the store \"%s\" is given", config->driver);
	if (config->ttl_ms <= 0 || config->retry_timeout_ms <= 0 || config->loop_wait_ms <= 0)
		return error_set(error, "ttl, loop_wait and retry_timeout must be greater than zero");
	return true;
}

/* ---------------------------------------------------------------- open and close */

/* Open a store.  A first load starts by itself and is repeated until it works. */
bool
dcs_open(Dcs **dcs, const DcsConfig *config, const DcsCallbacks *callbacks, Error *error)
{
	Dcs		   *new;
	size_t		i;

	*dcs = NULL;
	if (!config_check(config, error))
		return false;
	new = calloc(1, sizeof(*new));
	if (new == NULL)
		return error_set(error, "out of memory");
	for (i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++)
		if (strcmp(drivers[i]->name, config->driver) == 0)
			new->driver = drivers[i];
	if (new->driver == NULL)
	{
		free(new);
		return error_set(error, "store \"%s\" is not supported", config->driver);
	}
	if (!config_copy(&new->config, config, error))
	{
		free(new);
		return false;
	}
	if (callbacks != NULL)
		new->callbacks = *callbacks;
	cluster_view_init(&new->view);
	if (!new->driver->open(new, error))
	{
		cluster_view_free(&new->view);
		config_free(&new->config);
		free(new);
		return error_wrap(error, "could not open store \"%s\"", config->driver);
	}
	*dcs = new;
	return true;
}

static void
keys_free(DcsKey *keys, int n_keys)
{
	int			i;

	for (i = 0; i < n_keys; i++)
	{
		free(keys[i].name);
		free(keys[i].value);
	}
	free(keys);
}

static void
pending_free(Dcs *dcs, DcsPending *pending)
{
	dcs->n_pending--;
	free((char *) pending->request.key);
	free((char *) pending->request.value);
	free((char *) pending->request.promotions);
	memset(pending, 0, sizeof(*pending));
}

/* Close a store, without replies and without giving up the session.  Not from a callback. */
void
dcs_close(Dcs *dcs)
{
	if (dcs == NULL)
		return;
	dcs_forget_all(dcs);
	dcs->driver->close(dcs);
	keys_free(dcs->keys, dcs->n_keys);
	cluster_view_free(&dcs->view);
	config_free(&dcs->config);
	free(dcs);
}

/*
 * Use a new configuration.  The driver and the base path cannot change.  A
 * changed ttl takes effect with the next renewal: it grants a new session
 * and moves the leader key there; the member key is the caller's to rewrite.
 */
bool
dcs_reconfigure(Dcs *dcs, const DcsConfig *config, Error *error)
{
	DcsConfig	old = dcs->config;
	DcsConfig	new;

	if (!config_check(config, error))
		return false;
	if (strcmp(config->driver, old.driver) != 0 || strcmp(config->base, old.base) != 0)
		return error_set(error, "store and base path cannot be changed while it is open");
	if (!config_copy(&new, config, error))
		return false;
	dcs->config = new;
	if (!dcs->driver->reconfigure(dcs, error))
	{
		dcs->config = old;
		config_free(&new);
		return false;
	}
	config_free(&old);
	return true;
}

/* ---------------------------------------------------------------- requests */

static bool
request_check(const DcsRequest *request, Error *error)
{
	bool		wants_value = false;

	if (request->id == 0)
		return error_set(error, "request of the store has no id");
	switch (request->operation)
	{
		case DCS_RENEW:
			wants_value = request->key != NULL;
			if (request->key == NULL)
				return true;
			break;
		case DCS_ACQUIRE_LEADER:
		case DCS_RELEASE_LEADER:
			if (request->value == NULL || request->value[0] == '\0')
				return error_set(error, "no member name is given for the leader key");
			if (request->promotions != NULL && strlen(request->promotions) > DCS_VALUE_MAX)
				return error_set(error, "value of key \"promotions\" is too long");
			return true;
		case DCS_PUT_MEMBER:
		case DCS_CREATE:
			wants_value = true;
			break;
		case DCS_PUT:
			wants_value = true;
			/* FALLTHROUGH */
		case DCS_DELETE:
			break;
		case DCS_DELETE_MEMBER:
			break;
		default:
			return error_set(error, "request of the store has unknown operation %d",
							 (int) request->operation);
	}
	if (request->key == NULL || request->key[0] == '\0' || request->key[0] == '/')
		return error_set(error, "request of the store has no relative key");
	if (strlen(request->key) > 512)
		return error_set(error, "key of the store is too long");
	if (request->operation == DCS_RENEW)
	{
		if (strcmp(request->key, "leader") != 0 || request->value == NULL ||
			request->value[0] == '\0')
			return error_set(error, "only the leader key can be renewed, and with a member name");
	}
	else if (request->operation != DCS_PUT_MEMBER && request->operation != DCS_DELETE_MEMBER &&
			 strcmp(request->key, "leader") == 0)
		return error_set(error, "the leader key is never written or deleted unconditionally");
	if (wants_value && request->value == NULL)
		return error_set(error, "no value is given for key \"%s\"", request->key);
	if (request->value != NULL && strlen(request->value) > DCS_VALUE_MAX)
		return error_set(error, "value of key \"%s\" is too long", request->key);
	return true;
}

/* Accept a request.  False: it is wrong, or too many are under way. */
bool
dcs_submit(Dcs *dcs, const DcsRequest *request, Error *error)
{
	DcsPending *pending = NULL;
	int			timeout_ms;
	int			i;

	if (!request_check(request, error))
		return false;
	for (i = 0; i < DCS_PENDING_MAX && pending == NULL; i++)
		if (!dcs->pending[i].is_used)
			pending = &dcs->pending[i];
	if (pending == NULL)
		return error_set(error, "too many requests of the store are under way");

	memset(pending, 0, sizeof(*pending));
	pending->request = *request;
	pending->request.key = request->key != NULL ? strdup(request->key) : NULL;
	pending->request.value = request->value != NULL ? strdup(request->value) : NULL;
	pending->request.promotions = request->promotions != NULL ? strdup(request->promotions) : NULL;
	dcs->n_pending++;
	if ((request->key != NULL && pending->request.key == NULL) ||
		(request->value != NULL && pending->request.value == NULL) ||
		(request->promotions != NULL && pending->request.promotions == NULL))
	{
		pending_free(dcs, pending);
		return error_set(error, "out of memory");
	}
	timeout_ms = request->timeout_ms > 0 ? request->timeout_ms : (int) dcs->config.retry_timeout_ms;
	pending->is_used = true;
	pending->order = ++dcs->order;
	pending->deadline_ms = clock_now_ms() + timeout_ms;
	return true;
}

/* Forget all requests: no replies come any more. */
void
dcs_forget_all(Dcs *dcs)
{
	int			i;

	for (i = 0; dcs->n_pending > 0; i++)
	{
		DcsPending *pending = &dcs->pending[i];

		if (!pending->is_used)
			continue;
		if (pending->is_submitted && !pending->is_complete)
			dcs->driver->abandon(dcs, pending);
		pending_free(dcs, pending);
	}
}

/* For drivers: a request ended.  The front delivers the reply later. */
void
dcs_complete(Dcs *dcs, DcsPending *pending, DcsOutcome outcome, uint64_t version,
			 const Error *error)
{
	DcsReply   *reply = &pending->reply;

	(void) dcs;
	reply->id = pending->request.id;
	reply->operation = pending->request.operation;
	reply->outcome = outcome;
	reply->sent_at_ms = pending->sent_at_ms;
	reply->version = version;
	error_clear(&reply->error);
	if (error != NULL)
		reply->error = *error;
	pending->is_complete = true;
}

/* The unfinished or finished request submitted first, NULL if there is none. */
static DcsPending *
first_pending(Dcs *dcs, bool is_complete, bool is_submitted)
{
	DcsPending *first = NULL;
	int			left = dcs->n_pending;
	int			i;

	for (i = 0; left > 0; i++)
	{
		DcsPending *pending = &dcs->pending[i];

		if (!pending->is_used)
			continue;
		left--;
		if (pending->is_complete == is_complete && pending->is_submitted == is_submitted &&
			(first == NULL || pending->order < first->order))
			first = pending;
	}
	return first;
}

/* End what has waited long enough. */
static void
expire_pending(Dcs *dcs, int64_t now_ms)
{
	int			left = dcs->n_pending;
	int			i;

	for (i = 0; left > 0; i++)
	{
		DcsPending *pending = &dcs->pending[i];
		Error		error;

		if (!pending->is_used)
			continue;
		left--;
		if (pending->is_complete || pending->deadline_ms > now_ms)
			continue;
		error_clear(&error);
		error_set(&error, "store did not answer in time");
		if (pending->is_submitted)
			dcs->driver->abandon(dcs, pending);
		dcs_complete(dcs, pending, pending->may_be_done ? DCS_UNKNOWN : DCS_NOT_SENT, 0, &error);
		pending->is_submitted = true;
	}
}

/* ---------------------------------------------------------------- the loop */

/* Readable when dcs_process() has something to do. */
int
dcs_fd(const Dcs *dcs)
{
	return dcs->driver->fd(dcs);
}

/* How long the host may sleep if dcs_fd() stays silent; -1 = any time. */
int
dcs_timeout_ms(const Dcs *dcs, int64_t now_ms)
{
	int64_t		at_ms = dcs->driver->timer_at_ms(dcs, now_ms);
	int			left = dcs->n_pending;
	int			i;

	if (dcs->is_changed || dcs->is_reachable != dcs->is_reachable_told)
		at_ms = now_ms;
	for (i = 0; left > 0; i++)
	{
		const DcsPending *pending = &dcs->pending[i];

		if (!pending->is_used)
			continue;
		left--;
		if (pending->is_complete || !pending->is_submitted)
			return 0;
		if (at_ms < 0 || pending->deadline_ms < at_ms)
			at_ms = pending->deadline_ms;
	}
	if (at_ms < 0)
		return -1;
	if (at_ms <= now_ms)
		return 0;
	return at_ms - now_ms > 60000 ? 60000 : (int) (at_ms - now_ms);
}

static void
hand_to_driver(Dcs *dcs)
{
	DcsPending *pending;

	while ((pending = first_pending(dcs, false, false)) != NULL)
	{
		pending->is_submitted = true;
		dcs->driver->submit(dcs, pending);
	}
}

/* Say whether the store can be reached, if that changed. */
static void
tell_reachable(Dcs *dcs)
{
	if (dcs->is_reachable == dcs->is_reachable_told &&
		(dcs->was_told || dcs->reachable_error.message[0] == '\0'))
		return;
	dcs->is_reachable_told = dcs->is_reachable;
	dcs->was_told = true;
	if (dcs->callbacks.reachable != NULL)
		dcs->callbacks.reachable(dcs->callbacks.context, dcs->is_reachable,
								 dcs->is_reachable ? NULL : &dcs->reachable_error);
}

/* Do what can be done now and call the callbacks.  Never waits. */
void
dcs_process(Dcs *dcs, int64_t now_ms)
{
	DcsPending *pending;
	int64_t		at_ms;

	hand_to_driver(dcs);
	dcs->driver->socket_ready(dcs, now_ms);
	at_ms = dcs->driver->timer_at_ms(dcs, now_ms);
	if (at_ms >= 0 && at_ms <= now_ms)
		dcs->driver->timer_due(dcs, now_ms);
	expire_pending(dcs, now_ms);

	/* who hears that the store can be reached again goes on at once: not by what was read before */
	if (!dcs->is_reachable)
		tell_reachable(dcs);
	if (dcs->is_changed)
	{
		dcs->is_changed = false;
		if (dcs->callbacks.view != NULL)
			dcs->callbacks.view(dcs->callbacks.context, &dcs->view);
	}
	tell_reachable(dcs);
	while ((pending = first_pending(dcs, true, true)) != NULL)
	{
		DcsReply	reply = pending->reply;

		pending_free(dcs, pending);
		if (dcs->callbacks.reply != NULL)
			dcs->callbacks.reply(dcs->callbacks.context, &reply);
	}

	/* What the callbacks submitted need not wait for the next turn. */
	hand_to_driver(dcs);
}

/* ---------------------------------------------------------------- the cache */

static int
key_compare(const void *a, const void *b)
{
	return strcmp(((const DcsKey *) a)->name, ((const DcsKey *) b)->name);
}

/* Where a key is, or where it would have to be. */
static int
key_position(const Dcs *dcs, const char *name, bool *found)
{
	int			low = 0;
	int			high = dcs->n_keys;

	*found = false;
	while (low < high)
	{
		int			middle = low + (high - low) / 2;
		int			order = strcmp(dcs->keys[middle].name, name);

		if (order == 0)
		{
			*found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The key as last seen; NULL if it does not exist. */
const DcsKey *
dcs_cache_find(const Dcs *dcs, const char *name)
{
	bool		found;
	int			position = key_position(dcs, name, &found);

	return found && dcs->keys[position].value != NULL ? &dcs->keys[position] : NULL;
}

static void
view_apply(ClusterView *view, const DcsKey *key)
{
	ClusterKey	cluster_key = {
		.name = key->name,
		.value = key->value,
		.session = key->session,
		.version = key->version,
	};

	cluster_view_apply(view, &cluster_key);
}

/*
 * "status" wins over the legacy "optime/leader" (patroni/dcs/etcd3.py,
 * _cluster_from_nodes()): show the one only where the other is absent.
 */
static void
cache_show(Dcs *dcs, const DcsKey *key)
{
	if (strcmp(key->name, "optime/leader") == 0 && dcs_cache_find(dcs, "status") != NULL)
		return;
	view_apply(&dcs->view, key);
	if (strcmp(key->name, "status") == 0 && key->value == NULL)
	{
		const DcsKey *legacy = dcs_cache_find(dcs, "optime/leader");

		if (legacy != NULL)
			view_apply(&dcs->view, legacy);
	}
}

/*
 * For drivers: one key changed.  News that is older than what is known is
 * ignored.  A deletion is remembered until dcs_cache_settle(), so that an
 * older write that arrives later does not bring the key back.
 */
void
dcs_cache_apply(Dcs *dcs, const char *name, const char *value, const char *session,
				uint64_t version)
{
	bool		found;
	int			position;
	DcsKey	   *key;
	char	   *copy = NULL;

	if (!dcs->is_loaded)
		return;
	position = key_position(dcs, name, &found);
	if (found)
	{
		key = &dcs->keys[position];
		if (version < key->version)
			return;
		if (version == key->version && (value == NULL) == (key->value == NULL))
			return;
	}
	if (value != NULL)
	{
		copy = strdup(value);
		if (copy == NULL)
		{
			dcs_log(dcs, 2, "out of memory for key \"%s\" of the store", name);
			return;
		}
	}
	if (!found)
	{
		char	   *name_copy;

		/* a read that was answered late: the key has gone since, and that is known */
		if (version <= dcs->view.complete_revision)
		{
			free(copy);
			return;
		}

		if (dcs->n_keys >= DCS_KEYS_MAX)
		{
			if (!dcs->is_overfull)
				dcs_log(dcs, 2, "store holds more than %d keys of this cluster, ignoring \"%s\" and others",
						DCS_KEYS_MAX, name);
			dcs->is_overfull = true;
			free(copy);
			return;
		}
		if (dcs->n_keys >= dcs->keys_size)
		{
			int			size = dcs->keys_size > 0 ? dcs->keys_size * 2 : 32;
			DcsKey	   *keys = realloc(dcs->keys, (size_t) size * sizeof(DcsKey));

			if (keys == NULL)
			{
				free(copy);
				return;
			}
			dcs->keys = keys;
			dcs->keys_size = size;
		}
		name_copy = strdup(name);
		if (name_copy == NULL)
		{
			free(copy);
			return;
		}
		memmove(&dcs->keys[position + 1], &dcs->keys[position],
				(size_t) (dcs->n_keys - position) * sizeof(DcsKey));
		dcs->n_keys++;
		key = &dcs->keys[position];
		memset(key, 0, sizeof(*key));
		key->name = name_copy;
	}
	else
		key = &dcs->keys[position];

	free(key->value);
	key->value = copy;
	key->version = version;
	snprintf(key->session, sizeof(key->session), "%s",
			 value != NULL && session != NULL ? session : "");
	if (version > dcs->revision)
		dcs->revision = version;
	cache_show(dcs, key);
	dcs->view.revision = dcs->revision;
	dcs->is_changed = true;
}

/* For drivers: nothing older than this revision will be told any more. */
void
dcs_cache_settle(Dcs *dcs, uint64_t revision)
{
	int			i;
	int			kept = 0;

	if (revision > dcs->view.complete_revision)
	{
		dcs->view.complete_revision = revision;
		dcs->is_changed = true;
	}
	for (i = 0; i < dcs->n_keys; i++)
	{
		DcsKey	   *key = &dcs->keys[i];

		if (key->value == NULL && key->version <= revision)
		{
			free(key->name);
			continue;
		}
		if (kept != i)
			dcs->keys[kept] = *key;
		kept++;
	}
	dcs->n_keys = kept;
}

/*
 * For drivers: take a whole snapshot, whose keys become the front's in any
 * case.  What is newer in the cache (own writes made while the snapshot was
 * on its way) stays.
 */
bool
dcs_load(Dcs *dcs, DcsKey *keys, int n_keys, uint64_t revision, Error *error)
{
	DcsKey	   *old = dcs->keys;
	int			n_old = dcs->n_keys;
	ClusterView view;
	int			i;

	(void) error;
	qsort(keys, (size_t) n_keys, sizeof(DcsKey), key_compare);
	dcs->keys = keys;
	dcs->n_keys = dcs->keys_size = n_keys;
	dcs->revision = revision;
	dcs->is_loaded = true;
	dcs->is_overfull = false;

	cluster_view_init(&view);
	cluster_view_free(&dcs->view);
	dcs->view = view;
	dcs->view.is_loaded = true;
	dcs->view.complete_revision = revision;
	for (i = 0; i < dcs->n_keys; i++)
		cache_show(dcs, &dcs->keys[i]);
	for (i = 0; i < n_old; i++)
		if (old[i].version > revision)
			dcs_cache_apply(dcs, old[i].name, old[i].value, old[i].session, old[i].version);
	keys_free(old, n_old);
	dcs->view.revision = dcs->revision;
	dcs->is_changed = true;
	return true;
}

/* For drivers: revisions start anew with the next load. */
void
dcs_cache_forget(Dcs *dcs)
{
	keys_free(dcs->keys, dcs->n_keys);
	dcs->keys = NULL;
	dcs->n_keys = dcs->keys_size = 0;
	dcs->revision = 0;
}

/* ---------------------------------------------------------------- state */

/* For drivers: the store can or cannot be read and watched. */
void
dcs_set_reachable(Dcs *dcs, bool is_reachable, const Error *error)
{
	dcs->is_reachable = is_reachable;
	error_clear(&dcs->reachable_error);
	if (error != NULL)
		dcs->reachable_error = *error;
}

/* For drivers: the store was heard of. */
void
dcs_was_heard(Dcs *dcs)
{
	dcs->last_seen_wall_ms = clock_wall_ms();
}

/* For drivers: a line for the log.  Never with secrets. */
void
dcs_log(Dcs *dcs, int level, const char *format,...)
{
	Error		message;
	va_list		args;

	if (dcs->callbacks.log == NULL)
		return;
	error_clear(&message);
	va_start(args, format);
	vsnprintf(message.message, sizeof(message.message), format, args);
	va_end(args);
	dcs->callbacks.log(dcs->callbacks.context, level, &message);
}

/* The cluster as last seen, borrowed until dcs_process(); NULL before the first load. */
const ClusterView *
dcs_view(const Dcs *dcs)
{
	return dcs->is_loaded ? &dcs->view : NULL;
}

/* One of the keys as last seen, in the order of names; a deleted one has no value. */
bool
dcs_key(const Dcs *dcs, int index, ClusterKey *key)
{
	if (index >= dcs->n_keys)
		return false;
	key->name = dcs->keys[index].name;
	key->value = dcs->keys[index].value;
	key->session = dcs->keys[index].session;
	key->version = dcs->keys[index].version;
	return true;
}

bool
dcs_is_reachable(const Dcs *dcs)
{
	return dcs->is_reachable;
}

/* When the store was last heard of, ms since 1970; 0 = never. */
int64_t
dcs_last_seen_wall_ms(const Dcs *dcs)
{
	return dcs->last_seen_wall_ms;
}

/* What this handle's last look at the store showed; see dcs.h. */
DcsSighting
dcs_sighting(const Dcs *dcs)
{
	return dcs->sighting;
}

/* The last look of the node's other home, which saves this handle one of its own. */
void
dcs_set_sighting(Dcs *dcs, DcsSighting others)
{
	if (others.at_ms > dcs->others_sighting.at_ms)
		dcs_was_heard(dcs);
	dcs->others_sighting = others;
}

/* The session that keys are written under; "" = none. */
const char *
dcs_session(const Dcs *dcs)
{
	return dcs->session;
}

/* Go on with the session of the other home; "" = none. */
void
dcs_set_session(Dcs *dcs, const char *session)
{
	snprintf(dcs->session, sizeof(dcs->session), "%s", session != NULL ? session : "");
	dcs->driver->session_was_set(dcs);
}
