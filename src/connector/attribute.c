/*
 * attribute.c
 *		What an answer means for each record of its batch.
 *
 * First the answer as a whole gets a class.  If that is ok (or "partial"), the
 * manifest's attribution mode looks for what it says of single rows.
 */
#include "postgres.h"

#include "connector/attribution.h"
#include "connector/jsonb_reader.h"
#include "http/header.h"

void
set_all(Attribution *attribution, OutcomeClass class, const char *code, const char *message)
{
	for (int i = 0; i < attribution->batch->record_count; i++)
	{
		attribution->outcomes[i].class = class;
		attribution->outcomes[i].code = class == CLASS_OK ? NULL : code;
		attribution->outcomes[i].message = class == CLASS_OK ? NULL : message;
	}
}

/* A 422 about the idempotency key, which is not about the records. */
static bool
is_about_key(const Attribution *attribution)
{
	return request_has_header(&attribution->operation->request, "Idempotency-Key") &&
		strcasestr(attribution->answer->body, "idempoten") != NULL;
}

/* By status alone, where no rule of the manifest says otherwise. */
static int
default_class(const Attribution *attribution)
{
	int			status = attribution->answer->status;
	Operation	operation = attribution->batch->operation;
	size_t		length;
	bool		idempotent = attribution->operation->idempotent;

	if (status >= 200 && status < 300)
		return CLASS_OK;
	if (status >= 500)
	{
		if (status == 503 && header_find(attribution->answer->headers, "Retry-After", &length))
			return CLASS_THROTTLED;
		/* It may have been done before that went wrong. */
		return idempotent ? CLASS_RETRY : CLASS_UNKNOWN;
	}
	switch (status)
	{
		case 401:
		case 403:
		case 407:
			return CLASS_AUTH;
		case 404:
		case 410:
			/* What is gone is deleted, if the record was asked for. */
			if ((operation == OPERATION_DELETE || attribution->operation->is_lookup) &&
				attribution->operation->request.names_record && !attribution->operation->is_batch)
				return CLASS_GONE_OK;
			return status == 410 ? CLASS_FATAL : CLASS_REJECT_BATCH;
		case 405:
			return CLASS_FATAL;
		case 408:
		case 425:
			return CLASS_RETRY;
		case 409:
			if (attribution->operation->uses_version)
				return CLASS_CONFLICT;
			return operation == OPERATION_CREATE && !idempotent ?
				CLASS_EXISTS : CLASS_RETRY;
		case 412:
			return attribution->operation->uses_version ? CLASS_CONFLICT : CLASS_REJECT_BATCH;
		case 413:
			return CLASS_TOO_LARGE;
		case 422:
			return is_about_key(attribution) ? CLASS_KEY_REUSED : CLASS_REJECT_BATCH;
		case 429:
			return CLASS_THROTTLED;
	}
	/* Redirections are not followed: whoever set this up has to. */
	return status >= 400 ? CLASS_REJECT_BATCH : CLASS_FATAL;
}

int
answer_class(const Attribution *attribution)
{
	int			class;

	class = rules_classify(&attribution->operation->rules, attribution->answer,
						   attribution->batch->operation, attribution->json);
	if (class < 0)
		class = rules_classify(&attribution->connector->rules, attribution->answer,
							   attribution->batch->operation, attribution->json);
	return class < 0 ? default_class(attribution) : class;
}

OutcomeClass
class_of_batch(int class, int record_count)
{
	if (record_count == 1 && (class == CLASS_REJECT_BATCH || class == CLASS_TOO_LARGE))
		return CLASS_REJECTED;
	return (OutcomeClass) class;
}

/* Many an answer that a record exists says where. */
static void
capture_existing(Attribution *attribution)
{
	Jsonb	   *json = attribution->json;
	const HttpAnswer *answer = attribution->answer;

	if (attribution->batch->record_count != 1)
		return;
	if (json == NULL && !answer->body_cut && answer->body_length > 0)
		json = answer_decode(DECODE_JSON, answer->body, answer->body_length);
	attribution->outcomes[0].id =
		capture_value(attribution->operation->respond.existing_id, json, answer, -1);
}

