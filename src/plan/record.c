/*
 * record.c
 *		A row as the destination's record.
 *
 * The fields form a tree, since dotted destinations nest.  It is compiled once:
 * each node has its name ready as JSON text, with the comma before it, and a
 * writer for its type.  Fields come in the order of the mappings, a nested
 * object where its first field was.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/json.h"

#include "base/json_text.h"
#include "plan/record.h"

typedef struct FieldNode FieldNode;
struct FieldNode
{
	char	   *name;			/* of this level, in the server's encoding */
	const char *path;			/* for messages: destination, or key column */
	Slice		prefix;			/* ,"name": */
	Slice		constant;		/* JSON text; empty: none */
	int			column;			/* place in the query's result; -1: none */
	ValueWriter *writer;
	bool		is_object;
	int			child_count;
	int			child_limit;
	FieldNode **children;
};

struct RecordWriter
{
	bool		omit_nulls;
	FieldNode  *key;
	FieldNode  *data;
	FieldNode  *identifier;		/* somewhere in the other two */
	StringInfoData key_text;
	StringInfoData identifier_text;
	StringInfoData data_text;
};

static FieldNode *
add_child(FieldNode *parent, const char *name, int name_length, const char *path)
{
	FieldNode  *node = palloc0(sizeof(FieldNode));
	StringInfoData prefix;

	node->name = pnstrdup(name, name_length);
	node->path = path;
	node->column = -1;

	initStringInfo(&prefix);
	appendStringInfoChar(&prefix, ',');
	if (json_text_append_string(&prefix, name, name_length) != JSON_TEXT_OK)
		ereport(ERROR,
				(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
				 errmsg("name \"%s\" cannot be converted to UTF-8", path)));
	appendStringInfoChar(&prefix, ':');
	node->prefix.data = prefix.data;
	node->prefix.length = prefix.len;

	if (parent->child_count == parent->child_limit)
	{
		parent->child_limit = Max(8, parent->child_limit * 2);
		parent->children = parent->children == NULL ?
			palloc(parent->child_limit * sizeof(FieldNode *)) :
			repalloc(parent->children, parent->child_limit * sizeof(FieldNode *));
	}
	parent->children[parent->child_count++] = node;
	return node;
}

static FieldNode *
find_child(const FieldNode *parent, const char *name, size_t name_length)
{
	for (int i = 0; i < parent->child_count; i++)
		if (strlen(parent->children[i]->name) == name_length &&
			memcmp(parent->children[i]->name, name, name_length) == 0)
			return parent->children[i];
	return NULL;
}

/* Makes the node of a destination, and the objects above it. */
static FieldNode *
add_destination(FieldNode *root, const char *destination)
{
	FieldNode  *parent = root;
	const char *name = destination;

	for (;;)
	{
		size_t		length = strcspn(name, ".");
		bool		last = name[length] == '\0';
		FieldNode  *node = find_child(parent, name, length);

		if (length == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("destination \"%s\" has an empty name in it", destination),
					 errdetail("Dots separate the names of nested objects.")));
		if (node != NULL && last && !node->is_object)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("destination \"%s\" is mapped more than once", destination)));
		if (node != NULL && node->is_object == last)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("destination \"%s\" conflicts with \"%s\"",
							destination, node->path),
					 errdetail("A field cannot be a value and an object at once.")));

		if (node == NULL)
		{
			node = add_child(parent, name, length, destination);
			node->is_object = !last;
		}
		if (last)
			return node;
		parent = node;
		name += length + 1;
	}
}

static void
set_column(FieldNode *node, const ModelQuery *query, int column)
{
	TargetEntry *entry = list_nth_node(TargetEntry, query->query->targetList, column);

	node->column = column;
	node->writer = value_writer_create(exprType((Node *) entry->expr));
}

/* Constants are sent as they are written, if that is JSON at all. */
static void
set_constant(FieldNode *node, const char *text)
{
	StringInfoData converted;

	(void) DirectFunctionCall1(json_in, CStringGetDatum(text));
	initStringInfo(&converted);
	if (json_text_append_raw(&converted, text, strlen(text)) != JSON_TEXT_OK)
		ereport(ERROR,
				(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
				 errmsg("constant for \"%s\" cannot be converted to UTF-8", node->path)));
	node->constant.data = converted.data;
	node->constant.length = converted.len;
}

