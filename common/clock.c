/* SPDX-License-Identifier: MIT */
#include "common/clock.h"

#include "common/error.h"

#include <assert.h>
#include <stdbool.h>
#include <time.h>

#define MS_PER_DAY INT64_C(86400000)
/* 0000-01-01T00:00:00.000Z and 9999-12-31T23:59:59.999Z */
#define FIRST_MS INT64_C(-62167219200000)
#define LAST_MS INT64_C(253402300799999)

/* clang-format off */
static const struct unit {
	const char *name;
	int64_t ns;
} units[] = { /* largest first: clock_format_duration() takes the first fit */
	{ "d",  INT64_C(86400) * NS_PER_S },
	{ "h",  INT64_C(3600) * NS_PER_S },
	{ "m",  INT64_C(60) * NS_PER_S },
	{ "s",  NS_PER_S },
	{ "ms", NS_PER_MS },
	{ "us", NS_PER_US },
	{ "ns", 1 },
};
/* clang-format on */

static int64_t
read_clock(clockid_t id)
{
	struct timespec ts;
	int rc = clock_gettime(id, &ts);

	assert(rc == 0);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

int64_t
clock_now_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

int64_t
clock_wall_ms(void)
{
	return read_clock(CLOCK_REALTIME) / NS_PER_MS;
}

int
clock_poll_timeout_ms(int64_t deadline_ns)
{
	int64_t now_ns = clock_now_ns();

	if (deadline_ns <= now_ns)
		return 0;
	int64_t ms = (deadline_ns - now_ns - 1) / NS_PER_MS + 1;

	return ms > INT32_MAX ? INT32_MAX : (int)ms;
}

static char *
put_digits(char *at, int64_t value, int width)
{
	for (int i = width - 1; i >= 0; i--) {
		at[i] = (char)('0' + value % 10);
		value /= 10;
	}
	return at + width;
}

/*
 * Days since 1970-01-01 from a proleptic Gregorian date and back, after
 * Howard Hinnant's "chrono-compatible low-level date algorithms": the year
 * begins in March, so that the leap day is its last one.
 */
static int64_t
days_from_civil(int64_t year, int month, int day)
{
	year -= month <= 2;
	int64_t era = (year >= 0 ? year : year - 399) / 400;
	int64_t of_era = year - era * 400;
	int64_t of_year =
		(153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 +
	       of_year - 719468;
}

static void
civil_from_days(int64_t days, int64_t *year, int *month, int *day)
{
	days += 719468;
	int64_t era = (days >= 0 ? days : days - 146096) / 146097;
	int64_t of_era = days - era * 146097;
	int64_t year_of_era =
		(of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) /
		365;
	int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 -
					   year_of_era / 100);
	int64_t march_month = (5 * of_year + 2) / 153;

	*day = (int)(of_year - (153 * march_month + 2) / 5 + 1);
	*month = (int)(march_month < 10 ? march_month + 3 : march_month - 9);
	*year = year_of_era + era * 400 + (*month <= 2);
}

void
clock_format_rfc3339(int64_t unix_ms, char buf[CLOCK_RFC3339_SIZE])
{
	assert(unix_ms >= FIRST_MS && unix_ms <= LAST_MS);
	int64_t year;
	int month;
	int day;
	int64_t ms = unix_ms % MS_PER_DAY;
	int64_t days = unix_ms / MS_PER_DAY;

	if (ms < 0) {
		ms += MS_PER_DAY;
		days--;
	}
	civil_from_days(days, &year, &month, &day);

	char *at = put_digits(buf, year, 4);
	*at++ = '-';
	at = put_digits(at, month, 2);
	*at++ = '-';
	at = put_digits(at, day, 2);
	*at++ = 'T';
	at = put_digits(at, ms / 3600000, 2);
	*at++ = ':';
	at = put_digits(at, ms / 60000 % 60, 2);
	*at++ = ':';
	at = put_digits(at, ms / 1000 % 60, 2);
	*at++ = '.';
	at = put_digits(at, ms % 1000, 3);
	*at++ = 'Z';
	*at = '\0';
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* `width` digits with a value in min..max at *at, which moves behind them. */
static bool
take_number(const char **at, int width, int min, int max, int *ret)
{
	int value = 0;

	for (int i = 0; i < width; i++) {
		if (!is_digit((*at)[i]))
			return false;
		value = value * 10 + ((*at)[i] - '0');
	}
	if (value < min || value > max)
		return false;
	*at += width;
	*ret = value;
	return true;
}

static bool
take_char(const char **at, char c)
{
	if (**at != c && **at != c + ('a' - 'A'))
		return false;
	(*at)++;
	return true;
}

static bool
take_date(const char **at, int64_t *ret_days)
{
	static const int lengths[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31,
		30, 31 };
	int year;
	int month;
	int day;

	if (!take_number(at, 4, 0, 9999, &year) || !take_char(at, '-') ||
		!take_number(at, 2, 1, 12, &month) || !take_char(at, '-') ||
		!take_number(at, 2, 1, 31, &day))
		return false;
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	int length = lengths[month - 1] + (month == 2 && leap);

	*ret_days = days_from_civil(year, month, day);
	return day <= length;
}

static bool
take_time(const char **at, int64_t *ret_ms)
{
	int hour;
	int minute;
	int second;
	int ms = 0;

	if (!take_number(at, 2, 0, 23, &hour) || !take_char(at, ':') ||
		!take_number(at, 2, 0, 59, &minute) || !take_char(at, ':') ||
		!take_number(at, 2, 0, 59, &second))
		return false;
	if (**at == '.') {
		int scale = 100;
		const char *first = ++*at;

		for (; is_digit(**at) && *at - first < 9; (*at)++, scale /= 10)
			ms += (**at - '0') * scale;
		if (*at == first)
			return false;
	}
	*ret_ms = hour * INT64_C(3600000) + minute * INT64_C(60000) +
		  second * INT64_C(1000) + ms;
	return true;
}

static bool
take_offset(const char **at, int64_t *ret_ms)
{
	int hour;
	int minute;

	*ret_ms = 0;
	if (take_char(at, 'Z'))
		return true;
	char sign = **at;

	if (sign != '+' && sign != '-')
		return false;
	(*at)++;
	if (!take_number(at, 2, 0, 23, &hour) || !take_char(at, ':') ||
		!take_number(at, 2, 0, 59, &minute))
		return false;
	*ret_ms =
		(hour * INT64_C(60) + minute) * 60000 * (sign == '-' ? -1 : 1);
	return true;
}

int
clock_parse_rfc3339(const char *text, int64_t *ret_ms)
{
	const char *at = text;
	int64_t days;
	int64_t time_ms;
	int64_t offset_ms;

	if (!take_date(&at, &days) || !take_char(&at, 'T') ||
		!take_time(&at, &time_ms) || !take_offset(&at, &offset_ms) ||
		*at != '\0')
		return -ERROR_BAD_INPUT;
	int64_t ms = days * MS_PER_DAY + time_ms - offset_ms;

	if (ms < FIRST_MS || ms > LAST_MS)
		return -ERROR_BAD_INPUT;
	*ret_ms = ms;
	return 0;
}

int
clock_parse_duration(const char *text, int64_t *ret_ns)
{
	const char *at = text;
	int64_t value = 0;

	for (; is_digit(*at); at++) {
		if (__builtin_mul_overflow(value, 10, &value) ||
			__builtin_add_overflow(value, *at - '0', &value))
			return -ERROR_BAD_INPUT;
	}
	if (at == text)
		return -ERROR_BAD_INPUT;
	if (*at == '\0' && value == 0) {
		*ret_ns = 0;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (strcmp(at, units[i].name) != 0)
			continue;
		if (__builtin_mul_overflow(value, units[i].ns, &value))
			return -ERROR_BAD_INPUT;
		*ret_ns = value;
		return 0;
	}
	return -ERROR_BAD_INPUT;
}

void
clock_format_duration(int64_t ns, char *buf, size_t size)
{
	size_t i = 0;

	assert(ns >= 0);
	if (ns == 0) {
		(void)snprintf(buf, size, "0s");
		return;
	}
	while (ns % units[i].ns != 0)
		i++;
	(void)snprintf(buf, size, "%lld%s", (long long)(ns / units[i].ns),
		units[i].name);
}
