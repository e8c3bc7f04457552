/*
 * rate.c
 *		How fast a destination may be sent to: "rate" in a manifest.
 *
 * Limits become demands: what one batch takes from which counter.  When there
 * is enough is not decided here, since other runners take from the counters too
 * (run/destination_gate.h).  How long an answer asks to wait is read here.
 */
#include "postgres.h"

#include <time.h>

#include "common/hashfn.h"
#include "lib/stringinfo.h"

#include "base/retry_after.h"
#include "base/settings.h"
#include "connector/attribution.h"
#include "connector/manifest_value.h"
#include "http/header.h"

#define MAX_IN_FLIGHT 100
#define MAX_AMOUNT 1000000000

/* Bits of RateLimit.operations beyond 1 << Operation. */
#define OPERATION_LOOKUP_BIT (1 << OPERATION_COUNT)

/* --- compiling --- */

/* "10s", "1m", "12h", "1d" or "500ms", in milliseconds. */
static int64
read_duration(Compiler *compiler, const char *path, const JsonbValue *object, const char *name)
{
	static const struct
	{
		const char *unit;
		int64		ms;
	}			units[] = {{"ms", 1}, {"s", 1000}, {"m", 60 * 1000},
	{"h", 60 * 60 * 1000}, {"d", 24 * 60 * 60 * 1000}};
	char	   *text = read_string(compiler, path, object, name, true);
	int			number;
	int			length = 0;

	if (sscanf(text, "%6d%n", &number, &length) == 1 && number > 0)
		for (int i = 0; i < (int) lengthof(units); i++)
			if (strcmp(text + length, units[i].unit) == 0)
				return number * units[i].ms;
	compiler_fault(compiler, path_member(path, name), NULL,
				   "It must be a number with a unit, such as \"500ms\", \"10s\", \"1m\", \"1h\" or \"1d\".");
}

static int
operation_bits(Compiler *compiler, const char *path, const JsonbValue *json)
{
	static const char *const names[] = {"create", "update", "delete", "upsert", "lookup"};
	static const int bits[] = {
		1 << OPERATION_CREATE, 1 << OPERATION_UPDATE, 1 << OPERATION_DELETE,
		(1 << OPERATION_CREATE) | (1 << OPERATION_UPDATE), OPERATION_LOOKUP_BIT
	};
	char	   *name = jsonb_plain_text(json);

	for (int i = 0; i < (int) lengthof(names); i++)
		if (strcmp(name, names[i]) == 0)
			return bits[i];
	compiler_fault(compiler, path, choice_hint(name, names, lengthof(names)),
				   "There is no operation \"%s\".", name);
}

/* "op": an operation or a list of them; all, if left out. */
static int
read_operations(Compiler *compiler, const char *path, const JsonbValue *limit)
{
	JsonbValue	member;
	JsonbValue *elements = &member;
	int			count = 1;
	int			operations = 0;

	if (!jsonb_member(limit, "op", &member))
		return OPERATION_LOOKUP_BIT | (OPERATION_LOOKUP_BIT - 1);
	path = path_member(path, "op");
	if (jsonb_is_array(&member))
		count = jsonb_elements(&member, &elements);
	for (int i = 0; i < count; i++)
		operations |= operation_bits(compiler, path, &elements[i]);
	return operations;
}

static void
read_limit(Compiler *compiler, const char *path, const JsonbValue *json, RateLimit *limit)
{
	static const char *const keys[] = {"requests", "rows", "per", "burst", "op", "by"};
	int			requests;
	int			rows;
	char	   *by;

	check_keys(compiler, path, json, keys, lengthof(keys));
	requests = read_integer(compiler, path, json, "requests", MAX_AMOUNT);
	rows = read_integer(compiler, path, json, "rows", MAX_AMOUNT);
	if ((requests > 0) == (rows > 0))
		compiler_fault(compiler, path, NULL, "It must have either \"requests\" or \"rows\".");
	limit->of_rows = rows > 0;
	limit->amount = Max(requests, rows);
	limit->period_us = read_duration(compiler, path, json, "per") * 1000;
	limit->burst = Max(1, read_integer(compiler, path, json, "burst", Max(1, limit->amount / 2)));
	limit->operations = read_operations(compiler, path, json);
	by = read_string(compiler, path, json, "by", false);
	if (by != NULL)
		limit->by = text_template_compile(compiler, path_member(path, "by"), by, TEXT_PLAIN,
										  SEES_REQUEST | SEES_RECORD);

	/* The same limit, in whatever version of the manifest, is one counter. */
	by = psprintf("%d %d " INT64_FORMAT " %d %s", limit->of_rows, limit->amount,
				  limit->period_us, limit->operations, by != NULL ? by : "");
	limit->identity = hash_bytes_extended((unsigned char *) by, strlen(by), 0);
}

