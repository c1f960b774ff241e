/*-------------------------------------------------------------------------
 *
 * test_sync_plan.c
 *      The plan of synchronous replication against a brute-force model.
 *
 * The model holds the names in force, the key "sync", who has the latest
 * acknowledged write (WAL is a sequence: who has it has all others), and who
 * has confirmed everything older than the names.  From each state it takes
 * every event: a commit acknowledged by each smallest set, a standby catching
 * up, a crash, a lost configuration file, every leader the key allows, and
 * the one step planned for every set of streaming standbys, mode and count.
 * In every state so reached no node without the write may win, whomever it
 * sees.  Wrong planners must be caught, else the model proves nothing.
 *
 * While names change, commits are let go by every mixture of old and new ones
 * that walsenders may go by.
 *
 * With up to 4 nodes every state is looked at, with 5 to 7 one of those
 * that differ only in the order of the standbys.  1 to 3 standbys are waited
 * for, with 7 nodes 1 or 2.  PATRONI_TEST_LONG in the environment has 7 nodes
 * wait for 3 as well, and from each state tries whether the goal is reached.
 *-------------------------------------------------------------------------
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ha/sync_plan.h"

#define NODES_MAX	7
#define SLOTS		(1u << 22)
#define ANSWERS_LOG	20
#define BIT(i)		(1u << (i))

typedef struct Model
{
	uint8_t		names;				/* sets of nodes, a bit each */
	uint8_t		voters;
	uint8_t		holders;			/* have the latest acknowledged write */
	uint8_t		confirmed;
	uint8_t		kind;				/* SyncNamesKind */
	uint8_t		number;
	uint8_t		quorum;
	uint8_t		leader;				/* of the key */
	bool		exists;				/* the key */
	bool		is_writable;
} Model;

/* What may differ each time the planner is asked. */
typedef struct Around
{
	uint8_t		streaming;
	uint8_t		nosync;
	SyncPlanMode mode;
	int			count;
	bool		is_strict;
	int			receivers;
} Around;

/* What the planner said, kept because it is asked the same for many states. */
typedef struct Answer
{
	uint64_t	question;
	Model		next;
	SyncStepKind kind;
	bool		is_safe;
} Answer;

typedef void (*Planner) (const Model *model, const Around *around, SyncStep *step);

static int	n_standbys;				/* the primary is the node of that index */
static bool is_reduced;
static bool only_quorum;			/* one mode all the time */
static int	most_count = 3;			/* of standbys to wait for */
static Planner planner;
static uint64_t *seen;
static uint64_t *queue;
static Answer *said;
static uint32_t n_states;
static uint8_t *judged;				/* by key and holders: 1 kept, 2 broken */
static bool is_broken;
static bool is_quiet;				/* a broken promise is expected */

static const char *const node_names[] = {"n0", "n1", "n2", "n3", "n4", "n5", "n6"};

static int
count_bits(unsigned set)
{
	return __builtin_popcount(set);
}

static uint64_t
encode(const Model *m)
{
	return (uint64_t) m->names | (uint64_t) m->voters << 7 | (uint64_t) m->holders << 14 |
		(uint64_t) m->confirmed << 21 | (uint64_t) m->kind << 28 | (uint64_t) m->number << 30 |
		(uint64_t) m->quorum << 33 | (uint64_t) m->leader << 36 | (uint64_t) m->exists << 39 |
		(uint64_t) m->is_writable << 40 | UINT64_C(1) << 41;
}

static Model
decode(uint64_t v)
{
	return (Model) {
		.names = v & 127, .voters = v >> 7 & 127, .holders = v >> 14 & 127,
		.confirmed = v >> 21 & 127, .kind = v >> 28 & 3, .number = v >> 30 & 7,
		.quorum = v >> 33 & 7, .leader = v >> 36 & 7, .exists = v >> 39 & 1,
		.is_writable = v >> 40 & 1,
	};
}

/* What tells a node from another. */
static unsigned
node_type(const Model *m, int i)
{
	return (m->holders >> i & 1) | (m->voters >> i & 1) << 1 | (m->names >> i & 1) << 2 |
		(m->confirmed >> i & 1) << 3 | (m->exists && m->leader == i) << 4;
}

static Model
from_types(const Model *m, const unsigned *types)
{
	Model		out = *m;
	unsigned	own = BIT(n_standbys);

	out.names = m->names & own;
	out.voters = m->voters & own;
	out.holders = m->holders & own;
	out.confirmed = m->confirmed & own;
	for (int i = 0; i < n_standbys; i++)
	{
		out.holders |= (types[i] & 1) << i;
		out.voters |= (types[i] >> 1 & 1) << i;
		out.names |= (types[i] >> 2 & 1) << i;
		out.confirmed |= (types[i] >> 3 & 1) << i;
		if (types[i] >> 4)
			out.leader = (uint8_t) i;
	}
	return out;
}

static Model
canonical(const Model *m)
{
	unsigned	types[NODES_MAX];

	for (int i = 0; i < n_standbys; i++)
	{
		unsigned	type = node_type(m, i);
		int			j = i;

		for (; j > 0 && types[j - 1] < type; j--)
			types[j] = types[j - 1];
		types[j] = type;
	}
	return from_types(m, types);
}

static void
describe(const char *what, const Model *m)
{
	fprintf(stderr, "%s: names kind %d, %d of %02x; key %s n%d quorum %d voters %02x; "
			"holders %02x confirmed %02x%s\n", what, m->kind, m->number, m->names,
			m->exists ? "leader" : "absent", m->leader, m->quorum, m->voters, m->holders,
			m->confirmed, m->is_writable ? "" : "; no writes yet");
}

/* --- the real thing, as the model sees it --- */

