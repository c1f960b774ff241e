/*-------------------------------------------------------------------------
 *
 * diff.c
 *      A unified diff of two texts, the same that Python's difflib makes: its
 *      way to match blocks of lines, not the shortest edit, decides what the
 *      hunks look like.
 *
 *-------------------------------------------------------------------------
 */
#include "ctl/format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIFF_CONTEXT	  3
#define DIFF_LINES_MAX	  100000
#define DIFF_POPULAR_FROM 200 /* from so many lines on, very frequent ones match nothing */

typedef struct Lines
{
	const char **text;
	size_t *length;
	int count;
} Lines;

typedef struct Match
{
	int a;
	int b;
	int size;
} Match;

typedef struct Opcode
{
	char tag; /* = replace: r, delete: d, insert: i */
	int a1, a2, b1, b2;
} Opcode;

typedef struct Diff
{
	Lines a;
	Lines b;
	int *next;	  /* of a line of b the next equal one, -1 = none */
	int *first;	  /* of a line of a the first equal one in b, -1 = none */
	int *lengths; /* of the match that ends here; two rows of b.count + 1 */
	Match *matches;
	int n_matches;
	Opcode *opcodes;
	int n_opcodes;
} Diff;

/* The lines of a text without the line feeds at its end. */
static bool
split_lines(const char *text, Lines *lines)
{
	size_t length = strlen(text);
	int count = 1;
	const char *p = text;

	while (length > 0 && text[length - 1] == '\n')
		length--;
	for (size_t i = 0; i < length; i++)
		count += text[i] == '\n';
	if (count > DIFF_LINES_MAX)
		return false;
	lines->text = calloc((size_t) count, sizeof(char *));
	lines->length = calloc((size_t) count, sizeof(size_t));
	if (lines->text == NULL || lines->length == NULL)
		return false;
	for (lines->count = 0; lines->count < count; lines->count++)
	{
		size_t rest = length - (size_t) (p - text);
		const char *end = memchr(p, '\n', rest);
		size_t n = end != NULL ? (size_t) (end - p) : rest;

		lines->text[lines->count] = p;
		lines->length[lines->count] = n;
		p += n + 1;
	}
	return true;
}

static bool
lines_equal(const Lines *a, int i, const Lines *b, int j)
{
	return a->length[i] == b->length[j] && memcmp(a->text[i], b->text[j], a->length[i]) == 0;
}

typedef struct SortedLine
{
	const Lines *lines;
	int number;
} SortedLine;

static int
compare_sorted(const void *x, const void *y)
{
	const SortedLine *a = x;
	const SortedLine *b = y;
	size_t a_length = a->lines->length[a->number];
	size_t b_length = b->lines->length[b->number];
	int order = memcmp(a->lines->text[a->number], b->lines->text[b->number],
					   a_length < b_length ? a_length : b_length);

	if (order != 0)
		return order;
	if (a_length != b_length)
		return a_length < b_length ? -1 : 1;
	return a->number - b->number;
}

/* Chain the equal lines of b, and find for each line of a where they begin. */
static bool
chain_equal_lines(Diff *diff)
{
	int n = diff->b.count;
	SortedLine *sorted = calloc((size_t) n + 1, sizeof(SortedLine));
	int popular = n >= DIFF_POPULAR_FROM ? n / 100 + 1 : n;

	if (sorted == NULL)
		return false;
	for (int i = 0; i < n; i++)
		sorted[i] = (SortedLine){ &diff->b, i };
	qsort(sorted, (size_t) n, sizeof(SortedLine), compare_sorted);
	for (int i = 0; i < diff->a.count; i++)
		diff->first[i] = -1;
	for (int from = 0, to; from < n; from = to)
	{
		for (to = from + 1;
			 to < n && lines_equal(&diff->b, sorted[from].number, &diff->b, sorted[to].number);)
			to++;
		for (int i = from; i < to; i++)
			diff->next[sorted[i].number] = i + 1 < to ? sorted[i + 1].number : -1;
		if (to - from > popular)
			diff->next[sorted[from].number] = -2;
	}
	for (int i = 0; i < diff->a.count; i++)
	{
		int low = 0;
		int high = n;

		while (low < high)
		{
			int middle = low + (high - low) / 2;
			const SortedLine *line = &sorted[middle];
			size_t a_length = diff->a.length[i];
			size_t b_length = diff->b.length[line->number];
			int order = memcmp(diff->b.text[line->number], diff->a.text[i],
							   a_length < b_length ? a_length : b_length);

			if (order == 0 && a_length != b_length)
				order = b_length < a_length ? -1 : 1;
			if (order < 0)
				low = middle + 1;
			else
				high = middle;
		}
		if (low < n && lines_equal(&diff->a, i, &diff->b, sorted[low].number) &&
			diff->next[sorted[low].number] != -2)
			diff->first[i] = sorted[low].number;
	}
	free(sorted);
	return true;
}

