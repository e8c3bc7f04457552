/*
 * attribution.h
 *		What is at hand while an answer is read; for attribute*.c and message.c.
 */
#ifndef SIGNALSMITH_ATTRIBUTION_H
#define SIGNALSMITH_ATTRIBUTION_H

#include "postgres.h"

#include "connector/connector_internal.h"

typedef struct Attribution
{
	const Connector *connector;
	const OperationSpec *operation;
	const Batch *batch;
	const HttpAnswer *answer;
	Jsonb	   *json;			/* the decoded body, or NULL */
	RecordOutcome *outcomes;
	bool	   *named;			/* rows that a result has named */
	int			place;			/* among the results, of the one that is read */
} Attribution;

/* The same for all records. */
extern void set_all(Attribution *attribution, OutcomeClass class, const char *code,
					const char *message);

/* A batch of one cannot be split: then the record is what is wrong. */
extern OutcomeClass class_of_batch(int class, int record_count);

/* An OutcomeClass or CLASS_PARTIAL: the rules' word, or by status alone. */
extern int	answer_class(const Attribution *attribution);

/* --- message.c --- */

/* On one line, and not too long; may change the text. */
extern char *tidy_message(char *text);

extern bool is_html(const char *body);

/* What the answer as a whole says went wrong, and the vendor's word for it. */
extern char *answer_message(const Attribution *attribution);
extern char *answer_code(const Attribution *attribution);

/* What a result says went wrong; "reason" is what was found on the way to it. */
extern const char *result_message(const ResultList *list, Jsonb *result, const char *reason);

/* --- attribute_rows.c --- */

/* What an answer of that class says of each row. */
extern void attribute_rows(Attribution *attribution, int class);

#endif							/* SIGNALSMITH_ATTRIBUTION_H */