static void
set_sync(const Model *m, SyncState *sync, char text[64])
{
	char	   *to = text;

	memset(sync, 0, sizeof(*sync));
	for (int i = 0; i <= n_standbys; i++)
		if (m->voters >> i & 1)
		{
			to = stpcpy(to, node_names[i]);
			*to++ = ',';
		}
	*to = '\0';
	sync->exists = m->exists;
	if (m->exists)
		strcpy(sync->leader, node_names[m->leader]);
	sync->quorum = m->quorum;
	sync->sync_standby = text[0] ? text : NULL;
}

static void
plan_with(const Model *m, const Around *around, bool trust_all, SyncStep *step)
{
	static SyncCandidate candidates[NODES_MAX];
	static SyncNames names;
	SyncState	sync;
	char		text[64];
	SyncPlanInput input = {
		.mode = around->mode, .is_strict = around->is_strict, .node_count = around->count,
		.own_name = node_names[n_standbys], .own_lsn = 2000, .is_writable = m->is_writable,
		.sync = &sync, .names = &names, .names_lsn = 1000, .candidates = candidates,
		.n_other_receivers = around->receivers,
	};

	set_sync(m, &sync, text);
	names.kind = m->kind;
	names.number = m->number;
	names.n_names = 0;
	for (int i = 0; i <= n_standbys; i++)
		if (m->names >> i & 1)
			strcpy(names.names[names.n_names++], node_names[i]);
	for (int i = 0; i < n_standbys; i++)
	{
		SyncCandidate *candidate = &candidates[input.n_candidates];

		if (!(around->streaming >> i & 1))
			continue;
		input.n_candidates++;
		strcpy(candidate->name, node_names[i]);
		candidate->is_streaming = true;
		candidate->lsn = trust_all || (m->confirmed >> i & 1) ? 1500 : 500;
		candidate->state = m->kind == SYNC_NAMES_ALL ? SYNC_WALSENDER_SYNC :
			!(m->names >> i & 1) ? SYNC_WALSENDER_ASYNC :
			m->kind == SYNC_NAMES_QUORUM ? SYNC_WALSENDER_QUORUM : SYNC_WALSENDER_SYNC;
		candidate->nosync = around->nosync >> i & 1;
		candidate->sync_priority = 1;
	}
	sync_plan_next(&input, step);
}

static void
plan_real(const Model *m, const Around *around, SyncStep *step)
{
	plan_with(m, around, false, step);
}

static unsigned
set_of(const char *list)
{
	unsigned	set = 0;

	/* "n0,n3" */
	for (const char *c = list; *c != '\0'; c += c[2] == ',' ? 3 : 2)
		set |= BIT(c[1] - '0');
	return set;
}

static Model
apply(const Model *m, const SyncStep *step)
{
	Model		next = *m;

	switch (step->kind)
	{
		case SYNC_STEP_WRITE_KEY:
			next.exists = true;
			next.leader = (uint8_t) n_standbys;
			next.quorum = (uint8_t) step->quorum;
			next.voters = (uint8_t) set_of(step->sync_standby);
			break;
		case SYNC_STEP_DELETE_KEY:
			next.exists = false;
			next.leader = next.quorum = next.voters = 0;
			break;
		case SYNC_STEP_SET_NAMES:
			next.kind = (uint8_t) step->names.kind;
			next.number = (uint8_t) step->names.number;
			next.names = 0;
			for (int i = 0; i < step->names.n_names; i++)
				next.names |= (uint8_t) set_of(step->names.names[i]);
			next.confirmed = 0;
			break;
		default:
			break;
	}
	return next;
}

static bool
may_win(const Model *m, SyncPlanMode mode, int node, unsigned answering)
{
	SyncState	sync;
	char		text[64];
	SyncAnswer	answers[NODES_MAX];
	SyncVotes	votes;
	SyncCandidacy candidacy = {.mode = mode, .sync = &sync, .own_name = node_names[node],
		.answers = answers};

	set_sync(m, &sync, text);
	for (int i = 0; i <= n_standbys; i++)
		if (answering >> i & 1)
			answers[candidacy.n_answers++] = (SyncAnswer) {.name = node_names[i]};
	return sync_may_promote(&candidacy, &votes);
}

/*
 * The promise: nobody without the latest acknowledged write may win, whoever
 * of the others without it answers.  Who has it is ahead of such a node, so
 * its silence is the worst case.  The configuration may say either mode.
 */
static bool
promise_holds(const Model *m)
{
	unsigned	without = ~m->holders & (BIT(n_standbys + 1) - 1);
	uint32_t	key = m->voters | m->holders << 7 | m->quorum << 14 | m->leader << 17;

	if (!m->exists)
		return true;
	if (judged[key] == 0)
	{
		judged[key] = 1;
		for (int node = 0; node <= n_standbys; node++)
		{
			unsigned	others = without & ~BIT(node);

			if (!(without >> node & 1))
				continue;
			for (unsigned set = others;; set = (set - 1) & others)
			{
				if (may_win(m, SYNC_PLAN_ON, node, set) || may_win(m, SYNC_PLAN_QUORUM, node, set))
					judged[key] = 2;
				if (set == 0)
					break;
			}
		}
	}
	return judged[key] == 1;
}

/* --- the search --- */

static void
reach(const Model *from, Model next, const char *event)
{
	uint64_t	code;
	uint32_t	slot;

	if (is_reduced)
		next = canonical(&next);
	code = encode(&next);
	slot = (uint32_t) (code * UINT64_C(0x9E3779B97F4A7C15) >> 42);
	while (seen[slot] != 0)
	{
		if (seen[slot] == code)
			return;
		slot = (slot + 1) % SLOTS;
	}
	assert_true(n_states < SLOTS / 4 * 3);
	seen[slot] = code;
	queue[n_states++] = code;
	if (!promise_holds(&next))
	{
		if (!is_quiet && !is_broken)
		{
			describe(event, from);
			describe("leads to", &next);
		}
		is_broken = true;
	}
}

