/*-------------------------------------------------------------------------
 *
 * main.c
 *      The simulator's command line: many seeds on all cores, or one of them
 *      in words.
 *
 * Each job is a process that takes every n-th seed.  What they find comes
 * back in shared memory, also when a job dies: its last seed is there.
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sim/sim.h"

#define JOBS_MAX		64
#define FAILURES_MAX	256		/* then the jobs stop */
#define HANG_S			60		/* of one run */

typedef struct Options
{
	uint64_t	first;
	uint64_t	count;
	int			n_nodes;		/* 0 = by chance */
	const char *profile;		/* NULL = all in turns */
	const char *list;			/* file of seeds */
	int			jobs;
	bool		is_traced;
	bool		shows_digests;
	bool		stops_at_first;
	bool		is_quiet;
} Options;

typedef struct Failure
{
	uint64_t	seed;
	int			n_nodes;
	char		profile[32];
	char		text[sizeof(((SimWorld *) NULL)->failure)];
} Failure;

typedef struct Job
{
	uint64_t	seed;			/* under way */
	char		profile[32];
	int			n_nodes;
	uint64_t	n_runs;
	uint64_t	n_steps;
	uint64_t	n_events;
	uint64_t	n_writes;
	uint64_t	digest;			/* of all its runs */
	int64_t		virtual_us;
	uint64_t	faults[SIM_FAULT_COUNT];
} Job;

typedef struct Board
{
	atomic_int	n_failures;
	atomic_int	must_stop;
	Failure		failures[FAILURES_MAX];
	Job			jobs[JOBS_MAX];
} Board;

static Board *board;

static const char usage[] =
"patroni_sim runs the engine in simulated clusters under faults.\n"
"\n"
"Usage:\n"
"  patroni_sim [OPTION]...\n"
"\n"
"Options:\n"
"  --seeds N        how many seeds to run (default 1000)\n"
"  --seed X         the first seed (default 1); alone: run just this one and show it\n"
"  --nodes N        nodes in each cluster, 1 to 9 (default: by chance)\n"
"  --profile NAME   the kind of trouble (default: all in turns)\n"
"  --list FILE      run the seeds in FILE: lines of SEED PROFILE NODES, # begins a comment\n"
"  --jobs N         processes (default: one a core)\n"
"  --trace          show what happens\n"
"  --digests        show a digest of each run\n"
"  --first          stop at the first failure\n"
"  --quiet          only failures and the last line\n"
"  --profiles       list the profiles\n"
"  --help           show this help\n"
"\n"
"Exit status is 0 if all promises held, 1 if not, 2 on a wrong option.\n";

/* ------------------------------------------------------------------------
 * One seed
 * ------------------------------------------------------------------------ */

/* Without a profile the seed chooses. */
static const char *
profile_of(const Options *options, uint64_t seed)
{
	const char *const *names = sim_profile_names();
	int			count = sim_profiles_in_turn();

	if (options->profile != NULL)
		return options->profile;
	/* every second one is the mixture of all trouble */
	return seed % 2 == 0 ? names[0] : names[seed / 2 % (uint64_t) count];
}

static void
note_failure(uint64_t seed, const char *profile, int n_nodes, const char *text)
{
	int			slot = atomic_fetch_add(&board->n_failures, 1);
	Failure    *failure = &board->failures[slot];

	if (slot >= FAILURES_MAX)
		return;
	failure->n_nodes = n_nodes;
	snprintf(failure->profile, sizeof(failure->profile), "%s", profile);
	snprintf(failure->text, sizeof(failure->text), "%s", text);
	failure->seed = seed;
	if (slot == FAILURES_MAX - 1)
		atomic_store(&board->must_stop, 1);
}

static void
run_one(const Options *options, Job *job, uint64_t seed, const char *profile, int n_nodes)
{
	bool		is_ok;

	job->seed = seed;
	job->n_nodes = n_nodes;
	snprintf(job->profile, sizeof(job->profile), "%s", profile);
	alarm(HANG_S);
	is_ok = sim_run(seed, profile, n_nodes, options->is_traced);
	alarm(0);
	job->n_runs++;
	job->n_steps += sim.n_steps;
	job->n_events += sim.n_events;
	job->n_writes += (uint64_t) sim.n_writes;
	job->virtual_us += sim.now_us;
	job->digest = job->digest * 31 + sim.digest;
	memcpy(job->faults, sim_fault_count, sizeof(job->faults));
	if (options->shows_digests)
		printf("%" PRIu64 " %s %016" PRIx64 "\n", seed, profile, sim.digest);
	if (!is_ok)
	{
		note_failure(seed, profile, n_nodes, sim.failure);
		if (options->stops_at_first)
			atomic_store(&board->must_stop, 1);
	}
}

/* ------------------------------------------------------------------------
 * Jobs
 * ------------------------------------------------------------------------ */

