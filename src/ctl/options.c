/*-------------------------------------------------------------------------
 *
 * options.c
 *      Reading the command line by the tables of tree.c, help from them, and
 *      what a shell may complete.
 *
 * Options may stand anywhere behind their command; "--" ends them.
 *-------------------------------------------------------------------------
 */
#include "ctl/ctl.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/version.h"
#include "cluster/ascii.h"

#define HELP_WIDTH 78

/* Walk over the names of an option; "hidden" ones stand behind a "|". */
static bool
next_name(const char **p, char name[40], bool *is_hidden)
{
	size_t length;

	*p += strspn(*p, ", ");
	if (**p == '|')
	{
		*is_hidden = true;
		*p += 1 + strspn(*p + 1, " ");
	}
	length = strcspn(*p, ", |");
	snprintf(name, 40, "%.*s", (int) length, *p);
	*p += length;
	return length > 0;
}

static const CtlOption *
find_option(const CtlOption *options, const char *wanted)
{
	for (const CtlOption *option = options; option->id != OPTION_NONE; option++)
	{
		const char *p = option->names;
		char name[40];
		bool is_hidden = false;

		while (next_name(&p, name, &is_hidden))
			if (strcmp(name, wanted) == 0)
				return option;
	}
	return NULL;
}

static const CtlOption *
options_of(const Ctl *ctl)
{
	return ctl->command != NULL ? ctl->command->options : ctl_global_options;
}

/* A text in lines of words from the column "indent" on; the first line has begun. */
static void
print_wrapped(FILE *out, const char *text, int indent)
{
	int column = indent;

	while (*text != '\0')
	{
		int length = (int) strcspn(text, " \n");

		if (column > indent && column + 1 + length > HELP_WIDTH)
		{
			fprintf(out, "\n%*s", indent, "");
			column = indent;
		}
		column += fprintf(out, "%s%.*s", column > indent ? " " : "", length, text);
		text += length;
		if (*text == '\n')
		{
			fprintf(out, "\n%*s", indent, "");
			column = indent;
		}
		text += *text != '\0';
	}
	putc('\n', out);
}

static void
print_usage(FILE *out, const Ctl *ctl)
{
	if (ctl->command == NULL)
		fprintf(out, "Usage: %s [OPTIONS] COMMAND [ARGS]...\n", ctl->program);
	else
	{
		char head[120];
		char text[200];

		snprintf(head, sizeof(head), "Usage: %.60s %s ", ctl->program, ctl->command->name);
		snprintf(text, sizeof(text), "[OPTIONS] %s", ctl->command->arguments);
		fputs(head, out);
		print_wrapped(out, text, (int) strlen(head));
	}
}

/* Say what is wrong with the command line; returns the exit code. */
int
ctl_usage_error(const Ctl *ctl, const char *format, ...)
{
	va_list args;

	fflush(stdout);
	print_usage(stderr, ctl);
	fprintf(stderr, "Try '%s%s%s --help' for help.\n\nError: ", ctl->program,
			ctl->command != NULL ? " " : "", ctl->command != NULL ? ctl->command->name : "");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	putc('\n', stderr);
	return CTL_EXIT_USAGE;
}

/* "-f, --format TEXT", "-r, --role [leader|primary]"; "" if all of its names are hidden */
static void
option_heading(const CtlOption *option, char *text, size_t size)
{
	const char *p = option->names;
	char name[40];
	bool is_hidden = false;
	size_t n = 0;

	text[0] = '\0';
	while (next_name(&p, name, &is_hidden) && !is_hidden)
		n += (size_t) snprintf(text + n, size - n, "%s%s", n > 0 ? ", " : "", name);
	if (n == 0)
		return;
	if (option->choices != NULL)
	{
		for (int i = 0; option->choices[i] != NULL && option->choices[i][0] != '\0'; i++)
			n += (size_t) snprintf(text + n, size - n, "%s%s", i == 0 ? " [" : "|",
								   option->choices[i]);
		snprintf(text + n, size - n, "]");
	}
	else if (option->metavar != NULL)
		snprintf(text + n, size - n, " %s", option->metavar);
}