/* Is it enough to look at this set?  Equal nodes stream lowest first. */
static bool
is_first_of_its_kind(const Model *m, unsigned set)
{
	if (!is_reduced)
		return true;
	for (int i = 1; i < n_standbys; i++)
		if ((set >> i & 1) && !(set >> (i - 1) & 1) && node_type(m, i) == node_type(m, i - 1))
			return false;
	return true;
}

/* Call a function for everything that can be around a state. */
static void
for_each_around(const Model *m, void (*function) (const Model *, const Around *))
{
	for (unsigned set = 0; set < BIT(n_standbys); set++)
	{
		if (!is_first_of_its_kind(m, set))
			continue;
		for (SyncPlanMode mode = SYNC_PLAN_ON; mode <= SYNC_PLAN_QUORUM; mode++)
			for (int count = 1; count <= (n_standbys < most_count ? n_standbys < 2 ? 1 : n_standbys : most_count); count++)
			{
				Around		around = {.streaming = (uint8_t) set, .mode = mode, .count = count};

				if (only_quorum && mode != SYNC_PLAN_QUORUM)
					continue;
				function(m, &around);
				/* strict mode differs only when nobody can be synchronous */
				for (int i = 0; i < 2 && set == 0; i++)
				{
					around.is_strict = true;
					around.receivers = i;
					function(m, &around);
				}
				for (unsigned nosync = set; nosync != 0 && n_standbys <= 3;
					 nosync = (nosync - 1) & set)
				{
					around.nosync = (uint8_t) nosync;
					for (int i = 0; i < 3; i++)
					{
						around.is_strict = i > 0;
						around.receivers = i == 2;
						function(m, &around);
					}
					around.is_strict = false;
					around.receivers = 0;
				}
			}
	}
	if (!only_quorum)
	{
		Around		off = {.mode = SYNC_PLAN_OFF, .count = 1};

		function(m, &off);
	}
}

/* What the planner is told, without what it cannot see: who has the latest write. */
static uint64_t
question(const Model *m, const Around *around)
{
	Model		shown = *m;

	shown.holders = 0;
	shown.confirmed &= around->streaming;
	return encode(&shown) | (uint64_t) around->streaming << 42 | (uint64_t) around->nosync << 48 |
		(uint64_t) around->mode << 54 | (uint64_t) around->count << 56 |
		(uint64_t) around->is_strict << 58 | (uint64_t) around->receivers << 59;
}

/* Ask the planner, once for each question: it is a function. */
static bool
ask(const Model *m, const Around *around, Model *next)
{
	uint64_t	key = question(m, around);
	Answer	   *answer = &said[key * UINT64_C(0x9E3779B97F4A7C15) >> (64 - ANSWERS_LOG)];

	if (answer->question != key)
	{
		static SyncStep step;

		planner(m, around, &step);
		answer->question = key;
		answer->is_safe = step.is_safe;
		answer->kind = step.kind;
		answer->next = apply(m, &step);
	}
	*next = answer->next;
	next->holders = m->holders;
	next->confirmed = answer->kind == SYNC_STEP_SET_NAMES ? 0 : m->confirmed;
	if (answer->kind < SYNC_STEP_WRITE_KEY)
		*next = *m;
	return answer->is_safe;
}

/*
 * While walsenders read new names each goes by its own copy: one that is in
 * the list that it has read counts, and whoever reports asks for as many as
 * its own copy says.  By priority it must be one of those who count itself.
 * Connections come and go meanwhile.
 */
static void
commit_between(const Model *m, const Model *next)
{
	const Model *copies[] = {m, next};
	unsigned	all = m->names | next->names;

	for (int i = 0; i < 2; i++)
	{
		const Model *copy = copies[i];
		Model		then = *next;

		if (copy->kind == SYNC_NAMES_NONE || copy->kind == SYNC_NAMES_ALL)
			continue;			/* anything: as without waiting, which is looked at elsewhere */
		for (unsigned set = all; set != 0; set = (set - 1) & all)
		{
			if (count_bits(set) != copy->number ||
				(copy->kind == SYNC_NAMES_PRIORITY && (set & copy->names) == 0))
				continue;
			then.holders = (uint8_t) (set | BIT(n_standbys));
			reach(m, then, "commit while the names change");
		}
	}
}

static void
take_step(const Model *m, const Around *around)
{
	Model		next;
	bool		is_safe = ask(m, around, &next);

	if (encode(&next) != encode(m))
		reach(m, next, "planned step");
	if (m->is_writable && encode(&next) != encode(m) &&
		(next.names != m->names || next.kind != m->kind || next.number != m->number))
		commit_between(m, &next);
	if (!m->is_writable && is_safe)
	{
		next = *m;
		next.is_writable = true;
		next.confirmed = 0;
		reach(m, next, "opened for writes");
	}
}

static unsigned
swapped(unsigned set, int a, int b)
{
	unsigned	differs = (set >> a ^ set >> b) & 1;

	return set ^ (differs << a | differs << b);
}

