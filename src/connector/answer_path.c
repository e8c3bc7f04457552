/*
 * answer_path.c
 *		SQL/JSON paths: what a manifest's path may be, and what it selects.
 *
 * Who wrote the path knows nothing of the answer, and the other way round; between
 * them a page of text can take hours.  Most of that is a matter of a limit on the
 * work (attribute.c), since the server looks for interrupts while it follows a
 * path; but not while it compares two lists, each element of the one with each of
 * the other.  So such a comparison is refused when the path is compiled.
 *
 * This works without a transaction: no catalog is looked at, no resource is held.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/jsonpath.h"

#include "connector/connector_internal.h"
#include "connector/jsonb_reader.h"

/* --- what a path may be --- */

/*
 * Whether an operand is one value at most, whatever the document is.  In lax mode
 * any name may turn out to be that of a list, which is then taken for its elements.
 */
static bool
is_single(JsonPathItem *operand, bool lax)
{
	JsonPathItem item = *operand;
	JsonPathItem next;
	bool		from_document = false;

	for (;; item = next)
	{
		switch (item.type)
		{
			case jpiAny:
			case jpiAnyArray:
			case jpiAnyKey:
			case jpiIndexArray:
			case jpiKeyValue:
			case jpiPlus:
			case jpiMinus:
				return false;
			case jpiRoot:
			case jpiCurrent:
			case jpiKey:
			case jpiFilter:
				from_document = true;
				break;
			case jpiSize:
			case jpiType:
				if (!jspHasNext(&item))
					return true;
				break;
			default:
				break;
		}
		if (!jspGetNext(&item, &next))
			return !lax || !from_document;
	}
}

static bool compares_lists(JsonPathItem *item, bool lax);

static bool
arguments_compare_lists(JsonPathItem *item, bool lax)
{
	JsonPathItem left;
	JsonPathItem right;

	jspGetLeftArg(item, &left);
	jspGetRightArg(item, &right);
	return compares_lists(&left, lax) || compares_lists(&right, lax);
}

static bool
subscripts_compare_lists(JsonPathItem *item, bool lax)
{
	for (int i = 0; i < item->content.array.nelems; i++)
	{
		JsonPathItem from;
		JsonPathItem to;
		bool		is_range = jspGetArraySubscript(item, &from, &to, i);

		if (compares_lists(&from, lax) || (is_range && compares_lists(&to, lax)))
			return true;
	}
	return false;
}

/* Whether anywhere in a path two operands are compared that may both be lists. */
static bool
compares_lists(JsonPathItem *item, bool lax)
{
	JsonPathItem part;
	JsonPathItem other;
	bool		found = false;

	check_stack_depth();
	switch (item->type)
	{
		case jpiEqual:
		case jpiNotEqual:
		case jpiLess:
		case jpiGreater:
		case jpiLessOrEqual:
		case jpiGreaterOrEqual:
			jspGetLeftArg(item, &part);
			jspGetRightArg(item, &other);
			found = (!is_single(&part, lax) && !is_single(&other, lax)) ||
				arguments_compare_lists(item, lax);
			break;
		case jpiAnd:
		case jpiOr:
		case jpiAdd:
		case jpiSub:
		case jpiMul:
		case jpiDiv:
		case jpiMod:
		case jpiStartsWith:
			found = arguments_compare_lists(item, lax);
			break;
		case jpiNot:
		case jpiIsUnknown:
		case jpiPlus:
		case jpiMinus:
		case jpiFilter:
		case jpiExists:
			jspGetArg(item, &part);
			found = compares_lists(&part, lax);
			break;
		case jpiLikeRegex:
			jspInitByBuffer(&part, item->base, item->content.like_regex.expr);
			found = compares_lists(&part, lax);
			break;
		case jpiIndexArray:
			found = subscripts_compare_lists(item, lax);
			break;
		default:
			break;
	}
	return found || (jspGetNext(item, &part) && compares_lists(&part, lax));
}

const char *
answer_path_fault(JsonPath *path)
{
	JsonPathItem root;

	jspInit(&root, path);
	if (compares_lists(&root, (path->header & JSONPATH_LAX) != 0))
		return "It compares what may be two lists, each element of the one with each of the other.";
	return NULL;
}

/* --- what a path selects --- */

Jsonb *
answer_select(Jsonb *document, JsonPath *path)
{
	MemoryContext context = CurrentMemoryContext;
	Jsonb	   *volatile selected = NULL;
	Datum		no_variables = DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"));

	PG_TRY();
	{
		selected = DatumGetJsonbP(DirectFunctionCall4(jsonb_path_query_array,
													  JsonbPGetDatum(document),
													  PointerGetDatum(path),
													  no_variables,
													  BoolGetDatum(true)));
	}
	PG_CATCH();
	{
		if (!answer_is_data_error(geterrcode()))
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	if (selected == NULL)
		return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("[]")));
	return selected;
}

bool
answer_select_first(Jsonb *document, JsonPath *path, JsonbValue *first)
{
	JsonbValue	selected = jsonb_root(answer_select(document, path));
	JsonbValue *elements;

	if (jsonb_elements(&selected, &elements) == 0)
		return false;
	*first = elements[0];
	return true;
}

char *
answer_select_text(Jsonb *document, JsonPath *path)
{
	JsonbValue	first;

	if (!answer_select_first(document, path, &first) || first.type == jbvNull)
		return NULL;
	return jsonb_plain_text(&first);
}

/* A predicate holds when it is true; a filter, when it selects anything. */
bool
answer_matches(Jsonb *document, JsonPath *predicate)
{
	JsonbValue	first;

	if (!answer_select_first(document, predicate, &first) || first.type == jbvNull)
		return false;
	return first.type != jbvBool || first.val.boolean;
}