static void
print_options(const CtlOption *options)
{
	int widest = 6;
	char heading[200];

	puts("\nOptions:");
	for (const CtlOption *option = options; option->id != OPTION_NONE; option++)
	{
		int width;

		option_heading(option, heading, sizeof(heading));
		width = (int) strlen(heading);
		if (width > widest && width <= 30)
			widest = width;
	}
	for (const CtlOption *option = options; option->id != OPTION_NONE; option++)
	{
		option_heading(option, heading, sizeof(heading));
		if (heading[0] == '\0')
			continue;
		if ((int) strlen(heading) > widest)
			printf("  %s\n%*s", heading, widest + 4, "");
		else
			printf("  %-*s  ", widest, heading);
		print_wrapped(stdout, option->help, widest + 4);
	}
}

static int
print_help(const Ctl *ctl)
{
	print_usage(stdout, ctl);
	if (ctl->command != NULL)
	{
		printf("\n  ");
		print_wrapped(stdout, ctl->command->help, 2);
		print_options(ctl->command->options);
		return CTL_EXIT_OK;
	}
	puts("\n  Look after a PostgreSQL cluster of patroni_bgw or Patroni: show its members,\n"
		 "  change who leads, restart, pause, and edit the settings of all members.");
	print_options(ctl_global_options);
	puts("\nCommands:");
	for (const CtlCommand *command = ctl_commands; command->name != NULL; command++)
	{
		int first_line = (int) strcspn(command->help, ".\n");

		printf("  %-16s %.*s\n", command->name, first_line, command->help);
	}
	printf("\n%s COMMAND --help says more of a command; the manual is docs/ctl.md.\n",
		   ctl->program);
	return CTL_EXIT_OK;
}

static bool
is_number(const char *text, bool is_whole)
{
	char *end;

	if (text[0] == '\0' || ascii_is_space(text[0]))
		return false;
	if (is_whole)
		(void) strtol(text, &end, 10);
	else
		(void) strtod(text, &end);
	return *end == '\0';
}

/* "'--role' / '-r'" as messages name an option. */
static void
quote_names(const CtlOption *option, char *text, size_t size)
{
	const char *p = option->names;
	char names[4][40];
	int count = 0;
	bool is_hidden = false;
	size_t n = 0;

	while (count < 4 && next_name(&p, names[count], &is_hidden) && !is_hidden)
		count++;
	text[0] = '\0';
	/* the long ones first */
	for (int pass = 0; pass < 2; pass++)
		for (int i = 0; i < count; i++)
			if ((names[i][1] == '-') == (pass == 0))
				n += (size_t) snprintf(text + n, size - n, "%s'%s'", n > 0 ? " / " : "", names[i]);
}

static int
check_choice(const Ctl *ctl, const CtlOption *option, const char *value)
{
	char names[160];
	char list[300];
	size_t n = 0;
	bool is_shown = true;

	list[0] = '\0';
	for (int i = 0; option->choices[i] != NULL; i++)
	{
		if (strcmp(option->choices[i], value) == 0 && value[0] != '\0')
			return -1;
		is_shown = is_shown && option->choices[i][0] != '\0';
		if (is_shown)
			n += (size_t) snprintf(list + n, sizeof(list) - n, "%s'%s'", i > 0 ? ", " : "",
								   option->choices[i]);
	}
	quote_names(option, names, sizeof(names));
	return ctl_usage_error(ctl, "Invalid value for %s: '%s' is not one of %s.", names, value, list);
}

static int
take_value(Ctl *ctl, const CtlOption *option, const char *value)
{
	char names[160];
	int status;

	if (option->metavar != NULL &&
		(strcmp(option->metavar, "INTEGER") == 0 || strcmp(option->metavar, "FLOAT") == 0) &&
		!is_number(value, option->metavar[0] == 'I'))
	{
		quote_names(option, names, sizeof(names));
		return ctl_usage_error(ctl, "Invalid value for %s: '%s' is not a valid %s.", names, value,
							   option->metavar[0] == 'I' ? "integer" : "float");
	}
	if (option->choices != NULL && (status = check_choice(ctl, option, value)) >= 0)
		return status;
	ctl->values[option->id] = value;
	if (option->is_repeatable)
	{
		if (ctl->n_pairs == CTL_PAIRS_MAX)
			return ctl_usage_error(ctl, "More than %d settings at once.", CTL_PAIRS_MAX);
		ctl->pair_is_pg[ctl->n_pairs] = option->id == OPTION_PG;
		ctl->pairs[ctl->n_pairs++] = value;
	}
	return -1;
}