/* A node becomes the primary; it changes its index with the former one. */
static void
change_leader(const Model *m, int node)
{
	Model		next = *m;
	unsigned	all = BIT(n_standbys) - 1;

	next.voters = (uint8_t) swapped(m->voters, node, n_standbys);
	next.holders = (uint8_t) swapped(m->holders, node, n_standbys);
	/* without the key nothing is promised: what counts are its own writes */
	if (!m->exists)
		next.holders = (uint8_t) BIT(n_standbys);
	else if (m->leader == node)
		next.leader = (uint8_t) n_standbys;
	else if (m->leader == n_standbys)
		next.leader = (uint8_t) node;
	next.confirmed = 0;
	next.is_writable = false;
	/* whatever its own configuration file said */
	next.kind = SYNC_NAMES_NONE;
	next.number = next.names = 0;
	reach(m, next, "new leader");
	next.kind = SYNC_NAMES_QUORUM;
	next.number = 1;
	next.names = (uint8_t) all;
	reach(m, next, "new leader");
	next.kind = SYNC_NAMES_PRIORITY;
	next.number = (uint8_t) n_standbys;
	reach(m, next, "new leader");
}

static void
take_events(const Model *m)
{
	unsigned	all = BIT(n_standbys) - 1;
	unsigned	own = BIT(n_standbys);
	Model		next;

	for (unsigned set = 0; set <= all && m->is_writable; set++)
	{
		bool		is_enough = m->kind == SYNC_NAMES_NONE || m->kind == SYNC_NAMES_ALL ?
			set == 0 : (set & ~(unsigned) m->names) == 0 && count_bits(set) == m->number;

		if (!is_enough)
			continue;
		next = *m;
		next.holders = (uint8_t) (set | own);
		next.confirmed |= (uint8_t) set;
		reach(m, next, "commit");
	}
	for (int i = 0; i < n_standbys && m->is_writable; i++)
	{
		next = *m;
		next.holders |= (uint8_t) BIT(i);
		next.confirmed |= (uint8_t) BIT(i);
		reach(m, next, "caught up");
	}
	next = *m;
	next.is_writable = false;
	next.confirmed = 0;
	reach(m, next, "crash");
	next.kind = SYNC_NAMES_NONE;
	next.number = next.names = 0;
	reach(m, next, "crash and loss of the configuration file");
	for (int i = 0; i < n_standbys; i++)
		if (!m->exists || ((m->holders >> i & 1) &&
						   (may_win(m, SYNC_PLAN_ON, i, (all | own) & ~BIT(i)) ||
							may_win(m, SYNC_PLAN_QUORUM, i, (all | own) & ~BIT(i)))))
			change_leader(m, i);
}

/* Find all states; stops at the first broken promise. */
static bool
explore(int nodes, Planner with)
{
	Model		start = {.holders = (uint8_t) BIT(nodes - 1), .is_writable = true};

	n_standbys = nodes - 1;
	planner = with;
	is_reduced = nodes > 4;
	is_broken = false;
	n_states = 0;
	seen = seen != NULL ? seen : malloc(SLOTS * sizeof(*seen));
	queue = queue != NULL ? queue : malloc(SLOTS * sizeof(*queue));
	judged = judged != NULL ? judged : malloc(1 << 20);
	assert_non_null(seen);
	assert_non_null(queue);
	said = said != NULL ? said : malloc(sizeof(*said) << ANSWERS_LOG);
	assert_non_null(judged);
	assert_non_null(said);
	memset(said, 0, sizeof(*said) << ANSWERS_LOG);
	memset(seen, 0, SLOTS * sizeof(*seen));
	memset(judged, 0, 1 << 20);
	reach(&start, start, "start");
	for (uint32_t i = 0; i < n_states && !is_broken; i++)
	{
		Model		m = decode(queue[i]);

		take_events(&m);
		for_each_around(&m, take_step);
	}
	return !is_broken;
}

/* --- in the end everything is as wanted --- */

static void
expect_goal(const Model *m, const Around *around)
{
	unsigned	able = around->streaming & ~(unsigned) around->nosync;
	int			n_able = count_bits(able);
	int			count = around->count < n_able ? around->count : n_able;

	if (around->mode == SYNC_PLAN_OFF)
	{
		assert_false(m->exists);
		assert_int_equal(m->kind, SYNC_NAMES_NONE);
		return;
	}
	assert_true(m->exists);
	assert_int_equal(m->leader, n_standbys);
	if (n_able == 0 && around->is_strict)
	{
		assert_int_not_equal(m->kind, SYNC_NAMES_NONE);
		if (around->receivers > 0)
			assert_int_equal(m->kind, SYNC_NAMES_ALL);
		return;
	}
	assert_int_equal(m->voters, m->names);
	assert_int_equal(m->number, count);
	if (n_able == 0)
	{
		assert_int_equal(m->kind, SYNC_NAMES_NONE);
		assert_int_equal(m->names, 0);
		assert_int_equal(m->quorum, 0);
		return;
	}
	assert_int_equal(m->names & ~able, 0);
	if (around->mode == SYNC_PLAN_ON)
	{
		assert_int_equal(m->kind, SYNC_NAMES_PRIORITY);
		assert_int_equal(count_bits(m->names), count);
		assert_int_equal(m->quorum, 0);
	}
	else
	{
		assert_int_equal(m->kind, SYNC_NAMES_QUORUM);
		assert_int_equal(m->names, able);
		assert_int_equal(m->quorum, n_able - count);
	}
}

static int	most_steps;