static void
run_range(const Options *options, int number)
{
	for (uint64_t i = (uint64_t) number; i < options->count && !atomic_load(&board->must_stop);
		 i += (uint64_t) options->jobs)
	{
		uint64_t	seed = options->first + i;

		run_one(options, &board->jobs[number], seed, profile_of(options, seed), options->n_nodes);
	}
}

static void
run_list(const Options *options, int number)
{
	FILE	   *file = fopen(options->list, "r");
	char		line[512];
	int			at = 0;

	if (file == NULL)
	{
		fprintf(stderr, "patroni_sim: could not open \"%s\": %s\n", options->list, strerror(errno));
		_exit(2);
	}
	while (fgets(line, sizeof(line), file) != NULL && !atomic_load(&board->must_stop))
	{
		uint64_t	seed;
		char		profile[32];
		int			n_nodes = 0;

		if (line[0] == '#' || line[0] == '\n')
			continue;
		if (sscanf(line, "%" SCNu64 " %31s %d", &seed, profile, &n_nodes) < 2)
		{
			fprintf(stderr, "patroni_sim: \"%s\" has a line that is not SEED PROFILE NODES: %s",
					options->list, line);
			_exit(2);
		}
		if (at++ % options->jobs == number)
			run_one(options, &board->jobs[number], seed, profile, n_nodes);
	}
	fclose(file);
}

static void
run_job(const Options *options, int number)
{
	if (options->list != NULL)
		run_list(options, number);
	else
		run_range(options, number);
	sim_world_free();
	free(sim.write);
	sim.write = NULL;
}

/* A job that died takes its seed with it. */
static void
wait_for_jobs(const Options *options, const pid_t *pids)
{
	for (int i = 0; i < options->jobs; i++)
	{
		int			status = 0;
		char		text[100];

		while (waitpid(pids[i], &status, 0) < 0 && errno == EINTR)
			;
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
			continue;
		if (WIFEXITED(status) && WEXITSTATUS(status) == 2)
			exit(2);
		if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
			snprintf(text, sizeof(text), "the run took longer than %d s", HANG_S);
		else if (WIFSIGNALED(status))
			snprintf(text, sizeof(text), "the run died of signal %d", WTERMSIG(status));
		else
			snprintf(text, sizeof(text), "the run ended with status %d", WEXITSTATUS(status));
		note_failure(board->jobs[i].seed, board->jobs[i].profile, board->jobs[i].n_nodes, text);
	}
}

static void
start_jobs(const Options *options)
{
	pid_t		pids[JOBS_MAX];

	fflush(NULL);
	for (int i = 0; i < options->jobs; i++)
	{
		pids[i] = fork();
		if (pids[i] < 0)
		{
			fprintf(stderr, "patroni_sim: could not start a job: %s\n", strerror(errno));
			exit(2);
		}
		if (pids[i] == 0)
		{
			run_job(options, i);
			fflush(NULL);
			exit(0);
		}
	}
	wait_for_jobs(options, pids);
}

/* ------------------------------------------------------------------------
 * The summary
 * ------------------------------------------------------------------------ */

static void
show_faults(const uint64_t *faults)
{
	int			column = 0;

	printf("faults injected:\n");
	for (int i = 0; i < SIM_FAULT_COUNT; i++)
		if (faults[i] > 0)
			printf("  %-22s %9" PRIu64 "%s", sim_fault_name((SimFault) i), faults[i],
				   ++column % 2 == 0 ? "\n" : "   ");
	if (column % 2 != 0)
		printf("\n");
}

static int
show_summary(const Options *options, double seconds)
{
	Job			all;
	int			n_failures = atomic_load(&board->n_failures);

	memset(&all, 0, sizeof(all));
	for (int i = 0; i < options->jobs; i++)
	{
		const Job  *job = &board->jobs[i];

		all.n_runs += job->n_runs;
		all.n_steps += job->n_steps;
		all.n_events += job->n_events;
		all.n_writes += job->n_writes;
		all.virtual_us += job->virtual_us;
		all.digest ^= job->digest;
		for (int k = 0; k < SIM_FAULT_COUNT; k++)
			all.faults[k] += job->faults[k];
	}
	for (int i = 0; i < n_failures && i < FAILURES_MAX; i++)
	{
		const Failure *failure = &board->failures[i];
		char		nodes[24] = "";

		if (failure->n_nodes > 0)
			snprintf(nodes, sizeof(nodes), " NODES=%d", failure->n_nodes);
		printf("seed %" PRIu64 " (%s): %s\n    make sim SEED=%" PRIu64 " PROFILE=%s%s\n",
			   failure->seed, failure->profile, failure->text, failure->seed, failure->profile, nodes);
	}
	if (!options->is_quiet)
	{
		show_faults(all.faults);
		printf("%.1f simulated hours, %" PRIu64 " steps of the engine, %" PRIu64 " events, %"
			   PRIu64 " commits, digest %016" PRIx64 "\n",
			   (double) all.virtual_us / 3.6e9, all.n_steps, all.n_events, all.n_writes, all.digest);
		printf("%" PRIu64 " seeds in %.1f s: %.0f seeds/s\n", all.n_runs, seconds,
			   seconds > 0 ? (double) all.n_runs / seconds : 0);
	}
	printf("%" PRIu64 " passed, %d failed\n",
		   all.n_runs > (uint64_t) n_failures ? all.n_runs - (uint64_t) n_failures : 0, n_failures);
	return n_failures == 0 ? 0 : 1;
}

