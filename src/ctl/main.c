/*-------------------------------------------------------------------------
 *
 * main.c
 *      patroni_ctl: Patroni's command line for clusters of ours and Patroni's.
 *
 *-------------------------------------------------------------------------
 */
#include "ctl/ctl.h"

#include <curl/curl.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void
interrupted(int signal_number)
{
	static const char message[] = "\nAborted!\n";
	ssize_t ignored = write(STDERR_FILENO, message, sizeof(message) - 1);

	ctl_show_typing();
	(void) ignored;
	(void) signal_number;
	_exit(CTL_EXIT_ERROR);
}

/* The terminal must not stay as it is for a password. */
static void
terminated(int signal_number)
{
	ctl_show_typing();
	raise(signal_number);
}

int
main(int argc, char **argv)
{
	struct sigaction on_interrupt = { .sa_handler = interrupted };
	struct sigaction on_end = { .sa_handler = terminated, .sa_flags = SA_RESETHAND };
	const char *slash = strrchr(argv[0], '/');
	Ctl ctl;
	int status;

	memset(&ctl, 0, sizeof(ctl));
	ctl.program = slash != NULL ? slash + 1 : argv[0];
	/* names are UTF-8 whatever the locale is; numbers and times stay plain */
	if (setlocale(LC_CTYPE, "C.UTF-8") == NULL)
		setlocale(LC_CTYPE, "");
	sigaction(SIGINT, &on_interrupt, NULL);
	sigaction(SIGTERM, &on_end, NULL);
	sigaction(SIGHUP, &on_end, NULL);
	curl_global_init(CURL_GLOBAL_DEFAULT);

	if (argc > 1 && strcmp(argv[1], "__complete") == 0)
		status = ctl_complete(&ctl, argc - 2, argv + 2);
	else if (argc > 1 && strcmp(argv[1], "__format") == 0)
		status = command_format_steps();
	else
	{
		status = ctl_parse(&ctl, argc, argv);
		if (status < 0)
			status = ctl_configure(&ctl);
		if (status == CTL_EXIT_OK && ctl.document != NULL)
			status = ctl.command->run(&ctl);
	}
	http_close(ctl.http);
	json_decref(ctl.document);
	free(ctl.words);
	if ((fflush(stdout) != 0 || ferror(stdout)) && status == CTL_EXIT_OK)
		status = CTL_EXIT_ERROR;
	return status;
}
