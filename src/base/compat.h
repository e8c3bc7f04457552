/*
 * compat.h
 *		Every difference between the PostgreSQL versions that we build with.
 *
 * One entry for each, naming the release that changed it.  Nothing else in the
 * tree tests PG_VERSION_NUM.
 */
#ifndef SIGNALSMITH_COMPAT_H
#define SIGNALSMITH_COMPAT_H

#include "postgres.h"

#include "fmgr.h"
#include "parser/parse_relation.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM < 150000
#error "signalsmith needs PostgreSQL 15 or later: it relies on shmem_request_hook and MarkGUCPrefixReserved"
#endif

/* 16 moved the varlena macros to a header of their own. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/*
 * Our symbols are hidden by default.  PG_FUNCTION_INFO_V1 exports the function
 * that it declares only from 16.
 */
#define SQL_FUNCTION(name) \
	extern PGDLLEXPORT Datum name(PG_FUNCTION_ARGS); \
	PG_FUNCTION_INFO_V1(name)

/* 16 moved a relation's permission checks out of its range table entry. */
#if PG_VERSION_NUM >= 160000
#define selected_columns(query, entry) \
	getRTEPermissionInfo((query)->rteperminfos, entry)->selectedCols
#else
#define selected_columns(query, entry) ((entry)->selectedCols)
#endif

/* 16 has one function for the rights on objects of all catalogs. */
#if PG_VERSION_NUM >= 160000
#define schema_aclcheck(schema, role, mode) \
	object_aclcheck(NamespaceRelationId, schema, role, mode)
#else
#define schema_aclcheck(schema, role, mode) pg_namespace_aclcheck(schema, role, mode)
#endif

/*
 * 17 gives extensions wait events with names; before, all of them show as
 * "Extension".
 */
#if PG_VERSION_NUM >= 170000
#define extension_wait_event(name) WaitEventExtensionNew(name)
#else
#define extension_wait_event(name) PG_WAIT_EXTENSION
#endif

/*
 * 17 gives wait event sets to resource owners instead of memory contexts.
 * Without an owner the set is freed by hand, as it must be before 17 too, for
 * the sake of its descriptor.
 */
#if PG_VERSION_NUM >= 170000
#define create_wait_event_set(context, size) CreateWaitEventSet(NULL, size)
#else
#define create_wait_event_set(context, size) CreateWaitEventSet(context, size)
#endif

/* 17 has a process know its own number, the place of its PGPROC. */
#if PG_VERSION_NUM >= 170000
#define my_proc_number() MyProcNumber
#else
#define my_proc_number() (MyProc->pgprocno)
#endif

/* 18 says before a declaration that the function does not return. */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* 18 has the bytes of base64 unsigned. */
#if PG_VERSION_NUM >= 180000
typedef uint8 Base64Byte;
#else
typedef char Base64Byte;
#endif

/* 18 lets callers choose whether a deferrable primary key will do. */
#if PG_VERSION_NUM >= 180000
#define primary_key_index(relation) RelationGetPrimaryKeyIndex(relation, false)
#else
#define primary_key_index(relation) RelationGetPrimaryKeyIndex(relation)
#endif

/* 18 lets every query description be run several times. */
#if PG_VERSION_NUM >= 180000
#define executor_run_once(description) \
	ExecutorRun(description, ForwardScanDirection, 0)
#else
#define executor_run_once(description) \
	ExecutorRun(description, ForwardScanDirection, 0, true)
#endif

#endif							/* SIGNALSMITH_COMPAT_H */
