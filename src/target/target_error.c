/*
 * target_error.c
 *		What an error of a statement means for the batch that it carried.
 *
 *		08, and a wrapper that cannot connect	the server is not there
 *		40, 53, 57, 58, XX, 55P03, 55006		again, later
 *		42, 3D, 3F, 25, 28, 2B, 2F, 0A, 0L, 0P,
 *		HV, 54001								nothing works
 *		everything else							a row is wrong: 21, 22, 23, 44, what
 *												triggers raise, other limits (54)
 */
#include "postgres.h"

#include "utils/errcodes.h"

#include "target/target_error.h"

#define CLASS_OF(a, b) MAKE_SQLSTATE(a, b, '0', '0', '0')

static bool
is_one_of(int code, const int *codes, int count)
{
	for (int i = 0; i < count; i++)
		if (codes[i] == code)
			return true;
	return false;
}

bool
target_error_is_connection(const ErrorData *error)
{
	return ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_CONNECTION_EXCEPTION ||
		error->sqlerrcode == ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION;
}

static bool
may_work_next_time(const ErrorData *error)
{
	static const int categories[] = {
		CLASS_OF('4', '0'), CLASS_OF('5', '3'), CLASS_OF('5', '7'),
		CLASS_OF('5', '8'), CLASS_OF('X', 'X')
	};

	return error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		error->sqlerrcode == ERRCODE_OBJECT_IN_USE ||
		is_one_of(ERRCODE_TO_CATEGORY(error->sqlerrcode), categories, lengthof(categories));
}

/*
 * A policy that refuses a row has the code of a missing right: it is told by where
 * it was raised.
 */
static bool
is_row_security(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_INSUFFICIENT_PRIVILEGE &&
		error->funcname != NULL && strcmp(error->funcname, "ExecWithCheckOptions") == 0;
}

static bool
is_permanent(const ErrorData *error)
{
	static const int categories[] = {
		CLASS_OF('4', '2'), CLASS_OF('3', 'D'), CLASS_OF('3', 'F'), CLASS_OF('2', '5'),
		CLASS_OF('2', '8'), CLASS_OF('2', 'B'), CLASS_OF('2', 'F'), CLASS_OF('0', 'A'),
		CLASS_OF('0', 'L'), CLASS_OF('0', 'P'), CLASS_OF('H', 'V')
	};

	return !is_row_security(error) &&
		(error->sqlerrcode == ERRCODE_STATEMENT_TOO_COMPLEX ||
		 is_one_of(ERRCODE_TO_CATEGORY(error->sqlerrcode), categories, lengthof(categories)));
}

OutcomeClass
target_error_class(const ErrorData *error)
{
	if (may_work_next_time(error))
		return CLASS_RETRY;
	if (is_permanent(error))
		return CLASS_FATAL;
	return CLASS_REJECT_BATCH;
}

char *
target_error_message(const ErrorData *error)
{
	const char *message = error->message ? error->message : _("unknown error");

	if (error->detail == NULL ||
		(error->sqlerrcode != ERRCODE_UNIQUE_VIOLATION &&
		 error->sqlerrcode != ERRCODE_FOREIGN_KEY_VIOLATION &&
		 !target_error_is_connection(error)))
		return pstrdup(message);
	return psprintf("%s: %s", message, error->detail);
}
