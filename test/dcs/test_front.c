/* Tests of src/dcs/dcs.c with a driver that finds out what it is told to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dcs/dcs_internal.h"

static bool will_be_reachable;
static const char *will_read;	/* value of the key "config"; NULL = nothing new */
static uint64_t revision;
static char told[16];			/* in which order: u, r: (un)reachable; v: a view */

static bool
fake_open(Dcs *dcs, Error *error)
{
	(void) dcs;
	(void) error;
	return true;
}

static int
fake_fd(const Dcs *dcs)
{
	(void) dcs;
	return -1;
}

static void
fake_submit(Dcs *dcs, DcsPending *pending)
{
	(void) dcs;
	(void) pending;
}

/* All of it is found out in one turn. */
static void
fake_socket_ready(Dcs *dcs, int64_t now_ms)
{
	Error		error;

	(void) now_ms;
	error_clear(&error);
	if (!will_be_reachable)
		error_set(&error, "it is gone");
	if (will_read != NULL)
	{
		DcsKey	   *key = calloc(1, sizeof(*key));

		key->name = strdup("config");
		key->value = strdup(will_read);
		key->version = ++revision;
		assert_true(dcs_load(dcs, key, 1, revision, &error));
	}
	dcs_set_reachable(dcs, will_be_reachable, will_be_reachable ? NULL : &error);
}

static int64_t
fake_timer_at_ms(const Dcs *dcs, int64_t now_ms)
{
	(void) dcs;
	(void) now_ms;
	return -1;
}

static void
fake_timer_due(Dcs *dcs, int64_t now_ms)
{
	(void) dcs;
	(void) now_ms;
}

static void
fake_close(Dcs *dcs)
{
	(void) dcs;
}

/* In the place of etcd3.c. */
const DcsDriver etcd3_driver = {
	.name = "etcd3",
	.open = fake_open,
	.reconfigure = fake_open,
	.fd = fake_fd,
	.submit = fake_submit,
	.abandon = fake_submit,
	.socket_ready = fake_socket_ready,
	.timer_at_ms = fake_timer_at_ms,
	.timer_due = fake_timer_due,
	.session_was_set = fake_close,
	.close = fake_close,
};

static void
note(char what)
{
	size_t		length = strlen(told);

	assert_true(length + 1 < sizeof(told));
	told[length] = what;
	told[length + 1] = '\0';
}

static void
on_view(void *context, const ClusterView *view)
{
	(void) context;
	assert_true(view->is_loaded);
	note('v');
}

static void
on_reachable(void *context, bool is_reachable, const Error *error)
{
	(void) context;
	assert_true(is_reachable == (error == NULL));
	note(is_reachable ? 'r' : 'u');
}

static void
expect(Dcs *dcs, bool is_reachable, const char *config, const char *order)
{
	will_be_reachable = is_reachable;
	will_read = config;
	told[0] = '\0';
	dcs_process(dcs, 1000);
	assert_string_equal(told, order);
}

/* Who hears that the store can be reached again knows already what was read. */
static void
what_was_read_is_told_first(void **state)
{
	const char *const host = "127.0.0.1:1";
	DcsConfig	config = {.driver = "etcd3", .base = "/service/batman", .hosts = &host, .n_hosts = 1,
		.protocol = "http", .ttl_ms = 10000, .loop_wait_ms = 1000, .retry_timeout_ms = 1000};
	DcsCallbacks callbacks = {.view = on_view, .reachable = on_reachable};
	Dcs		   *dcs;
	Error		error;

	(void) state;
	error_clear(&error);
	assert_true(dcs_open(&dcs, &config, &callbacks, &error));
	expect(dcs, true, "{}", "vr");
	expect(dcs, true, NULL, "");
	expect(dcs, true, "{\"pause\":true}", "v");
	expect(dcs, false, NULL, "u");
	expect(dcs, false, NULL, "");
	expect(dcs, true, "{}", "vr");
	/* that it cannot be reached is no news of the keys */
	expect(dcs, false, "{\"pause\":true}", "uv");
	expect(dcs, true, NULL, "r");
	dcs_close(dcs);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_read_is_told_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
