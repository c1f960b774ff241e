/*-------------------------------------------------------------------------
 *
 * allowlist.c
 *      Networks, addresses and names from where calls may come.
 *
 * Names are looked up in the background (getaddrinfo_a) and the answers kept,
 * so that nothing waits for a name server: those of restapi.allowlist from the
 * moment it is read, those of the members' api_url as soon as they are seen.
 *
 * Invariants:
 *  (1) While a name's addresses are being looked up again, the old ones count.
 *  (2) A name that cannot be looked up allows nobody, and is tried again.
 *  (3) At most ENTRIES_MAX entries and NAMES_MAX names; others allow nobody.
 *-------------------------------------------------------------------------
 */
#include "rest/allowlist.h"
#include "cluster/ascii.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES_MAX	   256
#define NAMES_MAX	   64
#define NAME_ADDRESSES 8
#define REFRESH_MS	   60000
#define RETRY_MS	   5000

/* 16 bytes of an IPv6 address; IPv4 is mapped to ::ffff:a.b.c.d. */
typedef struct Address16
{
	unsigned char bytes[16];
} Address16;

typedef struct Network
{
	Address16 address;
	int bits; /* of 128 */
} Network;

typedef struct Name
{
	char name[256]; /* "" = free */
	bool is_configured;
	bool is_seen; /* in the last look at the members */
	Address16 addresses[NAME_ADDRESSES];
	int n_addresses;
	int64_t next_ms;
	struct gaicb *lookup; /* under way; NULL = none */
} Name;

struct Allowlist
{
	bool is_used;
	bool has_entries;
	bool has_members;
	Network networks[ENTRIES_MAX];
	int n_networks;
	Name names[NAMES_MAX];
};

/* ------------------------------------------------------------------------
 * Addresses
 * ------------------------------------------------------------------------
 */

static void
map_ipv4(Address16 *address, const void *four)
{
	memset(address->bytes, 0, 10);
	memset(address->bytes + 10, 0xff, 2);
	memcpy(address->bytes + 12, four, 4);
}

static bool
address_from_socket(Address16 *address, const struct sockaddr *from)
{
	if (from->sa_family == AF_INET)
		map_ipv4(address, &((const struct sockaddr_in *) from)->sin_addr);
	else if (from->sa_family == AF_INET6)
		memcpy(address->bytes, &((const struct sockaddr_in6 *) from)->sin6_addr, 16);
	else
		return false;
	return true;
}

/* Returns 32 or 128, 0 if it is no address. */
static int
address_from_text(Address16 *address, const char *text)
{
	struct in_addr four;

	if (inet_pton(AF_INET, text, &four) == 1)
	{
		map_ipv4(address, &four);
		return 32;
	}
	return inet_pton(AF_INET6, text, address->bytes) == 1 ? 128 : 0;
}

/* "10.0.0.0/8", "10.0.0.1", "fd00::/8".  False: it is none. */
static bool
network_from_text(Network *network, const char *text)
{
	const char *slash = strchr(text, '/');
	char address[INET6_ADDRSTRLEN];
	size_t length = slash == NULL ? strlen(text) : (size_t) (slash - text);
	int size;
	int bits;
	char *end;

	if (length == 0 || length >= sizeof(address))
		return false;
	memcpy(address, text, length);
	address[length] = '\0';
	size = address_from_text(&network->address, address);
	if (size == 0)
		return false;
	bits = size;
	if (slash != NULL)
	{
		if (slash[1] < '0' || slash[1] > '9')
			return false;
		bits = (int) strtol(slash + 1, &end, 10);
		if (*end != '\0' || bits > size)
			return false;
	}
	network->bits = 128 - size + bits;
	return true;
}

static bool
is_inside(const Address16 *address, const Network *network)
{
	int whole = network->bits / 8;
	int rest = network->bits % 8;
	unsigned char mask = (unsigned char) (0xff00 >> rest);

	if (memcmp(address->bytes, network->address.bytes, (size_t) whole) != 0)
		return false;
	return rest == 0 ||
		   ((address->bytes[whole] ^ network->address.bytes[whole]) & mask) == 0;
}

