/*-------------------------------------------------------------------------
 *
 * when.c
 *      The time of a scheduled action, as people write it.
 *
 * Read are ISO 8601 in its common forms, names of months in English, a mere
 * time of day, and what date(1) prints.  Dates of numbers that could be read
 * in two ways (01/02/2026) are refused: somebody's switchover depends on it.
 *-------------------------------------------------------------------------
 */
#include "ctl/format.h"
#include "cluster/ascii.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct Reading
{
	const char *p;
	int year, month, day; /* -1 = not given */
	int hour, minute, second, micros;
	bool has_zone;
	int offset_s;
} Reading;

static int64_t
days_from_civil(int64_t year, int month, int day)
{
	int64_t era;
	int64_t year_of_era;
	int64_t day_of_year;

	year -= month <= 2;
	era = (year >= 0 ? year : year - 399) / 400;
	year_of_era = year - era * 400;
	day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
		   719468;
}

static bool
is_date(int year, int month, int day)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return year >= 1970 && year <= 9999 && month >= 1 && month <= 12 && day >= 1 &&
		   day <= days[month - 1] + (month == 2 && is_leap);
}

/* Up to "most" digits as a number; false if there is none. */
static bool
take_number(Reading *reading, int most, int *number, int *n_digits)
{
	*number = *n_digits = 0;
	while (*n_digits < most && isdigit((unsigned char) *reading->p))
	{
		*number = *number * 10 + (*reading->p++ - '0');
		(*n_digits)++;
	}
	return *n_digits > 0;
}

static bool
set_once(int *field, int value)
{
	if (*field >= 0)
		return false;
	*field = value;
	return true;
}

/* am, pm, a.m. are words of their own or stand right behind the number. */
static bool
take_half_of_day(Reading *reading)
{
	const char *p = reading->p;
	bool is_pm;

	while (*p == ' ')
		p++;
	if (!ascii_is_same_part(p, "am", 2) && !ascii_is_same_part(p, "pm", 2))
		return true;
	if (ascii_is_letter_or_digit(p[2]))
		return true;
	is_pm = ascii_lower(*p) == 'p';
	if (reading->hour < 1 || reading->hour > 12)
		return false;
	reading->hour = reading->hour % 12 + (is_pm ? 12 : 0);
	reading->p = p + 2;
	return true;
}

/* ":MM[:SS[.ffffff]] [am]" behind an hour. */
static bool
read_time(Reading *reading, int hour)
{
	int n;

	if (!set_once(&reading->hour, hour))
		return false;
	reading->second = reading->micros = 0;
	reading->p++;
	if (!take_number(reading, 2, &reading->minute, &n) || n != 2)
		return false;
	if (*reading->p == ':')
	{
		reading->p++;
		if (!take_number(reading, 2, &reading->second, &n) || n != 2)
			return false;
		if ((*reading->p == '.' || *reading->p == ',') && isdigit((unsigned char) reading->p[1]))
		{
			reading->p++;
			if (!take_number(reading, 6, &reading->micros, &n))
				return false;
			for (; n < 6; n++)
				reading->micros *= 10;
			while (isdigit((unsigned char) *reading->p))
				reading->p++;
		}
	}
	return take_half_of_day(reading);
}

/* "-MM-DD" behind a year, with the same sign both times. */
static bool
read_date(Reading *reading, int year)
{
	char sign = *reading->p;
	int n;

	if (!set_once(&reading->year, year) || reading->month >= 0 || reading->day >= 0)
		return false;
	reading->p++;
	if (!take_number(reading, 2, &reading->month, &n) || *reading->p != sign)
		return false;
	reading->p++;
	return take_number(reading, 2, &reading->day, &n);
}

/* HHMM or HHMMSS */
static bool
set_short_time(Reading *reading, int number, bool has_seconds)
{
	if (!set_once(&reading->hour, has_seconds ? number / 10000 : number / 100))
		return false;
	reading->minute = has_seconds ? number / 100 % 100 : number % 100;
	reading->second = has_seconds ? number % 100 : 0;
	reading->micros = 0;
	return true;
}

