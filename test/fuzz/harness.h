/*
 * harness.h
 *		The server's code without a server, for fuzz targets.
 */
#ifndef FUZZ_HARNESS_H
#define FUZZ_HARNESS_H

#include "postgres.h"

#include "connector/connector.h"
#include "utils/jsonb.h"

/* Aborts, which libFuzzer takes for a crash, when something is not so. */
#define must(condition) \
	do { \
		if (!(condition)) \
			must_fail(#condition, __FILE__, __LINE__); \
	} while (0)

extern void must_fail(const char *condition, const char *file, int line) pg_attribute_noreturn();

/* Each piece of memory in it is a malloc of its own. */
extern MemoryContext exact_context_create(MemoryContext parent);

/* --- what targets share (harness.c) --- */

/* The bytes as text; NULL when they are no UTF-8, or hold a zero byte. */
extern char *text_of(const char *data, size_t length);

/* Cuts a line off; returns it, and *rest is what follows. */
extern char *take_line(char *text, char **rest);

extern Jsonb *jsonb_of(const char *text);

/* A manifest with a config that gives what it requires. */
extern Connector *compile_manifest(const char *name, Jsonb *manifest);

/* A batch of two records, or as many as fit; the same each time. */
extern Batch *example_batch(const Connector *connector, Operation operation);

/* Renders a batch, and looks at what came out. */
extern void check_rendered(const Connector *connector, const Batch *batch);

/* Interprets an answer, and looks at what came out. */
extern void check_attributed(const Connector *connector, const Batch *batch, int status,
							 const char *headers, const char *body, size_t body_length);

/* --- the targets --- */

extern void fuzz_answer(const char *data, size_t length);
extern void fuzz_cron(const char *data, size_t length);
extern void fuzz_header(const char *data, size_t length);
extern void fuzz_json_text(const char *data, size_t length);
extern void fuzz_manifest(const char *data, size_t length);
extern void fuzz_retry_after(const char *data, size_t length);
extern void fuzz_secret(const char *data, size_t length);
extern void fuzz_template(const char *data, size_t length);
extern void fuzz_url(const char *data, size_t length);

#endif							/* FUZZ_HARNESS_H */
