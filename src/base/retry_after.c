/*
 * retry_after.c
 *		How long a server asks to wait.
 */
#include "base/retry_after.h"

#include <stdbool.h>
#include <string.h>

/* Longer than any wait that makes sense, and far from any overflow. */
#define MAX_SECONDS INT64_C(100000000000)

/* From here on a number of seconds is a point in time: September 2001. */
#define FIRST_EPOCH INT64_C(1000000000)
#define FIRST_EPOCH_MS (FIRST_EPOCH * 1000)

typedef struct Input
{
	const char *p;
	const char *end;
} Input;

static bool
take_digits(Input *input, int min, int max, int64_t *number)
{
	int			count = 0;

	*number = 0;
	while (input->p < input->end && *input->p >= '0' && *input->p <= '9' && count < max)
	{
		*number = *number * 10 + (*input->p++ - '0');
		count++;
	}
	return count >= min;
}

static bool
take_char(Input *input, char c)
{
	if (input->p == input->end || *input->p != c)
		return false;
	input->p++;
	return true;
}

static void
skip_letters(Input *input)
{
	while (input->p < input->end &&
		   ((*input->p >= 'a' && *input->p <= 'z') || (*input->p >= 'A' && *input->p <= 'Z')))
		input->p++;
}

static bool
take_month(Input *input, int64_t *month)
{
	static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

	if (input->end - input->p < 3)
		return false;
	for (int i = 0; i < 12; i++)
		if (memcmp(input->p, names + i * 3, 3) == 0)
		{
			*month = i + 1;
			input->p += 3;
			return true;
		}
	return false;
}

static bool
take_time(Input *input, int64_t *seconds)
{
	int64_t		hours;
	int64_t		minutes;
	int64_t		rest;

	if (!take_digits(input, 2, 2, &hours) || !take_char(input, ':') ||
		!take_digits(input, 2, 2, &minutes) || !take_char(input, ':') ||
		!take_digits(input, 2, 2, &rest) ||
		hours > 23 || minutes > 59 || rest > 60)
		return false;
	*seconds = hours * 3600 + minutes * 60 + rest;
	return true;
}

/* Days from 1970-01-01 in the Gregorian calendar. */
static int64_t
days_since_1970(int64_t year, int64_t month, int64_t day)
{
	int64_t		era_year;
	int64_t		day_of_year;

	/* Years begin in March, so that the leap day is the last one. */
	year -= month <= 2;
	era_year = year % 400;
	day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return (year / 400) * 146097 + era_year * 365 + era_year / 4 - era_year / 100 +
		day_of_year - 719468;
}

/*
 * Sun, 06 Nov 1994 08:49:37 GMT; Sunday, 06-Nov-94 08:49:37 GMT;
 * Sun Nov  6 08:49:37 1994.
 */
static bool
take_date(Input *input, int64_t *epoch)
{
	int64_t		year;
	int64_t		month;
	int64_t		day;
	int64_t		seconds;

	skip_letters(input);
	if (take_char(input, ','))
	{
		const char *year_start;
		bool		two_digits;

		if (!take_char(input, ' ') || !take_digits(input, 1, 2, &day) ||
			!(take_char(input, ' ') || take_char(input, '-')) ||
			!take_month(input, &month) ||
			!(take_char(input, ' ') || take_char(input, '-')))
			return false;
		year_start = input->p;
		if (!take_digits(input, 2, 4, &year))
			return false;
		two_digits = input->p - year_start == 2;
		if (!take_char(input, ' ') || !take_time(input, &seconds))
			return false;
		if (two_digits)
			year += year < 70 ? 2000 : 1900;
	}
	else
	{
		if (!take_char(input, ' ') || !take_month(input, &month) || !take_char(input, ' '))
			return false;
		take_char(input, ' ');
		if (!take_digits(input, 1, 2, &day) || !take_char(input, ' ') ||
			!take_time(input, &seconds) || !take_char(input, ' ') ||
			!take_digits(input, 4, 4, &year))
			return false;
	}
	if (day < 1 || day > 31 || year < 1970)
		return false;
	*epoch = days_since_1970(year, month, day) * 86400 + seconds;
	return true;
}

int64_t
retry_after_parse(const char *value, size_t length, int64_t now)
{
	Input		input = {value, value + length};
	int64_t		number;
	int64_t		wait;
	int64_t		milliseconds = 0;

	if (length == 0)
		return -1;
	if (*value >= '0' && *value <= '9')
	{
		if (!take_digits(&input, 1, 15, &number))
			return -1;
		if (take_char(&input, '.'))
		{
			int			unit = 100;

			while (input.p < input.end && *input.p >= '0' && *input.p <= '9')
			{
				milliseconds += (*input.p++ - '0') * unit;
				unit /= 10;
			}
		}
		if (input.p != input.end)
			return -1;
		if (number >= FIRST_EPOCH_MS)
			wait = number - now * 1000;
		else if (number >= FIRST_EPOCH)
			wait = (number - now) * 1000 + milliseconds;
		else
			wait = number * 1000 + milliseconds;
		return wait > 0 ? wait : 0;
	}
	if (!take_date(&input, &number) || number > MAX_SECONDS)
		return -1;
	wait = (number - now) * 1000;
	return wait > 0 ? wait : 0;
}