static bool
read_number(Reading *reading, char before)
{
	int number;
	int n_digits;
	const char *rest;

	take_number(reading, 8, &number, &n_digits);
	rest = reading->p + strspn(reading->p, " ");
	if (*reading->p == ':' && n_digits <= 2)
		return read_time(reading, number);
	if (n_digits == 4 && strchr("-/.", *reading->p) != NULL && *reading->p != '\0' &&
		isdigit((unsigned char) reading->p[1]))
		return read_date(reading, number);
	if (n_digits == 8 && reading->month < 0 && reading->day < 0 &&
		set_once(&reading->year, number / 10000))
	{
		int n;

		reading->month = number / 100 % 100;
		reading->day = number % 100;
		if (!isdigit((unsigned char) *reading->p))
			return true;
		take_number(reading, 6, &number, &n);
		return (n == 4 || n == 6) && set_short_time(reading, number, n == 6);
	}
	if (before == 'T' && (n_digits == 4 || n_digits == 6))
		return set_short_time(reading, number, n_digits == 6);
	if ((before == 'T' || ascii_is_same_part(rest, "am", 2) || ascii_is_same_part(rest, "pm", 2)) &&
		n_digits <= 2)
	{
		reading->minute = reading->second = reading->micros = 0;
		return set_once(&reading->hour, number) && take_half_of_day(reading);
	}
	if (n_digits <= 2)
	{
		static const char *const endings[] = { "st", "nd", "rd", "th" };

		for (int i = 0; i < 4; i++)
			if (ascii_is_same_part(reading->p, endings[i], 2) &&
				!ascii_is_letter(reading->p[2]))
				reading->p += 2;
		if (*reading->p == '-' && ascii_is_letter(reading->p[1]))
			reading->p++;
		return set_once(&reading->day, number);
	}
	return n_digits == 4 && set_once(&reading->year, number);
}

static bool
read_word(Reading *reading)
{
	static const char *const months[] = { "january",   "february", "march",	   "april",
										  "may",	   "june",	   "july",	   "august",
										  "september", "october",  "november", "december" };
	static const char *const weekdays[] = { "monday", "tuesday",  "wednesday", "thursday",
											"friday", "saturday", "sunday" };
	char word[16];
	size_t n = 0;

	while (ascii_is_letter(reading->p[n]))
		n++;
	if (n >= sizeof(word))
		return false;
	memcpy(word, reading->p, n);
	word[n] = '\0';
	reading->p += n;
	if (ascii_is_same(word, "z") || ascii_is_same(word, "utc") || ascii_is_same(word, "gmt"))
	{
		/* "UTC+3" means one thing here and the opposite to POSIX */
		if (reading->has_zone || *reading->p == '+' || *reading->p == '-')
			return false;
		reading->has_zone = true;
		return true;
	}
	if (ascii_is_same(word, "at") || ascii_is_same(word, "on") || ascii_is_same(word, "of"))
		return true;
	for (int i = 0; i < 12; i++)
		if (n >= 3 && ascii_is_same_part(word, months[i], n) &&
			(n == 3 || n == strlen(months[i]) || (i == 8 && n == 4)))
		{
			if (*reading->p == '-' || *reading->p == '.')
				reading->p++;
			return set_once(&reading->month, i + 1);
		}
	for (int i = 0; i < 7; i++)
		if (n >= 3 && ascii_is_same_part(word, weekdays[i], n))
		{
			if (*reading->p == '.')
				reading->p++;
			return true;
		}
	/* the abbreviation of our own zone says what is assumed anyway */
	tzset();
	return strcmp(word, tzname[0]) == 0 || strcmp(word, tzname[1]) == 0;
}

