/*-------------------------------------------------------------------------
 *
 * main.c
 *      The command line of patroni_supervisor.
 *
 *-------------------------------------------------------------------------
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/version.h"
#include "node/trace.h"
#include "supervisor/log.h"
#include "supervisor/supervisor.h"

static void
print_help(void)
{
	printf("patroni_supervisor runs one member of a PostgreSQL high availability cluster.\n"
		   "\n"
		   "Usage:\n"
		   "  patroni_supervisor [--trace FILE] CONFIG   run in the foreground\n"
		   "  patroni_supervisor --validate CONFIG       check a configuration, show its problems\n"
		   "  patroni_supervisor --help\n"
		   "  patroni_supervisor --version\n"
		   "\n"
		   "CONFIG is a YAML file, or a directory of them.  Without it, the variable\n"
		   "PATRONI_CONFIGURATION or the PATRONI_* variables are the configuration.\n"
		   "Run it as the user that owns the data directory.\n"
		   "\n"
		   "With --trace, what it and the worker inside the server decide from is recorded\n"
		   "in FILE, at most %d MB, readable by this user only, without passwords.\n"
		   "\n"
		   "Signals:\n"
		   "  TERM, INT   hand over leadership, stop the server, end; twice: stop it at once\n"
		   "  HUP         read the configuration again\n"
		   "  QUIT        end, and leave the server running\n"
		   "\n"
		   "Exit codes:\n",
		   (int) (TRACE_LIMIT / (1024 * 1024)));
#define X(name, code, again, explanation) \
	printf("  %d  %s%s\n", code, explanation, (again) ? " (trying again may help)" : "");
	SUPERVISOR_EXITS(X)
#undef X
}

static int
usage_error(const char *message, const char *word)
{
	fprintf(stderr,
			"patroni_supervisor: %s \"%s\"\n"
			"Try \"patroni_supervisor --help\".\n",
			message, word);
	return SUPERVISOR_EXIT_USAGE;
}

int
main(int argc, char **argv)
{
	bool validate = false;
	const char *config_path = NULL;
	const char *trace_path = NULL;

	for (int i = 1; i < argc; i++)
	{
		const char *word = argv[i];

		if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "-?") == 0)
		{
			print_help();
			return SUPERVISOR_EXIT_OK;
		}
		if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0)
		{
			printf("patroni_supervisor %s\n", PATRONI_BGW_VERSION);
			return SUPERVISOR_EXIT_OK;
		}
		if (strcmp(word, "--validate") == 0 || strcmp(word, "--validate-config") == 0)
			validate = true;
		else if (strncmp(word, "--trace=", 8) == 0 && word[8] != '\0')
			trace_path = word + 8;
		else if (strcmp(word, "--trace") == 0 && i + 1 < argc)
			trace_path = argv[++i];
		else if (strcmp(word, "--trace") == 0)
			return usage_error("no file is given for option", word);
		else if (word[0] == '-')
			return usage_error("unknown option", word);
		else if (config_path != NULL)
			return usage_error("more than one configuration: ", word);
		else
			config_path = word;
	}
	if (validate)
		return supervisor_validate(config_path);
	if (geteuid() == 0)
	{
		log_write(LOG_LEVEL_FATAL, "patroni_supervisor cannot be run as root",
				  "The server refuses to run as root, and so does what starts it.",
				  "Run it as the user that owns the data directory, for example \"postgres\".");
		return SUPERVISOR_EXIT_WRONG_USER;
	}
	return supervisor_run(config_path, trace_path);
}
