/*-------------------------------------------------------------------------
 *
 * sync_plan.c
 *      Plans synchronous replication: synchronous_standby_names and the key
 *      "sync", one safe change at a time.
 *
 * Let V be the standbys that the key names, q its quorum, S the names in
 * force and n the number of them that a commit waits for.  A node named in
 * the key may win a race if it has as much WAL as q others named there; the
 * leader that the key names may always.  So every acknowledged write is safe
 * as long as at most q members of V lack it.  Two sums say when that is so:
 *
 *  (1) Writes acknowledged under the names in force are on n of S, of which
 *      as many as possible are no voters: without_write(V, S, n) <= q.
 *  (2) Older writes are on every standby that has confirmed all WAL up to the
 *      moment the names came into force, and are missing on at most q of the
 *      voters of the key as it is.
 *
 * Invariants:
 *  (1) The names are changed only to what sum (1) allows for the key as it is,
 *      also while some walsenders go by the old names and some by the new.
 *  (2) The key is changed only to what both sums allow for the names as they
 *      are, or to no voters at all, which is always safe.
 *  (3) With synchronous_mode on the key never gets a quorum above 0, unless it
 *      still has one from quorum mode: every standby it names has every write.
 * "On" needs no other sums: there n is the size of S and q is 0.
 *
 * What a server has in force, carrying a step out, and when a node has no
 * more time to wait is the business of others.
 *-------------------------------------------------------------------------
 */
#include "ha/sync_plan.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "cluster/ascii.h"

/* own name, leader, candidates, voters, names in force, names of the operator */
#define NAMES_MAX	256
#define SET_WORDS	(NAMES_MAX / 64)

typedef struct Name
{
	const char *text;				/* not terminated */
	size_t		length;
} Name;

typedef struct NameSet
{
	uint64_t	bits[SET_WORDS];
} NameSet;

/* Names to wait for, as sets. */
typedef struct Wanted
{
	SyncNamesKind kind;
	int			number;
	NameSet		set;
} Wanted;

/* The key, as sets. */
typedef struct Key
{
	NameSet		voters;
	int			quorum;
} Key;

typedef struct Plan
{
	const SyncPlanInput *input;
	SyncStep   *step;
	Name		names[NAMES_MAX];
	int			n_names;
	bool		is_full;			/* a name had no room: trust no set */
	int			own;				/* indexes of names */
	int			leader;
	Key			key;
	Wanted		now;				/* the names in force */
	NameSet		streaming;
	NameSet		confirmed;			/* have everything older than the names in force */
	NameSet		chosen;				/* who shall be synchronous */
} Plan;

/* --- sets --- */

static NameSet
set_union(NameSet a, NameSet b)
{
	for (int i = 0; i < SET_WORDS; i++)
		a.bits[i] |= b.bits[i];
	return a;
}

static NameSet
set_common(NameSet a, NameSet b)
{
	for (int i = 0; i < SET_WORDS; i++)
		a.bits[i] &= b.bits[i];
	return a;
}

static NameSet
set_without(NameSet a, NameSet b)
{
	for (int i = 0; i < SET_WORDS; i++)
		a.bits[i] &= ~b.bits[i];
	return a;
}

static int
set_size(NameSet a)
{
	int			size = 0;

	for (int i = 0; i < SET_WORDS; i++)
		for (uint64_t bits = a.bits[i]; bits != 0; bits &= bits - 1)
			size++;
	return size;
}

static bool
set_equal(NameSet a, NameSet b)
{
	return memcmp(&a, &b, sizeof(a)) == 0;
}

static bool
set_has(NameSet a, int index)
{
	return (a.bits[index / 64] >> (index % 64) & 1) != 0;
}

static void
set_add(NameSet *a, int index)
{
	if (index >= 0)
		a->bits[index / 64] |= UINT64_C(1) << (index % 64);
}

static void
set_remove(NameSet *a, int index)
{
	if (index >= 0)
		a->bits[index / 64] &= ~(UINT64_C(1) << (index % 64));
}

/* --- names --- */

static int
min_int(int a, int b)
{
	return a < b ? a : b;
}

static int
max_int(int a, int b)
{
	return a > b ? a : b;
}

/* As the server compares application names: regardless of case. */
static bool
same_name(const char *a, size_t a_length, const char *b, size_t b_length)
{
	return a_length == b_length && ascii_is_same_part(a, b, a_length);
}

/* The index of a name, which gets one if it has none; -1 = empty or no room. */
static int
intern(Plan *plan, const char *text, size_t length)
{
	if (length == 0)
		return -1;
	for (int i = 0; i < plan->n_names; i++)
		if (same_name(plan->names[i].text, plan->names[i].length, text, length))
			return i;
	if (plan->n_names == NAMES_MAX || length >= CLUSTER_NAME_MAX)
	{
		plan->is_full = true;
		return -1;
	}
	plan->names[plan->n_names] = (Name) {text, length};
	return plan->n_names++;
}

