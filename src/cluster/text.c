/*-------------------------------------------------------------------------
 *
 * text.c
 *      The words and text forms of the domain: states, roles, slot names, WAL
 *      positions, time stamps, addresses, and when two JSON texts are equal.
 *
 * Nothing here depends on the locale or on a time zone database.
 *-------------------------------------------------------------------------
 */
#include "cluster/cluster_internal.h"
#include "cluster/lower_case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define lengthof(array) (sizeof(array) / sizeof((array)[0]))

/* Patroni 4.1, patroni/postgresql/misc.py, PostgresqlState; in the order of MemberState. */
static const char *const state_names[] = {
	[MEMBER_INITDB] = "initializing new cluster",
	[MEMBER_INITDB_FAILED] = "initdb failed",
	[MEMBER_CUSTOM_BOOTSTRAP] = "running custom bootstrap script",
	[MEMBER_CUSTOM_BOOTSTRAP_FAILED] = "custom bootstrap failed",
	[MEMBER_CREATING_REPLICA] = "creating replica",
	[MEMBER_RUNNING] = "running",
	[MEMBER_STARTING] = "starting",
	[MEMBER_STARTING_CUSTOM] = "starting after custom bootstrap",
	[MEMBER_START_FAILED] = "start failed",
	[MEMBER_RESTARTING] = "restarting",
	[MEMBER_RESTART_FAILED] = "restart failed",
	[MEMBER_STOPPING] = "stopping",
	[MEMBER_STOPPED] = "stopped",
	[MEMBER_STOP_FAILED] = "stop failed",
	[MEMBER_CRASHED] = "crashed",
	[MEMBER_STATE_UNKNOWN] = "unknown",
};

static const char *const role_names[] = {
	[ROLE_UNINITIALIZED] = "uninitialized",
	[ROLE_REPLICA] = "replica",
	[ROLE_STANDBY_LEADER] = "standby_leader",
	[ROLE_PRIMARY] = "primary",
	[ROLE_PROMOTED] = "promoted",
	[ROLE_DEMOTED] = "demoted",
	[ROLE_UNKNOWN] = "unknown",
};

/* The text of a state; never NULL. */
const char *
member_state_name(MemberState state)
{
	return (size_t) state < lengthof(state_names) ? state_names[state] : "unknown";
}

/* The state of that text; unknown if there is none. */
MemberState
member_state_from_name(const char *name)
{
	for (size_t i = 0; name != NULL && i < lengthof(state_names); i++)
		if (strcmp(state_names[i], name) == 0)
			return (MemberState) i;
	return MEMBER_STATE_UNKNOWN;
}

/* The text of a role; never NULL. */
const char *
member_role_name(MemberRole role)
{
	return (size_t) role < lengthof(role_names) ? role_names[role] : "unknown";
}

/* The role of that text; "master" is the old word for "primary". */
MemberRole
member_role_from_name(const char *name)
{
	if (name != NULL && strcmp(name, "master") == 0)
		return ROLE_PRIMARY;
	for (size_t i = 0; name != NULL && i < lengthof(role_names); i++)
		if (strcmp(role_names[i], name) == 0)
			return (MemberRole) i;
	return ROLE_UNKNOWN;
}

static uint32_t
lower_case(uint32_t c)
{
	if (c < 0x80)
		return c >= 'A' && c <= 'Z' ? c + 32 : c;
	for (size_t i = 0; i < lengthof(lower_case_ranges); i++)
	{
		const LowerCaseRange *range = &lower_case_ranges[i];

		if (c >= range->first && c <= range->last && (c - range->first) % range->step == 0)
			return (uint32_t) ((int32_t) c + range->offset);
	}
	return c;
}

/* Decode the character at *text and go on; a byte that is no UTF-8 is itself. */
static uint32_t
next_character(const char **text)
{
	const unsigned char *s = (const unsigned char *) *text;
	size_t		length = cluster_utf8_length(*text);
	uint32_t	c = s[0];

	*text += length > 0 ? length : 1;
	if (length > 1)
		c = s[0] & (0x7Fu >> length);
	for (size_t i = 1; i < length; i++)
		c = c << 6 | (s[i] & 0x3Fu);
	return c;
}

static void
append_slot_character(char *slot_name, size_t *used, uint32_t c)
{
	char		piece[16] = "_";

	c = lower_case(c);
	if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_')
		piece[0] = (char) c;
	else if (c != '-' && c != '.')
		snprintf(piece, sizeof(piece), "u%04u", (unsigned) c);
	for (const char *p = piece; *p != '\0' && *used < 63; p++)
		slot_name[(*used)++] = *p;
}

/* The replication slot of a member: patroni/dcs/__init__.py, slot_name_from_member_name(). */
void
member_slot_name(const char *member_name, char slot_name[64])
{
	size_t		used = 0;

	while (*member_name != '\0' && used < 63)
	{
		uint32_t	c = next_character(&member_name);

		/* The one character whose lower case is two: I with a dot above. */
		if (c == 0x130)
		{
			append_slot_character(slot_name, &used, 'i');
			c = 0x307;
		}
		append_slot_character(slot_name, &used, c);
	}
	slot_name[used] = '\0';
}