/* The longest equal block within the bounds, the earliest of several. */
static Match
longest_match(Diff *diff, int a1, int a2, int b1, int b2)
{
	Match best = { a1, b1, 0 };
	int width = diff->b.count + 1;
	int *older = diff->lengths;
	int *newer = diff->lengths + width;

	/* lengths[j + 1]: of the block that ends with line j of b */
	memset(diff->lengths, 0, 2 * (size_t) width * sizeof(int));
	for (int i = a1; i < a2; i++)
	{
		int *swap;

		memset(newer, 0, (size_t) width * sizeof(int));
		for (int j = diff->first[i]; j >= 0 && j < b2; j = diff->next[j])
		{
			int size;

			if (j < b1)
				continue;
			size = newer[j + 1] = older[j] + 1;
			if (size > best.size)
				best = (Match){ i - size + 1, j - size + 1, size };
		}
		swap = older;
		older = newer;
		newer = swap;
	}
	while (best.a > a1 && best.b > b1 && lines_equal(&diff->a, best.a - 1, &diff->b, best.b - 1))
		best.a--, best.b--, best.size++;
	while (best.a + best.size < a2 && best.b + best.size < b2 &&
		   lines_equal(&diff->a, best.a + best.size, &diff->b, best.b + best.size))
		best.size++;
	return best;
}

static void
find_matches(Diff *diff, int a1, int a2, int b1, int b2)
{
	Match match = longest_match(diff, a1, a2, b1, b2);

	if (match.size == 0)
		return;
	if (a1 < match.a && b1 < match.b)
		find_matches(diff, a1, match.a, b1, match.b);
	if (diff->n_matches > 0 &&
		diff->matches[diff->n_matches - 1].a + diff->matches[diff->n_matches - 1].size == match.a &&
		diff->matches[diff->n_matches - 1].b + diff->matches[diff->n_matches - 1].size == match.b)
		diff->matches[diff->n_matches - 1].size += match.size;
	else
		diff->matches[diff->n_matches++] = match;
	if (match.a + match.size < a2 && match.b + match.size < b2)
		find_matches(diff, match.a + match.size, a2, match.b + match.size, b2);
}

static void
make_opcodes(Diff *diff)
{
	int a = 0;
	int b = 0;

	for (int i = 0; i <= diff->n_matches; i++)
	{
		Match end = { diff->a.count, diff->b.count, 0 };
		Match match = i < diff->n_matches ? diff->matches[i] : end;

		if (a < match.a || b < match.b)
			diff->opcodes[diff->n_opcodes++] = (Opcode){ a == match.a	? 'i'
														 : b == match.b ? 'd'
																		: 'r',
														 a, match.a, b, match.b };
		if (match.size > 0)
			diff->opcodes[diff->n_opcodes++] =
				(Opcode){ '=', match.a, match.a + match.size, match.b, match.b + match.size };
		a = match.a + match.size;
		b = match.b + match.size;
	}
}

static void
write_range(FILE *out, int from, int to)
{
	int length = to - from;

	if (length == 1)
		fprintf(out, "%d", from + 1);
	else
		fprintf(out, "%d,%d", length == 0 ? from : from + 1, length);
}

