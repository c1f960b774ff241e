/*-------------------------------------------------------------------------
 *
 * store.c
 *      The consensus store for a program that may wait: open it, have its
 *      keys, write one key at a time.
 *
 * Each open reads anew, so what is shown is what the store holds now.
 *-------------------------------------------------------------------------
 */
#include "ctl/ctl.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define STORE_WAIT_MS 10000

struct Store
{
	Dcs *dcs;
	bool is_loaded;
	bool has_reply;
	DcsReply reply;
	Error unreachable; /* why it cannot be read; "" = it can */
};

static void
view_came(void *context, const ClusterView *view)
{
	Store *store = context;

	store->is_loaded = view->is_loaded;
}

static void
reply_came(void *context, const DcsReply *reply)
{
	Store *store = context;

	store->reply = *reply;
	store->has_reply = true;
}

static void
reachable_changed(void *context, bool is_reachable, const Error *error)
{
	Store *store = context;

	if (is_reachable || error == NULL)
		error_clear(&store->unreachable);
	else
		store->unreachable = *error;
}

/* One turn of the loop, which sleeps until something happens. */
static void
store_turn(Store *store, int64_t until_ms)
{
	int64_t now_ms = clock_now_ms();
	int timeout_ms = dcs_timeout_ms(store->dcs, now_ms);
	struct pollfd poll_fd = { .fd = dcs_fd(store->dcs), .events = POLLIN };
	int64_t left_ms = until_ms > now_ms ? until_ms - now_ms : 0;

	if (timeout_ms < 0 || timeout_ms > left_ms)
		timeout_ms = (int) left_ms;
	(void) poll(&poll_fd, 1, timeout_ms);
	dcs_process(store->dcs, clock_now_ms());
}

static void
settings_to_dcs(const Settings *settings, const char **hosts, DcsConfig *config)
{
	memset(config, 0, sizeof(*config));
	snprintf(config->driver, sizeof(config->driver), "%s", settings->dcs_driver);
	snprintf(config->protocol, sizeof(config->protocol), "%s", settings->dcs_protocol);
	snprintf(config->username, sizeof(config->username), "%s", settings->dcs_username);
	snprintf(config->password, sizeof(config->password), "%s", settings->dcs_password);
	snprintf(config->cacert, sizeof(config->cacert), "%.511s", settings->dcs_cacert);
	snprintf(config->cert, sizeof(config->cert), "%.511s", settings->dcs_cert);
	snprintf(config->key, sizeof(config->key), "%.511s", settings->dcs_key);
	snprintf(config->proxy, sizeof(config->proxy), "%s", settings->dcs_proxy);
	config->use_proxies = settings->dcs_use_proxies;
	config->ttl_ms = settings->ttl_ms;
	config->loop_wait_ms = settings->loop_wait_ms;
	config->retry_timeout_ms = settings->retry_timeout_ms;
	for (int i = 0; i < settings->n_dcs_hosts; i++)
		hosts[i] = settings->dcs_hosts[i];
	config->hosts = hosts;
	config->n_hosts = settings->n_dcs_hosts;
}

/* Connect and read all keys of the cluster, or of its group if that is not -1. */
bool
store_open(Store **opened, const Settings *settings, int group, Error *error)
{
	const char *hosts[SETTINGS_HOSTS_MAX];
	Store *store = calloc(1, sizeof(*store));
	DcsConfig config;
	DcsCallbacks callbacks = {
		.context = store,
		.view = view_came,
		.reply = reply_came,
		.reachable = reachable_changed,
	};
	int64_t until_ms = clock_now_ms() + STORE_WAIT_MS;

	*opened = NULL;
	if (store == NULL)
		return error_set(error, "out of memory");
	settings_to_dcs(settings, hosts, &config);
	if (group < 0)
		snprintf(config.base, sizeof(config.base), "%s", settings->base);
	else
		snprintf(config.base, sizeof(config.base), "%.370s/%d", settings->base, group);
	if (!dcs_open(&store->dcs, &config, &callbacks, error))
	{
		free(store);
		return false;
	}
	while (!store->is_loaded && clock_now_ms() < until_ms)
		store_turn(store, until_ms);
	if (!store->is_loaded)
	{
		const char *why = store->unreachable.message;

		error_set(error, "could not read the store within %d seconds%s%s", STORE_WAIT_MS / 1000,
				  why[0] != '\0' ? ": " : "", why);
		store_close(store);
		return false;
	}
	*opened = store;
	return true;
}

/* NULL is fine. */
void
store_close(Store *store)
{
	if (store == NULL)
		return;
	dcs_close(store->dcs);
	free(store);
}

/* A key as it was when the store was opened, or as we have written it since. */
bool
store_key(const Store *store, int key_index, ClusterKey *key)
{
	return dcs_key(store->dcs, key_index, key);
}

/* Write one key and wait for the end of it. */
DcsOutcome
store_write(Store *store, DcsOperation operation, const char *key, const char *value,
			uint64_t version, Error *error)
{
	DcsRequest request = {
		.id = 1,
		.operation = operation,
		.key = key,
		.value = value,
		.version = version,
		.timeout_ms = STORE_WAIT_MS,
	};

	store->has_reply = false;
	error_clear(error);
	if (!dcs_submit(store->dcs, &request, error))
		return DCS_NOT_SENT;
	while (!store->has_reply)
		store_turn(store, clock_now_ms() + STORE_WAIT_MS);
	*error = store->reply.error;
	return store->reply.outcome;
}
