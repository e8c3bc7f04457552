/*
 * request_time.h
 *		How long requests take, counted in buckets.
 *
 * Buckets can be added up whoever filled them, so that the percentiles of a run
 * that several runners worked on are those of all its requests.
 */
#ifndef SIGNALSMITH_REQUEST_TIME_H
#define SIGNALSMITH_REQUEST_TIME_H

#include "postgres.h"

/*
 * The first is for up to 64 microseconds, and four more double that each time;
 * the last, of about two minutes, takes all that are slower.  The SQL function
 * signalsmith._request_time_ms() knows these bounds too.
 */
#define REQUEST_TIME_BUCKETS 85

/* The bucket, from 0, of a request that took that long. */
extern int	request_time_bucket(int64 microseconds);

#endif							/* SIGNALSMITH_REQUEST_TIME_H */