static int
compare_names(const void *a, const void *b)
{
	const Name *x = a;
	const Name *y = b;
	int			order = memcmp(x->text, y->text, x->length < y->length ? x->length : y->length);

	return order != 0 ? order : (x->length > y->length) - (x->length < y->length);
}

/* The names of a set, sorted; returns how many. */
static int
sorted_names(const Plan *plan, NameSet set, Name *names)
{
	int			count = 0;

	for (int i = 0; i < plan->n_names; i++)
		if (set_has(set, i))
			names[count++] = plan->names[i];
	qsort(names, (size_t) count, sizeof(*names), compare_names);
	return count;
}

/* The names of a set for a message; cut with "..." when too long. */
static const char *
set_text(const Plan *plan, NameSet set, char text[96])
{
	Name		names[NAMES_MAX];
	int			count = sorted_names(plan, set, names);
	size_t		used = 0;

	strcpy(text, count == 0 ? "nobody" : "");
	for (int i = 0; i < count; i++)
	{
		if (used + names[i].length + 10 > 96)
		{
			strcpy(text + used, i == 0 ? "..." : ", ...");
			break;
		}
		used += (size_t) snprintf(text + used, 96 - used, "%s\"%.*s\"", i == 0 ? "" : ", ",
								  (int) names[i].length, names[i].text);
	}
	return text;
}

/* --- synchronous_standby_names as text --- */