static void
read_limits(Compiler *compiler, const JsonbValue *json, RateSpec *rate)
{
	JsonbValue *elements;

	if (!jsonb_is_array(json))
		compiler_fault(compiler, "rate.limits", NULL, "It must be a list of limits, not %s.",
					   jsonb_type_phrase(json));
	rate->limit_count = jsonb_elements(json, &elements);
	if (rate->limit_count > RATE_MAX_LIMITS)
		compiler_fault(compiler, "rate.limits", NULL, "It can have %d limits at most.",
					   RATE_MAX_LIMITS);
	rate->limits = palloc0(rate->limit_count * sizeof(RateLimit));
	for (int i = 0; i < rate->limit_count; i++)
		read_limit(compiler, path_element("rate.limits", i), &elements[i], &rate->limits[i]);
}

/* A header's name, or {"header" | "body" | "fixed", "unit", "if"}. */
static void
read_wait(Compiler *compiler, const char *path, const JsonbValue *json, WaitSource *wait)
{
	static const char *const keys[] = {"header", "body", "fixed", "unit", "if"};
	static const char *const units[] = {"s", "ms"};
	JsonbValue	member;
	char	   *text;

	if (json->type == jbvString)
	{
		wait->header = jsonb_string(json);
		return;
	}
	check_keys(compiler, path, json, keys, lengthof(keys));
	wait->header = read_string(compiler, path, json, "header", false);
	if ((text = read_string(compiler, path, json, "body", false)) != NULL)
		wait->body = compile_jsonpath(compiler, path_member(path, "body"), text);
	if (jsonb_member(json, "fixed", &member))
		wait->fixed_ms = read_duration(compiler, path, json, "fixed");
	if ((wait->header != NULL) + (wait->body != NULL) + (wait->fixed_ms > 0) != 1)
		compiler_fault(compiler, path, NULL,
					   "It must have one of \"header\", \"body\" and \"fixed\".");
	wait->in_ms = read_choice(compiler, path, json, "unit", units, lengthof(units), 0) == 1;
	if ((text = read_string(compiler, path, json, "if", false)) != NULL)
		wait->predicate = compile_jsonpath(compiler, path_member(path, "if"), text);
}

static void
read_waits(Compiler *compiler, const JsonbValue *json, RateSpec *rate)
{
	JsonbValue *elements;

	if (!jsonb_is_array(json))
		compiler_fault(compiler, "rate.wait", NULL, "It must be a list, not %s.",
					   jsonb_type_phrase(json));
	rate->wait_count = jsonb_elements(json, &elements);
	rate->waits = palloc0(rate->wait_count * sizeof(WaitSource));
	for (int i = 0; i < rate->wait_count; i++)
		read_wait(compiler, path_element("rate.wait", i), &elements[i], &rate->waits[i]);
}

/* What a destination may say too, in its config. */
static void
read_pace(Compiler *compiler, const JsonbValue *json, RateSpec *rate)
{
	JsonbValue	member;
	int			max_in_flight = read_integer(compiler, "rate", json, "max_in_flight", MAX_IN_FLIGHT);

	if (max_in_flight > 0)
		rate->max_in_flight = max_in_flight;
	if (jsonb_member(json, "limits", &member))
		read_limits(compiler, &member, rate);
}

static void
read_pace_of_config(const Compiler *compiler, RateSpec *rate)
{
	static const char *const keys[] = {"max_in_flight", "limits"};
	Compiler	of_config = *compiler;
	JsonbValue	config;
	JsonbValue	json;

	if (compiler->config == NULL)
		return;
	config = jsonb_root(compiler->config);
	if (!jsonb_member(&config, "rate", &json))
		return;
	of_config.in_config = true;
	check_keys(&of_config, "rate", &json, keys, lengthof(keys));
	read_pace(&of_config, &json, rate);
}

/* --- what limits ask of the requests --- */

/*
 * A request cannot carry more rows than may be sent in a period, and its rows
 * take from one counter.
 */
static void
fit_operation(Compiler *compiler, const char *path, const RateLimit *limit,
			  OperationSpec *operation)
{
	if (!operation->is_batch)
		return;
	if (limit->by != NULL)
		compiler_fault(compiler, path_member(path, "by"),
					   "Let its requests carry one record, or restrict the limit to other operations with \"op\".",
					   "The records of a request for operation \"%s\" may have different values of it.",
					   operation->name);
	if (limit->of_rows)
		operation->max_records = Min(limit->amount, operation->max_records > 0 ?
									 operation->max_records : setting_batch_size);
}

static void
fit_operations(Compiler *compiler, Connector *connector)
{
	for (int i = 0; i < connector->rate.limit_count; i++)
	{
		const RateLimit *limit = &connector->rate.limits[i];
		const char *path = path_element("rate.limits", i);

		for (int j = 0; j < OPERATION_COUNT; j++)
			if (connector->operations[j] != NULL && (limit->operations & (1 << j)))
				fit_operation(compiler, path, limit, connector->operations[j]);
		if (connector->lookup != NULL && (limit->operations & OPERATION_LOOKUP_BIT))
			fit_operation(compiler, path, limit, connector->lookup);
	}
}

