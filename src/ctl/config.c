/*-------------------------------------------------------------------------
 *
 * config.c
 *      The local configuration of patroni_ctl: Patroni's file, its PATRONI_*
 *      variables, and the options that win over both.
 *
 *-------------------------------------------------------------------------
 */
#include "ctl/ctl.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

/* Patroni's stores; the first with a port is meant by a URL without a scheme. */
static const struct
{
	const char *section;
	int port;
	const char *key; /* how the section names the host */
} stores[] = {
	{ "zookeeper", 2181, "hosts" }, { "exhibitor", 8181, "hosts" }, { "consul", 8500, "host" },
	{ "etcd3", 2379, "host" },		{ "etcd", 2379, "host" },
};
#define N_STORES (sizeof(stores) / sizeof(stores[0]))

static bool
default_path(char *path, size_t size)
{
	const char *config_home = getenv("XDG_CONFIG_HOME");
	const char *home = getenv("HOME");

	if (config_home != NULL && config_home[0] != '\0')
		snprintf(path, size, "%s/patroni/patronictl.yaml", config_home);
	else if (home != NULL && home[0] != '\0')
		snprintf(path, size, "%s/.config/patroni/patronictl.yaml", home);
	else
		return false;
	return access(path, R_OK) == 0;
}

static int
fail_with_problems(const ConfigProblems *problems)
{
	for (int i = 0; i < problems->count; i++)
	{
		const ConfigProblem *problem = &problems->items[i];

		if (problem->is_error)
			return ctl_fail("%s: %s", problem->place, problem->message);
	}
	return ctl_fail("could not read the configuration");
}

/*
 * "[SCHEME://]HOST[:PORT][/NAMESPACE]" in the place of the file's store.  Of
 * etcd this release speaks version 3 only, so that is what 2379 means.
 */
static int
take_dcs_url(Ctl *ctl, const char *url)
{
	const char *separator = strstr(url, "//");
	char scheme[32] = "";
	char host[256];
	char address[300];
	const char *p = url;
	size_t length;
	int port = 0;
	size_t store_index = N_STORES;

	if (separator != NULL)
	{
		length = (size_t) (separator - url);
		if (length > 0 && url[length - 1] == ':')
			length--;
		snprintf(scheme, sizeof(scheme), "%.*s", (int) length, url);
		p = separator + 2;
	}
	if (*p == '[')
	{
		length = strcspn(++p, "]");
		snprintf(host, sizeof(host), "%.*s", (int) length, p);
		p += length + (p[length] == ']');
	}
	else
	{
		length = strcspn(p, ":/");
		snprintf(host, sizeof(host), "%.*s", (int) length, p);
		p += length;
	}
	if (*p == ':')
	{
		port = (int) strtol(p + 1, (char **) &p, 10);
		if (port <= 0 || port > 65535)
			return ctl_fail("Invalid port in the dcs url: %s", url);
	}
	for (size_t i = 0; i < N_STORES && store_index == N_STORES; i++)
		if (scheme[0] != '\0' ? strcmp(scheme, stores[i].section) == 0 : stores[i].port == port)
			store_index = i;
	if (store_index == N_STORES && scheme[0] != '\0')
		return ctl_fail("Unknown dcs scheme: %s", scheme);
	if (store_index == N_STORES)
		for (store_index = 0; strcmp(stores[store_index].section, "etcd3") != 0;)
			store_index++;

	for (size_t i = 0; i < N_STORES; i++)
		json_object_del(ctl->document, stores[i].section);
	snprintf(address, sizeof(address), strchr(host, ':') != NULL ? "[%.250s]:%d" : "%.250s:%d",
			 host[0] != '\0' ? host : "localhost", port != 0 ? port : stores[store_index].port);
	json_object_set_new(ctl->document, stores[store_index].section,
						json_pack("{s:s}", stores[store_index].key, address));
	if (*p == '/' && p[1] != '\0')
		json_object_set_new(ctl->document, "namespace", json_string(p + 1));
	return CTL_EXIT_OK;
}

