/*
 * template.c
 *		Templates of JSON with holes.
 *
 * A JSON template is compiled into a flat list of steps: some constant JSON
 * text, then one value.  So rendering a record is little more than copying.
 * Members of an object whose value is a hole come after the constant ones, and
 * each puts its own comma, because it vanishes when the value is absent.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"

#include "base/json_text.h"
#include "connector/connector_internal.h"
#include "connector/expression.h"
#include "connector/jsonb_reader.h"
#include "connector/template.h"

typedef enum StepKind
{
	STEP_NOTHING,				/* only the constant text */
	STEP_VALUE,					/* a hole's value, as it is */
	STEP_TEXT,					/* text with holes, as a JSON string */
	STEP_JSON_TEXT,				/* JSON, as a JSON string of its text */
	STEP_SPREAD,				/* the members of a hole's object */
	STEP_ROWS					/* the rendered rows, as an array */
} StepKind;

typedef struct Step
{
	Slice		constant;
	bool		is_member;		/* of an object: after a comma, unless it is
								 * the first */
	bool		may_vanish;		/* with its constant, when absent */
	StepKind	kind;
	Expression *expression;
	TextTemplate *text;
	Template   *json;
	List	   *beside;			/* STEP_SPREAD: names (char *, UTF-8) of the
								 * members that are written out */
} Step;

struct Template
{
	int			step_count;
	Step	   *steps;
};

typedef struct StepBuilder
{
	Compiler   *compiler;
	int			sees;
	StringInfoData constant;	/* not part of a step yet */
	bool		is_member;		/* of the step to come */
	bool		may_vanish;
	List	   *steps;
} StepBuilder;

static Slice
copy_slice(const char *data, size_t length)
{
	Slice		slice = {.data = pnstrdup(data, length),.length = length};

	return slice;
}

static Step *
finish_step(StepBuilder *builder, StepKind kind, Expression *expression, TextTemplate *text)
{
	Step	   *step = palloc0(sizeof(Step));

	step->constant = copy_slice(builder->constant.data, builder->constant.len);
	step->is_member = builder->is_member;
	step->may_vanish = builder->may_vanish;
	step->kind = kind;
	step->expression = expression;
	step->text = text;
	builder->steps = lappend(builder->steps, step);
	resetStringInfo(&builder->constant);
	builder->is_member = false;
	builder->may_vanish = false;
	return step;
}

static void
append_constant_string(StepBuilder *builder, const char *path, const char *text)
{
	const char *utf8 = compiler_utf8(builder->compiler, path, text);

	(void) json_text_append_utf8(&builder->constant, utf8, strlen(utf8));
}

/* A string: a constant, exactly one hole, or text with holes. */
static void
build_string(StepBuilder *builder, const char *path, const char *text)
{
	const char *utf8 = compiler_utf8(builder->compiler, path, text);
	const char *end = "";
	Expression *expression = NULL;
	const Value *value;

	if (strstr(text, "{{") == NULL)
	{
		append_constant_string(builder, path, text);
		return;
	}
	if (strncmp(utf8, "{{", 2) == 0)
		expression = expression_parse(builder->compiler, path, utf8 + 2, builder->sees, &end);
	if (expression == NULL || *end != '\0')
	{
		finish_step(builder, STEP_TEXT, NULL,
					text_template_compile(builder->compiler, path, text, TEXT_PLAIN,
										  builder->sees));
		return;
	}
	value = expression_constant(expression);
	if (value != NULL)
		value_append_json(value, &builder->constant);
	else if (expression_is_rows(expression))
		finish_step(builder, STEP_ROWS, NULL, NULL);
	else
		finish_step(builder, STEP_VALUE, expression, NULL);
}

static void build_value(StepBuilder *builder, const char *path, const JsonbValue *json);

static bool
has_holes(const JsonbValue *json)
{
	const char *text = jsonb_text(json);

	return strstr(text, "{{") != NULL || strstr(text, "\"$json\"") != NULL;
}

/* Whether the value is one hole over the config, with nothing there. */
static bool
is_absent_constant(StepBuilder *builder, const char *path, const JsonbValue *json)
{
	const char *text;
	const char *end;
	const Value *value;

	if (json->type != jbvString)
		return false;
	text = compiler_utf8(builder->compiler, path, jsonb_string(json));
	if (strncmp(text, "{{", 2) != 0)
		return false;
	value = expression_constant(expression_parse(builder->compiler, path, text + 2,
												 builder->sees, &end));
	return value != NULL && value->kind == VALUE_ABSENT && *end == '\0';
}

/* Names may have holes over what is known when the manifest is compiled. */
static const char *
member_name(StepBuilder *builder, const char *path, const char *name)
{
	const char *constant;

	if (strstr(name, "{{") == NULL)
		return name;
	constant = text_template_constant(text_template_compile(builder->compiler, path, name,
															TEXT_PLAIN, 0));
	if (constant == NULL)
		compiler_fault(builder->compiler, path, NULL,
					   "A name can only have holes over the config.");
	return pg_any_to_server(constant, strlen(constant), PG_UTF8);
}

