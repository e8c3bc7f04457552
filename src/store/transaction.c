/*
 * transaction.c
 *		The short transactions of our workers.
 *
 * A worker that reports no statistics keeps autovacuum blind, and one that has
 * no statement's start time shows a wrong one.
 */
#include "postgres.h"

#include "access/xact.h"
#include "pgstat.h"
#include "utils/snapmgr.h"

#include "store/transaction.h"

void
transaction_begin(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
}

void
transaction_commit(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(false);
}