/* "+01", "+0100", "+01:00" behind a time. */
static bool
read_offset(Reading *reading)
{
	int sign = *reading->p++ == '-' ? -1 : 1;
	int hours;
	int minutes = 0;
	int n;

	if (reading->hour < 0 || reading->has_zone || !take_number(reading, 4, &hours, &n))
		return false;
	if (n > 2)
	{
		if (n != 4)
			return false;
		minutes = hours % 100;
		hours /= 100;
	}
	else if (*reading->p == ':')
	{
		reading->p++;
		if (!take_number(reading, 2, &minutes, &n) || n != 2)
			return false;
	}
	if (hours > 23 || minutes > 59)
		return false;
	reading->has_zone = true;
	reading->offset_s = sign * (hours * 3600 + minutes * 60);
	return true;
}

static bool
read_all(Reading *reading)
{
	char before = ' ';

	while (*reading->p != '\0')
	{
		char c = *reading->p;
		bool ok = true;

		if (ascii_is_space(c) || c == ',')
			reading->p++;
		else if (isdigit((unsigned char) c))
			ok = read_number(reading, before);
		else if ((c == 'T' || c == 't') && isdigit((unsigned char) reading->p[1]) &&
				 reading->day >= 0)
		{
			reading->p++;
			c = 'T';
		}
		else if (ascii_is_letter(c))
			ok = read_word(reading);
		else if (c == '+' || c == '-')
			ok = read_offset(reading);
		else
			ok = false;
		if (!ok)
			return false;
		before = c;
	}
	return true;
}

/* Read a time; see format.h.  False: it cannot be read, or in two ways. */
bool
when_parse(const char *text, int64_t now_ms, When *when)
{
	Reading reading = { text, -1, -1, -1, -1, 0, 0, 0, false, 0 };
	time_t now = (time_t) (now_ms / 1000);
	struct tm local;
	int64_t seconds;

	if (strlen(text) > 100 || !read_all(&reading))
		return false;
	if (reading.hour < 0 && reading.day < 0)
		return false;
	if ((reading.day < 0) != (reading.month < 0) || (reading.day < 0 && reading.year >= 0))
		return false;
	localtime_r(&now, &local);
	if (reading.year < 0)
		reading.year = local.tm_year + 1900;
	if (reading.day < 0)
	{
		reading.month = local.tm_mon + 1;
		reading.day = local.tm_mday;
	}
	if (reading.hour < 0)
		reading.hour = 0;
	if (!is_date(reading.year, reading.month, reading.day) || reading.hour > 23 ||
		reading.minute > 59 || reading.second > 59)
		return false;

	seconds = days_from_civil(reading.year, reading.month, reading.day) * 86400 +
			  reading.hour * 3600 + reading.minute * 60 + reading.second;
	if (!reading.has_zone)
	{
		time_t then;

		memset(&local, 0, sizeof(local));
		local.tm_year = reading.year - 1900;
		local.tm_mon = reading.month - 1;
		local.tm_mday = reading.day;
		local.tm_hour = reading.hour;
		local.tm_min = reading.minute;
		local.tm_sec = reading.second;
		local.tm_isdst = -1;
		then = mktime(&local);
		localtime_r(&then, &local);
		reading.offset_s = (int) local.tm_gmtoff;
	}
	when->offset_s = reading.offset_s;
	when->wall_us = (seconds - reading.offset_s) * 1000000 + reading.micros;
	return true;
}

/* As Python's isoformat() writes it. */
void
when_to_text(const When *when, char text[48])
{
	int64_t local_us = when->wall_us + (int64_t) when->offset_s * 1000000;
	int64_t micros = local_us % 1000000;
	time_t seconds;
	struct tm broken;
	int offset_minutes = abs(when->offset_s) / 60;
	char fraction[16] = "";
	char date[24];

	if (micros < 0)
		micros += 1000000;
	seconds = (time_t) ((local_us - micros) / 1000000);
	gmtime_r(&seconds, &broken);
	if (micros != 0)
		snprintf(fraction, sizeof(fraction), ".%06d", (int) micros);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &broken);
	snprintf(text, 48, "%s%s%c%02d:%02d", date, fraction, when->offset_s < 0 ? '-' : '+',
			 offset_minutes / 60 % 100, offset_minutes % 60);
}