/*
 * A member named "..." stands for the members of the object that its hole
 * gives, but for those that are written beside it.
 */
static void
build_spread(StepBuilder *builder, const char *path, const JsonbValue *json,
			 const JsonbMember *members, int count)
{
	Step	   *step;
	const char *text = "";
	const char *end = "";
	Expression *expression = NULL;

	if (json->type == jbvString)
		text = compiler_utf8(builder->compiler, path, jsonb_string(json));
	if (strncmp(text, "{{", 2) == 0)
		expression = expression_parse(builder->compiler, path, text + 2, builder->sees, &end);
	if (expression == NULL || *end != '\0')
		compiler_fault(builder->compiler, path, "Such as \"{{fields}}\".",
					   "It must be a hole that gives an object.");
	step = finish_step(builder, STEP_SPREAD, expression, NULL);
	for (int i = 0; i < count; i++)
		step->beside = lappend(step->beside,
							   compiler_utf8(builder->compiler, path,
											 member_name(builder, path, members[i].name)));
}

static void
build_object(StepBuilder *builder, const char *path, const JsonbValue *json)
{
	JsonbMember *members;
	int			count = jsonb_members(json, &members);
	bool		first = true;

	appendStringInfoChar(&builder->constant, '{');
	for (int pass = 0; pass < 2; pass++)
		for (int i = 0; i < count; i++)
		{
			const char *member_path = path_member(path, members[i].name);

			bool		is_late = has_holes(&members[i].value) ||
				strcmp(members[i].name, "...") == 0;

			if (is_late != (pass == 1) ||
				is_absent_constant(builder, member_path, &members[i].value))
				continue;
			if (pass == 1)
			{
				/* It puts its comma when it is there. */
				finish_step(builder, STEP_NOTHING, NULL, NULL);
				builder->is_member = true;
				builder->may_vanish = members[i].value.type == jbvString;
			}
			else if (!first)
				appendStringInfoChar(&builder->constant, ',');
			if (strcmp(members[i].name, "...") == 0)
			{
				build_spread(builder, member_path, &members[i].value, members, count);
				continue;
			}
			first = false;
			append_constant_string(builder, member_path,
								   member_name(builder, member_path, members[i].name));
			appendStringInfoChar(&builder->constant, ':');
			build_value(builder, member_path, &members[i].value);
		}
	appendStringInfoChar(&builder->constant, '}');
}

static void
build_array(StepBuilder *builder, const char *path, const JsonbValue *json)
{
	JsonbValue *elements;
	int			count = jsonb_elements(json, &elements);

	appendStringInfoChar(&builder->constant, '[');
	for (int i = 0; i < count; i++)
	{
		if (i > 0)
			appendStringInfoChar(&builder->constant, ',');
		build_value(builder, path_element(path, i), &elements[i]);
	}
	appendStringInfoChar(&builder->constant, ']');
}

/* {"$json": ...}: JSON inside a string, as some forms want it. */
static bool
build_json_text(StepBuilder *builder, const char *path, const JsonbValue *json)
{
	JsonbMember *members;
	Step	   *step;

	if (!jsonb_is_object(json) || jsonb_members(json, &members) != 1 ||
		strcmp(members[0].name, "$json") != 0)
		return false;
	step = finish_step(builder, STEP_JSON_TEXT, NULL, NULL);
	step->json = template_compile(builder->compiler, path_member(path, "$json"),
								  &members[0].value, builder->sees);
	return true;
}

static void
build_value(StepBuilder *builder, const char *path, const JsonbValue *json)
{
	check_stack_depth();
	if (build_json_text(builder, path, json))
		return;
	if (jsonb_is_object(json))
		build_object(builder, path, json);
	else if (jsonb_is_array(json))
		build_array(builder, path, json);
	else if (json->type == jbvString)
		build_string(builder, path, jsonb_string(json));
	else
		appendStringInfoString(&builder->constant, jsonb_text(json));
}

Template *
template_compile(Compiler *compiler, const char *path, const JsonbValue *json, int sees)
{
	StepBuilder builder = {.compiler = compiler,.sees = sees};
	Template   *template = palloc0(sizeof(Template));
	ListCell   *cell;

	initStringInfo(&builder.constant);
	build_value(&builder, path, json);
	finish_step(&builder, STEP_NOTHING, NULL, NULL);

	template->steps = palloc(list_length(builder.steps) * sizeof(Step));
	foreach(cell, builder.steps)
	{
		Step	   *step = lfirst(cell);

		if (step->kind != STEP_NOTHING || step->constant.length > 0)
			template->steps[template->step_count++] = *step;
	}
	return template;
}

