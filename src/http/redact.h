/*
 * redact.h
 *		Taking secrets out of text that comes from outside.
 *
 * The one redaction routine: error messages of libcurl and of destinations pass
 * through it before anybody may read or log them.
 */
#ifndef SIGNALSMITH_REDACT_H
#define SIGNALSMITH_REDACT_H

#include "postgres.h"

/*
 * Returns a palloc'ed copy in which these are replaced by "[redacted]":
 * the given secrets wherever they occur (plain, and as they look inside a JSON
 * string or percent-encoded), the value after a name that says it is a secret
 * (authorization, token, api_key, password ...), what follows "Bearer" or
 * "Basic", and of URLs the user name, password and query.
 */
extern char *redact_text(const char *text, const char *const *secrets,
						 int secret_count);

#endif							/* SIGNALSMITH_REDACT_H */