static bool
is_word_start(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

typedef struct Token
{
	char		kind;				/* 'w' word, 'n' number, 'q' quoted, or the character
									 * itself; '\0' end, '!' error */
	char		text[CLUSTER_NAME_MAX];
} Token;

/* One token as the server's scanner sees it; returns where it ends. */
static const char *
next_token(const char *from, Token *token)
{
	size_t		used = 0;
	const char *c = from + strspn(from, " \t\r\n\f\v");

	token->kind = '!';
	token->text[0] = '\0';
	if (*c == '\0' || strchr(",()*", *c) != NULL)
	{
		token->kind = *c;
		return *c == '\0' ? c : c + 1;
	}
	if (*c == '"')
	{
		for (c++; *c != '\0'; c++)
		{
			if (*c == '"' && *++c != '"')
			{
				token->text[used] = '\0';
				token->kind = used > 0 ? 'q' : '!';
				return c;
			}
			if (used == sizeof(token->text) - 1)
				return c;
			token->text[used++] = *c;
		}
		return c;
	}
	if (is_word_start(*c) || (unsigned char) *c >= 0x80 || is_digit(*c))
	{
		bool		is_number = is_digit(*c);

		while (is_digit(*c) ||
			   (!is_number && (is_word_start(*c) || *c == '$' || (unsigned char) *c >= 0x80)))
		{
			if (used == sizeof(token->text) - 1)
				return c;
			token->text[used++] = *c++;
		}
		token->text[used] = '\0';
		token->kind = is_number ? 'n' : 'w';
	}
	return c;
}

static bool
is_word(const Token *token, const char *word)
{
	return token->kind == 'w' &&
		same_name(token->text, strlen(token->text), word, strlen(word));
}

/*
 * Read the list up to the token "end" and then the end of the text.  A name
 * that is there twice counts once.
 */
static bool
parse_list(SyncNames *names, const char *text, char end)
{
	bool		has_star = false;
	Token		token;

	do
	{
		bool		is_known = false;

		text = next_token(text, &token);
		if (token.kind == '*')
			has_star = true;
		else if (token.kind != 'w' && token.kind != 'n' && token.kind != 'q')
			return false;
		for (int i = 0; i < names->n_names; i++)
			is_known |= same_name(names->names[i], strlen(names->names[i]),
								  token.text, strlen(token.text));
		if (token.kind != '*' && !is_known)
		{
			if (names->n_names == CLUSTER_MEMBERS_MAX)
				return false;
			strcpy(names->names[names->n_names++], token.text);
		}
		text = next_token(text, &token);
	} while (token.kind == ',');
	if (token.kind != end)
		return false;
	if (end != '\0')
		next_token(text, &token);
	if (token.kind != '\0')
		return false;
	if (has_star)
	{
		names->kind = SYNC_NAMES_ALL;
		names->n_names = 0;
	}
	return true;
}

/*
 * Read a value of synchronous_standby_names as the server does.  False if it
 * cannot be read or does not fit; *names is then "anybody", the value under
 * which no standby is known to have anything.
 */
bool
sync_names_parse(SyncNames *names, const char *text)
{
	Token		first;
	Token		second;
	const char *rest = next_token(text == NULL ? "" : text, &first);
	const char *after;
	bool		is_any = is_word(&first, "any");
	bool		is_read;

	names->kind = SYNC_NAMES_NONE;
	names->number = 0;
	names->n_names = 0;
	if (first.kind == '\0')
		return true;
	names->kind = SYNC_NAMES_PRIORITY;
	names->number = 1;
	after = next_token(rest, &second);
	if ((is_any || is_word(&first, "first")) && second.kind == 'n')
	{
		rest = after;
		first = second;
		after = next_token(rest, &second);
		if (is_any)
			names->kind = SYNC_NAMES_QUORUM;
		is_read = second.kind == '(';
	}
	else
		is_read = true;
	if (first.kind == 'n' && second.kind == '(')
	{
		names->number = strlen(first.text) > 6 ? 0 : atoi(first.text);
		is_read = names->number > 0 && parse_list(names, after, ')');
	}
	else if (is_read)
		is_read = parse_list(names, text, '\0');
	if (!is_read)
	{
		names->kind = SYNC_NAMES_ALL;
		names->number = 1;
		names->n_names = 0;
	}
	return is_read;
}

/* A name as Patroni quotes it; false if it does not fit. */
static bool
append_name(char *text, size_t size, size_t *used, const char *name)
{
	bool		is_plain = is_word_start(name[0]);

	for (const char *c = name; *c != '\0'; c++)
		is_plain = is_plain && (is_word_start(*c) || is_digit(*c) || *c == '$');
	/* the server's grammar knows these words */
	is_plain = is_plain && !same_name(name, strlen(name), "any", 3) &&
		!same_name(name, strlen(name), "first", 5);
	if (*used + 2 * strlen(name) + 3 > size)
		return false;
	if (!is_plain)
		text[(*used)++] = '"';
	for (const char *c = name; *c != '\0'; c++)
	{
		if (*c == '"')
			text[(*used)++] = '"';
		text[(*used)++] = *c;
	}
	if (!is_plain)
		text[(*used)++] = '"';
	text[*used] = '\0';
	return true;
}

/*
 * The value of synchronous_standby_names, in Patroni's form.  False, and "",
 * if it does not fit; SYNC_NAMES_TEXT_MAX always does.
 */
bool
sync_names_write(const SyncNames *names, char *text, size_t size)
{
	char		head[32] = "";
	bool		is_list = names->kind == SYNC_NAMES_QUORUM || names->n_names > 1 ||
		names->number > 1;
	size_t		used;
	bool		fits = true;

	if (size == 0)
		return false;
	text[0] = '\0';
	if (names->kind == SYNC_NAMES_NONE)
		return true;
	if (is_list)
		snprintf(head, sizeof(head), "%s%d (", names->kind == SYNC_NAMES_QUORUM ? "ANY " : "",
				 names->number);
	used = strlen(head);
	if (used + 3 > size)
		return false;
	strcpy(text, head);
	if (names->kind == SYNC_NAMES_ALL)
		text[used++] = '*';
	for (int i = 0; i < names->n_names && fits; i++)
	{
		if (i > 0 && used + 3 < size)
			text[used++] = ',';
		fits = append_name(text, size, &used, names->names[i]);
	}
	if (!fits || used + 2 > size)
	{
		text[0] = '\0';
		return false;
	}
	if (is_list)
		text[used++] = ')';
	text[used] = '\0';
	return true;
}

/* Do both mean the same?  The order of names counts only where the server looks at it. */
bool
sync_names_equal(const SyncNames *a, const SyncNames *b)
{
	bool		is_ordered = a->kind == SYNC_NAMES_PRIORITY && a->number < a->n_names;

	if (a->kind != b->kind || a->number != b->number || a->n_names != b->n_names)
		return false;
	for (int i = 0; i < a->n_names; i++)
	{
		bool		is_found = false;

		for (int j = is_ordered ? i : 0; j < (is_ordered ? i + 1 : b->n_names); j++)
			is_found |= same_name(a->names[i], strlen(a->names[i]),
								  b->names[j], strlen(b->names[j]));
		if (!is_found)
			return false;
	}
	return true;
}

/* --- the two sums --- */

/* Sum (1): how many voters may lack a write acknowledged under these names. */
static int
without_write(NameSet voters, const Wanted *names)
{
	int			n_voters = set_size(voters);
	int			n_others = set_size(set_without(names->set, voters));
	int			number = min_int(names->number, set_size(names->set));

	if (names->kind == SYNC_NAMES_NONE || names->kind == SYNC_NAMES_ALL)
		return n_voters;
	return n_voters - max_int(0, number - n_others);
}

/*
 * The same while the names change.  Each walsender goes by its own copy: it
 * counts if it is in the list that it has read, and the one that lets a commit
 * go asks for as many as its own copy says.  So any standby of both lists may
 * be among so many.  By priority the one that lets go is one of them itself.
 */
static int
without_mixed(NameSet voters, const Wanted *from, const Wanted *to)
{
	const Wanted *copies[] = {from, to};
	NameSet		all = set_union(from->set, to->set);
	int			n_voters = set_size(voters);
	int			n_others = set_size(set_without(all, voters));
	int			worst = max_int(without_write(voters, from), without_write(voters, to));

	for (int i = 0; i < 2; i++)
	{
		const Wanted *copy = copies[i];
		int			number = min_int(copy->number, set_size(all));
		bool		is_itself = copy->kind == SYNC_NAMES_PRIORITY && number > 0 &&
			set_size(set_without(copy->set, voters)) == 0;

		if (copy->kind == SYNC_NAMES_PRIORITY || copy->kind == SYNC_NAMES_QUORUM)
			worst = max_int(worst, n_voters - max_int(is_itself, number - n_others));
	}
	return worst;
}

/* Sum (2): how many of these voters may lack an older write. */
static int
without_old_write(const Plan *plan, NameSet voters)
{
	NameSet		stay = set_common(voters, plan->key.voters);
	NameSet		join = set_without(voters, plan->key.voters);

	return min_int(plan->key.quorum, set_size(set_without(stay, plan->confirmed))) +
		set_size(set_without(join, plan->confirmed));
}

/* The smallest quorum that is safe for these voters and the names in force. */
static int
needed_quorum(const Plan *plan, NameSet voters)
{
	return max_int(without_write(voters, &plan->now), without_old_write(plan, voters));
}

/* Does the key, as it is, keep the promise under these names? */
static bool
names_are_safe(const Plan *plan, const Wanted *names)
{
	return without_write(plan->key.voters, names) <= plan->key.quorum ||
		set_size(plan->key.voters) == 0;
}

/* And does it while the names in force change to these? */
static bool
change_is_safe(const Plan *plan, const Wanted *names)
{
	return without_mixed(plan->key.voters, &plan->now, names) <= plan->key.quorum ||
		set_size(plan->key.voters) == 0;
}

static bool
key_is_safe(const Plan *plan)
{
	return !plan->is_full && plan->leader == plan->own && names_are_safe(plan, &plan->now);
}

/* --- steps --- */

static void
decide(Plan *plan, SyncStepKind kind, const char *rule, const char *because,...) PRINTF_LIKE(4, 5);

static void
decide(Plan *plan, SyncStepKind kind, const char *rule, const char *because,...)
{
	va_list		args;

	plan->step->kind = kind;
	plan->step->rule = rule;
	va_start(args, because);
	vsnprintf(plan->step->because, sizeof(plan->step->because), because, args);
	va_end(args);
}

/* Fill in what the key shall say. */
static void
put_key(Plan *plan, const Key *key)
{
	Name		names[NAMES_MAX];
	int			count = sorted_names(plan, key->voters, names);
	char	   *to = plan->step->sync_standby;

	plan->step->quorum = key->quorum;
	for (int i = 0; i < count; i++)
	{
		if (i > 0)
			*to++ = ',';
		memcpy(to, names[i].text, names[i].length);
		to += names[i].length;
	}
	*to = '\0';
}

/* Fill in what synchronous_standby_names shall say. */
static void
put_names(Plan *plan, const Wanted *wanted)
{
	SyncNames  *out = &plan->step->names;
	Name		names[NAMES_MAX];

	out->kind = wanted->kind;
	out->number = wanted->number;
	out->n_names = sorted_names(plan, wanted->set, names);
	for (int i = 0; i < out->n_names; i++)
	{
		memcpy(out->names[i], names[i].text, names[i].length);
		out->names[i][names[i].length] = '\0';
	}
}

static bool
is_in_force(const Plan *plan, const Wanted *wanted)
{
	return plan->now.kind == wanted->kind && plan->now.number == wanted->number &&
		set_equal(plan->now.set, wanted->set);
}

static void
set_names(Plan *plan, const Wanted *wanted, const char *rule)
{
	char		text[96];

	put_names(plan, wanted);
	if (wanted->kind == SYNC_NAMES_NONE)
		decide(plan, SYNC_STEP_SET_NAMES, rule,
			   "no standby can be synchronous: commits shall wait for nobody");
	else if (wanted->kind == SYNC_NAMES_ALL)
		decide(plan, SYNC_STEP_SET_NAMES, rule, "no member can be synchronous and strict mode is on: "
			   "commits shall wait for any receiver");
	else
		decide(plan, SYNC_STEP_SET_NAMES, rule, "commits shall wait for %d of %s", wanted->number,
			   set_text(plan, wanted->set, text));
}

static void
write_key(Plan *plan, const Key *key, const char *rule, const char *because)
{
	char		text[96];

	put_key(plan, key);
	if (key->quorum > 0)
		decide(plan, SYNC_STEP_WRITE_KEY, rule, "%s: %s may become primary with the vote of %d others",
			   because, set_text(plan, key->voters, text), key->quorum);
	else
		decide(plan, SYNC_STEP_WRITE_KEY, rule, "%s: besides this member %s may become primary",
			   because, set_text(plan, key->voters, text));
}

/* --- what is --- */

static Wanted
names_as_set(Plan *plan, const SyncNames *names)
{
	Wanted		wanted = {.kind = SYNC_NAMES_NONE};

	if (names == NULL)
		return wanted;
	wanted.kind = names->kind;
	wanted.number = names->kind == SYNC_NAMES_NONE ? 0 : names->number;
	for (int i = 0; i < names->n_names; i++)
		set_add(&wanted.set, intern(plan, names->names[i], strlen(names->names[i])));
	return wanted;
}

static void
gather(Plan *plan, const SyncPlanInput *input)
{
	const char *list = input->sync->exists ? input->sync->sync_standby : NULL;
	const char *name;
	size_t		length;
	int			n_voters = 0;

	plan->own = intern(plan, input->own_name, strlen(input->own_name));
	for (int i = 0; i < input->n_candidates && i < CLUSTER_MEMBERS_MAX; i++)
		intern(plan, input->candidates[i].name, strlen(input->candidates[i].name));
	plan->leader = input->sync->exists ?
		intern(plan, input->sync->leader, strlen(input->sync->leader)) : -1;
	plan->now = names_as_set(plan, input->names);
	while (sync_next_standby(&list, &name, &length))
	{
		/* more than fit into what we write could not be written back */
		if (++n_voters > CLUSTER_MEMBERS_MAX)
			plan->is_full = true;
		set_add(&plan->key.voters, intern(plan, name, length));
	}
	plan->key.quorum = input->sync->exists ? max_int(0, input->sync->quorum) : 0;
	if (plan->leader == plan->own)
		set_remove(&plan->key.voters, plan->own);
	for (int i = 0; i < input->n_candidates && i < CLUSTER_MEMBERS_MAX; i++)
	{
		const SyncCandidate *candidate = &input->candidates[i];
		int			index = intern(plan, candidate->name, strlen(candidate->name));
		bool		is_waited_for = candidate->state == SYNC_WALSENDER_SYNC ||
			candidate->state == SYNC_WALSENDER_QUORUM;

		if (!candidate->is_streaming || candidate->lsn == 0 || index < 0 || index == plan->own)
			continue;
		set_add(&plan->streaming, index);
		/* a walsender that has not read the names yet proves nothing */
		if (input->names_lsn != 0 && candidate->lsn >= input->names_lsn &&
			(is_waited_for || !set_has(plan->now.set, index)))
			set_add(&plan->confirmed, index);
	}
}

/* --- what should be --- */

typedef struct Ranked
{
	const SyncCandidate *candidate;
	int			index;
	bool		is_voter;
	Name		name;
} Ranked;

/*
 * Best first, as Patroni sorts: priority, sync_state, position, and members
 * that may not lead last.  One that the key names goes before its equals, so
 * that nothing changes without need.
 */
static int
compare_ranked(const void *a, const void *b)
{
	const Ranked *x = a;
	const Ranked *y = b;

	if (x->candidate->nofailover != y->candidate->nofailover)
		return x->candidate->nofailover ? 1 : -1;
	if (x->candidate->sync_priority != y->candidate->sync_priority)
		return x->candidate->sync_priority > y->candidate->sync_priority ? -1 : 1;
	if (x->candidate->state != y->candidate->state)
		return x->candidate->state > y->candidate->state ? -1 : 1;
	if (x->is_voter != y->is_voter)
		return x->is_voter ? -1 : 1;
	if (x->candidate->lsn != y->candidate->lsn)
		return x->candidate->lsn > y->candidate->lsn ? -1 : 1;
	return compare_names(&x->name, &y->name);
}

/* Patroni 4.x, patroni/postgresql/sync.py, current_state(). */
static void
choose(Plan *plan)
{
	const SyncPlanInput *input = plan->input;
	int			wanted = max_int(1, input->node_count);
	Ranked		ranked[CLUSTER_MEMBERS_MAX];
	int			n_ranked = 0;
	Lsn			newest = 0;
	NameSet		seen = {{0}};

	for (int i = 0; i < input->n_candidates && i < CLUSTER_MEMBERS_MAX; i++)
	{
		const SyncCandidate *candidate = &input->candidates[i];
		int			index = intern(plan, candidate->name, strlen(candidate->name));

		if (index < 0 || !set_has(plan->streaming, index) || set_has(seen, index) ||
			candidate->nosync || candidate->sync_priority <= 0 || candidate->is_cascading)
			continue;
		set_add(&seen, index);
		if (candidate->lsn > newest)
			newest = candidate->lsn;
		ranked[n_ranked++] = (Ranked) {candidate, index, set_has(plan->key.voters, index),
			plan->names[index]};
	}
	if (n_ranked == 1)
		newest = input->own_lsn;
	qsort(ranked, (size_t) n_ranked, sizeof(*ranked), compare_ranked);
	for (int i = 0; i < n_ranked; i++)
	{
		const SyncCandidate *candidate = ranked[i].candidate;
		bool		is_enough = set_size(plan->chosen) >= wanted;

		if (input->maximum_lag_on_syncnode > 0 && newest > candidate->lsn &&
			newest - candidate->lsn > (Lsn) input->maximum_lag_on_syncnode)
			continue;
		if (is_enough && (input->mode == SYNC_PLAN_ON || candidate->nofailover))
			continue;
		set_add(&plan->chosen, ranked[i].index);
	}
}

/* The names that should be in force next. */
static Wanted
wanted_names(const Plan *plan)
{
	Wanted		wanted = {.kind = SYNC_NAMES_NONE};
	int			n_chosen = set_size(plan->chosen);

	wanted.set = plan->chosen;
	if (n_chosen == 0)
	{
		if (plan->input->is_strict)
		{
			wanted.kind = SYNC_NAMES_ALL;
			wanted.number = 1;
		}
	}
	else if (plan->input->mode == SYNC_PLAN_QUORUM)
	{
		wanted.kind = SYNC_NAMES_QUORUM;
		wanted.number = min_int(max_int(1, plan->input->node_count), n_chosen);
	}
	else
	{
		/* who is replaced, and still there, stays until its successors are synchronous */
		if (set_size(set_without(plan->chosen, plan->key.voters)) > 0)
			wanted.set = set_union(wanted.set,
								   set_common(set_common(plan->now.set, plan->key.voters),
											  plan->streaming));
		wanted.kind = SYNC_NAMES_PRIORITY;
		wanted.number = set_size(wanted.set);
	}
	return wanted;
}

/* May the key say so in this mode, and does it help anybody? */
static bool
key_is_useful(const Plan *plan, const Key *key)
{
	if (plan->input->mode == SYNC_PLAN_ON && key->quorum > plan->key.quorum)
		return false;
	return key->quorum < set_size(key->voters);
}

/*
 * Go by way of a single standby that may lead already: one change of several
 * names to several others might let a commit go that none of the voters has.
 * False if there is none.
 */
static bool
go_by_one(Plan *plan)
{
	NameSet		able = set_common(plan->chosen, plan->key.voters);
	Wanted		wanted = {.kind = SYNC_NAMES_PRIORITY, .number = 1};
	Key			key = {.quorum = 0};

	for (int i = 0; i < plan->n_names && set_size(key.voters) == 0; i++)
		if (set_has(able, i))
			set_add(&key.voters, i);
	wanted.set = key.voters;
	if (plan->input->mode != SYNC_PLAN_ON || set_size(key.voters) == 0 ||
		needed_quorum(plan, key.voters) > 0 || without_mixed(key.voters, &plan->now, &wanted) > 0)
		return false;
	if (change_is_safe(plan, &wanted))
		set_names(plan, &wanted, "names-by-one");
	else
		write_key(plan, &key, "key-first", "the names are about to change");
	return true;
}

/*
 * The names cannot be changed yet: change the key so that they can.  The
 * more it keeps, the better; nobody at all is always safe.
 */
static void
make_room(Plan *plan, const Wanted *wanted)
{
	const NameSet choices[] = {
		plan->chosen,
		set_union(plan->key.voters, plan->chosen),
		set_common(plan->key.voters, plan->chosen),
	};
	Key			key;

	for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++)
	{
		key.voters = choices[i];
		key.quorum = max_int(needed_quorum(plan, key.voters),
							 without_mixed(key.voters, &plan->now, wanted));
		if (key_is_useful(plan, &key) && set_size(key.voters) <= CLUSTER_MEMBERS_MAX)
		{
			write_key(plan, &key, "key-first", "the names are about to change");
			return;
		}
	}
	if (go_by_one(plan))
		return;
	memset(&key, 0, sizeof(key));
	write_key(plan, &key, "key-first", "the names are about to change");
}