void
rate_compile(Compiler *compiler, const JsonbValue *manifest, Connector *connector)
{
	static const char *const keys[] = {"max_in_flight", "limits", "remaining", "wait"};
	RateSpec   *rate = &connector->rate;
	JsonbValue	json;
	JsonbValue	waits;

	if (jsonb_member(manifest, "rate", &json))
	{
		check_keys(compiler, "rate", &json, keys, lengthof(keys));
		read_pace(compiler, &json, rate);
		rate->remaining = read_string(compiler, "rate", &json, "remaining", false);
		if (jsonb_member(&json, "wait", &waits))
			read_waits(compiler, &waits, rate);
	}
	read_pace_of_config(compiler, rate);
	fit_operations(compiler, connector);
}

/* --- demands --- */

/* The counter of the batch's partition; without a value there is one for all of these. */
static uint64
partition_counter(const Connector *connector, const RunFacts *run, const Batch *batch,
				  const RateLimit *limit)
{
	Evaluation	evaluation = {
		.connector = connector,
		.run = run,
		.batch = batch,
		.record = &batch->records[0]
	};
	StringInfoData value;

	initStringInfo(&value);
	if (!text_template_append(limit->by, &evaluation, &value))
		resetStringInfo(&value);
	return hash_bytes_extended((unsigned char *) value.data, value.len, limit->identity);
}

/*
 * How much of the period so many take.  A burst is part of what a period may
 * have, so that what flows in during one, which is the rest, comes on top.
 */
static int64
cost_us(const RateLimit *limit, int count)
{
	int			flowing_in = limit->amount - (limit->burst - 1);
	int			fitting = Max(1, flowing_in / count);

	return (limit->period_us + fitting - 1) / fitting;
}

int
connector_rate_demands(const Connector *connector, const RunFacts *run, const Batch *batch,
					   RateDemand *demands)
{
	int			operation = batch->is_lookup ? OPERATION_LOOKUP_BIT : 1 << batch->operation;
	int			count = 0;

	for (int i = 0; i < connector->rate.limit_count; i++)
	{
		const RateLimit *limit = &connector->rate.limits[i];
		RateDemand *demand = &demands[count];

		if ((limit->operations & operation) == 0)
			continue;
		demand->of_partition = limit->by != NULL;
		demand->counter = demand->of_partition ?
			partition_counter(connector, run, batch, limit) : limit->identity;
		demand->cost_us = cost_us(limit, limit->of_rows ? batch->record_count : 1);
		demand->credit_us = (limit->burst - 1) * cost_us(limit, 1);
		count++;
	}
	return count;
}

/* --- what answers ask for --- */

/* Milliseconds; -1: the source says nothing. */
static int64
wait_from(const WaitSource *wait, const HttpAnswer *answer, Jsonb *json)
{
	const char *value = NULL;
	size_t		length = 0;
	int64		wait_ms;

	if (wait->predicate != NULL && (json == NULL || !answer_matches(json, wait->predicate)))
		return -1;
	if (wait->fixed_ms > 0)
		return wait->fixed_ms;
	if (wait->header != NULL)
		value = header_find(answer->headers, wait->header, &length);
	else if (json != NULL && (value = answer_select_text(json, wait->body)) != NULL)
		length = strlen(value);
	if (value == NULL)
		return -1;
	wait_ms = retry_after_parse(value, length, (int64) time(NULL));
	return wait->in_ms && wait_ms > 0 ? wait_ms / 1000 : wait_ms;
}

int64
rate_wait_ms(const RateSpec *rate, const HttpAnswer *answer, Jsonb *json)
{
	static const char *const names[] = {
		"Retry-After", "X-RateLimit-Retry-After", "RateLimit-Reset", "X-RateLimit-Reset",
		"X-Rate-Limit-Reset"
	};
	int64		wait_ms = -1;

	for (int i = 0; i < rate->wait_count && wait_ms < 0; i++)
		wait_ms = wait_from(&rate->waits[i], answer, json);
	for (int i = 0; i < (int) lengthof(names) && wait_ms < 0; i++)
		wait_ms = wait_from(&(WaitSource) {.header = unconstify(char *, names[i])}, answer, json);
	return Max(wait_ms, 0);
}

/* Does the answer say that it was the last one that was allowed? */
static bool
nothing_remains(const RateSpec *rate, const HttpAnswer *answer)
{
	size_t		length;
	const char *value;

	if (rate->remaining == NULL || answer->result != HTTP_ANSWERED)
		return false;
	value = header_find(answer->headers, rate->remaining, &length);
	return value != NULL && length > 0 && strspn(value, "0") >= length;
}

int64
connector_exhausted_ms(const Connector *connector, const HttpAnswer *answer)
{
	if (!nothing_remains(&connector->rate, answer))
		return 0;
	return rate_wait_ms(&connector->rate, answer, NULL);
}
