/*-------------------------------------------------------------------------
 *
 * conninfo.c
 *      Connection strings and the password file.
 *
 * Invariants:
 *  (1) No password is ever in a connection string made here.
 *  (2) Every connection string bounds its wait: connect_timeout, keepalives
 *      and tcp_user_timeout, so that a silent host is noticed.
 *-------------------------------------------------------------------------
 */
#include "postgres/postgres_dir.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/ascii.h"
#include "postgres/postgres_files.h"

#define PGPASS_MAX			(256 * 1024)
#define PGPASS_HOSTS_MAX	256

/* --- conn_url: postgres://host:port[,host:port]/database --- */

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undo percent encoding; false: too long or a NUL inside. */
static bool
percent_decode(const char *from, size_t length, char *to, size_t size)
{
	size_t		used = 0;

	for (size_t i = 0; i < length; i++)
	{
		char		c = from[i];

		if (c == '%' && i + 2 < length &&
			hex_digit(from[i + 1]) >= 0 && hex_digit(from[i + 2]) >= 0)
		{
			c = (char) (hex_digit(from[i + 1]) * 16 + hex_digit(from[i + 2]));
			i += 2;
		}
		if (c == '\0' || used + 1 >= size)
			return false;
		to[used++] = c;
	}
	to[used] = '\0';
	return true;
}

static bool
parse_host(const char *text, size_t length, ConnTarget *target)
{
	const char *end = text + length;
	const char *colon;
	const char *host_end = end;

	memset(target, 0, sizeof(*target));
	if (length > 0 && text[0] == '[')
	{
		const char *bracket = memchr(text, ']', length);

		if (bracket == NULL || (bracket + 1 < end && bracket[1] != ':'))
			return false;
		if (!percent_decode(text + 1, (size_t) (bracket - text - 1), target->host, sizeof(target->host)))
			return false;
		colon = bracket + 1 < end ? bracket + 1 : NULL;
	}
	else
	{
		colon = memrchr(text, ':', length);
		if (colon != NULL)
			host_end = colon;
		if (!percent_decode(text, (size_t) (host_end - text), target->host, sizeof(target->host)))
			return false;
	}
	if (colon != NULL && colon + 1 < end)
	{
		char	   *after;
		long		port = strtol(colon + 1, &after, 10);

		if (after != end || port < 1 || port > 65535)
			return false;
		target->port = (int) port;
	}
	return true;
}

/* Understand a member's conn_url.  Users and passwords in it are ignored. */
bool
conn_url_parse(const char *conn_url, ConnUrl *url, Error *error)
{
	const char *at;
	const char *end;
	const char *path;
	const char *user;

	memset(url, 0, sizeof(*url));
	if (strncmp(conn_url, "postgres://", 11) == 0)
		at = conn_url + 11;
	else if (strncmp(conn_url, "postgresql://", 13) == 0)
		at = conn_url + 13;
	else
		return error_set(error, "conn_url does not begin with postgres://");
	end = at + strcspn(at, "?#");
	path = memchr(at, '/', (size_t) (end - at));
	user = memrchr(at, '@', (size_t) ((path != NULL ? path : end) - at));
	if (user != NULL)
		at = user + 1;
	if (path != NULL &&
		!percent_decode(path + 1, (size_t) (end - path - 1), url->database, sizeof(url->database)))
		return error_set(error, "conn_url has a bad database name");
	if (path == NULL)
		path = end;
	for (;;)
	{
		const char *comma = memchr(at, ',', (size_t) (path - at));
		const char *stop = comma != NULL ? comma : path;

		if (url->n_hosts >= CONNINFO_HOSTS_MAX)
			return error_set(error, "conn_url names more than %d hosts", CONNINFO_HOSTS_MAX);
		if (!parse_host(at, (size_t) (stop - at), &url->hosts[url->n_hosts]))
			return error_set(error, "conn_url has a bad host or port");
		url->n_hosts++;
		if (comma == NULL)
			break;
		at = comma + 1;
	}
	return true;
}

/* --- conninfo --- */

/* Append " key=value", quoted where libpq wants it.  NULL and "" are skipped. */
bool
conninfo_append(char *conninfo, size_t size, const char *key, const char *value)
{
	size_t		used = strlen(conninfo);
	bool		quote = false;
	int			put;

	if (value == NULL || value[0] == '\0')
		return true;
	for (const char *c = value; *c != '\0'; c++)
		if (!ascii_is_letter_or_digit(*c) && strchr("_-./:,*%+@[]", *c) == NULL)
			quote = true;
	put = snprintf(conninfo + used, size - used, "%s%s=%s", used > 0 ? " " : "", key, quote ? "'" : "");
	if (put < 0 || (size_t) put >= size - used)
		return false;
	used += (size_t) put;
	for (const char *c = value; *c != '\0'; c++)
	{
		if (used + 4 > size)
			return false;
		if (*c == '\'' || *c == '\\')
			conninfo[used++] = '\\';
		conninfo[used++] = *c;
	}
	if (quote)
		conninfo[used++] = '\'';
	conninfo[used] = '\0';
	return true;
}

