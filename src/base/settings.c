/*
 * settings.c
 *		The settings "signalsmith.*".
 *
 * All of them take a reload, none a restart.  What decides where the server may
 * connect to is for superusers; what one sync may choose for itself is an
 * option of the sync, and the setting is its default.
 */
#include "postgres.h"

#include <limits.h>

#include "utils/guc.h"

#include "base/fault.h"
#include "base/settings.h"

bool		setting_allow_private_networks = false;
bool		setting_allow_superuser_syncs = true;
char	   *setting_allowed_hosts = "*";
int			setting_batch_size = 100;
char	   *setting_ca_file = "";
int			setting_connect_timeout = 10 * 1000;
int			setting_diff_mem = 256 * 1024;
bool		setting_enabled = true;
int			setting_error_after = 5;
char	   *setting_instance_id = "";
char	   *setting_key_file = "";
int			setting_lock_timeout = 60 * 1000;
double		setting_max_delete_percent = 30.0;
int			setting_max_attempts = 5;
int			setting_max_in_flight = 4;
int			setting_max_workers = 4;
bool		setting_protect_models = false;
int			setting_request_timeout = 30 * 1000;
int			setting_run_retention = 30 * 24 * 60;
int			setting_run_retention_count = 10000;
bool		setting_show_progress = false;

static void
define_egress_settings(void)
{
	DefineCustomBoolVariable("signalsmith.allow_private_networks",
							 "Allows requests to loopback, private and link-local addresses.",
							 "Off, so that a destination cannot point at services inside your network.",
							 &setting_allow_private_networks, false,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("signalsmith.allowed_hosts",
							   "Lists the hosts that requests may go to.",
							   "Comma-separated patterns, each with optional scheme and port, such as \"https://*.example.com:443\"; \"*\" is every host.",
							   &setting_allowed_hosts, "*",
							   PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("signalsmith.ca_file",
							   "Names the file of certificate authorities that destinations are verified with.",
							   "Empty: those of the operating system.",
							   &setting_ca_file, "",
							   PGC_SUSET, 0, NULL, NULL, NULL);
}

static void
define_instance_settings(void)
{
	DefineCustomBoolVariable("signalsmith.allow_superuser_syncs",
							 "Allows syncs whose owner is a superuser.",
							 NULL,
							 &setting_allow_superuser_syncs, true,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("signalsmith.enabled",
							 "Starts runs.",
							 "Off: nothing is started; runs wait in the queue.",
							 &setting_enabled, true,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("signalsmith.instance_id",
							   "Names this server, so that a copy of it is recognized as a copy.",
							   NULL,
							   &setting_instance_id, "",
							   PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("signalsmith.key_file",
							   "Names the file with the key that secrets are encrypted with.",
							   "64 hexadecimal digits, readable by the server's user alone, outside the data directory.",
							   &setting_key_file, "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	DefineCustomIntVariable("signalsmith.max_workers",
							"Sets how many runs may be at work at once.",
							"Each takes a slot of max_worker_processes while it runs.",
							&setting_max_workers, 4, 1, MAX_WORKERS_LIMIT,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("signalsmith.run_retention",
							"Sets how long finished runs are kept.",
							NULL,
							&setting_run_retention, 30 * 24 * 60, 1, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MIN, NULL, NULL, NULL);
	DefineCustomIntVariable("signalsmith.run_retention_count",
							"Sets how many finished runs of a sync are kept at most.",
							NULL,
							&setting_run_retention_count, 10000, 1, INT_MAX,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
}

static void
define_delivery_settings(void)
{
	DefineCustomIntVariable("signalsmith.batch_size",
							"Sets how many records a request carries, where neither sync nor connector says.",
							NULL,
							&setting_batch_size, 100, 1, 100000,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("signalsmith.connect_timeout",
							"Sets how long connecting to a destination may take.",
							NULL,
							&setting_connect_timeout, 10 * 1000, 1, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("signalsmith.max_attempts",
							"Sets how often a request is sent before its outcome is given up as unknown.",
							NULL,
							&setting_max_attempts, 5, 1, 100,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("signalsmith.max_in_flight",
							"Sets how many requests of a run may be under way at once.",
							NULL,
							&setting_max_in_flight, 4, 1, 100,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("signalsmith.request_timeout",
							"Sets how long a request may take.",
							NULL,
							&setting_request_timeout, 30 * 1000, 1, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
}

static void
define_plan_settings(void)
{
	DefineCustomIntVariable("signalsmith.diff_mem",
							"Sets the memory that comparing a model with its snapshot may take.",
							"Models that need more are compared in parts.",
							&setting_diff_mem, 256 * 1024, 64, MAX_KILOBYTES,
							PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("signalsmith.error_after",
							"Sets after how many failed runs in a row a sync stops in error.",
							NULL,
							&setting_error_after, 5, 1, INT_MAX,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("signalsmith.lock_timeout",
							"Sets how long a model may wait for a lock, where its owner has no lock_timeout.",
							"0: as long as it takes.",
							&setting_lock_timeout, 60 * 1000, 0, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomRealVariable("signalsmith.max_delete_percent",
							 "Sets how much of a snapshot one run may delete without approval, in percent.",
							 NULL,
							 &setting_max_delete_percent, 30.0, 0.0, 100.0,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
}

static void
define_session_settings(void)
{
	DefineCustomBoolVariable("signalsmith.protect_models",
							 "Refuses commands that drop or change what models read.",
							 "Off: such a command says in a NOTICE which models and syncs it hits.",
							 &setting_protect_models, false,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("signalsmith.show_progress",
							 "Has wait_for_run tell how far the run is.",
							 "A NOTICE about once a second, while something changes.",
							 &setting_show_progress, false,
							 PGC_USERSET, 0, NULL, NULL, NULL);
}

void
settings_define(void)
{
	define_egress_settings();
	define_instance_settings();
	define_delivery_settings();
	define_plan_settings();
	define_session_settings();
	fault_define_setting();
	MarkGUCPrefixReserved("signalsmith");
}
