/*-------------------------------------------------------------------------
 *
 * files.c
 *      Reading and replacing whole files, option lists, and pieces of the
 *      settings document.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres/postgres_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* "<directory>/<name>"; false when it does not fit. */
bool
path_join(char *path, size_t size, const char *directory, const char *name)
{
	int			length = snprintf(path, size, "%s/%s", directory, name);

	return length >= 0 && (size_t) length < size;
}

/* A whole file as text; NULL and errno (EFBIG when larger than "max"). */
char *
file_read(const char *path, size_t max, size_t *length)
{
	int			fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char	   *text = NULL;
	size_t		used = 0;
	size_t		room = 0;
	int			saved;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) != 0)
		goto failed;
	if (S_ISDIR(st.st_mode))
	{
		errno = EISDIR;
		goto failed;
	}
	room = (st.st_size > 0 && (size_t) st.st_size < max) ? (size_t) st.st_size + 1 : 4096;
	for (;;)
	{
		ssize_t		got;
		char	   *larger;

		if (text == NULL || used == room)
		{
			if (text != NULL)
				room *= 2;
			larger = realloc(text, room + 1);
			if (larger == NULL)
				goto failed;
			text = larger;
		}
		got = read(fd, text + used, room - used);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			goto failed;
		if (got == 0)
			break;
		used += (size_t) got;
		if (used > max)
		{
			errno = EFBIG;
			goto failed;
		}
	}
	close(fd);
	text[used] = '\0';
	if (length != NULL)
		*length = used;
	return text;

failed:
	saved = errno;
	free(text);
	close(fd);
	errno = saved;
	return NULL;
}

/* Make the names in a directory durable. */
bool
directory_sync(const char *path, Error *error)
{
	int			fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return error_set(error, "could not open directory \"%s\": %s", path, strerror(errno));
	if (fsync(fd) != 0 && errno != EINVAL && errno != EBADF)
	{
		error_set(error, "could not sync directory \"%s\": %s", path, strerror(errno));
		close(fd);
		return false;
	}
	close(fd);
	return true;
}

static bool
write_all(int fd, const char *content, size_t length)
{
	while (length > 0)
	{
		ssize_t		put = write(fd, content, length);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return false;
		content += put;
		length -= (size_t) put;
	}
	return true;
}

/*
 * Replace a file so that a reader and a crash see the old or the new content,
 * nothing between.  A symbolic link stays and what it points to is replaced.
 * The same content and mode are left as they are.
 */
bool
file_replace(const char *path, const char *content, size_t length, mode_t mode, Error *error)
{
	char		target[PATH_MAX];
	char		temporary[PATH_MAX + 16];
	char	   *slash;
	size_t		old_length = 0;
	char	   *old;
	struct stat st;
	int			fd;

	if (realpath(path, target) == NULL)
	{
		if (errno != ENOENT || strlen(path) >= sizeof(target))
			return error_set(error, "could not resolve \"%s\": %s", path, strerror(errno));
		memcpy(target, path, strlen(path) + 1);
	}
	old = file_read(target, 16 * 1024 * 1024, &old_length);
	if (old != NULL && old_length == length && memcmp(old, content, length) == 0 &&
		stat(target, &st) == 0 && (st.st_mode & 07777) == mode)
	{
		free(old);
		return true;
	}
	free(old);

	snprintf(temporary, sizeof(temporary), "%s.patroni-new", target);
	if (unlink(temporary) != 0 && errno != ENOENT)
		return error_set(error, "could not remove file \"%s\": %s", temporary, strerror(errno));
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return error_set(error, "could not create file \"%s\": %s", temporary, strerror(errno));
	if (!write_all(fd, content, length) || fchmod(fd, mode) != 0 || fsync(fd) != 0)
	{
		error_set(error, "could not write file \"%s\": %s", temporary, strerror(errno));
		close(fd);
		unlink(temporary);
		return false;
	}
	close(fd);
	if (rename(temporary, target) != 0)
	{
		error_set(error, "could not rename file \"%s\" to \"%s\": %s",
				  temporary, target, strerror(errno));
		unlink(temporary);
		return false;
	}
	slash = strrchr(target, '/');
	if (slash == NULL)
		return directory_sync(".", error);
	slash[slash == target ? 1 : 0] = '\0';
	return directory_sync(target, error);
}

/* A value of the settings document; the path ends at the first NULL. */
const json_t *
settings_value(const Settings *settings, const char *first, const char *second, const char *third)
{
	const json_t *value = settings->document;

	value = json_object_get(value, first);
	if (second != NULL)
		value = json_object_get(value, second);
	if (third != NULL)
		value = json_object_get(value, third);
	return json_is_null(value) ? NULL : value;
}

/* The same as text; NULL when it is missing, empty or no text. */
const char *
settings_text(const Settings *settings, const char *first, const char *second, const char *third)
{
	const char *text = json_string_value(settings_value(settings, first, second, third));

	return text != NULL && text[0] != '\0' ? text : NULL;
}

/* --- option lists --- */

void
words_free(char **words, int n_words)
{
	for (int i = 0; i < n_words; i++)
		free(words[i]);
}

static bool
add_word(char **words, int *n_words, char *word, Error *error)
{
	if (word == NULL)
		return error_set(error, "out of memory");
	if (*n_words >= OPTION_WORDS_MAX - 1)
	{
		free(word);
		return error_set(error, "more than %d options", OPTION_WORDS_MAX - 1);
	}
	words[(*n_words)++] = word;
	words[*n_words] = NULL;
	return true;
}