static void
write_lines(FILE *out, char sign, const Lines *lines, int from, int to)
{
	for (int i = from; i < to; i++)
		fprintf(out, "%c%.*s\n", sign, (int) lines->length[i], lines->text[i]);
}

static void
write_hunk(FILE *out, const Diff *diff, const Opcode *opcodes, int n)
{
	fputs("@@ -", out);
	write_range(out, opcodes[0].a1, opcodes[n - 1].a2);
	fputs(" +", out);
	write_range(out, opcodes[0].b1, opcodes[n - 1].b2);
	fputs(" @@\n", out);
	for (int i = 0; i < n; i++)
	{
		const Opcode *code = &opcodes[i];

		if (code->tag == '=')
			write_lines(out, ' ', &diff->a, code->a1, code->a2);
		else
		{
			write_lines(out, '-', &diff->a, code->a1, code->a2);
			write_lines(out, '+', &diff->b, code->b1, code->b2);
		}
	}
}

static int
larger(int a, int b)
{
	return a > b ? a : b;
}

/* Cut long equal stretches, so that each hunk has its context and no more. */
static void
write_hunks(FILE *out, Diff *diff)
{
	Opcode *codes = diff->opcodes;
	int last = diff->n_opcodes - 1;
	int from = 0;

	if (last < 0 || (last == 0 && codes[0].tag == '='))
		return;
	fputs("--- \n+++ \n", out);
	if (codes[0].tag == '=')
	{
		codes[0].a1 = larger(codes[0].a1, codes[0].a2 - DIFF_CONTEXT);
		codes[0].b1 = larger(codes[0].b1, codes[0].b2 - DIFF_CONTEXT);
	}
	if (codes[last].tag == '=' && codes[last].a2 - codes[last].a1 > DIFF_CONTEXT)
	{
		codes[last].a2 = codes[last].a1 + DIFF_CONTEXT;
		codes[last].b2 = codes[last].b1 + DIFF_CONTEXT;
	}
	for (int i = 1; i < last; i++)
	{
		Opcode whole = codes[i];

		if (whole.tag != '=' || whole.a2 - whole.a1 <= 2 * DIFF_CONTEXT)
			continue;
		codes[i].a2 = whole.a1 + DIFF_CONTEXT;
		codes[i].b2 = whole.b1 + DIFF_CONTEXT;
		write_hunk(out, diff, &codes[from], i - from + 1);
		codes[i] = whole;
		codes[i].a1 = whole.a2 - DIFF_CONTEXT;
		codes[i].b1 = whole.b2 - DIFF_CONTEXT;
		from = i;
	}
	write_hunk(out, diff, &codes[from], last - from + 1);
}

/* The diff of two texts; "" when their lines are equal.  malloc'ed. */
char *
format_diff(const char *before, const char *after)
{
	Diff diff;
	char *text = NULL;
	size_t length = 0;
	FILE *out = NULL;

	memset(&diff, 0, sizeof(diff));
	if (split_lines(before, &diff.a) && split_lines(after, &diff.b))
	{
		size_t n = (size_t) diff.a.count + (size_t) diff.b.count + 2;

		diff.next = calloc(n, sizeof(int));
		diff.first = calloc(n, sizeof(int));
		diff.lengths = calloc(2 * n, sizeof(int));
		diff.matches = calloc(n, sizeof(Match));
		diff.opcodes = calloc(2 * n, sizeof(Opcode));
		if (diff.next != NULL && diff.first != NULL && diff.lengths != NULL &&
			diff.matches != NULL && diff.opcodes != NULL && chain_equal_lines(&diff))
			out = open_memstream(&text, &length);
	}
	if (out != NULL)
	{
		find_matches(&diff, 0, diff.a.count, 0, diff.b.count);
		make_opcodes(&diff);
		write_hunks(out, &diff);
		if (fclose(out) != 0)
		{
			free(text);
			text = NULL;
		}
	}
	free(diff.a.text);
	free(diff.a.length);
	free(diff.b.text);
	free(diff.b.length);
	free(diff.next);
	free(diff.first);
	free(diff.lengths);
	free(diff.matches);
	free(diff.opcodes);
	return text;
}