/* ------------------------------------------------------------------------
 * Names
 * ------------------------------------------------------------------------
 */

static Name *
find_name(const Allowlist *list, const char *text)
{
	for (int i = 0; i < NAMES_MAX; i++)
	{
		if (list->names[i].name[0] != '\0' && ascii_is_same(list->names[i].name, text))
			return (Name *) &list->names[i];
	}
	return NULL;
}

static Name *
add_name(Allowlist *list, const char *text)
{
	Name *name = find_name(list, text);

	for (int i = 0; name == NULL && i < NAMES_MAX; i++)
	{
		/* what is being looked up stays until that has ended */
		if (list->names[i].name[0] == '\0' && list->names[i].lookup == NULL)
			name = &list->names[i];
	}
	if (name != NULL && name->name[0] == '\0' && strlen(text) < sizeof(name->name))
	{
		memset(name, 0, sizeof(*name));
		strcpy(name->name, text);
	}
	return name == NULL || name->name[0] == '\0' ? NULL : name;
}

static void
lookup_free(struct gaicb *lookup)
{
	if (lookup->ar_result != NULL)
		freeaddrinfo(lookup->ar_result);
	free((char *) lookup->ar_name);
	free((struct addrinfo *) lookup->ar_request);
	free(lookup);
}

static void
lookup_start(Name *name)
{
	struct gaicb *lookup = calloc(1, sizeof(*lookup));
	struct addrinfo *hints = calloc(1, sizeof(*hints));
	char *text = strdup(name->name);

	if (lookup != NULL && hints != NULL && text != NULL)
	{
		hints->ai_socktype = SOCK_STREAM;
		lookup->ar_name = text;
		lookup->ar_request = hints;
		if (getaddrinfo_a(GAI_NOWAIT, &lookup, 1, NULL) == 0)
		{
			name->lookup = lookup;
			return;
		}
	}
	free(lookup);
	free(hints);
	free(text);
}

/* Take in what was found. */
static void
lookup_end(Name *name, int64_t now_ms)
{
	int result = gai_error(name->lookup);

	if (result == EAI_INPROGRESS)
		return;
	if (result == 0)
	{
		name->n_addresses = 0;
		for (const struct addrinfo *item = name->lookup->ar_result;
			 item != NULL && name->n_addresses < NAME_ADDRESSES; item = item->ai_next)
		{
			if (address_from_socket(&name->addresses[name->n_addresses], item->ai_addr))
				name->n_addresses++;
		}
	}
	name->next_ms = now_ms + (result == 0 ? REFRESH_MS : RETRY_MS);
	lookup_free(name->lookup);
	name->lookup = NULL;
}

/* The host in "http://host:port/patroni"; false: there is none. */
static bool
url_host(const char *url, char *host, size_t size)
{
	const char *start = strstr(url, "://");
	size_t length;

	if (start == NULL)
		return false;
	start += 3;
	if (*start == '[')
		length = strcspn(++start, "]");
	else
		length = strcspn(start, ":/");
	if (length == 0 || length >= size)
		return false;
	memcpy(host, start, length);
	host[length] = '\0';
	return true;
}

/* ------------------------------------------------------------------------
 * The list
 * ------------------------------------------------------------------------
 */

Allowlist *
allowlist_create(void)
{
	return calloc(1, sizeof(Allowlist));
}

/* A lookup that cannot be stopped any more is left to itself: its memory is in use. */
void
allowlist_free(Allowlist *list)
{
	for (int i = 0; list != NULL && i < NAMES_MAX; i++)
	{
		struct gaicb *lookup = list->names[i].lookup;

		if (lookup != NULL && gai_cancel(lookup) != EAI_NOTCANCELED)
			lookup_free(lookup);
	}
	free(list);
}

