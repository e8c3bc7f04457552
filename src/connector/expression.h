/*
 * expression.h
 *		What is inside a hole: a reference and functions applied to it.
 *
 *		reference { "|" function [ "(" argument { "," argument } ")" ] }
 *
 * An argument is a string in single quotes, a number, or a reference.
 */
#ifndef SIGNALSMITH_EXPRESSION_H
#define SIGNALSMITH_EXPRESSION_H

#include "postgres.h"

#include "connector/template.h"

typedef struct Expression Expression;

/*
 * Parses what follows "{{" (UTF-8, zero-terminated); sets *end behind the "}}".
 * Raises through compiler_fault().
 */
extern Expression *expression_parse(Compiler *compiler, const char *path,
									const char *text, int sees, const char **end);

/* A value known at compile time, or NULL. */
extern const Value *expression_constant(const Expression *expression);
extern bool expression_is_rows(const Expression *expression);
extern bool expression_uses_record(const Expression *expression);

/* For messages, in the server's encoding. */
extern const char *expression_text(const Expression *expression);

/*
 * Evaluates; what is new is palloc'ed.  False, with evaluation->error set, when
 * a function cannot be applied.
 */
extern bool expression_evaluate(const Expression *expression,
								Evaluation *evaluation, Value *value);

/* A value as JSON text; absent is null. */
extern void value_append_json(const Value *value, StringInfo out);

/* A value as plain text: false for null, absent, objects and arrays. */
extern bool value_text(const Value *value, Slice *text);

/* Absent, or null. */
extern bool value_is_nothing(const Value *value);

/* --- functions.c --- */

typedef struct Function Function;

extern const Function *function_find(const char *name);
extern const char *const *function_names(int *count);
extern bool function_accepts(const Function *function, int argument_count);

/* Replaces *value by the result; false with *error set when it cannot be had. */
extern bool function_apply(const Function *function, Value *value,
						   const Value *arguments, int argument_count,
						   const char **error);

/*
 * A segment of a path or of a URL's path: from 1, or from the end when negative.
 * False when it has no such segment.
 */
extern bool path_segment(Slice text, int number, Slice *segment);

#endif							/* SIGNALSMITH_EXPRESSION_H */