/* The names are as wanted: bring the key there as far as it is safe. */
static void
follow_names(Plan *plan, const Wanted *wanted)
{
	const bool	is_quorum = plan->input->mode == SYNC_PLAN_QUORUM;
	Key			goal = {.voters = plan->chosen};
	Key			key = {.voters = plan->chosen};
	bool		same_voters = set_equal(plan->key.voters, plan->chosen);
	char		text[96];

	goal.quorum = is_quorum ? set_size(plan->chosen) - wanted->number : 0;
	if (same_voters && plan->key.quorum == goal.quorum)
	{
		if (wanted->kind == SYNC_NAMES_ALL)
			decide(plan, SYNC_STEP_NONE, "strict", plan->input->n_other_receivers > 0 ?
				   "no member can be synchronous: commits wait for a receiver that is no member" :
				   "no member can be synchronous and strict mode is on: commits wait for any receiver");
		else
			decide(plan, SYNC_STEP_NONE, "done", "%s", set_size(plan->chosen) > 0 ?
				   "the names and the key are as they should be" :
				   "no standby can be synchronous: commits wait for nobody");
		return;
	}
	key.quorum = needed_quorum(plan, key.voters);
	if (key.quorum <= goal.quorum)
	{
		write_key(plan, &goal, "reach-goal", "commits wait for them");
		return;
	}
	/* a smaller quorum, or any at all, is better than what there is */
	if (key_is_useful(plan, &key) &&
		(same_voters ? key.quorum < plan->key.quorum :
		 is_quorum && set_size(plan->key.voters) <= plan->key.quorum))
	{
		write_key(plan, &key, "approach-goal", "more have confirmed");
		return;
	}
	/* some of them have everything already */
	key.voters = set_common(plan->chosen, set_union(plan->key.voters, plan->confirmed));
	key.quorum = needed_quorum(plan, key.voters);
	if (!is_quorum && key.quorum == 0 && set_size(key.voters) > 0 &&
		!set_equal(key.voters, plan->key.voters))
	{
		write_key(plan, &key, "approach-goal", "commits wait for them");
		return;
	}
	decide(plan, SYNC_STEP_WAIT, "wait-for-standby",
		   "waiting for %s to confirm the WAL from before commits waited for them",
		   set_text(plan, set_without(plan->chosen, plan->confirmed), text));
}

