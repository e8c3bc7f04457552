/*
 * config.h
 *		A destination's config against the schema in the connector's manifest.
 */
#ifndef SIGNALSMITH_CONFIG_H
#define SIGNALSMITH_CONFIG_H

#include "postgres.h"

#include "connector/compiler.h"

/*
 * Checks the manifest's "config" block, then the config against it, sets
 * compiler->config (defaults filled in) and declares its secrets.
 */
extern void config_check(Compiler *compiler, const JsonbValue *manifest, Jsonb *config);

/* The base_url that the config has in place of the manifest's, or NULL. */
extern char *config_base_url(const Compiler *compiler);

#endif							/* SIGNALSMITH_CONFIG_H */