static bool
append_hosts(char *conninfo, size_t size, const ConnUrl *url)
{
	char		hosts[CONNINFO_HOSTS_MAX * 257] = "";
	char		ports[CONNINFO_HOSTS_MAX * 8] = "";
	bool		has_host = false;
	size_t		h = 0;
	size_t		p = 0;

	for (int i = 0; i < url->n_hosts; i++)
	{
		has_host = has_host || url->hosts[i].host[0] != '\0';
		h += (size_t) snprintf(hosts + h, sizeof(hosts) - h, "%s%s", i > 0 ? "," : "", url->hosts[i].host);
		p += (size_t) snprintf(ports + p, sizeof(ports) - p, "%s%d", i > 0 ? "," : "",
							   url->hosts[i].port > 0 ? url->hosts[i].port : 5432);
	}
	return (!has_host || conninfo_append(conninfo, size, "host", hosts)) &&
		conninfo_append(conninfo, size, "port", ports);
}

/* Bounds of the wait, invariant (2). */
static bool
append_timeouts(char *conninfo, size_t size, const Settings *settings)
{
	char		user_timeout[32];
	int64_t		timeout_ms = settings->ttl_ms > 0 ? settings->ttl_ms : 30000;

	if (timeout_ms < 3000)
		timeout_ms = 3000;
	snprintf(user_timeout, sizeof(user_timeout), "%lld", (long long) timeout_ms);
	return conninfo_append(conninfo, size, "connect_timeout", "3") &&
		conninfo_append(conninfo, size, "keepalives", "1") &&
		conninfo_append(conninfo, size, "keepalives_idle", "5") &&
		conninfo_append(conninfo, size, "keepalives_interval", "2") &&
		conninfo_append(conninfo, size, "keepalives_count", "3") &&
		conninfo_append(conninfo, size, "tcp_user_timeout", user_timeout);
}

/* An operator's libpq option, or a default; NULL: neither. */
static const char *
credential_option(const Credentials *credentials, const char *key, const char *otherwise)
{
	const char *value = json_string_value(json_object_get(credentials->options, key));

	return value != NULL && value[0] != '\0' ? value : otherwise;
}

/* The options of authentication.<user>, in the order of patroni/postgresql/config.py, format_dsn(). */
static bool
append_options(char *conninfo, size_t size, const Settings *settings,
			   const Credentials *credentials, const char *application_name, int major)
{
	static const struct
	{
		const char *key;
		const char *otherwise;
		int			since;
	}			options[] = {
		{"sslmode", "prefer", 0},
		{"sslcompression", NULL, 0},
		{"sslcert", NULL, 0},
		{"sslkey", NULL, 0},
		{"sslpassword", NULL, 13},
		{"sslrootcert", NULL, 0},
		{"sslcrl", NULL, 0},
		{"sslcrldir", NULL, 14},
		{"application_name", NULL, 0},
		{"krbsrvname", NULL, 0},
		{"gssencmode", "prefer", 12},
		{"channel_binding", "prefer", 13},
		{"target_session_attrs", NULL, 10},
		{"sslnegotiation", "postgres", 17},
	};

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
	{
		const char *value = credential_option(credentials, options[i].key, options[i].otherwise);

		if (major < options[i].since)
			continue;
		if (strcmp(options[i].key, "application_name") == 0)
			value = application_name;
		else if (strcmp(options[i].key, "krbsrvname") == 0 && value == NULL)
			value = settings_text(settings, "postgresql", "krbsrvname", NULL);
		if (!conninfo_append(conninfo, size, options[i].key, value))
			return false;
	}
	return true;
}

/*
 * primary_conninfo for following the member with this conn_url; "" for nobody.
 * The password comes from settings->pgpass, see pgpass_ensure().
 */
bool
conninfo_for_replication(const Settings *settings, const char *conn_url,
						 char *conninfo, size_t size, Error *error)
{
	const Credentials *user = &settings->replication;
	ConnUrl		url;
	int			major;

	conninfo[0] = '\0';
	if (conn_url == NULL || conn_url[0] == '\0')
		return true;
	if (!conn_url_parse(conn_url, &url, error))
		return false;
	if (!data_directory_version(settings->data_dir, &major, NULL))
		major = 13;
	if (!conninfo_append(conninfo, size, "dbname",
						 url.database[0] != '\0' ? url.database : settings->database) ||
		!conninfo_append(conninfo, size, "user", user->username) ||
		(user->password[0] != '\0' && !conninfo_append(conninfo, size, "passfile", settings->pgpass)) ||
		!append_hosts(conninfo, size, &url) ||
		!append_options(conninfo, size, settings, user, settings->name, major) ||
		!append_timeouts(conninfo, size, settings))
		return error_set(error, "primary_conninfo is too long");
	return true;
}