/* As long as nothing can be acknowledged: agree with the key before that changes. */
static void
plan_before_writes(Plan *plan)
{
	Wanted		wanted = {.kind = SYNC_NAMES_NONE};
	Key			key = {.quorum = 0};

	if (plan->input->is_strict)
	{
		wanted.kind = SYNC_NAMES_ALL;
		wanted.number = 1;
	}
	if (plan->leader == plan->own && !plan->is_full && !plan->input->is_stale)
	{
		/* commits must wait for as many as the key relies on */
		wanted.kind = SYNC_NAMES_PRIORITY;
		wanted.set = plan->key.voters;
		wanted.number = set_size(wanted.set) - plan->key.quorum;
		if (plan->input->mode == SYNC_PLAN_QUORUM || plan->key.quorum > 0)
			wanted.kind = SYNC_NAMES_QUORUM;
		if (names_are_safe(plan, &plan->now))
			decide(plan, SYNC_STEP_NONE, "done", "the names in force suit the key");
		else
			set_names(plan, &wanted, "names-before-writes");
		return;
	}
	if (plan->input->mode == SYNC_PLAN_QUORUM && set_size(plan->key.voters) > 0 && !plan->is_full &&
		!plan->input->is_stale)
	{
		/*
		 * Patroni 4.x, process_sync_replication_prepromote(): the same nodes
		 * vote, the former leader among them.
		 */
		key = plan->key;
		set_add(&key.voters, plan->leader);
		set_remove(&key.voters, plan->own);
		if (key.quorum < set_size(key.voters) && set_size(key.voters) <= CLUSTER_MEMBERS_MAX)
		{
			wanted.kind = SYNC_NAMES_QUORUM;
			wanted.set = key.voters;
			wanted.number = set_size(key.voters) - key.quorum;

			/*
			 * Clients will see what perhaps only the former leader has, too:
			 * nobody may lead without its vote until more have confirmed.
			 */
			key.quorum = set_size(key.voters) - 1;
		}
		else
			memset(&key, 0, sizeof(key));
	}
	if (!is_in_force(plan, &wanted))
		set_names(plan, &wanted, "names-before-writes");
	else
		write_key(plan, &key, "new-leader", "this member is the new leader");
}

