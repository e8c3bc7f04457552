/*
 * function_time.c
 *		Functions of holes that read and write points in time.
 *
 * A point in time comes as records have it, in ISO 8601, or as seconds since
 * 1970.  Without an offset it is in UTC.  No setting and no time zone of the
 * server's has a say in it.
 */
#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/datetime.h"

#include "connector/function.h"

#define SECONDS_A_DAY INT64CONST(86400)
#define USECS INT64CONST(1000000)

/* A point in time: microseconds since 1970, in UTC. */
typedef struct Reader
{
	const char *p;
	const char *end;
} Reader;

static bool
take_char(Reader *reader, char c)
{
	if (reader->p == reader->end || *reader->p != c)
		return false;
	reader->p++;
	return true;
}

/* A number of so many digits at least and at most; -1: there is none. */
static int
take_number(Reader *reader, int least, int most)
{
	int			number = 0;
	int			digits = 0;

	while (reader->p < reader->end && *reader->p >= '0' && *reader->p <= '9' && digits < most)
	{
		number = number * 10 + (*reader->p++ - '0');
		digits++;
	}
	return digits < least ? -1 : number;
}

/* The digits after a decimal point, as microseconds; further ones are dropped. */
static int64
take_fraction(Reader *reader)
{
	int64		micros = 0;
	int			digits = 0;

	for (; reader->p < reader->end && *reader->p >= '0' && *reader->p <= '9'; reader->p++)
		if (digits < 6)
		{
			micros = micros * 10 + (*reader->p - '0');
			digits++;
		}
	for (; digits < 6; digits++)
		micros *= 10;
	return micros;
}

/* Z, +02, +02:00 or +0200, in seconds. */
static bool
take_offset(Reader *reader, int64 *offset)
{
	int			sign = 1;
	int			hours;
	int			minutes = 0;

	*offset = 0;
	if (reader->p == reader->end || take_char(reader, 'Z') || take_char(reader, 'z'))
		return true;
	if (take_char(reader, '-'))
		sign = -1;
	else if (!take_char(reader, '+'))
		return false;
	hours = take_number(reader, 2, 2);
	(void) take_char(reader, ':');
	if (reader->p < reader->end)
		minutes = take_number(reader, 2, 2);
	*offset = sign * (hours * 3600 + minutes * 60);
	return hours >= 0 && minutes >= 0;
}

static bool
take_time_of_day(Reader *reader, int64 *micros)
{
	int			hour = take_number(reader, 2, 2);
	int			minute = take_char(reader, ':') ? take_number(reader, 2, 2) : -1;
	int			second = 0;
	int64		fraction = 0;

	if (take_char(reader, ':'))
		second = take_number(reader, 2, 2);
	if (take_char(reader, '.'))
		fraction = take_fraction(reader);
	if (hour < 0 || hour > 24 || minute < 0 || minute > 59 || second < 0 || second > 60)
		return false;
	*micros = (hour * INT64CONST(3600) + minute * 60 + second) * USECS + fraction;
	return true;
}

static bool
read_iso(Slice text, int64 *micros)
{
	Reader		reader = {text.data, text.data + text.length};
	int			year = take_number(&reader, 4, 6);
	int			month = take_char(&reader, '-') ? take_number(&reader, 2, 2) : -1;
	int			day = take_char(&reader, '-') ? take_number(&reader, 2, 2) : -1;
	int64		time_of_day = 0;
	int64		offset = 0;

	if (year < 1 || month < 1 || month > 12 || day < 1 ||
		day > day_tab[isleap(year)][month - 1])
		return false;
	if (take_char(&reader, 'T') || take_char(&reader, ' '))
		if (!take_time_of_day(&reader, &time_of_day) || !take_offset(&reader, &offset))
			return false;
	*micros = (date2j(year, month, day) - UNIX_EPOCH_JDATE) * SECONDS_A_DAY * USECS +
		time_of_day - offset * USECS;
	return reader.p == reader.end;
}

/* Seconds since 1970, perhaps with a fraction. */
static bool
read_seconds(Slice text, int64 *micros)
{
	Reader		reader = {text.data, text.data + text.length};
	bool		negative = take_char(&reader, '-');
	int64		seconds = 0;
	const char *start = reader.p;

	while (reader.p < reader.end && *reader.p >= '0' && *reader.p <= '9' &&
		   reader.p - start < 12)
		seconds = seconds * 10 + (*reader.p++ - '0');
	*micros = seconds * USECS;
	if (reader.p > start && take_char(&reader, '.'))
		*micros += take_fraction(&reader);
	if (negative)
		*micros = -*micros;
	return reader.p > start && reader.p == reader.end;
}

static bool
read_time(Slice text, int64 *micros, const char **error)
{
	if (read_iso(text, micros) || read_seconds(text, micros))
		return true;
	*error = "it is no point in time such as 2024-02-29T12:00:00Z, nor seconds since 1970";
	return false;
}

static int64
floor_divide(int64 number, int64 by)
{
	return number / by - (number % by < 0);
}

static void
set_integer(Value *value, int64 number)
{
	value->kind = VALUE_JSON;
	value->data.data = psprintf(INT64_FORMAT, number);
	value->data.length = strlen(value->data.data);
}

bool
apply_epoch(Value *value, Slice text, const Value *arguments, int argument_count,
			const char **error)
{
	int64		micros;

	if (!read_time(text, &micros, error))
		return false;
	set_integer(value, floor_divide(micros, USECS));
	return true;
}

bool
apply_epoch_ms(Value *value, Slice text, const Value *arguments, int argument_count,
			   const char **error)
{
	int64		micros;

	if (!read_time(text, &micros, error))
		return false;
	set_integer(value, floor_divide(micros, USECS / 1000));
	return true;
}

/* The text of its date, and the microseconds of the day. */
static char *
write_date(int64 micros, int64 *time_of_day)
{
	int64		days = floor_divide(micros, SECONDS_A_DAY * USECS);
	int			year;
	int			month;
	int			day;

	*time_of_day = micros - days * SECONDS_A_DAY * USECS;
	j2date((int) days + UNIX_EPOCH_JDATE, &year, &month, &day);
	return psprintf("%04d-%02d-%02d", year, month, day);
}

bool
apply_date(Value *value, Slice text, const Value *arguments, int argument_count,
		   const char **error)
{
	int64		micros;
	int64		time_of_day;
	char	   *date;

	if (!read_time(text, &micros, error))
		return false;
	date = write_date(micros, &time_of_day);
	function_set_text(value, date, strlen(date));
	return true;
}

/* RFC 3339, in UTC; with a fraction only where there is one. */
bool
apply_iso(Value *value, Slice text, const Value *arguments, int argument_count,
		  const char **error)
{
	int64		micros;
	int64		time_of_day;
	char	   *date;
	int			seconds;
	StringInfoData out;

	if (!read_time(text, &micros, error))
		return false;
	date = write_date(micros, &time_of_day);
	seconds = (int) (time_of_day / USECS);
	initStringInfo(&out);
	appendStringInfo(&out, "%sT%02d:%02d:%02d", date, seconds / 3600, seconds / 60 % 60,
					 seconds % 60);
	if (time_of_day % USECS != 0)
	{
		appendStringInfo(&out, ".%06d", (int) (time_of_day % USECS));
		while (out.data[out.len - 1] == '0')
			out.len--;
	}
	appendStringInfoChar(&out, 'Z');
	function_set_text(value, out.data, out.len);
	return true;
}