/*
 * Host and port of the member's conn_url.  False if it has none or they make
 * no sense.  No port, or 0, is 5432; brackets around the host are taken off.
 */
bool
member_host_port(const Member *member, char host[256], int *port)
{
	const char *start = strstr(member->conn_url, "://");
	const char *end;
	const char *host_end;
	const char *digits = NULL;
	int			number = 0;

	host[0] = '\0';
	*port = 0;
	if (start == NULL)
		return false;
	start += 3;
	end = start + strcspn(start, "/?#");
	for (const char *at = end; at > start; at--)
		if (at[-1] == '@')
		{
			start = at;
			break;
		}
	if (start < end && *start == '[')
	{
		start++;
		host_end = memchr(start, ']', (size_t) (end - start));
		if (host_end == NULL || (host_end + 1 < end && host_end[1] != ':'))
			return false;
		digits = host_end + 1 < end ? host_end + 2 : NULL;
	}
	else
	{
		host_end = memchr(start, ':', (size_t) (end - start));
		digits = host_end == NULL ? NULL : host_end + 1;
		if (host_end == NULL)
			host_end = end;
	}
	if (host_end == start || host_end - start > 255)
		return false;
	for (; digits != NULL && digits < end; digits++)
	{
		if (*digits < '0' || *digits > '9' || (number = number * 10 + (*digits - '0')) > 65535)
			return false;
	}
	for (; start < host_end; start++)
		*host++ = *start >= 'A' && *start <= 'Z' ? (char) (*start + 32) : *start;
	*host = '\0';
	*port = number == 0 ? 5432 : number;
	return true;
}

/* A WAL position as PostgreSQL prints it. */
void
lsn_to_text(Lsn lsn, char text[24])
{
	snprintf(text, 24, "%X/%X", (unsigned) (lsn >> 32), (unsigned) (lsn & 0xFFFFFFFFu));
}

/* Read one to eight hexadecimal digits. */
static bool
read_hex(const char **text, uint32_t *number)
{
	int			n_digits = 0;

	*number = 0;
	for (;; n_digits++, (*text)++)
	{
		char		c = **text;
		uint32_t	digit;

		if (c >= '0' && c <= '9')
			digit = (uint32_t) (c - '0');
		else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
			digit = (uint32_t) ((c | 0x20) - 'a' + 10);
		else
			return n_digits > 0;
		if (n_digits == 8)
			return false;
		*number = *number << 4 | digit;
	}
}

/* Read "X/X" and nothing else.  On false *lsn is 0. */
bool
lsn_from_text(const char *text, Lsn *lsn)
{
	uint32_t	high;
	uint32_t	low;

	*lsn = 0;
	if (text == NULL || !read_hex(&text, &high) || *text++ != '/' || !read_hex(&text, &low) || *text != '\0')
		return false;
	*lsn = (Lsn) high << 32 | low;
	return true;
}

/* Read exactly n digits within the bounds. */
static bool
read_digits(const char **text, int n_digits, int low, int high, int *number)
{
	*number = 0;
	for (; n_digits > 0; n_digits--, (*text)++)
	{
		if (**text < '0' || **text > '9')
			return false;
		*number = *number * 10 + (**text - '0');
	}
	return *number >= low && *number <= high;
}

/* Days since 1970-01-01 in the proleptic Gregorian calendar. */
static int64_t
days_from_date(int year, int month, int day)
{
	int			y = month <= 2 ? year - 1 : year;
	int			era = y / 400;
	int			year_of_era = y - era * 400;
	int			day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return (int64_t) era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static int
days_of_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool		is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return days[month - 1] + (month == 2 && is_leap);
}

/* Z, +hh, +hhmm or +hh:mm, then the end. */
static bool
read_zone(const char *text, bool *has_zone, int *offset_s)
{
	int			sign;
	int			hours = 0;
	int			minutes = 0;

	*offset_s = 0;
	while (*text == ' ')
		text++;
	*has_zone = *text != '\0';
	if (*text == '\0')
		return true;
	if ((*text == 'Z' || *text == 'z') && text[1] == '\0')
		return true;
	if (strcmp(text, "UTC") == 0)
		return true;
	if (*text != '+' && *text != '-')
		return false;
	sign = *text++ == '-' ? -1 : 1;
	if (!read_digits(&text, 2, 0, 23, &hours))
		return false;
	if (*text == ':')
		text++;
	else if (*text == '\0')
		minutes = 0;
	if (*text != '\0' && !read_digits(&text, 2, 0, 59, &minutes))
		return false;
	*offset_s = sign * (hours * 3600 + minutes * 60);
	return *text == '\0' && text[-1] != ':';
}

/*
 * Read an ISO 8601 time: date, 'T' or blank, hh:mm[:ss[.fraction]], zone.
 * Without a zone it is taken as UTC and *has_zone is false: the caller decides
 * whether that will do.  On false both results are 0 and false.
 */