static void
plan_off(Plan *plan)
{
	SyncNames	none = {.kind = SYNC_NAMES_NONE};
	const SyncNames *operator_names = plan->input->operator_names;
	const SyncNames *names = plan->input->names;

	if (operator_names == NULL)
		operator_names = &none;
	if (names == NULL)
		names = &none;
	if (plan->input->sync->exists)
		decide(plan, SYNC_STEP_DELETE_KEY, "switched-off", "synchronous mode is off");
	else if (!sync_names_equal(names, operator_names))
	{
		plan->step->names = *operator_names;
		decide(plan, SYNC_STEP_SET_NAMES, "switched-off",
			   "synchronous mode is off: the configured value holds again");
	}
	else
		decide(plan, SYNC_STEP_NONE, "done", "synchronous mode is off");
}

static void
plan_on(Plan *plan)
{
	const SyncPlanInput *input = plan->input;
	const Key	nobody = {.quorum = 0};
	Wanted		wanted;
	bool		is_empty;

	if (!key_is_safe(plan))
	{
		write_key(plan, &nobody, "repair", plan->leader == plan->own ?
				  "the key does not suit the names in force" : "the key names another leader");
		return;
	}
	choose(plan);
	wanted = wanted_names(plan);
	is_empty = set_size(plan->chosen) == 0;
	if (input->is_new_leader && set_size(plan->key.voters) > 0 &&
		set_size(set_common(plan->now.set, plan->streaming)) == 0)
		decide(plan, SYNC_STEP_WAIT, "let-reconnect",
			   "waiting for standbys to connect to the new primary");
	else if (is_empty && input->is_strict && input->n_other_receivers == 0 &&
			 set_size(plan->key.voters) > 0)
		decide(plan, SYNC_STEP_WAIT, "strict",
			   "waiting for a synchronous standby; strict mode is on, commits wait as well");
	else if (is_in_force(plan, &wanted))
		follow_names(plan, &wanted);
	else if (change_is_safe(plan, &wanted))
		set_names(plan, &wanted, "names-first");
	else
		make_room(plan, &wanted);
}

