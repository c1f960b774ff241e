/*-------------------------------------------------------------------------
 *
 * lease_tool.c
 *      Moves the fence of a lease page by hand, for tests.
 *
 *      lease_tool NAME create            a new page, closed
 *      lease_tool NAME remove
 *      lease_tool NAME open_for MS       deadline that many ms from now
 *      lease_tool NAME never | close
 *      lease_tool NAME show              one "key=value" a line
 *
 * Prints the deadline in microseconds of CLOCK_BOOTTIME where it sets one.
 *-------------------------------------------------------------------------
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lease_page.h"

static int
fail(const char *what)
{
	fprintf(stderr, "lease_tool: %s\n", what);
	return 1;
}

static int
create(const char *name)
{
	LeasePage  *page;
	int			fd;
	Error		error;

	lease_page_unlink(name);
	if (!lease_page_create(name, &page, &fd, &error))
		return fail(error.message);
	return 0;
}

static int
set_deadline(LeasePage *page, int64_t deadline_us)
{
	if (!lease_page_set_deadline(page, lease_page_generation(page), deadline_us, 0))
		return fail("the generation changed");
	printf("%" PRId64 "\n", deadline_us);
	return 0;
}

static int
show(const LeasePage *page)
{
	printf("deadline_us=%" PRId64 "\n", lease_page_deadline_us(page));
	printf("is_open=%d\n", lease_page_is_open(page));
	printf("generation=%" PRIu32 "\n", lease_page_generation(page));
	printf("refused_commits=%" PRIu64 "\n", atomic_load(&page->refused_commits));
	printf("withheld_acks=%" PRIu64 "\n", atomic_load(&page->withheld_acks));
	return 0;
}

int
main(int argc, char **argv)
{
	LeasePage  *page;
	Error		error;

	if (argc < 3)
		return fail("usage: lease_tool NAME create|remove|open_for MS|never|close|show");
	if (strcmp(argv[2], "create") == 0)
		return create(argv[1]);
	if (strcmp(argv[2], "remove") == 0)
	{
		lease_page_unlink(argv[1]);
		return 0;
	}
	if (!lease_page_open(argv[1], &page, &error))
		return fail(error.message);
	if (strcmp(argv[2], "open_for") == 0 && argc == 4)
		return set_deadline(page, clock_now_us() + strtoll(argv[3], NULL, 10) * 1000);
	if (strcmp(argv[2], "never") == 0)
		return set_deadline(page, LEASE_NEVER_US);
	if (strcmp(argv[2], "close") == 0)
		return set_deadline(page, LEASE_CLOSED_US);
	if (strcmp(argv[2], "show") == 0)
		return show(page);
	return fail("unknown command");
}
