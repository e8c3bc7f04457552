/*
 * call.c
 *		How users reach what they may not touch.
 *
 * Nobody but the extension's owner reads or writes our tables.  A function that
 * users call, "create_sync" say, is therefore only an entry: the same C function
 * stands behind all of them.  It calls the private function of that name with
 * an underscore in front, "_create_sync", which takes the caller's role and then
 * the same arguments, inside a scope (store/scope.h).  The logic is thus written
 * in PL/pgSQL, and checks the rights of the role that it is handed.
 *
 * SECURITY DEFINER would do the switch of users too, but would not say who
 * called, nor stand a read-only transaction on a standby, nor keep our own lines
 * out of the CONTEXT of an error that is meant for the caller.
 *
 * It must not run anything of the caller's: what does (checking a query) is in
 * definition_functions.c, and switches back to the user first.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "sql/call.h"
#include "store/scope.h"

/*
 * What a call site keeps between calls.  It lives as long as the FmgrInfo, which
 * is the execution of one statement.
 */
typedef struct CallTarget
{
	FmgrInfo	function;
	char	   *name;			/* of the public function */
	bool		writes;
	char	   *search_path;	/* the caller's, during a call */
} CallTarget;

/* Of the session that called us; NULL outside of a call. */
static char *caller_search_path = NULL;

SQL_FUNCTION(signalsmith_call);
SQL_FUNCTION(signalsmith_caller_search_path);

/* The function "_name" in the same schema that takes a role first. */
static Oid
find_private_function(Form_pg_proc public_function)
{
	Oid			argument_types[FUNC_MAX_ARGS];
	int			argument_count = public_function->pronargs + 1;
	char	   *name = psprintf("_%s", NameStr(public_function->proname));
	Oid			found;

	if (argument_count > FUNC_MAX_ARGS)
		elog(ERROR, "too many arguments of function %s", name);
	argument_types[0] = REGROLEOID;
	memcpy(&argument_types[1], public_function->proargtypes.values,
		   public_function->pronargs * sizeof(Oid));

	found = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
							CStringGetDatum(name),
							PointerGetDatum(buildoidvector(argument_types, argument_count)),
							ObjectIdGetDatum(public_function->pronamespace));
	if (!OidIsValid(found))
		elog(ERROR, "function %s does not exist", name);
	return found;
}

static CallTarget *
find_target(FmgrInfo *flinfo)
{
	CallTarget *target;
	HeapTuple	tuple;
	Form_pg_proc form;

	if (flinfo->fn_extra)
		return flinfo->fn_extra;

	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(flinfo->fn_oid));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", flinfo->fn_oid);
	form = (Form_pg_proc) GETSTRUCT(tuple);

	target = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(CallTarget));
	target->name = MemoryContextStrdup(flinfo->fn_mcxt, NameStr(form->proname));
	target->writes = form->provolatile == PROVOLATILE_VOLATILE;
	fmgr_info_cxt(find_private_function(form), &target->function, flinfo->fn_mcxt);
	ReleaseSysCache(tuple);

	flinfo->fn_extra = target;
	return target;
}

/*
 * Calls the private function; a set comes back through resultinfo.  The collation
 * is not the caller's: his own could make any two texts equal.
 */
static Datum
call_private(CallTarget *target, FunctionCallInfo fcinfo, Oid caller)
{
	LOCAL_FCINFO(inner, FUNC_MAX_ARGS);
	Datum		result;

	InitFunctionCallInfoData(*inner, &target->function, PG_NARGS() + 1,
							 DEFAULT_COLLATION_OID, fcinfo->context,
							 fcinfo->resultinfo);
	inner->args[0].value = ObjectIdGetDatum(caller);
	inner->args[0].isnull = false;
	for (int i = 0; i < PG_NARGS(); i++)
		inner->args[i + 1] = fcinfo->args[i];

	result = FunctionCallInvoke(inner);
	fcinfo->isnull = inner->isnull;
	return result;
}

/*
 * Raises the error again for the caller: with the context that his own
 * functions give it, without ours, which would bury the hint.  An internal
 * error keeps everything.  PL/pgSQL's RAISE cannot leave a part out: an empty
 * one stands for none.
 */
pg_noreturn static void
raise_for_caller(MemoryContext context)
{
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_INTERNAL_ERROR)
		error->context = NULL;
	if (error->detail && error->detail[0] == '\0')
		error->detail = NULL;
	if (error->hint && error->hint[0] == '\0')
		error->hint = NULL;
	ThrowErrorData(error);
	pg_unreachable();
}

/* Calls with errors made fit for the caller. */
static Datum
call_guarded(CallTarget *target, FunctionCallInfo fcinfo, Oid caller)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorContextCallback *outer_context = error_context_stack;
	char	   *outer_search_path = caller_search_path;
	Datum		result;

	caller_search_path = target->search_path;
	error_context_stack = NULL;
	PG_TRY();
	{
		result = call_private(target, fcinfo, caller);
	}
	PG_CATCH();
	{
		error_context_stack = outer_context;
		caller_search_path = outer_search_path;
		raise_for_caller(context);
	}
	PG_END_TRY();
	error_context_stack = outer_context;
	caller_search_path = outer_search_path;
	return result;
}

Datum
signalsmith_call(PG_FUNCTION_ARGS)
{
	CallTarget *target = find_target(fcinfo->flinfo);
	Oid			caller = GetUserId();
	MemoryContext context = CurrentMemoryContext;
	Scope		scope;
	Datum		result;

	if (target->writes)
		PreventCommandIfReadOnly(target->name);

	target->search_path = pstrdup(GetConfigOption("search_path", false, false));
	scope_enter(&scope);

	/* SPI frees what is allocated in its own context; the result must stay. */
	MemoryContextSwitchTo(context);
	result = call_guarded(target, fcinfo, caller);
	scope_leave(&scope);
	return result;
}

int64
find_for_caller(const char *kind, const char *ref, bool manage)
{
	Oid			caller = GetUserId();
	MemoryContext context = CurrentMemoryContext;
	ErrorContextCallback *outer_context = error_context_stack;
	int64		found;
	Scope		scope;

	scope_enter(&scope);
	error_context_stack = NULL;
	PG_TRY();
	{
		scope_execute("SELECT signalsmith._find($1::oid::regrole, $2, $3, $4)",
					  "ottb", ObjectIdGetDatum(caller),
					  CStringGetTextDatum(kind), CStringGetTextDatum(ref),
					  BoolGetDatum(manage));
	}
	PG_CATCH();
	{
		error_context_stack = outer_context;
		raise_for_caller(context);
	}
	PG_END_TRY();
	error_context_stack = outer_context;
	found = scope_int64(0, 1);
	scope_leave(&scope);
	return found;
}

Datum
signalsmith_caller_search_path(PG_FUNCTION_ARGS)
{
	if (caller_search_path == NULL)
		elog(ERROR, "not called by a function of signalsmith");
	PG_RETURN_TEXT_P(cstring_to_text(caller_search_path));
}