/*
 * The one next step of the leader.  Ask again when it was observed; whatever
 * happens in between, also before the first step, the promise holds if
 * step->is_safe says so.  Only the holder of the leader lease may call it, and
 * may let commits be acknowledged the first time only when is_safe is set.
 */
void
sync_plan_next(const SyncPlanInput *input, SyncStep *step)
{
	Plan		plan;
	const Key	nobody = {.quorum = 0};

	/* the tables of names are filled as far as they are used */
	plan.input = input;
	plan.step = step;
	plan.n_names = 0;
	plan.is_full = false;
	memset(&plan.key, 0, sizeof(plan.key));
	memset(&plan.streaming, 0, sizeof(plan.streaming));
	memset(&plan.confirmed, 0, sizeof(plan.confirmed));
	memset(&plan.chosen, 0, sizeof(plan.chosen));
	gather(&plan, input);

	step->quorum = 0;
	step->sync_standby[0] = '\0';
	step->names.kind = SYNC_NAMES_NONE;
	step->names.number = 0;
	step->names.n_names = 0;
	step->is_safe = input->sync->exists ? key_is_safe(&plan) && !input->is_stale :
		input->mode == SYNC_PLAN_OFF;
	if (input->is_settling)
	{
		step->is_safe = step->is_safe && input->is_writable;
		decide(&plan, SYNC_STEP_WAIT, "settling", "waiting for the last change to take effect");
	}
	else if (input->mode == SYNC_PLAN_OFF)
		plan_off(&plan);
	else if (!input->sync->exists)
		write_key(&plan, &nobody, "switched-on", "synchronous mode is on");
	else if (!input->is_writable)
		plan_before_writes(&plan);
	else
		plan_on(&plan);
}

