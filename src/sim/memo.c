/*-------------------------------------------------------------------------
 *
 * memo.c
 *      Each text of a member key is parsed once, not once in every home.
 *
 * All homes of a cluster read the same keys; in reality each is a process of
 * its own.  The linker puts __wrap_member_read() where view.c calls
 * member_read() (--wrap in the Makefile).  What a text means depends on
 * nothing but the text, so runs do not depend on what was read before.
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "cluster/cluster_internal.h"

#define MEMO_SIZE	64

typedef struct Memo
{
	char	   *text;			/* NULL: not used yet */
	Member		member;			/* what it means */
} Memo;

static Memo memos[MEMO_SIZE];

extern bool __real_member_read(Member *member, const char *text);
extern bool __wrap_member_read(Member *member, const char *text);

static Memo *
find_memo(const char *text)
{
	return &memos[hash_text(text) % MEMO_SIZE];
}

static void
memo_read(Memo *memo, const char *text)
{
	free(memo->text);
	member_free(&memo->member);
	member_init(&memo->member);
	memo->text = strdup(text);
	if (memo->text == NULL || !__real_member_read(&memo->member, text))
		abort();
}

/* As member_read(), from memory if the text is known. */
bool
__wrap_member_read(Member *member, const char *text)
{
	Member		fresh;
	Memo	   *memo;

	if (text == NULL)
		return __real_member_read(member, text);
	memo = find_memo(text);
	if (memo->text == NULL || strcmp(memo->text, text) != 0)
		memo_read(memo, text);
	if (!member_copy(&fresh, &memo->member))
		return false;
	memcpy(fresh.name, member->name, sizeof(fresh.name));
	memcpy(fresh.session, member->session, sizeof(fresh.session));
	fresh.version = member->version;
	member_free(member);
	*member = fresh;
	return true;
}
