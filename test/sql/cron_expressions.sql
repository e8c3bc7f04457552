-- Cron expressions: what is refused and how that is said, and the times they mean.
CREATE EXTENSION signalsmith;
SET TimeZone = 'UTC';

-- canonical forms
SELECT expression, signalsmith._check_cron(expression) FROM unnest(ARRAY[
    '0 9 * * 1-5', E'  0\t9  * * MON-Fri ', '*/15 * * * *', '0,30 8-18/2 1,15 jan,JUL *', '0 0 * * 7', '0 0 $ * *', '59 23 31 12 6', '0 0 29 2 *',
    '@hourly', '@Daily', '@midnight', '@weekly', '@monthly', '@yearly', '@annually']) AS expression;

-- refused
CREATE FUNCTION pg_temp.refusal(expression text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message text; detail text; hint text;
BEGIN
    PERFORM signalsmith._check_cron(expression);
    RETURN 'accepted';
EXCEPTION WHEN invalid_parameter_value THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(' | ', message, nullif(detail, ''), nullif(hint, ''));
END
$$;
SELECT pg_temp.refusal(expression) FROM unnest(ARRAY[
    '', ' ', '0', '0 9 * *', '0 9 * * * *', '0 9 * * * 2027', '30 seconds', '1 second', '@reboot', '@every 5m',
    '60 * * * *', '* 24 * * *', '* * 0 * *', '* * 32 * *', '* * * 0 *', '* * * 13 *', '* * * * 8', '-1 * * * *', '99999999999 * * * *',
    'x * * * *', '5x * * * *', '1;x * * * *', '1, * * * *', ',1 * * * *', '1- * * * *', '-5 * * * *', '1-2-3 * * * *', '* */0 * * *', '*/ * * * *', '*/x * * * *',
    '5/10 * * * *', '** * * * *', '5-1 * * * *', '* * * * fri-sun', '* * * * montag', '* * * july *', 'jan * * * *', '* * $,1 * *', '$ * * * *', '* * ? * *', '* * L * *',
    '0 0 30 2 *', '0 0 31 4,6,9,11 *', repeat('1,', 300) || '1 * * * *']) AS expression;

-- the next time: every case says what it is about
CREATE TEMP TABLE next_case (about text, expression text, after timestamptz, zone text, expected timestamptz);
INSERT INTO next_case VALUES
    ('the next minute', '* * * * *', '2027-01-01 00:00:00+00', 'GMT', '2027-01-01 00:01:00+00'),
    ('seconds are cut off', '* * * * *', '2027-01-01 00:00:59.9+00', 'GMT', '2027-01-01 00:01:00+00'),
    ('this minute is over', '0 9 * * *', '2027-01-01 09:00:00+00', 'GMT', '2027-01-02 09:00:00+00'),
    ('just before', '0 9 * * *', '2027-01-01 08:59:59.999999+00', 'GMT', '2027-01-01 09:00:00+00'),
    ('every quarter', '*/15 * * * *', '2027-01-01 23:50:00+00', 'GMT', '2027-01-02 00:00:00+00'),
    ('steps start at the range''s start', '5-59/20 * * * *', '2027-01-01 00:26:00+00', 'GMT', '2027-01-01 00:45:00+00'),
    ('a list', '10,40 8,20 * * *', '2027-01-01 08:41:00+00', 'GMT', '2027-01-01 20:10:00+00'),
    ('working days: Friday evening', '0 9 * * 1-5', '2027-01-01 10:00:00+00', 'GMT', '2027-01-04 09:00:00+00'),
    ('by name', '0 9 * * mon-fri', '2027-01-01 10:00:00+00', 'GMT', '2027-01-04 09:00:00+00'),
    ('Sunday is 0', '0 0 * * 0', '2027-01-01 00:00:00+00', 'GMT', '2027-01-03 00:00:00+00'),
    ('Sunday is 7', '0 0 * * 7', '2027-01-01 00:00:00+00', 'GMT', '2027-01-03 00:00:00+00'),
    ('to the end of the week', '0 0 * * 5-7', '2027-01-02 00:00:00+00', 'GMT', '2027-01-03 00:00:00+00'),
    ('first of the month', '0 0 1 * *', '2027-01-01 00:00:00+00', 'GMT', '2027-02-01 00:00:00+00'),
    ('31st: months without are passed over', '0 0 31 * *', '2027-01-31 00:00:00+00', 'GMT', '2027-03-31 00:00:00+00'),
    ('February 29', '0 0 29 2 *', '2027-01-01 00:00:00+00', 'GMT', '2028-02-29 00:00:00+00'),
    ('February 29 around 2100', '0 0 29 2 *', '2096-03-01 00:00:00+00', 'GMT', '2104-02-29 00:00:00+00'),
    ('last day of the month', '0 0 $ * *', '2027-01-31 00:00:00+00', 'GMT', '2027-02-28 00:00:00+00'),
    ('last day of a leap February', '0 0 $ 2 *', '2027-03-01 00:00:00+00', 'GMT', '2028-02-29 00:00:00+00'),
    ('end of year', '59 23 31 12 *', '2027-01-01 00:00:00+00', 'GMT', '2027-12-31 23:59:00+00'),
    ('both days restricted, either will do: the date', '0 0 13 * 5', '2027-01-09 00:00:00+00', 'GMT', '2027-01-13 00:00:00+00'),
    ('both days restricted, either will do: the weekday', '0 0 13 * 5', '2027-01-13 00:00:00+00', 'GMT', '2027-01-15 00:00:00+00'),
    ('a day that begins with * restricts, and both must hold', '0 0 */2 * 1', '2027-01-05 00:00:00+00', 'GMT', '2027-01-11 00:00:00+00'),
    ('the same for the weekday', '0 0 2 * */2', '2027-01-02 00:00:00+00', 'GMT', '2027-02-02 00:00:00+00'),
    ('last day or a weekday', '0 0 $ * 1', '2027-01-25 00:00:00+00', 'GMT', '2027-01-31 00:00:00+00'),
    ('a zone of its own', '0 9 * * *', '2027-01-15 00:00:00+00', 'Europe/Berlin', '2027-01-15 08:00:00+00'),
    ('the same in summer', '0 9 * * *', '2027-07-15 00:00:00+00', 'Europe/Berlin', '2027-07-15 07:00:00+00'),
    ('the zone''s day, not Greenwich''s', '30 0 1 * *', '2027-07-15 00:00:00+00', 'Europe/Berlin', '2027-07-31 22:30:00+00'),
    ('half an hour off', '0 9 * * *', '2027-01-15 00:00:00+00', 'Asia/Kolkata', '2027-01-15 03:30:00+00'),
    -- Berlin, 2027-03-28: 02:00 becomes 03:00
    ('spring: before the gap', '30 1 * * *', '2027-03-27 12:00:00+00', 'Europe/Berlin', '2027-03-28 00:30:00+00'),
    ('spring: a time in the gap does not come', '30 2 * * *', '2027-03-27 12:00:00+00', 'Europe/Berlin', '2027-03-29 00:30:00+00'),
    ('spring: after the gap', '0 3 * * *', '2027-03-27 12:00:00+00', 'Europe/Berlin', '2027-03-28 01:00:00+00'),
    ('spring: every half hour goes on', '*/30 * * * *', '2027-03-28 00:30:00+00', 'Europe/Berlin', '2027-03-28 01:00:00+00'),
    ('spring: the day is short', '59 23 28 3 *', '2027-03-27 12:00:00+00', 'Europe/Berlin', '2027-03-28 21:59:00+00'),
    ('spring: midnight after', '0 0 29 3 *', '2027-03-27 12:00:00+00', 'Europe/Berlin', '2027-03-28 22:00:00+00'),
    ('spring: GMT does not care', '30 2 * * *', '2027-03-27 12:00:00+00', 'GMT', '2027-03-28 02:30:00+00'),
    -- Berlin, 2027-10-31: 03:00 becomes 02:00
    ('autumn: a time that comes twice, first', '30 2 * * *', '2027-10-30 12:00:00+00', 'Europe/Berlin', '2027-10-31 00:30:00+00'),
    ('autumn: a time that comes twice, second', '30 2 * * *', '2027-10-31 00:30:00+00', 'Europe/Berlin', '2027-10-31 01:30:00+00'),
    ('autumn: then the next night', '30 2 * * *', '2027-10-31 01:30:00+00', 'Europe/Berlin', '2027-11-01 01:30:00+00'),
    ('autumn: after the hour', '0 3 * * *', '2027-10-30 12:00:00+00', 'Europe/Berlin', '2027-10-31 02:00:00+00'),
    ('autumn: the day is long', '59 23 31 10 *', '2027-10-30 12:00:00+00', 'Europe/Berlin', '2027-10-31 22:59:00+00'),
    ('autumn: midnight after', '0 0 1 11 *', '2027-10-30 12:00:00+00', 'Europe/Berlin', '2027-10-31 23:00:00+00'),
    -- Lord Howe moves its clocks by half an hour, at 02:00
    ('half an hour''s gap', '15 2 * * *', '2027-10-02 00:00:00+00', 'Australia/Lord_Howe', '2027-10-03 15:15:00+00'),
    ('half an hour twice', '45 1 * * *', '2027-04-03 14:45:00+00', 'Australia/Lord_Howe', '2027-04-03 15:15:00+00');
SELECT count(*) AS cases, count(*) FILTER (WHERE signalsmith._next_cron_run(expression, after, zone) = expected) AS right FROM next_case;
SELECT about, expected, signalsmith._next_cron_run(expression, after, zone) AS got FROM next_case
WHERE signalsmith._next_cron_run(expression, after, zone) IS DISTINCT FROM expected;

-- a year agrees with a plain reading of the rules, in zones with and without changes of the clocks
CREATE FUNCTION pg_temp.is_meant(local timestamp, minutes int[], hours int[], days int[], months int[], weekdays int[], in_both boolean) RETURNS boolean
    LANGUAGE sql IMMUTABLE RETURN extract(minute FROM local) = ANY (minutes) AND extract(hour FROM local) = ANY (hours) AND extract(month FROM local) = ANY (months)
        AND CASE WHEN in_both THEN extract(day FROM local) = ANY (days) AND extract(dow FROM local) = ANY (weekdays)
                 ELSE extract(day FROM local) = ANY (days) OR extract(dow FROM local) = ANY (weekdays) END;
WITH RECURSIVE schedule (expression, minutes, hours, days, months, weekdays, in_both) AS (VALUES
        ('30 2 * * *', '{30}'::int[], '{2}'::int[], ARRAY(SELECT generate_series(1, 31)), ARRAY(SELECT generate_series(1, 12)), '{0,1,2,3,4,5,6}'::int[], true),
        ('0 9,17 13 * 5', '{0}', '{9,17}', '{13}', ARRAY(SELECT generate_series(1, 12)), '{5}', false),
        ('*/20 0-4/2 */3 3,10 0', '{0,20,40}', '{0,2,4}', '{1,4,7,10,13,16,19,22,25,28,31}', '{3,10}', '{0}', true)),
    zone (zone) AS (VALUES ('GMT'), ('Europe/Berlin'), ('Australia/Lord_Howe')),
    plain AS (
        SELECT expression, zone, t FROM schedule, zone, generate_series('2026-11-01 00:10+00'::timestamptz, '2027-11-15 00:00+00', '10 minutes') AS t
        WHERE pg_temp.is_meant(t AT TIME ZONE zone, minutes, hours, days, months, weekdays, in_both)),
    walk AS (
        SELECT expression, zone, signalsmith._next_cron_run(expression, '2026-11-01 00:00+00', zone) AS t FROM schedule, zone
        UNION ALL
        SELECT expression, zone, signalsmith._next_cron_run(expression, t, zone) FROM walk WHERE t <= '2027-11-15 00:00+00')
SELECT (SELECT count(*) FROM plain) > 1000 AS some,
    (SELECT count(*) FROM (TABLE plain EXCEPT ALL SELECT * FROM walk) AS d) AS missed,
    (SELECT count(*) FROM (SELECT * FROM walk WHERE t <= '2027-11-15 00:00+00' EXCEPT ALL TABLE plain) AS d) AS invented;

-- anything may be given, nothing hurts
SELECT count(*) FROM (SELECT pg_temp.refusal(string_agg(substr('0123456789*-/,$@ jfmsuntw', 1 + (hashint4(i * 31 + c) & 1023) % 25, 1), '')) AS answer
    FROM generate_series(1, 3000) AS i, generate_series(1, 12) AS c GROUP BY i) AS fuzzed WHERE answer IS NOT NULL;
SELECT signalsmith._next_cron_run('* * * * *', after, 'GMT') FROM unnest('{infinity,-infinity,4713-01-01 00:00:00+00 BC,294276-12-31 23:59:59+00}'::timestamptz[]) AS after;

DROP EXTENSION signalsmith;
