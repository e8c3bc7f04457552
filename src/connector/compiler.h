/*
 * compiler.h
 *		What the compilers of a manifest's parts share: the config, and errors
 *		that name the path of the fault.
 */
#ifndef SIGNALSMITH_COMPILER_H
#define SIGNALSMITH_COMPILER_H

#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/jsonpath.h"

#include "base/compat.h"

/* What templates have referred to since somebody cleared it. */
typedef struct References
{
	bool		id;
	bool		version;
} References;

typedef struct SecretSpec
{
	const char *name;
	const char *description;	/* or NULL */
	bool		needed;			/* nothing can be sent without */
	bool		of_token;		/* the request for a token needs it */
} SecretSpec;

/* Shared by copies of a compiler. */
typedef struct SecretSpecs
{
	int			count;
	SecretSpec *specs;
} SecretSpecs;

/* The names of what an access token's answer has beside the token. */
typedef struct TokenNames
{
	int			count;
	const char **names;			/* UTF-8 */
	bool		used;			/* something refers to the token */
} TokenNames;

typedef struct Compiler
{
	const char *connector;		/* name */
	bool		in_config;		/* the manifest is the destination's config */
	Jsonb	   *config;			/* with defaults filled in; or NULL */
	int			config_name_count;	/* what may be in it */
	const char **config_names;
	const char *object;			/* or NULL */
	const char *identifier;		/* the field that identifies records; or NULL */
	bool		tentative;		/* not for a sync, so what is optional may be
								 * missing */
	bool		of_other_object;	/* than the sync is for: it needs nothing */
	bool		declares_secrets;	/* by using them */
	bool		of_token;		/* of the request for a token */
	bool		without_record; /* of a request that carries none */
	SecretSpecs *secrets;
	References *references;
	TokenNames *token;			/* NULL: there is none */
} Compiler;

/* Declares a secret; description may be NULL. */
extern void compiler_declare_secret(const Compiler *compiler, const char *name,
									const char *description);

/*
 * Notes that a secret is used: raises unless it is declared.  "needed": nothing can be sent while it is not set.
 */
extern void compiler_use_secret(const Compiler *compiler, const char *path,
								const char *name, bool needed);

/*
 * Raises ERRCODE_INVALID_PARAMETER_VALUE: the manifest (or the config) is wrong
 * at this path, a detail sentence, and a hint or NULL.
 */
pg_noreturn extern void compiler_fault(const Compiler *compiler, const char *path,
						   const char *hint, const char *format,...)
			pg_attribute_printf(4, 5);

/* The same for a config value that the manifest's schema refuses. */
pg_noreturn extern void config_fault(const Compiler *compiler, const char *path,
						 const char *hint, const char *format,...)
			pg_attribute_printf(4, 5);

/* Hint that names the nearest valid word, or lists them all. */
extern const char *choice_hint(const char *word, const char *const *choices,
							   int count);

/* Paths such as operations.create.request and classify[2]. */
extern const char *path_member(const char *path, const char *name);
extern const char *path_element(const char *path, int index);

/* Refuses what is no object, or has a key that is not in the list. */
extern void check_keys(const Compiler *compiler, const char *path,
					   const JsonbValue *object, const char *const *keys, int count);

/* Members of a wanted type; false or NULL when absent and not required. */
extern char *read_string(const Compiler *compiler, const char *path,
						 const JsonbValue *object, const char *name, bool required);
extern bool read_bool(const Compiler *compiler, const char *path,
					  const JsonbValue *object, const char *name, bool otherwise);
extern int	read_choice(const Compiler *compiler, const char *path,
						const JsonbValue *object, const char *name,
						const char *const *choices, int count, int otherwise);

/* Compiles an SQL/JSON path. */
extern JsonPath *compile_jsonpath(const Compiler *compiler, const char *path,
								  const char *text);

/* Text in the server's encoding as UTF-8, and of a value as UTF-8 JSON. */
extern char *compiler_utf8(const Compiler *compiler, const char *path, const char *text);

#endif							/* SIGNALSMITH_COMPILER_H */