static void
add_mappings(RecordWriter *writer, const SyncDefinition *definition,
			 const ModelQuery *query)
{
	for (int i = 0; i < definition->mapping_count; i++)
	{
		const FieldMapping *mapping = &definition->mappings[i];
		FieldNode  *node = add_destination(writer->data, mapping->destination);

		if (mapping->source == MAPPING_CONSTANT)
			set_constant(node, mapping->text);
		else
			set_column(node, query, query->mapping_columns[i]);

		if (!mapping->identifier)
			continue;
		if (mapping->source == MAPPING_CONSTANT)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("destination \"%s\" is a constant, which cannot be the identifier",
							mapping->destination)));
		if (writer->identifier != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("both \"%s\" and \"%s\" are marked as the identifier",
							writer->identifier->path, mapping->destination)));
		writer->identifier = node;
	}
}

RecordWriter *
record_writer_create(const SyncDefinition *definition, const ModelQuery *query)
{
	RecordWriter *writer = palloc0(sizeof(RecordWriter));

	writer->omit_nulls = definition->omit_nulls;
	initStringInfo(&writer->key_text);
	initStringInfo(&writer->identifier_text);
	initStringInfo(&writer->data_text);

	writer->key = palloc0(sizeof(FieldNode));
	writer->key->is_object = true;
	for (int i = 0; i < definition->key_count; i++)
	{
		const char *name = definition->key_columns[i];

		if (find_child(writer->key, name, strlen(name)) != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("key column \"%s\" is named twice", name)));
		set_column(add_child(writer->key, name, strlen(name), name),
				   query, query->key_columns[i]);
	}

	writer->data = palloc0(sizeof(FieldNode));
	writer->data->is_object = true;
	add_mappings(writer, definition, query);

	if (writer->identifier == NULL)
		writer->identifier = writer->key->child_count == 1 ?
			writer->key->children[0] : writer->key;
	return writer;
}

/* What one rendering needs to know. */
typedef struct RenderState
{
	const Datum *values;
	const bool *nulls;
	bool		omit_nulls;
	RecordProblem *problem;
} RenderState;

static bool render_object(const FieldNode *node, StringInfo out, RenderState *state);

static bool
render_value(const FieldNode *node, StringInfo out, RenderState *state)
{
	ValueStatus status = VALUE_OK;

	if (node->is_object)
		return render_object(node, out, state);
	if (node->column < 0)
		appendBinaryStringInfo(out, node->constant.data, node->constant.length);
	else if (state->nulls[node->column])
		appendBinaryStringInfo(out, "null", 4);
	else
		status = value_write(node->writer, out, state->values[node->column]);

	if (status == VALUE_OK && out->len > JSON_TEXT_MAX_LENGTH)
		status = VALUE_TOO_LONG;
	if (unlikely(status != VALUE_OK))
	{
		state->problem->status = status;
		state->problem->field = node->path;
		return false;
	}
	return true;
}

/* Where NULLs are omitted, so are objects that have nothing else in them. */
static bool
render_object(const FieldNode *node, StringInfo out, RenderState *state)
{
	int			skip = 1;		/* no comma before the first */

	check_stack_depth();
	appendStringInfoChar(out, '{');
	for (int i = 0; i < node->child_count; i++)
	{
		const FieldNode *child = node->children[i];
		int			start = out->len;
		int			value_start;

		if (state->omit_nulls && child->column >= 0 && state->nulls[child->column])
			continue;
		appendBinaryStringInfo(out, child->prefix.data + skip, child->prefix.length - skip);
		value_start = out->len;
		if (!render_value(child, out, state))
			return false;
		if (state->omit_nulls && child->is_object && out->len == value_start + 2)
			out->len = start;
		else
			skip = 0;
	}
	appendStringInfoChar(out, '}');
	return true;
}

static bool
render(const FieldNode *node, StringInfo out, const Datum *values,
	   const bool *nulls, bool omit_nulls, Slice *text, RecordProblem *problem)
{
	RenderState state = {values, nulls, omit_nulls, problem};

	resetStringInfo(out);
	problem->in_key = false;
	if (!render_value(node, out, &state))
		return false;
	text->data = out->data;
	text->length = out->len;
	return true;
}

bool
record_write_key(RecordWriter *writer, const Datum *values, const bool *nulls,
				 Slice *key, RecordProblem *problem)
{
	if (render(writer->key, &writer->key_text, values, nulls, false, key, problem))
		return true;
	problem->in_key = true;
	return false;
}

bool
record_write_identifier(RecordWriter *writer, const Datum *values,
						const bool *nulls, Slice *identifier, RecordProblem *problem)
{
	return render(writer->identifier, &writer->identifier_text, values, nulls,
				  false, identifier, problem);
}

bool
record_write_data(RecordWriter *writer, const Datum *values, const bool *nulls,
				  Slice *data, RecordProblem *problem)
{
	return render(writer->data, &writer->data_text, values, nulls,
				  writer->omit_nulls, data, problem);
}