static void
settle(const Model *from, const Around *around)
{
	static SyncStep step;
	Model		m = *from;
	bool		strict_hold = around->is_strict && (around->streaming & ~around->nosync) == 0;
	int			n_steps = 0;

	/* a node opens for writes soon, whatever it inherits */
	while (!m.is_writable)
	{
		planner(&m, around, &step);
		m = apply(&m, &step);
		m.is_writable = step.is_safe;
		assert_true(++n_steps <= 4);
	}
	n_steps = 0;
	for (;;)
	{
		planner(&m, around, &step);
		if (step.kind >= SYNC_STEP_WRITE_KEY)
		{
			m = apply(&m, &step);
			if (++n_steps > 8)
			{
				describe("too many steps from", from);
				describe("at", &m);
				fail();
			}
			/* the lost leave the names at once: no other standby is waited for */
			if (n_steps >= 3 && !strict_hold)
				assert_int_equal(m.names & ~around->streaming & from->names, 0);
		}
		else if (step.kind == SYNC_STEP_WAIT && (around->streaming & ~m.confirmed) != 0)
		{
			if (!strict_hold)
				assert_int_equal(m.names & ~around->streaming, 0);
			m.holders |= around->streaming;
			m.confirmed |= around->streaming;
		}
		else
			break;
	}
	assert_true(step.kind == SYNC_STEP_NONE || strict_hold);
	if (n_steps > most_steps)
		most_steps = n_steps;
	expect_goal(&m, around);
}

static bool
is_long(void)
{
	return getenv("PATRONI_TEST_LONG") != NULL;
}

static void
check_model(int nodes, int every)
{
	if (is_long())
		every = 1;
	if (!explore(nodes, plan_real))
		fail();
	for (uint32_t i = 0; i < n_states; i += (uint32_t) every)
	{
		Model		m = decode(queue[i]);

		for_each_around(&m, settle);
	}
	print_message("%d nodes: %u states, at most %d steps\n", nodes, n_states, most_steps);
}

static void
test_model_to_5_nodes(void **state)
{
	(void) state;
	check_model(1, 1);
	check_model(2, 1);
	check_model(3, 1);
	check_model(4, 5);
	check_model(5, 3);
}

static void
test_model_6_nodes(void **state)
{
	(void) state;
	check_model(6, 11);
}

static void
test_model_7_nodes(void **state)
{
	(void) state;
	most_count = is_long() ? 3 : 2;
	check_model(7, 97);
	most_count = 3;
}

/* --- wrong planners --- */

/* Another step after the one planned: which? */
static void
plan_after(const Model *m, const Around *around, const SyncStep *step, SyncStep *second)
{
	Model		next = apply(m, step);

	plan_real(&next, around, second);
}

static void
plan_swapped(const Model *m, const Around *around, SyncStep *step, SyncStepKind first,
			 SyncStepKind second)
{
	static SyncStep after;

	plan_real(m, around, step);
	if (step->kind != first)
		return;
	plan_after(m, around, step, &after);
	if (after.kind == second)
	{
		bool		is_safe = step->is_safe;

		*step = after;
		step->is_safe = is_safe;
	}
}

static void
plan_names_too_early(const Model *m, const Around *around, SyncStep *step)
{
	plan_swapped(m, around, step, SYNC_STEP_WRITE_KEY, SYNC_STEP_SET_NAMES);
}

static void
plan_key_too_early(const Model *m, const Around *around, SyncStep *step)
{
	static SyncStep after;

	plan_real(m, around, step);
	if (step->kind == SYNC_STEP_SET_NAMES && m->is_writable)
	{
		/* as if everybody had confirmed the names by then */
		Model		next = apply(m, step);

		next.confirmed = around->streaming;
		plan_real(&next, around, &after);
		if (after.kind == SYNC_STEP_WRITE_KEY)
			*step = after;
	}
}

static void
plan_small_quorum(const Model *m, const Around *around, SyncStep *step)
{
	plan_real(m, around, step);
	if (step->kind == SYNC_STEP_WRITE_KEY && step->quorum > 0)
		step->quorum--;
}

static void
plan_unconfirmed(const Model *m, const Around *around, SyncStep *step)
{
	plan_with(m, around, true, step);
}

static void
plan_hasty_leader(const Model *m, const Around *around, SyncStep *step)
{
	plan_real(m, around, step);
	step->is_safe = true;
}

static void
plan_names_before_delete(const Model *m, const Around *around, SyncStep *step)
{
	if (around->mode == SYNC_PLAN_OFF)
		plan_swapped(m, around, step, SYNC_STEP_DELETE_KEY, SYNC_STEP_SET_NAMES);
	else
		plan_real(m, around, step);
}

/* Several names are changed to several others at once. */
static void
plan_without_detour(const Model *m, const Around *around, SyncStep *step)
{
	static SyncStep after;

	plan_real(m, around, step);
	if (strcmp(step->rule, "names-by-one") == 0)
	{
		plan_after(m, around, step, &after);
		*step = after;
	}
}

static void
test_wrong_planners_are_caught(void **state)
{
	static const Planner wrong[] = {
		plan_names_too_early, plan_key_too_early, plan_small_quorum,
		plan_unconfirmed, plan_hasty_leader, plan_names_before_delete, plan_without_detour,
	};

	(void) state;
	is_quiet = true;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		if (explore(4, wrong[i]))
			fail_msg("wrong planner %zu was not caught", i);
	is_quiet = false;
}

/*
 * Patroni's own, coarser sum of quorum mode (Patroni 4.x, patroni/quorum.py,
 * check_invariants(), its first), so that a Patroni that takes over finds nothing
 * to complain about.  The second may rest for one step, when one standby
 * replaces another; that the candidates cannot see.
 */
static void
test_patroni_invariant(void **state)
{
	int			n_looked = 0;

	(void) state;
	only_quorum = true;
	assert_true(explore(5, plan_real));
	only_quorum = false;
	for (uint32_t i = 0; i < n_states; i++)
	{
		Model		m = decode(queue[i]);

		if (!m.exists || !m.is_writable || m.leader != n_standbys || m.voters == 0)
			continue;
		n_looked++;
		if (count_bits(m.voters | m.names) > m.quorum + m.number)
		{
			describe("Patroni would see a quorum error", &m);
			fail();
		}
	}
	assert_true(n_looked > 100);
}