static bool
is_forbidden(const char *name, const char *const *forbidden)
{
	size_t		length = strcspn(name, "= ");

	for (; forbidden != NULL && *forbidden != NULL; forbidden++)
		if (strlen(*forbidden) == length && strncmp(name, *forbidden, length) == 0)
			return true;
	return false;
}

/* One option; value NULL = a flag. */
static bool
add_option(const char *name, const char *value, const char *const *forbidden, const char *what,
		   char **words, int *n_words, Error *error)
{
	char	   *word = NULL;
	size_t		length = value == NULL ? 0 : strlen(value);

	while (*name == '-')
		name++;
	if (*name == '\0')
		return error_set(error, "option of %s has no name", what);
	if (is_forbidden(name, forbidden))
		return error_set(error, "option \"%s\" is not allowed for %s", name, what);
	if (value == NULL)
	{
		if (asprintf(&word, "--%s", name) < 0)
			word = NULL;
		return add_word(words, n_words, word, error);
	}
	/* surrounding quotes are YAML leftovers */
	if (length >= 2 && (value[0] == '\'' || value[0] == '"') && value[length - 1] == value[0])
	{
		value++;
		length -= 2;
	}
	if (asprintf(&word, "--%s=%.*s", name, (int) length, value) < 0)
		word = NULL;
	return add_word(words, n_words, word, error);
}

/* A scalar as option value; false: no scalar. */
static bool
scalar_text(const json_t *value, char *text, size_t size)
{
	if (json_is_string(value))
		snprintf(text, size, "%s", json_string_value(value));
	else if (json_is_integer(value))
		snprintf(text, size, "%lld", (long long) json_integer_value(value));
	else if (json_is_real(value))
		snprintf(text, size, "%g", json_real_value(value));
	else if (json_is_boolean(value))
		snprintf(text, size, "%s", json_is_true(value) ? "true" : "false");
	else
		return false;
	return true;
}

static bool
map_words(const json_t *map, const char *const *forbidden, const char *what,
		  char **words, int *n_words, Error *error)
{
	const char *key;
	json_t	   *value;

	json_object_foreach((json_t *) map, key, value)
	{
		char		text[4096];

		if (json_is_null(value) || json_is_false(value) ||
			(json_is_string(value) && json_string_length(value) == 0))
			continue;
		if (!scalar_text(value, text, sizeof(text)))
			return error_set(error, "option \"%s\" of %s has no plain value", key, what);
		if (!add_option(key, json_is_true(value) ? NULL : text, forbidden, what,
						words, n_words, error))
			return false;
	}
	return true;
}

/* As patroni/postgresql/bootstrap.py, process_user_options().  NULL options are no options. */
bool
option_list_words(const json_t *options, const char *const *forbidden, const char *what,
				  char **words, int *n_words, Error *error)
{
	size_t		index;
	json_t	   *item;

	if (options == NULL || json_is_null(options))
		return true;
	if (json_is_object(options))
		return map_words(options, forbidden, what, words, n_words, error);
	if (!json_is_array(options))
		return error_set(error, "options of %s are neither a list nor a map", what);
	json_array_foreach((json_t *) options, index, item)
	{
		if (json_is_string(item))
		{
			if (!add_option(json_string_value(item), NULL, forbidden, what, words, n_words, error))
				return false;
		}
		else if (json_is_object(item) && json_object_size(item) == 1)
		{
			if (!map_words(item, forbidden, what, words, n_words, error))
				return false;
		}
		else
			return error_set(error, "option %zu of %s is neither a name nor a name with a value",
							 index + 1, what);
	}
	return true;
}

/* Is an option with that name given? */
bool
option_list_has(const json_t *options, const char *name)
{
	const char *only[] = {name, NULL};
	size_t		index;
	json_t	   *item;

	if (json_is_object(options))
		return json_object_get(options, name) != NULL;
	json_array_foreach((json_t *) options, index, item)
	{
		if (json_is_string(item) &&
			is_forbidden(json_string_value(item) + strspn(json_string_value(item), "-"), only))
			return true;
		if (json_object_get(item, name) != NULL)
			return true;
	}
	return false;
}

/*
 * Split a command into words: blanks separate, quotes and backslashes as in a
 * shell, nothing else is special.
 */
bool
command_words(const char *command, char **words, int *n_words, Error *error)
{
	char	   *word = malloc(strlen(command) + 1);
	size_t		length = 0;
	bool		in_word = false;
	char		quote = '\0';

	if (word == NULL)
		return error_set(error, "out of memory");
	for (;; command++)
	{
		char		c = *command;

		if (c == '\0' || (quote == '\0' && strchr(" \t\r\n", c) != NULL))
		{
			if (c == '\0' && quote != '\0')
			{
				free(word);
				return error_set(error, "command has an unfinished quote");
			}
			if (in_word)
			{
				word[length] = '\0';
				if (!add_word(words, n_words, strdup(word), error))
				{
					free(word);
					return false;
				}
			}
			in_word = false;
			length = 0;
			if (c == '\0')
				break;
			continue;
		}
		in_word = true;
		if (quote != '\0' && c == quote)
			quote = '\0';
		else if (quote == '\0' && (c == '\'' || c == '"'))
			quote = c;
		else if (c == '\\' && quote != '\'' && command[1] != '\0' &&
				 (quote == '\0' || strchr("\"\\$`", command[1]) != NULL))
			word[length++] = *++command;
		else
			word[length++] = c;
	}
	free(word);
	return true;
}