bool
timestamp_from_text(const char *text, int64_t *wall_ms, bool *has_zone)
{
	int			year,
				month,
				day,
				hour,
				minute,
				second = 0,
				ms = 0,
				offset_s;

	*wall_ms = 0;
	*has_zone = false;
	if (text == NULL || strnlen(text, 64) == 64)
		return false;
	if (!read_digits(&text, 4, 1, 9999, &year) || *text++ != '-' ||
		!read_digits(&text, 2, 1, 12, &month) || *text++ != '-' ||
		!read_digits(&text, 2, 1, days_of_month(year, month), &day) ||
		(*text != 'T' && *text != 't' && *text != ' '))
		return false;
	text++;
	if (!read_digits(&text, 2, 0, 23, &hour) || *text++ != ':' || !read_digits(&text, 2, 0, 59, &minute))
		return false;
	if (*text == ':')
	{
		text++;
		if (!read_digits(&text, 2, 0, 59, &second))
			return false;
		if (*text == '.' || *text == ',')
		{
			int			weight = 100;

			if (text[1] < '0' || text[1] > '9')
				return false;
			for (text++; *text >= '0' && *text <= '9'; text++, weight /= 10)
				ms += weight * (*text - '0');
		}
	}
	if (!read_zone(text, has_zone, &offset_s))
	{
		*has_zone = false;
		return false;
	}
	*wall_ms = (((days_from_date(year, month, day) * 24 + hour) * 60 + minute) * 60 + second - offset_s) * 1000 + ms;
	return true;
}

/* Print a time in UTC as Python's isoformat() does; years 1 to 9999. */
void
timestamp_to_text(int64_t wall_ms, char text[40])
{
	const int64_t first_ms = days_from_date(1, 1, 1) * 86400000;
	const int64_t last_ms = days_from_date(9999, 12, 31) * 86400000 + 86399999;
	int64_t		days;
	int64_t		rest;
	int			year;
	int			month = 1;

	wall_ms = wall_ms < first_ms ? first_ms : wall_ms > last_ms ? last_ms : wall_ms;
	/* Counted from year 1 everything is positive. */
	days = (wall_ms - first_ms) / 86400000;
	rest = (wall_ms - first_ms) % 86400000;
	year = (int) (days / 366) + 1;
	while (year < 9999 && days_from_date(year + 1, 1, 1) - days_from_date(1, 1, 1) <= days)
		year++;
	days -= days_from_date(year, 1, 1) - days_from_date(1, 1, 1);
	while (days >= days_of_month(year, month))
		days -= days_of_month(year, month++);
	snprintf(text, 40, "%04u-%02u-%02uT%02u:%02u:%02u.%03u000+00:00",
			 (unsigned) year % 10000, (unsigned) month % 100, (unsigned) (days + 1) % 100,
			 (unsigned) (rest / 3600000) % 100, (unsigned) (rest / 60000 % 60), (unsigned) (rest / 1000 % 60),
			 (unsigned) (rest % 1000));
}

/* Does a string say what another value prints as?  Python's words. */
static bool
prints_as(const json_t *value, const char *text)
{
	char	   *printed;
	bool		is_equal;

	switch (json_typeof(value))
	{
		case JSON_TRUE:
			return strcmp(text, "True") == 0;
		case JSON_FALSE:
			return strcmp(text, "False") == 0;
		case JSON_NULL:
			return strcmp(text, "None") == 0;
		case JSON_INTEGER:
		case JSON_REAL:
			printed = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
			is_equal = printed != NULL && strcmp(printed, text) == 0;
			free(printed);
			return is_equal;
		default:
			return false;
	}
}

static bool
values_equal(const json_t *a, const json_t *b)
{
	const char *name;
	json_t	   *value;

	if (json_is_object(a) && json_is_object(b))
	{
		if (json_object_size(a) != json_object_size(b))
			return false;
		json_object_foreach((json_t *) a, name, value)
		{
			const json_t *other = json_object_get(b, name);

			if (other == NULL || !values_equal(value, other))
				return false;
		}
		return true;
	}
	if (json_is_string(a) && !json_is_string(b))
		return prints_as(b, json_string_value(a));
	if (json_is_string(b) && !json_is_string(a))
		return prints_as(a, json_string_value(b));
	return json_equal(a, b) == 1;
}

/*
 * Deep comparison, as patroni/utils.py, deep_compare().  Two texts that are not
 * JSON are equal if they are the same; NULL equals only NULL.
 */
bool
json_text_equal(const char *a, const char *b)
{
	json_t	   *left;
	json_t	   *right;
	bool		is_equal;

	if (a == NULL || b == NULL)
		return a == b;
	if (strcmp(a, b) == 0)
		return true;
	cluster_json_read(a, &left);
	cluster_json_read(b, &right);
	is_equal = left != NULL && right != NULL && values_equal(left, right);
	json_decref(left);
	json_decref(right);
	return is_equal;
}