/* --- names as text --- */

static void
check_names(const char *text, SyncNamesKind kind, int number, int n_names, const char *written)
{
	SyncNames	names;
	SyncNames	again;
	char		out[SYNC_NAMES_TEXT_MAX];

	assert_true(sync_names_parse(&names, text));
	assert_int_equal(names.kind, kind);
	assert_int_equal(names.number, number);
	assert_int_equal(names.n_names, n_names);
	assert_true(sync_names_write(&names, out, sizeof(out)));
	assert_string_equal(out, written);
	assert_true(sync_names_parse(&again, out));
	assert_true(sync_names_equal(&names, &again));
}

static void
test_names_text(void **state)
{
	static const char *const bad[] = {"a,", "2 (a", "2 a)", "ANY (a)", "\"a", "\"\"", "ANY 0 (a)",
		"a b", "2 (a) b", "(a)", "a;b", "FIRST 2 a"};
	SyncNames	names;
	char		small[8];

	(void) state;
	check_names("", SYNC_NAMES_NONE, 0, 0, "");
	check_names(NULL, SYNC_NAMES_NONE, 0, 0, "");
	check_names("node1", SYNC_NAMES_PRIORITY, 1, 1, "node1");
	check_names(" \"node-1\" ", SYNC_NAMES_PRIORITY, 1, 1, "\"node-1\"");
	check_names("\"a\"\"b\"", SYNC_NAMES_PRIORITY, 1, 1, "\"a\"\"b\"");
	check_names("a, b", SYNC_NAMES_PRIORITY, 1, 2, "1 (a,b)");
	check_names("2 (a, b)", SYNC_NAMES_PRIORITY, 2, 2, "2 (a,b)");
	check_names("first 2(a,B,c)", SYNC_NAMES_PRIORITY, 2, 3, "2 (a,B,c)");
	check_names("ANY 1 (\"n-1\", b)", SYNC_NAMES_QUORUM, 1, 2, "ANY 1 (\"n-1\",b)");
	check_names("any 1 (b)", SYNC_NAMES_QUORUM, 1, 1, "ANY 1 (b)");
	check_names("*", SYNC_NAMES_ALL, 1, 0, "*");
	check_names("2 (a, *)", SYNC_NAMES_ALL, 2, 0, "2 (*)");
	check_names("a,A", SYNC_NAMES_PRIORITY, 1, 1, "a");
	check_names("\"any\",firstnode,\"*\"", SYNC_NAMES_PRIORITY, 1, 3, "1 (\"any\",firstnode,\"*\")");
	check_names("1", SYNC_NAMES_PRIORITY, 1, 1, "\"1\"");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		if (sync_names_parse(&names, bad[i]))
			fail_msg("\"%s\" was read", bad[i]);
		assert_int_equal(names.kind, SYNC_NAMES_ALL);
	}
	assert_true(sync_names_parse(&names, "ANY 1 (a,b)"));
	assert_false(sync_names_write(&names, small, sizeof(small)));
	assert_string_equal(small, "");
}

/* --- stories with names --- */

static SyncCandidate story[3];
static SyncState story_sync;
static char story_standbys[256];
static SyncNames story_names;
static SyncStep story_step;

static SyncPlanInput
tell(SyncPlanMode mode, const char *leader, const char *standbys, int quorum, const char *names)
{
	static const char *const members[] = {"node-2", "node-3", "node-4"};

	memset(story, 0, sizeof(story));
	for (int i = 0; i < 3; i++)
	{
		strcpy(story[i].name, members[i]);
		story[i].is_streaming = true;
		story[i].lsn = 1500;
		story[i].sync_priority = 1;
	}
	memset(&story_sync, 0, sizeof(story_sync));
	story_sync.exists = leader[0] != '\0';
	strcpy(story_sync.leader, leader);
	strcpy(story_standbys, standbys);
	story_sync.sync_standby = standbys[0] != '\0' ? story_standbys : NULL;
	story_sync.quorum = quorum;
	assert_true(sync_names_parse(&story_names, names));
	for (int i = 0; i < 3; i++)
		if (strstr(names, members[i]) != NULL)
			story[i].state = story_names.kind == SYNC_NAMES_QUORUM ? SYNC_WALSENDER_QUORUM :
				SYNC_WALSENDER_SYNC;
	return (SyncPlanInput) {.mode = mode, .node_count = 1, .own_name = "node-1", .own_lsn = 2000,
		.is_writable = true, .sync = &story_sync, .names = &story_names, .names_lsn = 1000,
		.candidates = story, .n_candidates = 3};
}

static void
expect_key(const SyncPlanInput *input, const char *standbys, int quorum)
{
	sync_plan_next(input, &story_step);
	assert_int_equal(story_step.kind, SYNC_STEP_WRITE_KEY);
	assert_string_equal(story_step.sync_standby, standbys);
	assert_int_equal(story_step.quorum, quorum);
}

static void
expect_names(const SyncPlanInput *input, const char *names)
{
	char		text[SYNC_NAMES_TEXT_MAX];

	sync_plan_next(input, &story_step);
	assert_int_equal(story_step.kind, SYNC_STEP_SET_NAMES);
	assert_true(sync_names_write(&story_step.names, text, sizeof(text)));
	assert_string_equal(text, names);
}

static void
expect_rule(const SyncPlanInput *input, SyncStepKind kind, const char *rule)
{
	sync_plan_next(input, &story_step);
	assert_int_equal(story_step.kind, kind);
	assert_string_equal(story_step.rule, rule);
	assert_true(story_step.because[0] != '\0');
}

