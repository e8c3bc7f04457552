/*
 * target_error.h
 *		What an error of a statement means for the batch that it carried.
 */
#ifndef SIGNALSMITH_TARGET_ERROR_H
#define SIGNALSMITH_TARGET_ERROR_H

#include "postgres.h"

#include "connector/connector.h"

/*
 * CLASS_REJECT_BATCH: a row is the cause; CLASS_RETRY: it may work next time;
 * CLASS_FATAL: nothing of this sync works until somebody does something.  The
 * transaction has been rolled back, so nothing of the batch has happened.
 */
extern OutcomeClass target_error_class(const ErrorData *error);

/* The foreign server did not answer: no row has anything to do with it. */
extern bool target_error_is_connection(const ErrorData *error);

/*
 * The error for people, palloc'ed: without what PostgreSQL says of a whole row
 * in its detail, with what it says of a key.
 */
extern char *target_error_message(const ErrorData *error);

#endif							/* SIGNALSMITH_TARGET_ERROR_H */
