/*
 * settings.h
 *		The settings "signalsmith.*".
 */
#ifndef SIGNALSMITH_SETTINGS_H
#define SIGNALSMITH_SETTINGS_H

#include "postgres.h"

/* More runners than this at once make no sense, and shared memory has slots. */
#define MAX_WORKERS_LIMIT 64

/* Alphabetical, as in doc/settings.md. */
extern bool setting_allow_private_networks;
extern bool setting_allow_superuser_syncs;
extern char *setting_allowed_hosts;
extern int	setting_batch_size;
extern char *setting_ca_file;
extern int	setting_connect_timeout;	/* ms */
extern int	setting_diff_mem;	/* kB */
extern bool setting_enabled;
extern int	setting_error_after;
extern char *setting_instance_id;
extern char *setting_key_file;
extern int	setting_lock_timeout;	/* ms */
extern double setting_max_delete_percent;
extern int	setting_max_attempts;
extern int	setting_max_in_flight;
extern int	setting_max_workers;
extern bool setting_protect_models;
extern int	setting_request_timeout;	/* ms */
extern int	setting_run_retention;	/* minutes */
extern int	setting_run_retention_count;	/* of a sync */
extern bool setting_show_progress;

/* Defines them and reserves the prefix; called once, by _PG_init. */
extern void settings_define(void);

#endif							/* SIGNALSMITH_SETTINGS_H */
