/*-------------------------------------------------------------------------
 *
 * cache.c
 *      <data directory>/patroni.dynamic.json: the dynamic configuration as
 *      the store last showed it (patroni/config.py, save_cache()).
 *
 * Read at start, it stands in for bootstrap.dcs: a store that lost the key
 * gets back what was in force, not what the cluster began with.  One that
 * cannot be used is as none: a mistake in the store must keep no server down.
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "supervisor/log.h"
#include "supervisor/supervisor_internal.h"

#define CACHE_FILE	   "patroni.dynamic.json"
#define CACHE_PATH_MAX (SETTINGS_PATH_MAX + 64)

/* Can this member go by it? */
static bool
is_usable(const LocalConfig *local, const json_t *cached)
{
	char *text = json_dumps(cached, JSON_COMPACT);
	ConfigProblems problems;
	Settings settings;
	bool ok;

	config_problems_init(&problems);
	settings_init(&settings);
	ok = text != NULL && settings_merge(&settings, local, text, &problems);
	settings_free(&settings);
	config_problems_free(&problems);
	free(text);
	return ok;
}

/*
 * Put the cached configuration, if there is one that can be used, in the place of
 * bootstrap.dcs.  Everything else stays as it was read, with its places.
 */
void
cache_apply(LocalConfig *local, const char *data_directory)
{
	char path[CACHE_PATH_MAX];
	json_t *cached;

	snprintf(path, sizeof(path), "%s/" CACHE_FILE, data_directory);
	cached = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
	if (json_is_object(cached) && json_object_size(cached) > 0)
	{
		if (is_usable(local, cached))
			local_config_set_initial(local, cached);
		else
			log_format(LOG_LEVEL_WARNING, "the dynamic configuration in \"%s\" cannot be used", path);
	}
	json_decref(cached);
}

static bool
write_file(const char *path, const char *text, mode_t mode, Error *error)
{
	size_t length = strlen(text);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool ok;

	if (fd < 0)
		return error_set(error, "could not create file \"%s\": %s", path, strerror(errno));
	ok = fchmod(fd, mode) == 0 && write(fd, text, length) == (ssize_t) length && fsync(fd) == 0;
	if (!ok)
		error_set(error, "could not write file \"%s\": %s", path, strerror(errno));
	close(fd);
	return ok;
}

/*
 * Write the cache; the file's mode follows the data directory.  A directory
 * that is not there (yet) is no error: nothing is cached then.
 */
bool
cache_write(const char *data_directory, const char *config_json, Error *error)
{
	char path[CACHE_PATH_MAX];
	char temporary[CACHE_PATH_MAX + 8];
	struct stat st;

	snprintf(path, sizeof(path), "%s/PG_VERSION", data_directory);
	if (stat(path, &st) != 0 || stat(data_directory, &st) != 0)
		return true;
	snprintf(path, sizeof(path), "%s/" CACHE_FILE, data_directory);
	snprintf(temporary, sizeof(temporary), "%s.tmp", path);
	if (!write_file(temporary, config_json, (st.st_mode & 0040) != 0 ? 0640 : 0600, error))
		return false;
	if (rename(temporary, path) != 0)
		return error_set(error, "could not rename \"%s\": %s", temporary, strerror(errno));
	return true;
}