/* An answer that came, complete or cut by us. */
static void
attribute_answer(Attribution *attribution)
{
	const HttpAnswer *answer = attribution->answer;
	const RespondSpec *respond = &attribution->operation->respond;
	int			record_count = attribution->batch->record_count;
	int			class;

	if (answer->body_length > 0 && !answer->body_cut)
		attribution->json = answer_decode(respond->decoding, answer->body, answer->body_length);
	class = answer_class(attribution);
	if (class == CLASS_EXISTS || class == CLASS_CONFLICT)
		capture_existing(attribution);
	if (class != CLASS_OK && class != CLASS_PARTIAL && class != CLASS_GONE_OK)
	{
		set_all(attribution, class_of_batch(class, record_count),
				answer_code(attribution), answer_message(attribution));
		return;
	}
	if (class == CLASS_GONE_OK)
	{
		set_all(attribution, CLASS_GONE_OK, NULL, NULL);
		return;
	}

	if (attribution->json == NULL && respond->decoding != DECODE_NONE && !respond->optional &&
		(answer->body_length > 0 || respond->rows.mode != ATTRIBUTE_ALL))
	{
		/* Something else answered in the destination's place, or broke. */
		set_all(attribution,
				answer->body_length > 0 && !answer->body_cut && attribution->operation->idempotent ?
				CLASS_RETRY : CLASS_UNKNOWN,
				"unexpected_answer",
				answer->body_cut ? "the answer is longer than is read" :
				answer->body_length == 0 ? "the answer is empty" :
				is_html(answer->body) ? "the answer is an HTML page instead of what was expected" :
				"the answer is not what was expected");
		return;
	}
	if (attribution->json == NULL && respond->rows.mode != ATTRIBUTE_ALL)
		set_all(attribution, CLASS_OK, NULL, NULL);
	else
		attribute_rows(attribution, class);
}

static bool
any_is(const Attribution *attribution, OutcomeClass class)
{
	for (int i = 0; i < attribution->batch->record_count; i++)
		if (attribution->outcomes[i].class == class)
			return true;
	return false;
}

typedef struct AttributionWork
{
	Attribution *attribution;
	int64		wait_ms;		/* how long the answer asks to wait */
} AttributionWork;

static void
attribute_and_wait(void *arg)
{
	AttributionWork *work = arg;
	Attribution *attribution = work->attribution;
	const HttpAnswer *answer = attribution->answer;

	attribute_answer(attribution);
	if (answer->status == 429 || answer->status == 503 ||
		any_is(attribution, CLASS_THROTTLED))
		work->wait_ms = rate_wait_ms(&attribution->connector->rate, answer, attribution->json);
}

void
connector_attribute(const Connector *connector, const Batch *batch, const HttpAnswer *answer,
					RecordOutcome *outcomes, int64 *retry_after_ms)
{
	Attribution attribution = {
		.connector = connector,
		.operation = batch_operation(connector, batch),
		.batch = batch,
		.answer = answer,
		.outcomes = outcomes,
		.named = palloc0(batch->record_count * sizeof(bool))
	};
	AttributionWork work = {&attribution, 0};

	*retry_after_ms = 0;
	memset(outcomes, 0, batch->record_count * sizeof(RecordOutcome));
	switch (answer->result)
	{
		case HTTP_NOT_SENT:
			set_all(&attribution, CLASS_RETRY, "not_sent", answer->error);
			return;
		case HTTP_REFUSED:
			set_all(&attribution, CLASS_FATAL, "egress_refused", answer->error);
			return;
		case HTTP_UNKNOWN:
			set_all(&attribution, CLASS_UNKNOWN, "no_answer", answer->error);
			return;
		case HTTP_ANSWERED:
			break;
	}
	answer_within_limit(attribute_and_wait, &work);
	*retry_after_ms = work.wait_ms;
}