/* ------------------------------------------------------------------------
 * The command line
 * ------------------------------------------------------------------------ */

static uint64_t
number_or_die(const char *option, const char *text, uint64_t low, uint64_t high)
{
	char	   *end;
	uint64_t	number;

	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || number < low || number > high)
	{
		fprintf(stderr, "patroni_sim: --%s must be a number from %" PRIu64 " to %" PRIu64 ", not \"%s\"\n",
				option, low, high, text);
		exit(2);
	}
	return number;
}

static void
list_profiles(void)
{
	for (const char *const *name = sim_profile_names(); *name != NULL; name++)
		printf("%s\n", *name);
}

static void
read_options(Options *options, int argc, char **argv)
{
	static const struct option known[] = {
		{"seeds", required_argument, NULL, 's'}, {"seed", required_argument, NULL, 'x'},
		{"nodes", required_argument, NULL, 'n'}, {"profile", required_argument, NULL, 'p'},
		{"list", required_argument, NULL, 'l'}, {"jobs", required_argument, NULL, 'j'},
		{"trace", no_argument, NULL, 't'}, {"digests", no_argument, NULL, 'd'},
		{"first", no_argument, NULL, 'f'}, {"quiet", no_argument, NULL, 'q'},
		{"profiles", no_argument, NULL, 'P'}, {"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	bool		has_seed = false;
	bool		has_count = false;
	long		cores = sysconf(_SC_NPROCESSORS_ONLN);
	int			option;

	memset(options, 0, sizeof(*options));
	options->first = 1;
	options->count = 1000;
	options->jobs = cores < 1 ? 1 : cores > JOBS_MAX ? JOBS_MAX : (int) cores;
	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1)
	{
		switch (option)
		{
			case 's':
				options->count = number_or_die("seeds", optarg, 1, UINT64_C(1000000000000));
				has_count = true;
				break;
			case 'x':
				options->first = number_or_die("seed", optarg, 0, UINT64_MAX / 2);
				has_seed = true;
				break;
			case 'n':
				options->n_nodes = (int) number_or_die("nodes", optarg, 1, SIM_NODES_MAX);
				break;
			case 'p':
				options->profile = optarg;
				break;
			case 'l':
				options->list = optarg;
				break;
			case 'j':
				options->jobs = (int) number_or_die("jobs", optarg, 1, JOBS_MAX);
				break;
			case 't':
				options->is_traced = true;
				break;
			case 'd':
				options->shows_digests = true;
				break;
			case 'f':
				options->stops_at_first = true;
				break;
			case 'q':
				options->is_quiet = true;
				break;
			case 'P':
				list_profiles();
				exit(0);
			case 'h':
				fputs(usage, stdout);
				exit(0);
			default:
				fprintf(stderr, "Try \"patroni_sim --help\".\n");
				exit(2);
		}
	}
	if (optind < argc)
	{
		fprintf(stderr, "patroni_sim: there is no argument \"%s\"\nTry \"patroni_sim --help\".\n",
				argv[optind]);
		exit(2);
	}
	if (has_seed && !has_count && options->list == NULL)
	{
		options->count = 1;
		options->is_traced = true;
	}
	if (options->is_traced)
		options->jobs = 1;
}

static void
check_profile(const char *profile)
{
	if (profile == NULL)
		return;
	for (const char *const *name = sim_profile_names(); *name != NULL; name++)
		if (strcmp(*name, profile) == 0)
			return;
	fprintf(stderr, "patroni_sim: there is no profile \"%s\"\nThere are:\n", profile);
	for (const char *const *name = sim_profile_names(); *name != NULL; name++)
		fprintf(stderr, "  %s\n", *name);
	exit(2);
}

static double
real_seconds(void)
{
	/* clock_gettime() is the simulator's own while a run is on */
	struct timespec now;

	timespec_get(&now, TIME_UTC);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

int
main(int argc, char **argv)
{
	Options		options;
	double		started;

	read_options(&options, argc, argv);
	check_profile(options.profile);
	sim.current_node = -1;
	board = mmap(NULL, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (board == MAP_FAILED)
	{
		fprintf(stderr, "patroni_sim: out of memory\n");
		return 2;
	}
	started = real_seconds();
	start_jobs(&options);
	return show_summary(&options, real_seconds() - started);
}
