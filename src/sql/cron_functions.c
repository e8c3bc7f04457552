/*
 * cron_functions.c
 *		SQL functions about cron expressions: checking one, its next time.
 *
 * pg_cron keeps the time and calls trigger_sync(); what is here says beforehand
 * what it will do.
 */
#include "postgres.h"

#include "fmgr.h"
#include "postmaster/bgworker.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/cron.h"

SQL_FUNCTION(signalsmith_check_cron);
SQL_FUNCTION(signalsmith_cron_timezone);
SQL_FUNCTION(signalsmith_next_cron_run);
SQL_FUNCTION(signalsmith_is_called_by_cron);

/*
 * _check_cron(expression text) returns text: in canonical form.  An expression
 * that means no time at all, such as the 31st of February, is refused too.
 */
Datum
signalsmith_check_cron(PG_FUNCTION_ARGS)
{
	char	   *expression = text_to_cstring(PG_GETARG_TEXT_PP(0));
	CronSchedule schedule;
	TimestampTz next;
	char	   *canonical = cron_parse(expression, &schedule);

	if (!cron_next(&schedule, pg_tzset("GMT"), GetCurrentTimestamp(), &next))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cron expression \"%s\" never comes", expression),
				 errdetail("There is no such date.")));
	PG_RETURN_TEXT_P(cstring_to_text(canonical));
}

/*
 * _cron_timezone() returns text: pg_cron has one zone for all its jobs; before
 * its version 1.5 there is no setting, and the zone is GMT.
 */
Datum
signalsmith_cron_timezone(PG_FUNCTION_ARGS)
{
	const char *zone = GetConfigOption("cron.timezone", true, false);

	PG_RETURN_TEXT_P(cstring_to_text(zone ? zone : "GMT"));
}

/*
 * _next_cron_run(expression text, after timestamptz, zone text) returns
 * timestamptz
 */
Datum
signalsmith_next_cron_run(PG_FUNCTION_ARGS)
{
	TimestampTz after = PG_GETARG_TIMESTAMPTZ(1);
	char	   *zone_name = text_to_cstring(PG_GETARG_TEXT_PP(2));
	pg_tz	   *zone = pg_tzset(zone_name);
	CronSchedule schedule;
	TimestampTz next;

	if (zone == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("time zone \"%s\" not recognized", zone_name)));
	(void) cron_parse(text_to_cstring(PG_GETARG_TEXT_PP(0)), &schedule);
	if (TIMESTAMP_NOT_FINITE(after) || !cron_next(&schedule, zone, after, &next))
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(next);
}

/*
 * pg_cron runs its jobs in background workers of its own, or over connections
 * that go by its name.  It decides no more than what the run says of itself.
 */
Datum
signalsmith_is_called_by_cron(PG_FUNCTION_ARGS)
{
	if (MyBgworkerEntry)
		PG_RETURN_BOOL(strcmp(MyBgworkerEntry->bgw_library_name, "pg_cron") == 0);
	PG_RETURN_BOOL(strcmp(application_name, "pg_cron") == 0);
}
