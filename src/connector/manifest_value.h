/*
 * manifest_value.h
 *		Values of a manifest that may be one hole over the config.
 */
#ifndef SIGNALSMITH_MANIFEST_VALUE_H
#define SIGNALSMITH_MANIFEST_VALUE_H

#include "postgres.h"

#include "connector/compiler.h"

/*
 * A member's value; a string such as "{{config.batch_size}}" is replaced by the
 * value itself.  False when there is none, or null.
 */
extern bool read_member(Compiler *compiler, const char *path,
						const JsonbValue *object, const char *name,
						JsonbValue *value);

/* An integer from 1; 0 when there is none. */
extern int	read_integer(Compiler *compiler, const char *path,
						 const JsonbValue *object, const char *name, int maximum);

/* Text without holes, once those over the config are filled; or NULL. */
extern char *read_constant(Compiler *compiler, const char *path,
						   const JsonbValue *object, const char *name,
						   bool required);

#endif							/* SIGNALSMITH_MANIFEST_VALUE_H */