static void
add_entry(Allowlist *list, const char *text)
{
	Network network;
	Name *name;

	if (network_from_text(&network, text))
	{
		if (list->n_networks < ENTRIES_MAX)
			list->networks[list->n_networks++] = network;
		return;
	}
	name = strchr(text, '/') != NULL ? NULL : add_name(list, text);
	if (name != NULL)
		name->is_configured = true;
}

/* Take over what the settings say, and begin to look names up. */
void
allowlist_configure(Allowlist *list, const Settings *settings)
{
	const json_t *restapi =
		settings == NULL ? NULL : json_object_get(settings->document, "restapi");
	const json_t *entries = json_object_get(restapi, "allowlist");
	const json_t *members = json_object_get(restapi, "allowlist_include_members");
	size_t index;
	json_t *entry;

	list->n_networks = 0;
	list->has_members = false;
	for (int i = 0; i < NAMES_MAX; i++)
		list->names[i].is_configured = false;
	json_array_foreach((json_t *) entries, index, entry)
	{
		if (json_string_length(entry) > 0)
			add_entry(list, json_string_value(entry));
	}
	if (members != NULL && !value_to_bool(members, &list->has_members))
		list->has_members = false;
	/* also a list of which nothing can be read: that allows nobody */
	list->has_entries = json_array_size(entries) > 0;
	list->is_used = list->has_entries || list->has_members;
	allowlist_look(list, NULL, 0);
}

/* Look up what has to be, and take in what was found. */
bool
allowlist_look(Allowlist *list, const ClusterView *view, int64_t now_ms)
{
	bool is_busy = false;

	for (int i = 0; view != NULL && i < NAMES_MAX; i++)
		list->names[i].is_seen = false;
	for (int i = 0; list->has_members && view != NULL && i < view->n_members; i++)
	{
		char host[256];
		Address16 address;
		Name *name;

		if (!url_host(view->members[i].api_url, host, sizeof(host)) ||
			address_from_text(&address, host) != 0)
			continue;
		name = add_name(list, host);
		if (name != NULL)
			name->is_seen = true;
	}
	for (int i = 0; i < NAMES_MAX; i++)
	{
		Name *name = &list->names[i];

		if (name->lookup != NULL)
			lookup_end(name, now_ms);
		else if (name->name[0] != '\0' && (name->is_configured || name->is_seen))
		{
			if (now_ms >= name->next_ms)
				lookup_start(name);
		}
		else if (view != NULL)
			name->name[0] = '\0';
		is_busy = is_busy || name->lookup != NULL;
	}
	return is_busy;
}

/* Is anything configured? */
bool
allowlist_is_used(const Allowlist *list)
{
	return list->is_used;
}

/* Is there more than the members? */
bool
allowlist_has_entries(const Allowlist *list)
{
	return list->has_entries;
}

static bool
is_among(const Address16 *address, const Name *name)
{
	for (int i = 0; name != NULL && i < name->n_addresses; i++)
	{
		if (memcmp(address->bytes, name->addresses[i].bytes, 16) == 0)
			return true;
	}
	return false;
}

static bool
is_member(const Allowlist *list, const ClusterView *view, const Address16 *address)
{
	for (int i = 0; view != NULL && i < view->n_members; i++)
	{
		char host[256];
		Address16 own;

		if (!url_host(view->members[i].api_url, host, sizeof(host)))
			continue;
		if (address_from_text(&own, host) != 0 ? memcmp(own.bytes, address->bytes, 16) == 0
											   : is_among(address, find_name(list, host)))
			return true;
	}
	return false;
}

/* May a call come from there? */
bool
allowlist_allows(const Allowlist *list, const ClusterView *view, const struct sockaddr *from)
{
	Address16 address;

	if (!list->is_used)
		return true;
	if (!address_from_socket(&address, from))
		return false;
	for (int i = 0; i < list->n_networks; i++)
	{
		if (is_inside(&address, &list->networks[i]))
			return true;
	}
	for (int i = 0; i < NAMES_MAX; i++)
	{
		if (list->names[i].is_configured && is_among(&address, &list->names[i]))
			return true;
	}
	return list->has_members && is_member(list, view, &address);
}
