/*
 * fuzz_cron.c
 *		Cron expressions, and the times they mean.
 */
#include "postgres.h"

#include "pgtime.h"
#include "utils/timestamp.h"

#include "base/cron.h"

#include "harness.h"

void
fuzz_cron(const char *data, size_t length)
{
	char	   *text = text_of(data, length);
	CronSchedule schedule;
	CronSchedule again;
	char	   *canonical;
	TimestampTz after = INT64CONST(757382400) * USECS_PER_SEC;	/* 2024-01-01 */

	if (text == NULL)
		return;
	canonical = cron_parse(text, &schedule);

	/* What it is written as means the same. */
	must(strcmp(cron_parse(canonical, &again), canonical) == 0);
	must(schedule.minutes == again.minutes && schedule.hours == again.hours &&
		 schedule.days == again.days && schedule.months == again.months &&
		 schedule.weekdays == again.weekdays && schedule.last_day == again.last_day &&
		 schedule.both_days == again.both_days);

	for (int i = 0; i < 3; i++)
	{
		TimestampTz next;

		if (!cron_next(&schedule, i == 1 ? pg_tzset("Europe/Berlin") : pg_tzset("GMT"), after, &next))
			break;
		must(next > after && next % USECS_PER_MINUTE == 0);
		after = next;
	}
}