static void
test_mode_on(void **state)
{
	SyncPlanInput input = tell(SYNC_PLAN_ON, "", "", 0, "");

	(void) state;
	expect_key(&input, "", 0);
	input = tell(SYNC_PLAN_ON, "node-1", "", 0, "");
	story[1].sync_priority = 5;
	expect_names(&input, "\"node-3\"");
	/* in the key only when it has confirmed, and its walsender knows */
	input = tell(SYNC_PLAN_ON, "node-1", "", 0, "\"node-3\"");
	story[1].lsn = 900;
	expect_rule(&input, SYNC_STEP_WAIT, "wait-for-standby");
	story[1].lsn = 1000;
	expect_key(&input, "node-3", 0);
	story[1].state = SYNC_WALSENDER_ASYNC;
	story[0].sync_priority = story[2].sync_priority = 0;
	expect_rule(&input, SYNC_STEP_WAIT, "wait-for-standby");
	/* the same whatever the case */
	input = tell(SYNC_PLAN_ON, "NODE-1", "Node-3", 0, "\"node-3\"");
	expect_rule(&input, SYNC_STEP_NONE, "done");
	/* lost: out of the key, then out of the names */
	story[1].is_streaming = false;
	story[0].nosync = true;
	expect_key(&input, "", 0);
	input = tell(SYNC_PLAN_ON, "node-1", "", 0, "\"node-3\"");
	story[1].is_streaming = false;
	story[0].nosync = true;
	expect_names(&input, "\"node-4\"");
	/* replaced while it is there: stays until its successor is synchronous */
	input = tell(SYNC_PLAN_ON, "node-1", "node-2", 0, "\"node-2\"");
	story[0].nosync = true;
	story[2].nofailover = true;
	expect_names(&input, "2 (\"node-2\",\"node-3\")");
	input = tell(SYNC_PLAN_ON, "node-1", "node-2", 0, "2 (\"node-2\", \"node-3\")");
	story[0].nosync = true;
	expect_key(&input, "node-3", 0);
	input = tell(SYNC_PLAN_ON, "node-1", "node-3", 0, "2 (\"node-2\", \"node-3\")");
	story[0].nosync = true;
	expect_names(&input, "\"node-3\"");
	/* one that lags too much is not chosen */
	input = tell(SYNC_PLAN_ON, "node-1", "", 0, "");
	input.maximum_lag_on_syncnode = 100;
	story[0].lsn = 1300;
	story[1].sync_priority = 2;
	story[1].lsn = 1350;
	expect_names(&input, "\"node-4\"");
}

static void
test_strict(void **state)
{
	SyncPlanInput input = tell(SYNC_PLAN_ON, "node-1", "node-2", 0, "\"node-2\"");

	(void) state;
	input.n_candidates = 0;
	input.is_strict = true;
	expect_rule(&input, SYNC_STEP_WAIT, "strict");
	assert_true(story_step.is_safe);
	input.n_other_receivers = 1;
	expect_key(&input, "", 0);
	story_sync.sync_standby = NULL;
	expect_names(&input, "*");
	input.n_other_receivers = 0;
	expect_names(&input, "*");
	input.is_strict = false;
	expect_names(&input, "");
}

static void
test_mode_quorum(void **state)
{
	SyncPlanInput input = tell(SYNC_PLAN_QUORUM, "node-1", "node-2", 0, "\"node-2\"");

	(void) state;
	/* from "on": the key first, then the names */
	expect_key(&input, "node-2,node-3,node-4", 2);
	input = tell(SYNC_PLAN_QUORUM, "node-1", "node-2,node-3,node-4", 2, "\"node-2\"");
	expect_names(&input, "ANY 1 (\"node-2\",\"node-3\",\"node-4\")");
	/* more must confirm: the names first, the quorum when two have */
	input = tell(SYNC_PLAN_QUORUM, "node-1", "node-2,node-3,node-4", 2,
				 "ANY 1 (\"node-2\",\"node-3\",\"node-4\")");
	expect_rule(&input, SYNC_STEP_NONE, "done");
	input.node_count = 2;
	expect_names(&input, "ANY 2 (\"node-2\",\"node-3\",\"node-4\")");
	story_names.number = 2;
	story[0].lsn = story[1].lsn = 900;
	expect_rule(&input, SYNC_STEP_WAIT, "wait-for-standby");
	story[1].lsn = 1100;
	expect_key(&input, "node-2,node-3,node-4", 1);
	/* lost: out of the names at once, out of the key when another has what it had */
	input = tell(SYNC_PLAN_QUORUM, "node-1", "node-2,node-3", 1, "ANY 1 (\"node-2\",\"node-3\")");
	input.n_candidates = 1;
	expect_names(&input, "ANY 1 (\"node-2\")");
	input = tell(SYNC_PLAN_QUORUM, "node-1", "node-2,node-3", 1, "ANY 1 (\"node-2\")");
	input.n_candidates = 1;
	story[0].lsn = 900;
	expect_rule(&input, SYNC_STEP_WAIT, "wait-for-standby");
	story[0].lsn = 1000;
	expect_key(&input, "node-2", 0);
	/* back to "on" */
	input = tell(SYNC_PLAN_ON, "node-1", "node-2,node-3,node-4", 2,
				 "ANY 1 (\"node-2\",\"node-3\",\"node-4\")");
	story[1].sync_priority = 2;
	expect_names(&input, "\"node-3\"");
}

/* Its clients may see what only it has; and those that the key names may be far behind. */
static void
test_former_leader_is_promoted(void **state)
{
	SyncPlanInput input = tell(SYNC_PLAN_ON, "node-1", "node-2", 0, "\"node-2\"");

	(void) state;
	input.is_writable = false;
	expect_rule(&input, SYNC_STEP_NONE, "done");
	assert_true(story_step.is_safe);
	input.is_stale = true;
	expect_names(&input, "");
	assert_false(story_step.is_safe);
	input = tell(SYNC_PLAN_QUORUM, "node-1", "node-2,node-3", 1, "");
	input.is_writable = false;
	input.is_stale = true;
	expect_key(&input, "", 0);
	assert_false(story_step.is_safe);
}