/* For pg_basebackup, pg_rewind and our own connections to a member. */
bool
conninfo_for_tool(const Settings *settings, const Credentials *credentials, const char *conn_url,
				  const char *database, char *conninfo, size_t size, Error *error)
{
	ConnUrl		url;
	char		application_name[64];
	bool		ok;

	conninfo[0] = '\0';
	if (conn_url == NULL || !conn_url_parse(conn_url, &url, error))
		return conn_url == NULL ? error_set(error, "there is no member to connect to") : false;
	snprintf(application_name, sizeof(application_name), "Patroni %.50s", settings->name);
	ok = conninfo_append(conninfo, size, "dbname",
						 database != NULL ? database :
						 url.database[0] != '\0' ? url.database : settings->database) &&
		conninfo_append(conninfo, size, "user", credentials->username) &&
		append_hosts(conninfo, size, &url) &&
		append_options(conninfo, size, settings, credentials, application_name, 13) &&
		append_timeouts(conninfo, size, settings);
	return ok ? true : error_set(error, "connection string is too long");
}

/* The next "key = value" of a conninfo; *at moves on.  False: the end. */
static bool
next_pair(const char **at, char key[64], char *value, size_t size)
{
	size_t		used = 0;
	const char *c = *at;

	while (ascii_is_space(*c))
		c++;
	while (*c != '\0' && *c != '=' && !ascii_is_space(*c) && used + 1 < 64)
		key[used++] = *c++;
	key[used] = '\0';
	while (ascii_is_space(*c))
		c++;
	if (used == 0 || *c != '=')
		return false;
	c++;
	while (ascii_is_space(*c))
		c++;
	used = 0;
	if (*c == '\'')
	{
		for (c++; *c != '\0' && *c != '\''; c++)
		{
			if (*c == '\\' && c[1] != '\0')
				c++;
			if (used + 1 < size)
				value[used++] = *c;
		}
		if (*c == '\'')
			c++;
	}
	else
	{
		for (; *c != '\0' && !ascii_is_space(*c); c++)
		{
			if (*c == '\\' && c[1] != '\0')
				c++;
			if (used + 1 < size)
				value[used++] = *c;
		}
	}
	value[used] = '\0';
	*at = c;
	return true;
}

/* One value out of a conninfo text; the last one counts, as in libpq. */
bool
conninfo_value(const char *conninfo, const char *key, char *value, size_t size)
{
	char		found[64];
	char		text[1024];
	bool		is_there = false;

	while (next_pair(&conninfo, found, text, sizeof(text)))
		if (strcmp(found, key) == 0)
		{
			snprintf(value, size, "%s", text);
			is_there = true;
		}
	return is_there;
}

/* First host and port of a conninfo text or URL; "" and 5432 when missing. */
void
conninfo_host_port(const char *conninfo, char host[256], int *port)
{
	ConnUrl		url;
	char		text[1024];

	host[0] = '\0';
	*port = 5432;
	if (conn_url_parse(conninfo, &url, NULL))
	{
		snprintf(host, 256, "%s", url.hosts[0].host);
		if (url.hosts[0].port > 0)
			*port = url.hosts[0].port;
		return;
	}
	if (conninfo_value(conninfo, "host", text, sizeof(text)) ||
		conninfo_value(conninfo, "hostaddr", text, sizeof(text)))
		snprintf(host, 256, "%.*s", (int) strcspn(text, ","), text);
	if (conninfo_value(conninfo, "port", text, sizeof(text)) && atoi(text) > 0)
		*port = atoi(text);
}

/* --- pgpass --- */

static void
put_pgpass_field(FILE *file, const char *text)
{
	for (; *text != '\0'; text++)
	{
		if (*text == ':' || *text == '\\')
			fputc('\\', file);
		fputc(*text, file);
	}
}

static void
put_pgpass_line(FILE *file, const char *host, const char *port, const Credentials *credentials)
{
	put_pgpass_field(file, host[0] != '\0' ? host : "localhost");
	fprintf(file, ":%s:*:", port[0] != '\0' ? port : "*");
	if (credentials->username[0] != '\0')
		put_pgpass_field(file, credentials->username);
	else
		fputc('*', file);
	fputc(':', file);
	put_pgpass_field(file, credentials->password);
	fputc('\n', file);
}

/* What libpq will look for: a socket directory is looked up as it is, the
 * default one as "localhost". */
