/*
 * cron.c
 *		Cron expressions: reading them, and the times that they mean.
 */
#include "postgres.h"

#include <ctype.h>

#include "lib/stringinfo.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/cron.h"

/* Long enough for every minute of an hour to be listed. */
#define EXPRESSION_LIMIT 400
#define FIELD_COUNT 5

/* February 29 may be as far away as this. */
#define HORIZON_SECONDS ((pg_time_t) 8 * 366 * SECS_PER_DAY)

typedef struct CronField
{
	const char *name;
	int			lowest;
	int			highest;
	const char *const *value_names; /* from the lowest on; or NULL */
} CronField;

static const char *const month_names[] = {
	"jan", "feb", "mar", "apr", "may", "jun",
	"jul", "aug", "sep", "oct", "nov", "dec", NULL
};

static const char *const weekday_names[] = {
	"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL
};

static const CronField cron_fields[FIELD_COUNT] = {
	{"minute", 0, 59, NULL},
	{"hour", 0, 23, NULL},
	{"day of month", 1, 31, NULL},
	{"month", 1, 12, month_names},
	{"day of week", 0, 7, weekday_names}
};

static const struct
{
	const char *name;
	const char *expression;
}			abbreviations[] = {
	{"@yearly", "0 0 1 1 *"},
	{"@annually", "0 0 1 1 *"},
	{"@monthly", "0 0 1 * *"},
	{"@weekly", "0 0 * * 0"},
	{"@daily", "0 0 * * *"},
	{"@midnight", "0 0 * * *"},
	{"@hourly", "0 * * * *"}
};

/* What is being read, for messages. */
typedef struct CronReader
{
	const char *expression;
	const CronField *field;
	const char *text;			/* of the field */
	const char *cursor;
} CronReader;

pg_noreturn static void refuse(const CronReader *reader, const char *format,...)
			pg_attribute_printf(2, 3);

/* The rest of the sentence "Field "hour" is "25": ..." */
static void
refuse(const CronReader *reader, const char *format,...)
{
	StringInfoData reason;

	initStringInfo(&reason);
	for (;;)
	{
		va_list		arguments;
		int			needed;

		va_start(arguments, format);
		needed = appendStringInfoVA(&reason, format, arguments);
		va_end(arguments);
		if (needed == 0)
			break;
		enlargeStringInfo(&reason, needed);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid cron expression \"%s\"", reader->expression),
			 errdetail("Field \"%s\" is \"%s\": %s.", reader->field->name,
					   reader->text, reason.data)));
}

/* --- reading --- */

static int
read_number(CronReader *reader)
{
	int			number = 0;

	while (isdigit((unsigned char) *reader->cursor))
	{
		number = number * 10 + (*reader->cursor++ - '0');
		if (number > 999)
			refuse(reader, "the number is too large");
	}
	return number;
}

/* A name of one of the field's values; -1 when there is none at the cursor. */
static int
read_name(CronReader *reader)
{
	const char *const *names = reader->field->value_names;
	size_t		length = 0;

	while (isalnum((unsigned char) reader->cursor[length]))
		length++;
	for (int i = 0; names && names[i]; i++)
	{
		if (length == strlen(names[i]) &&
			pg_strncasecmp(names[i], reader->cursor, length) == 0)
		{
			reader->cursor += length;
			return reader->field->lowest + i;
		}
	}
	return -1;
}

static int
read_value(CronReader *reader)
{
	const CronField *field = reader->field;
	int			value = read_name(reader);

	if (value >= 0)
		return value;
	if (!isdigit((unsigned char) *reader->cursor))
		refuse(reader, field->value_names ?
			   "a number from %d to %d or a name such as \"%s\" is expected" :
			   "a number from %d to %d is expected",
			   field->lowest, field->highest,
			   field->value_names ? field->value_names[1] : "");
	value = read_number(reader);
	if (value < field->lowest || value > field->highest)
		refuse(reader, "%d is not from %d to %d", value, field->lowest,
			   field->highest);
	return value;
}

/* The "/5" behind a range; 1 when there is none. */
static int
read_step(CronReader *reader)
{
	int			step;

	if (*reader->cursor != '/')
		return 1;
	reader->cursor++;
	if (!isdigit((unsigned char) *reader->cursor))
		refuse(reader, "a number is expected after \"/\"");
	step = read_number(reader);
	if (step == 0)
		refuse(reader, "a step must be at least 1");
	return step;
}

/* "*", "5", "1-5", each range with an optional step */
static uint64
read_range(CronReader *reader)
{
	int			first = reader->field->lowest;
	int			last = reader->field->highest;
	int			step;
	uint64		values = 0;

	if (*reader->cursor == '*')
		reader->cursor++;
	else
	{
		first = last = read_value(reader);
		if (*reader->cursor == '/')
			refuse(reader, "a step needs a range, as in \"%d-%d/5\" or \"*/5\"",
				   first, reader->field->highest);
		if (*reader->cursor == '-')
		{
			reader->cursor++;
			last = read_value(reader);
			if (last < first)
				refuse(reader, "the range from %d to %d runs backwards", first, last);
		}
	}
	step = read_step(reader);
	for (int value = first; value <= last; value += step)
		values |= UINT64CONST(1) << value;
	return values;
}