bool
template_constant_value(Compiler *compiler, const char *path, const char *text,
						JsonbValue *value)
{
	const char *utf8 = compiler_utf8(compiler, path, text);
	const char *end;
	const Value *constant;
	StringInfoData json;

	if (strncmp(utf8, "{{", 2) != 0)
		return false;
	constant = expression_constant(expression_parse(compiler, path, utf8 + 2, 0, &end));
	if (constant == NULL || *end != '\0')
		return false;
	initStringInfo(&json);
	value_append_json(constant, &json);
	*value = jsonb_root(DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
														   CStringGetDatum(pg_any_to_server(json.data, json.len, PG_UTF8)))));
	return true;
}

static bool
is_beside(const Step *step, Slice quoted_name)
{
	StringInfoData name;
	ListCell   *cell;

	initStringInfo(&name);
	json_text_decode_string(&name, quoted_name);
	foreach(cell, step->beside)
		if (strcmp(name.data, lfirst(cell)) == 0)
			return true;
	return false;
}

/* Appends the members, with commas in between; *absent: there were none. */
static bool
append_spread(const Step *step, Evaluation *evaluation, StringInfo out, bool *absent)
{
	Value		value;
	JsonTextCursor cursor;
	Slice		name;
	Slice		member;

	*absent = true;
	if (!expression_evaluate(step->expression, evaluation, &value))
		return false;
	if (value.kind == VALUE_ABSENT || (value.kind == VALUE_JSON && value.data.data[0] == 'n'))
		return true;
	if (value.kind != VALUE_JSON || value.data.data[0] != '{')
	{
		evaluation->error = psprintf("%s is no object", expression_text(step->expression));
		return false;
	}
	if (!request_fits(evaluation, out, value.data.length))
		return false;
	json_text_begin_members(&cursor, value.data);
	while (json_text_next_member(&cursor, &name, &member))
	{
		if (is_beside(step, name))
			continue;
		if (!*absent)
			appendStringInfoCharMacro(out, ',');
		*absent = false;
		appendBinaryStringInfo(out, name.data, name.length);
		appendStringInfoCharMacro(out, ':');
		appendBinaryStringInfo(out, member.data, member.length);
	}
	return true;
}

/* Appends a step's value; *absent says that there was none. */
static bool
append_step_value(const Step *step, Evaluation *evaluation, StringInfo out, bool *absent)
{
	Value		value;
	StringInfoData text;

	*absent = false;
	switch (step->kind)
	{
		case STEP_NOTHING:
			return true;
		case STEP_ROWS:
			return append_rows(evaluation, out);
		case STEP_SPREAD:
			return append_spread(step, evaluation, out, absent);
		case STEP_VALUE:
			if (!expression_evaluate(step->expression, evaluation, &value))
				return false;
			*absent = value.kind == VALUE_ABSENT;
			break;
		case STEP_TEXT:
			initStringInfo(&text);
			if (!text_template_append(step->text, evaluation, &text))
				return false;
			value.kind = VALUE_TEXT;
			value.data.data = text.data;
			value.data.length = text.len;
			break;
		case STEP_JSON_TEXT:
			initStringInfo(&text);
			if (!template_append(step->json, evaluation, &text))
				return false;
			value.kind = VALUE_TEXT;
			value.data.data = text.data;
			value.data.length = text.len;
			break;
	}
	/* An escape takes up to six bytes. */
	if (!request_fits(evaluation, out, (size_t) value.data.length * (value.kind == VALUE_TEXT ? 6 : 1)))
		return false;
	value_append_json(&value, out);
	return true;
}

bool
template_append(const Template *template, Evaluation *evaluation, StringInfo out)
{
	for (int i = 0; i < template->step_count; i++)
	{
		const Step *step = &template->steps[i];
		int			length = out->len;
		bool		absent;

		/*
		 * The brace that opened the object is the last byte only before its
		 * first member.
		 */
		if (step->is_member && length > 0 && out->data[length - 1] != '{')
			appendStringInfoCharMacro(out, ',');
		appendBinaryStringInfo(out, step->constant.data, step->constant.length);
		if (!append_step_value(step, evaluation, out, &absent))
			return false;
		if (absent && step->may_vanish)
		{
			out->len = length;
			out->data[length] = '\0';
		}
	}
	return true;
}

/* Renders the row of each record of the batch, as an array. */
bool
append_rows(Evaluation *evaluation, StringInfo out)
{
	const Batch *batch = evaluation->batch;
	Evaluation	of_row = *evaluation;

	appendStringInfoCharMacro(out, '[');
	for (int i = 0; i < batch->record_count; i++)
	{
		int			start;

		if (i > 0)
			appendStringInfoCharMacro(out, ',');
		start = out->len;
		of_row.record = &batch->records[i];
		of_row.record_index = i;
		if (!template_append(evaluation->row, &of_row, out))
		{
			evaluation->error = of_row.error;
			return false;
		}
		if (evaluation->max_record_bytes > 0 && out->len - start > evaluation->max_record_bytes)
		{
			evaluation->error = psprintf("the record would have %d bytes, and the destination takes %d",
										 out->len - start, evaluation->max_record_bytes);
			return false;
		}
	}
	appendStringInfoCharMacro(out, ']');
	return true;
}
