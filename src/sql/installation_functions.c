/*
 * installation_functions.c
 *		What check_installation() cannot find out in SQL.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "http/client.h"

SQL_FUNCTION(signalsmith_library_version);
SQL_FUNCTION(signalsmith_http_client);
SQL_FUNCTION(signalsmith_authorities);

/* _library_version() returns text */
Datum
signalsmith_library_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(SIGNALSMITH_VERSION));
}

/* A row of two texts; the second may be NULL. */
static Datum
return_pair(FunctionCallInfo fcinfo, const char *what, const char *problem)
{
	TupleDesc	descriptor;
	Datum		values[2] = {0};
	bool		nulls[2] = {false, problem == NULL};

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = CStringGetTextDatum(what);
	if (problem)
		values[1] = CStringGetTextDatum(problem);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls));
}

/* _http_client(OUT version text, OUT problem text) */
Datum
signalsmith_http_client(PG_FUNCTION_ARGS)
{
	return return_pair(fcinfo, http_client_version(), http_client_problem());
}

/* _authorities(OUT path text, OUT problem text) */
Datum
signalsmith_authorities(PG_FUNCTION_ARGS)
{
	char	   *problem;
	char	   *path = http_authorities(&problem);

	return return_pair(fcinfo, path, problem);
}