/* Tables of which Patroni: --layout, PATRONICTL_LAYOUT, ctl.layout. */
static int
take_layout(Ctl *ctl)
{
	const char *layout = ctl->values[OPTION_LAYOUT];

	if (layout == NULL || layout[0] == '\0')
		layout = getenv("PATRONICTL_LAYOUT");
	if (layout == NULL || layout[0] == '\0')
	{
		const json_t *value = json_object_get(json_object_get(ctl->document, "ctl"), "layout");

		/* 4.1 is a number to YAML */
		if (json_is_real(value))
			layout = json_real_value(value) == 4.1	 ? "4.1"
					 : json_real_value(value) == 3.0 ? "3.0"
													 : "?";
		else
			layout = value == NULL ? "3.0" : json_is_string(value) ? json_string_value(value) : "?";
	}
	if (strcmp(layout, "3.0") != 0 && strcmp(layout, "4.1") != 0)
		return ctl_fail("The layout of tables is either 3.0 or 4.1");
	ctl->has_lsn_columns = strcmp(layout, "4.1") == 0;
	return CTL_EXIT_OK;
}

static int
take_group(Ctl *ctl)
{
	const json_t *citus = json_object_get(ctl->document, "citus");

	ctl->is_citus = json_is_object(citus) && json_object_size(citus) > 0;
	if (ctl->values[OPTION_GROUP] != NULL)
	{
		ctl->group = atoi(ctl->values[OPTION_GROUP]);
		ctl->has_group = true;
		ctl->is_citus = true;
	}
	else if (ctl->is_citus && ctl->command->has_default_group)
	{
		const json_t *group = json_object_get(citus, "group");

		if (json_is_integer(group))
		{
			ctl->group = (int) json_integer_value(group);
			ctl->has_group = true;
		}
	}
	return ctl->group < 0 ? ctl_fail("Invalid Citus group") : CTL_EXIT_OK;
}

/*
 * Read the configuration into ctl->document.  Without a file in its usual
 * place the variables are all there is; maybe --dcs-url says enough.
 */
int
ctl_configure(Ctl *ctl)
{
	const char *path = ctl->values[OPTION_CONFIG_FILE];
	const char *url = ctl->values[OPTION_DCS_URL];
	char usual[SETTINGS_PATH_MAX];
	ConfigProblems problems;
	LocalConfig *local = NULL;
	bool is_usual = false;
	int status;

	if (path == NULL || path[0] == '\0')
		path = getenv("PATRONICTL_CONFIG_FILE");
	if (path != NULL && path[0] != '\0' && access(path, R_OK) != 0)
		return ctl_fail("Provided config file %s not existing or no read rights. "
						"Check the -c/--config-file parameter",
						path);
	if (path == NULL || path[0] == '\0')
	{
		is_usual = true;
		path = default_path(usual, sizeof(usual)) ? usual : NULL;
	}
	config_problems_init(&problems);
	if (local_config_read(&local, path, environ, &problems))
		ctl->document = json_deep_copy(local_config_document(local));
	else if (is_usual && path == NULL && getenv("PATRONI_CONFIGURATION") == NULL)
		ctl->document = json_pack("{}");
	local_config_free(local);
	if (ctl->document == NULL)
	{
		status = fail_with_problems(&problems);
		config_problems_free(&problems);
		return status;
	}
	config_problems_free(&problems);

	if (url == NULL || url[0] == '\0')
		url = getenv("DCS_URL");
	if (url != NULL && url[0] != '\0' && (status = take_dcs_url(ctl, url)) != CTL_EXIT_OK)
		return status;
	if ((status = take_group(ctl)) != CTL_EXIT_OK || (status = take_layout(ctl)) != CTL_EXIT_OK)
		return status;
	if (ctl->scope == NULL)
		ctl->scope = json_string_value(json_object_get(ctl->document, "scope"));
	return CTL_EXIT_OK;
}

/* What is needed to reach the store, for one cluster. */
bool
ctl_settings(const Ctl *ctl, const char *scope, Settings *settings)
{
	json_t *document = json_deep_copy(ctl->document);
	ConfigProblems problems;
	LocalConfig *local = NULL;
	char *text = NULL;
	bool ok = false;

	settings_init(settings);
	config_problems_init(&problems);
	if (document != NULL)
	{
		json_object_set_new(document, "scope", json_string(scope));
		/* which groups are read is our own business */
		json_object_del(document, "citus");
		text = json_dumps(document, JSON_COMPACT);
	}
	if (text != NULL)
		local = local_config_from_json(text);
	if (local != NULL)
		ok = settings_for_client(settings, local, &problems);
	if (!ok)
		fail_with_problems(&problems);
	free(text);
	json_decref(document);
	local_config_free(local);
	config_problems_free(&problems);
	return ok;
}
