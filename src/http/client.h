/*
 * client.h
 *		The HTTP client that is installed here, for check_installation().
 */
#ifndef SIGNALSMITH_CLIENT_H
#define SIGNALSMITH_CLIENT_H

#include "postgres.h"

/* What it is, palloc'ed: "libcurl 7.88.1, OpenSSL/3.0.15". */
extern char *http_client_version(void);

/* What is wrong with it, palloc'ed, or NULL. */
extern char *http_client_problem(void);

/*
 * The file or directory of certificate authorities that destinations are
 * verified with, palloc'ed, and what is wrong with it (palloc'ed, or NULL).
 */
extern char *http_authorities(char **problem);

#endif							/* SIGNALSMITH_CLIENT_H */