static uint64
read_field(CronReader *reader)
{
	uint64		values = read_range(reader);

	while (*reader->cursor == ',')
	{
		reader->cursor++;
		values |= read_range(reader);
	}
	if (*reader->cursor != '\0')
		refuse(reader, "\"%s\" is not understood", reader->cursor);
	return values;
}

static void
refuse_field_count(const char *expression, int count, char **words)
{
	bool		seconds = count == 2 && pg_strncasecmp(words[1], "second", 6) == 0;

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid cron expression \"%s\"", expression),
			 errdetail_plural("It has %d field, not five: minute, hour, day of month, month, day of week.",
							  "It has %d fields, not five: minute, hour, day of month, month, day of week.",
							  count, count),
			 seconds ?
			 errhint("Use {\"type\":\"interval\",\"interval_seconds\":%d}.", atoi(words[0])) :
			 errhint("For example, \"0 9 * * 1-5\" is nine o'clock from Monday to Friday.")));
}

/* Splits at blanks; the words are valid as long as "text", which it changes. */
static int
split_words(char *text, char **words, int size)
{
	int			count = 0;

	for (char *word = strtok(text, " \t\r\n"); word; word = strtok(NULL, " \t\r\n"))
	{
		if (count < size)
			words[count] = word;
		count++;
	}
	return count;
}

static const char *
expand_abbreviation(const char *expression)
{
	if (expression[0] != '@')
		return expression;
	for (size_t i = 0; i < lengthof(abbreviations); i++)
		if (pg_strcasecmp(expression, abbreviations[i].name) == 0)
			return abbreviations[i].expression;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid cron expression \"%s\"", expression),
			 errhint("Use five fields, or one of @hourly, @daily, @weekly, @monthly, @yearly.")));
}

char *
cron_parse(const char *expression, CronSchedule *schedule)
{
	char	   *words[FIELD_COUNT];
	uint64		values[FIELD_COUNT];
	bool		last_day;
	int			count;

	if (strlen(expression) > EXPRESSION_LIMIT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cron expression is too long"),
				 errdetail("It may have up to %d characters.", EXPRESSION_LIMIT)));
	count = split_words(pstrdup(expand_abbreviation(expression)), words, FIELD_COUNT);
	if (count != FIELD_COUNT)
		refuse_field_count(expression, count, words);

	last_day = strcmp(words[2], "$") == 0;
	for (int i = 0; i < FIELD_COUNT; i++)
	{
		CronReader	reader = {expression, &cron_fields[i], words[i], words[i]};

		values[i] = i == 2 && last_day ? 0 : read_field(&reader);
	}

	schedule->minutes = values[0];
	schedule->hours = values[1];
	schedule->days = values[2];
	schedule->months = values[3];
	/* Sunday is 0 and 7. */
	schedule->weekdays = (values[4] | values[4] >> 7) & 0x7f;
	schedule->last_day = last_day;
	schedule->both_days = words[2][0] == '*' || words[4][0] == '*';
	return psprintf("%s %s %s %s %s", words[0], words[1], words[2], words[3], words[4]);
}

/* --- the times --- */

static bool
contains(uint64 set, int value)
{
	return (set >> value & 1) != 0;
}

static bool
day_is_meant(const CronSchedule *schedule, const struct pg_tm *local)
{
	int			year = local->tm_year + 1900;
	int			last_day = day_tab[isleap(year)][local->tm_mon];
	bool		date = contains(schedule->days, local->tm_mday) ||
		(schedule->last_day && local->tm_mday == last_day);
	bool		weekday = contains(schedule->weekdays, local->tm_wday);

	if (!contains(schedule->months, local->tm_mon + 1))
		return false;
	return schedule->both_days ? date && weekday : date || weekday;
}

/*
 * Minutes to the next time that is worth a look: 0 when this one is meant.  No
 * step may jump over a time because clocks change meanwhile, so the last hours
 * of a day are taken one by one.
 */
static int
minutes_to_skip(const CronSchedule *schedule, const struct pg_tm *local)
{
	int			to_next_hour = 60 - local->tm_min;

	if (!day_is_meant(schedule, local))
		return local->tm_hour < 20 ?
			(20 - local->tm_hour - 1) * 60 + to_next_hour : to_next_hour;
	if (!contains(schedule->hours, local->tm_hour))
		return to_next_hour;
	return contains(schedule->minutes, local->tm_min) ? 0 : 1;
}

bool
cron_next(const CronSchedule *schedule, pg_tz *zone, TimestampTz after,
		  TimestampTz *next)
{
	pg_time_t	time = timestamptz_to_time_t(after) / 60 * 60 + 60;
	pg_time_t	horizon = time + HORIZON_SECONDS;

	while (time < horizon)
	{
		struct pg_tm *local = pg_localtime(&time, zone);
		int			skip;

		if (local == NULL)
			return false;
		skip = minutes_to_skip(schedule, local);
		if (skip == 0)
		{
			*next = time_t_to_timestamptz(time);
			return IS_VALID_TIMESTAMP(*next);
		}
		time += skip * 60;
	}
	return false;
}