/* The most similar name, NULL if none is. */
static const char *
similar_name(const CtlOption *options, const char *wanted, char found[40])
{
	for (const CtlOption *option = options; option->id != OPTION_NONE; option++)
	{
		const char *p = option->names;
		char name[40];
		bool is_hidden = false;

		while (next_name(&p, name, &is_hidden) && !is_hidden)
			if (strncmp(name, wanted, 4) == 0 && name[1] == '-')
			{
				snprintf(found, 40, "%s", name);
				return found;
			}
	}
	return NULL;
}

static int
no_such_option(const Ctl *ctl, const char *name)
{
	char found[40];
	const char *similar = similar_name(options_of(ctl), name, found);

	if (similar != NULL)
		return ctl_usage_error(ctl, "No such option: %s Did you mean %s?", name, similar);
	return ctl_usage_error(ctl, "No such option: %s", name);
}

/* The one mistake of usage that is told without the usage. */
static int
no_argument(const char *name)
{
	ctl_fail("Option '%s' requires an argument.", name);
	return CTL_EXIT_USAGE;
}

/* "--name", "--name=value", "--name value"; *used_next: the next word, too. */
static int
take_long(Ctl *ctl, const char *word, const char *next, bool *used_next)
{
	const char *equals = strchr(word, '=');
	char name[40];
	const CtlOption *option;

	snprintf(name, sizeof(name), "%.*s", equals != NULL ? (int) (equals - word) : 39, word);
	option = find_option(options_of(ctl), name);
	if (option == NULL)
		return no_such_option(ctl, name);
	if (option->metavar == NULL)
	{
		if (equals != NULL)
			return ctl_usage_error(ctl, "Option '%s' does not take a value.", name);
		ctl->flags[option->id] = true;
		return -1;
	}
	if (equals != NULL)
		return take_value(ctl, option, equals + 1);
	if (next == NULL)
		return no_argument(name);
	*used_next = true;
	return take_value(ctl, option, next);
}

/* "-tW", "-fjson", "-f json" */
static int
take_short(Ctl *ctl, const char *word, const char *next, bool *used_next)
{
	for (const char *p = word + 1; *p != '\0'; p++)
	{
		char name[3] = { '-', *p, '\0' };
		const CtlOption *option = find_option(options_of(ctl), name);

		if (option == NULL)
			return no_such_option(ctl, name);
		if (option->metavar == NULL)
		{
			ctl->flags[option->id] = true;
			continue;
		}
		if (p[1] != '\0')
			return take_value(ctl, option, p + 1);
		if (next == NULL)
			return no_argument(name);
		*used_next = true;
		return take_value(ctl, option, next);
	}
	return -1;
}

static int
check_words(Ctl *ctl)
{
	const CtlCommand *command = ctl->command;

	if (ctl->n_words < command->least)
	{
		const char *p = command->arguments;
		char name[64];

		/* those in brackets need not be there */
		for (int i = 0; i < command->least; i++)
		{
			p += strspn(p, " ");
			while (*p == '[')
				p += strcspn(p, " "), p += strspn(p, " ");
			snprintf(name, sizeof(name), "%.*s", (int) strcspn(p, " "), p);
			if (i < ctl->n_words)
				p += strcspn(p, " ");
			else
				break;
		}
		return ctl_usage_error(ctl, "Missing argument '%s'.", name);
	}
	if (command->most >= 0 && ctl->n_words > command->most)
		return ctl_usage_error(ctl, "Got unexpected extra argument (%s)",
							   ctl->words[command->most]);
	if (command->has_scope && ctl->n_words > 0)
		ctl->scope = ctl->words[0];
	return -1;
}

/*
 * Read the command line into *ctl.  Returns -1 to go on; otherwise the exit
 * code of a program that has said all there is to say.
 */
