/*
 * cron.h
 *		Cron expressions: reading them, and the times that they mean.
 *
 * What is read, and what it means, is what pg_cron makes of it, since pg_cron
 * keeps the time: crontab(5), with the rule of Vixie cron for the two fields
 * that say the day.  What pg_cron would pass over in silence (a sixth field,
 * something behind a number, a range that runs backwards) is refused.
 */
#ifndef SIGNALSMITH_CRON_H
#define SIGNALSMITH_CRON_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "pgtime.h"

/* In each set, bit n stands for the value n. */
typedef struct CronSchedule
{
	uint64		minutes;
	uint64		hours;
	uint64		days;			/* of the month, from 1 */
	uint64		months;			/* from 1 */
	uint64		weekdays;		/* from 0, Sunday */
	bool		last_day;		/* "$": the last day of the month */
	bool		both_days;		/* a day must be in both sets: one of the
								 * fields begins with "*"; otherwise one is
								 * enough */
} CronSchedule;

/*
 * Reads an expression.  Returns it with single blanks between its five fields,
 * and with the fields that an "@daily" stands for (palloc'ed).  Raises
 * ERRCODE_INVALID_PARAMETER_VALUE, naming the field that is wrong.
 */
extern char *cron_parse(const char *expression, CronSchedule *schedule);

/*
 * The first minute after the given time that the schedule means in this zone.
 * A time of day that a change of the clocks leaves out does not come; one that
 * it repeats comes twice.  False when none comes within eight years.
 */
extern bool cron_next(const CronSchedule *schedule, pg_tz *zone,
					  TimestampTz after, TimestampTz *next);

#endif							/* SIGNALSMITH_CRON_H */