/* The kind of a step in words, for SQL and logs; never NULL. */
const char *
sync_step_kind_name(SyncStepKind kind)
{
	switch (kind)
	{
		case SYNC_STEP_NONE:
			return "none";
		case SYNC_STEP_WAIT:
			return "wait";
		case SYNC_STEP_WRITE_KEY:
			return "write sync key";
		case SYNC_STEP_DELETE_KEY:
			return "delete sync key";
		case SYNC_STEP_SET_NAMES:
			return "set synchronous_standby_names";
	}
	return "unknown";
}

/*
 * May this node take part in the race, by the key "sync" alone?  True means:
 * no acknowledged write is lost if it wins.  The key's quorum is obeyed in
 * either mode, so that a change of the configuration alone opens nothing.
 * With the mode off the operator has waived the promise.
 */
bool
sync_may_promote(const SyncCandidacy *candidacy, SyncVotes *votes)
{
	const SyncState *sync = candidacy->sync;
	bool		is_member;
	int			n_ahead = 0;

	memset(votes, 0, sizeof(*votes));
	if (candidacy->mode == SYNC_PLAN_OFF || !sync->exists)
	{
		snprintf(votes->because, sizeof(votes->because), "synchronous mode is not active");
		return true;
	}
	is_member = sync_names_member(sync, candidacy->own_name);
	votes->needed = max_int(0, min_int(sync->quorum, INT_MAX - 1)) + (is_member ? 0 : 1);
	for (int i = 0; i < candidacy->n_answers; i++)
	{
		const SyncAnswer *answer = &candidacy->answers[i];
		bool		is_known = same_name(answer->name, strlen(answer->name),
										 candidacy->own_name, strlen(candidacy->own_name));

		n_ahead += answer->is_ahead;
		for (int j = 0; j < i && !is_known; j++)
			is_known = same_name(answer->name, strlen(answer->name), candidacy->answers[j].name,
								 strlen(candidacy->answers[j].name));
		if (!is_known && !answer->is_ahead && sync_names_member(sync, answer->name))
			votes->seen++;
	}
	if (same_name(sync->leader, strlen(sync->leader), candidacy->own_name,
				  strlen(candidacy->own_name)) && n_ahead == 0)
	{
		votes->needed = 0;
		snprintf(votes->because, sizeof(votes->because),
				 "this member is the leader that the sync key names");
		return true;
	}
	if (!is_member && candidacy->mode == SYNC_PLAN_ON)
	{
		snprintf(votes->because, sizeof(votes->because), "the sync key does not name this member");
		return false;
	}
	snprintf(votes->because, sizeof(votes->because),
			 "%d of the others that the sync key names have no more WAL than this member, "
			 "%d are needed", votes->seen, votes->needed);
	return votes->seen >= votes->needed;
}