static void
test_new_leader(void **state)
{
	SyncPlanInput input = tell(SYNC_PLAN_QUORUM, "node-4", "node-1,node-2,node-3", 1, "");

	(void) state;
	input.is_writable = false;
	input.n_candidates = 0;
	expect_names(&input, "ANY 2 (\"node-2\",\"node-3\",\"node-4\")");
	assert_false(story_step.is_safe);
	input = tell(SYNC_PLAN_QUORUM, "node-4", "node-1,node-2,node-3", 1,
				 "ANY 2 (\"node-2\",\"node-3\",\"node-4\")");
	input.is_writable = false;
	input.n_candidates = 0;
	/* with the vote of the former leader only: who is promoted shows what it has */
	expect_key(&input, "node-2,node-3,node-4", 2);
	assert_false(story_step.is_safe);
	input = tell(SYNC_PLAN_QUORUM, "node-1", "node-2,node-3,node-4", 2,
				 "ANY 2 (\"node-2\",\"node-3\",\"node-4\")");
	input.is_writable = false;
	input.n_candidates = 0;
	expect_rule(&input, SYNC_STEP_NONE, "done");
	assert_true(story_step.is_safe);
	input.is_writable = true;
	input.is_new_leader = true;
	expect_rule(&input, SYNC_STEP_WAIT, "let-reconnect");
	input.is_settling = true;
	expect_rule(&input, SYNC_STEP_WAIT, "settling");
	/* on: nobody else may lead until a standby is synchronous again */
	input = tell(SYNC_PLAN_ON, "node-4", "node-1", 0, "");
	input.is_writable = false;
	expect_key(&input, "", 0);
	input.is_strict = true;
	expect_names(&input, "*");
	/* off: the key goes first */
	input = tell(SYNC_PLAN_OFF, "node-4", "node-1", 0, "");
	expect_rule(&input, SYNC_STEP_DELETE_KEY, "switched-off");
	assert_false(story_step.is_safe);
}

static bool
can_win(SyncPlanMode mode, const char *own, const char *a, const char *b, bool b_is_ahead)
{
	SyncAnswer	answers[] = {{a, false}, {b, b_is_ahead}};
	SyncCandidacy candidacy = {.mode = mode, .sync = &story_sync, .own_name = own,
		.answers = answers, .n_answers = b == NULL ? (a == NULL ? 0 : 1) : 2};
	SyncVotes	votes;

	return sync_may_promote(&candidacy, &votes) && votes.because[0] != '\0';
}

static void
test_may_promote(void **state)
{
	(void) state;
	tell(SYNC_PLAN_ON, "node-1", "node-2, Node-3", 0, "");
	assert_true(can_win(SYNC_PLAN_ON, "node-1", NULL, NULL, false));
	assert_true(can_win(SYNC_PLAN_ON, "node-3", NULL, NULL, false));
	assert_false(can_win(SYNC_PLAN_ON, "node-4", "node-2", NULL, false));
	assert_true(can_win(SYNC_PLAN_OFF, "node-4", NULL, NULL, false));
	/* who is not named needs one vote more */
	assert_false(can_win(SYNC_PLAN_QUORUM, "node-4", "node-5", NULL, false));
	assert_true(can_win(SYNC_PLAN_QUORUM, "node-4", "node-2", NULL, false));
	story_sync.quorum = 1;
	assert_true(can_win(SYNC_PLAN_QUORUM, "node-1", NULL, NULL, false));
	assert_false(can_win(SYNC_PLAN_QUORUM, "node-1", NULL, NULL, false) &&
				 can_win(SYNC_PLAN_QUORUM, "node-2", NULL, NULL, false));
	assert_true(can_win(SYNC_PLAN_QUORUM, "node-2", "node-3", NULL, false));
	assert_true(can_win(SYNC_PLAN_QUORUM, "node-2", "node-1", NULL, false));
	assert_false(can_win(SYNC_PLAN_QUORUM, "node-4", "node-2", NULL, false));
	assert_false(can_win(SYNC_PLAN_QUORUM, "node-2", "node-2", "node-3", true));
	assert_false(can_win(SYNC_PLAN_QUORUM, "node-4", "node-2", "NODE-2", false));
	/* the quorum counts although the configuration says "on" by now */
	assert_false(can_win(SYNC_PLAN_ON, "node-2", NULL, NULL, false));
	assert_true(can_win(SYNC_PLAN_ON, "node-2", "node-3", NULL, false));
	story_sync.exists = false;
	assert_true(can_win(SYNC_PLAN_ON, "node-4", NULL, NULL, false));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model_to_5_nodes),
		cmocka_unit_test(test_model_6_nodes),
		cmocka_unit_test(test_model_7_nodes),
		cmocka_unit_test(test_wrong_planners_are_caught),
		cmocka_unit_test(test_patroni_invariant),
		cmocka_unit_test(test_names_text),
		cmocka_unit_test(test_mode_on),
		cmocka_unit_test(test_strict),
		cmocka_unit_test(test_mode_quorum),
		cmocka_unit_test(test_new_leader),
		cmocka_unit_test(test_former_leader_is_promoted),
		cmocka_unit_test(test_may_promote),
	};
	int			failed = cmocka_run_group_tests(tests, NULL, NULL);

	free(seen);
	free(queue);
	free(judged);
	free(said);
	return failed;
}