int
ctl_parse(Ctl *ctl, int argc, char **argv)
{
	bool has_options = true;

	ctl->words = calloc((size_t) argc + 1, sizeof(char *));
	if (ctl->words == NULL)
		return ctl_fail("out of memory");
	for (int i = 1; i < argc; i++)
	{
		char *word = argv[i];
		bool used_next = false;
		int status = -1;

		if (has_options && strcmp(word, "--") == 0)
			has_options = false;
		else if (has_options && strncmp(word, "--", 2) == 0)
			status = take_long(ctl, word, argv[i + 1], &used_next);
		else if (has_options && word[0] == '-' && word[1] != '\0')
			status = take_short(ctl, word, argv[i + 1], &used_next);
		else if (ctl->command == NULL)
		{
			ctl->command = ctl_find_command(word);
			if (ctl->command == NULL)
				return ctl_usage_error(ctl, "No such command '%s'.", word);
		}
		else
			ctl->words[ctl->n_words++] = word;
		if (status >= 0)
			return status;
		if (ctl->flags[OPTION_HELP])
			return print_help(ctl);
		if (ctl->flags[OPTION_VERSION])
		{
			printf("%s version %s\n", ctl->program, PATRONI_BGW_VERSION);
			return CTL_EXIT_OK;
		}
		i += used_next;
	}
	if (ctl->command == NULL)
		return print_help(ctl);
	return check_words(ctl);
}

/* ------------------------------------------------------------- completion */

static void
complete_members(Ctl *ctl, const char *scope)
{
	CtlCluster *cluster;

	/* no questions, and no complaints into the line that is being typed */
	if (freopen("/dev/null", "w", stderr) == NULL || ctl_configure(ctl) != CTL_EXIT_OK)
		return;
	cluster = cluster_load(ctl, scope != NULL ? scope : ctl->scope);
	for (int i = 0; cluster != NULL && i < cluster->groups[0].n_members; i++)
		puts(cluster->groups[0].members[i].known.name);
	cluster_unload(cluster);
}

static void
complete_option_names(const CtlOption *options)
{
	for (const CtlOption *option = options; option->id != OPTION_NONE; option++)
	{
		const char *p = option->names;
		char name[40];
		bool is_hidden = false;

		while (next_name(&p, name, &is_hidden) && !is_hidden)
			puts(name);
	}
}

/*
 * Print what the last of the words could be, one on each line: for the shell,
 * which chooses among them.  Called with the words behind the hidden command.
 */
int
ctl_complete(Ctl *ctl, int argc, char **argv)
{
	const CtlOption *pending = NULL;
	int n_words = 0;
	const char *scope = NULL;

	for (int i = 0; i + 1 < argc; i++)
	{
		const CtlOption *option = NULL;

		if (pending != NULL)
		{
			ctl->values[pending->id] = argv[i];
			pending = NULL;
			continue;
		}
		if (argv[i][0] == '-')
		{
			option = find_option(options_of(ctl), argv[i]);
			if (option != NULL && option->metavar != NULL)
				pending = option;
			continue;
		}
		if (ctl->command == NULL)
		{
			ctl->command = ctl_find_command(argv[i]);
			if (ctl->command == NULL)
				return CTL_EXIT_OK;
		}
		else if (n_words++ == 0)
			scope = argv[i];
	}
	if (pending != NULL)
	{
		for (int i = 0; pending->choices != NULL && pending->choices[i] != NULL &&
						pending->choices[i][0] != '\0';
			 i++)
			puts(pending->choices[i]);
		if (pending->id == OPTION_MEMBER || pending->id == OPTION_CANDIDATE ||
			pending->id == OPTION_LEADER)
			complete_members(ctl, scope);
		return CTL_EXIT_OK;
	}
	if (argc > 0 && argv[argc - 1][0] == '-')
		complete_option_names(options_of(ctl));
	else if (ctl->command == NULL)
		for (const CtlCommand *command = ctl_commands; command->name != NULL; command++)
			puts(command->name);
	else if (n_words > 0 && (ctl->command->most < 0 || n_words < ctl->command->most))
	{
		if (strstr(ctl->command->arguments, "MEMBER") != NULL)
			complete_members(ctl, scope);
		if (strcmp(ctl->command->name, "flush") == 0)
			puts("restart\nswitchover");
	}
	else if (n_words == 0 && ctl->command->has_scope && freopen("/dev/null", "w", stderr) != NULL &&
			 ctl_configure(ctl) == CTL_EXIT_OK && ctl->scope != NULL)
		puts(ctl->scope);
	return CTL_EXIT_OK;
}
