/*-------------------------------------------------------------------------
 *
 * say.c
 *      What patroni_ctl prints and asks.
 *
 *-------------------------------------------------------------------------
 */
#include "ctl/ctl.h"

#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "cluster/ascii.h"

/* Say why it does not work; returns the exit code. */
int
ctl_fail(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fputs("Error: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	putc('\n', stderr);
	return CTL_EXIT_ERROR;
}

/* In the form of Patroni's log; nothing when less than warnings is wanted. */
void
ctl_warn(const char *format, ...)
{
	static const char *const names[] = { "LOGLEVEL", "PATRONI_LOGLEVEL", "PATRONI_LOG_LEVEL" };
	const char *level = "WARNING";
	int64_t now_ms = clock_wall_ms();
	time_t now = (time_t) (now_ms / 1000);
	struct tm local;
	char text[32];
	va_list args;

	for (int i = 0; i < 3; i++)
		if (getenv(names[i]) != NULL)
			level = getenv(names[i]);
	if (ascii_is_same(level, "ERROR") || ascii_is_same(level, "CRITICAL") ||
		ascii_is_same(level, "FATAL"))
		return;
	fflush(stdout);
	localtime_r(&now, &local);
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &local);
	fprintf(stderr, "%s,%03d - WARNING - ", text, (int) (now_ms % 1000));
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	putc('\n', stderr);
}

/* The local time, with five digits behind the second if asked. */
void
ctl_timestamp(char text[40], bool with_fraction)
{
	struct timespec now;
	struct tm local;
	char date[24];

	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &local);
	strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &local);
	if (with_fraction)
		snprintf(text, 40, "%s.%05d", date, (int) (now.tv_nsec / 10000 % 100000));
	else
		snprintf(text, 40, "%s", date);
}

void
ctl_next_hour(char text[24])
{
	time_t then = time(NULL) + 3600;
	struct tm local;

	localtime_r(&then, &local);
	strftime(text, 24, "%Y-%m-%dT%H:%M", &local);
}

/* One line from standard input, malloc'ed; the end of it ends the program. */
static char *
read_line(void)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t length;

	fflush(stdout);
	length = getline(&line, &size, stdin);
	if (length < 0)
	{
		free(line);
		ctl_show_typing();
		fputs("Aborted!\n", stderr);
		exit(CTL_EXIT_ERROR);
	}
	while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r'))
		line[--length] = '\0';
	return line;
}

/* Ask yes or no; an empty answer is no. */
bool
ctl_confirm(const char *format, ...)
{
	for (;;)
	{
		va_list args;
		char *line;
		char *word;
		bool is_yes;
		bool is_no;

		va_start(args, format);
		vprintf(format, args);
		va_end(args);
		fputs(" [y/N]: ", stdout);
		line = read_line();
		for (word = line; ascii_is_space(*word); word++)
			;
		for (char *end = word + strlen(word); end > word && ascii_is_space(end[-1]);)
			*--end = '\0';
		is_yes = ascii_is_same(word, "y") || ascii_is_same(word, "yes");
		is_no = ascii_is_same(word, "n") || ascii_is_same(word, "no") || word[0] == '\0';
		free(line);
		if (is_yes || is_no)
			return is_yes;
		puts("Error: invalid input");
	}
}

/* Ask for a text.  malloc'ed. */
char *
ctl_prompt(const char *text, const char *otherwise)
{
	for (;;)
	{
		char *line;

		if (otherwise != NULL)
			printf("%s [%s]: ", text, otherwise);
		else
			printf("%s: ", text);
		line = read_line();
		if (line[0] != '\0')
			return line;
		if (otherwise != NULL)
		{
			free(line);
			return strdup(otherwise);
		}
		free(line);
	}
}

/* How the terminal was before what is typed was hidden. */
static struct termios terminal_before;
static volatile sig_atomic_t is_typing_hidden;

static void
hide_typing(void)
{
	struct termios hidden;

	if (tcgetattr(STDIN_FILENO, &terminal_before) != 0)
		return;
	hidden = terminal_before;
	hidden.c_lflag &= ~(tcflag_t) ECHO;
	is_typing_hidden = true;
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
}

/* Show again what is typed.  A signal handler may call this. */
void
ctl_show_typing(void)
{
	if (is_typing_hidden)
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &terminal_before);
	is_typing_hidden = false;
}

/* Ask for a password, which is not shown.  malloc'ed. */
char *
ctl_prompt_password(void)
{
	for (;;)
	{
		char *line;

		fputs("Password: ", isatty(STDIN_FILENO) ? stdout : stderr);
		fflush(stdout);
		hide_typing();
		line = read_line();
		if (is_typing_hidden)
			putchar('\n');
		ctl_show_typing();
		if (line[0] != '\0')
			return line;
		free(line);
	}
}

/* Print and free a text; NULL is what out of memory looks like. */
void
ctl_print(char *text)
{
	puts(text != NULL ? text : "out of memory");
	free(text);
}

/* Print rows; "format" is one of pretty, topology, tsv, json, yaml and yml. */
void
ctl_print_rows(const char *format, const char *title, const json_t *columns, const char *align,
			   const json_t *rows, const char *delimiter)
{
	if (strcmp(format, "json") == 0 || format[0] == 'y')
	{
		json_t *objects = format_objects(columns, rows, title != NULL);

		ctl_print(format[0] == 'j' ? format_json(objects) : format_yaml(objects, false));
		json_decref(objects);
	}
	else if (strcmp(format, "tsv") == 0)
	{
		char *text = format_separated(columns, rows, delimiter);

		fputs(text != NULL ? text : "out of memory\n", stdout);
		free(text);
	}
	else
		ctl_print(format_table(title, columns, align, rows));
}

/* How often again, in seconds; 0 = not at all. */
static double
watch_interval(const Ctl *ctl)
{
	if (ctl->values[OPTION_WATCH] != NULL)
	{
		double interval = strtod(ctl->values[OPTION_WATCH], NULL);

		if (interval > 0)
			return interval;
	}
	return ctl->flags[OPTION_WATCH_2] ? 2 : 0;
}

/* For loops over what -W and -w repeat: is there a next time, and is it due? */
bool
ctl_watch(const Ctl *ctl, bool is_first, bool clear)
{
	double interval = watch_interval(ctl);

	if (!is_first)
	{
		struct timespec pause;

		if (interval <= 0)
			return false;
		/* nobody reads any more, and whoever started us ignores SIGPIPE */
		if (fflush(stdout) != 0 || ferror(stdout))
			return false;
		if (interval > 86400)
			interval = 86400;
		pause.tv_sec = (time_t) interval;
		pause.tv_nsec = (long) ((interval - (double) pause.tv_sec) * 1e9);
		nanosleep(&pause, NULL);
	}
	if (interval > 0 && clear && isatty(STDOUT_FILENO))
		fputs("\033[2J\033[1;1H", stdout);
	return true;
}