static void
put_pgpass_target(FILE *file, const ConnTarget *target, const Credentials *credentials)
{
	char		port[16];

	snprintf(port, sizeof(port), "%d", target->port > 0 ? target->port : 5432);
	put_pgpass_line(file, target->host, port, credentials);
	if (target->host[0] == '/')
		put_pgpass_line(file, "localhost", port, credentials);
}

/* Password lines for the hosts of a conn_url; malloc'ed, NULL: none needed. */
char *
pgpass_lines(const Credentials *credentials, const char *conn_url)
{
	ConnUrl		url;
	char	   *text = NULL;
	size_t		length = 0;
	FILE	   *file;

	if (credentials->password[0] == '\0' || strchr(credentials->password, '\n') != NULL ||
		!conn_url_parse(conn_url, &url, NULL))
		return NULL;
	file = open_memstream(&text, &length);
	if (file == NULL)
		return NULL;
	for (int i = 0; i < url.n_hosts; i++)
		put_pgpass_target(file, &url.hosts[i], credentials);
	if (fclose(file) != 0)
	{
		free(text);
		return NULL;
	}
	return text;
}

/* Hosts that need the replication password. */
typedef struct PassHosts
{
	ConnTarget	items[PGPASS_HOSTS_MAX];
	int			count;
} PassHosts;

static void
add_host(PassHosts *hosts, const ConnTarget *target)
{
	for (int i = 0; i < hosts->count; i++)
		if (hosts->items[i].port == target->port && strcmp(hosts->items[i].host, target->host) == 0)
			return;
	if (hosts->count < PGPASS_HOSTS_MAX)
		hosts->items[hosts->count++] = *target;
}

static void
add_url(PassHosts *hosts, const char *conn_url)
{
	ConnUrl		url;

	if (conn_url == NULL || conn_url[0] == '\0' || !conn_url_parse(conn_url, &url, NULL))
		return;
	for (int i = 0; i < url.n_hosts; i++)
	{
		if (url.hosts[i].port == 0)
			url.hosts[i].port = 5432;
		add_host(hosts, &url.hosts[i]);
	}
}

/* The hosts that an earlier file of ours names. */
static void
add_file(PassHosts *hosts, const char *text)
{
	while (*text != '\0')
	{
		ConnTarget	target = {0};
		size_t		used = 0;

		for (; *text != '\0' && *text != ':' && *text != '\n'; text++)
		{
			if (*text == '\\' && text[1] != '\0')
				text++;
			if (used + 1 < sizeof(target.host))
				target.host[used++] = *text;
		}
		if (*text == ':')
			target.port = atoi(text + 1);
		if (used > 0 && target.port > 0 && strcmp(target.host, "localhost") != 0)
			add_host(hosts, &target);
		text = strchrnul(text, '\n');
		if (*text == '\n')
			text++;
	}
}

/* Hosts once known stay: a member that is away for a while comes back. */
static bool
write_hosts(const Settings *settings, PassHosts *hosts, Error *error)
{
	char	   *old;
	char	   *text = NULL;
	size_t		length = 0;
	FILE	   *file;
	bool		ok;

	if (settings->pgpass[0] == '\0' || settings->replication.password[0] == '\0')
		return true;
	if (strpbrk(settings->replication.password, "\r\n") != NULL)
		return error_set(error, "password of the replication user contains a line break");
	old = file_read(settings->pgpass, PGPASS_MAX, NULL);
	if (old != NULL)
		add_file(hosts, old);
	free(old);
	file = open_memstream(&text, &length);
	if (file == NULL)
		return error_set(error, "out of memory");
	for (int i = 0; i < hosts->count; i++)
		put_pgpass_target(file, &hosts->items[i], &settings->replication);
	ok = fclose(file) == 0;
	ok = ok ? file_replace(settings->pgpass, text, length, 0600, error) :
		error_set(error, "out of memory");
	free(text);
	return ok;
}

/* The file that primary_conninfo's passfile names, with a line for this url. */
bool
pgpass_ensure(const Settings *settings, const char *conn_url, Error *error)
{
	PassHosts  *hosts = calloc(1, sizeof(*hosts));
	bool		ok;

	if (hosts == NULL)
		return error_set(error, "out of memory");
	add_url(hosts, conn_url);
	add_url(hosts, settings->conn_url);
	ok = write_hosts(settings, hosts, error);
	free(hosts);
	return ok;
}

/* The same with lines for every member of the cluster. */
bool
pgpass_write(const Settings *settings, const ClusterView *view, Error *error)
{
	PassHosts  *hosts = calloc(1, sizeof(*hosts));
	bool		ok;

	if (hosts == NULL)
		return error_set(error, "out of memory");
	add_url(hosts, settings->conn_url);
	for (int i = 0; view != NULL && i < view->n_members; i++)
		add_url(hosts, view->members[i].conn_url);
	ok = write_hosts(settings, hosts, error);
	free(hosts);
	return ok;
}
