/*
 * text_template.c
 *		Templates of plain text with holes: paths, parameters, headers.
 *
 * What a hole gives is encoded for the place that it is part of, so no value
 * can break out of it.
 */
#include "postgres.h"

#include "nodes/pg_list.h"

#include "connector/connector_internal.h"
#include "connector/expression.h"
#include "connector/template.h"

/* Of one request; what a run has in flight is a multiple of it. */
#define MAX_REQUEST_LENGTH (512 * 1024 * 1024)

/* A text template's parts: constants and holes. */
typedef struct TextPart
{
	Slice		constant;
	Expression *expression;		/* NULL: a constant */
} TextPart;

struct TextTemplate
{
	TextForm	form;
	int			part_count;
	TextPart   *parts;
};

/* --- compiling --- */

/*
 * Splits text (UTF-8) into constants and holes; holes of known value become
 * constants.
 */
static List *
split_text(Compiler *compiler, const char *path, const char *text, int sees)
{
	List	   *parts = NIL;

	while (*text != '\0')
	{
		const char *hole = strstr(text, "{{");
		TextPart   *part = palloc0(sizeof(TextPart));

		if (hole == NULL)
			hole = text + strlen(text);
		if (hole > text)
		{
			part->constant = (Slice) {pnstrdup(text, hole - text), hole - text};
			text = hole;
		}
		else
			part->expression = expression_parse(compiler, path, hole + 2, sees, &text);
		parts = lappend(parts, part);
	}
	return parts;
}

void
append_percent_encoded(StringInfo out, Slice text, const char *others)
{
	static const char digits[] = "0123456789ABCDEF";

	for (uint32 i = 0; i < text.length; i++)
	{
		unsigned char c = text.data[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			(c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~' ||
			(c != '\0' && strchr(others, c) != NULL))
			appendStringInfoCharMacro(out, c);
		else
		{
			appendStringInfoCharMacro(out, '%');
			appendStringInfoCharMacro(out, digits[c >> 4]);
			appendStringInfoCharMacro(out, digits[c & 15]);
		}
	}
}

static Slice
encode_constant(Slice text, TextForm form, bool is_literal)
{
	StringInfoData out;

	if (form == TEXT_PLAIN)
		return text;
	initStringInfo(&out);
	append_percent_encoded(&out, text,
						   form == TEXT_PATH && is_literal ? "/%!$&'()*+,;=:@" : "");
	text.data = out.data;
	text.length = out.len;
	return text;
}

/* What an object needs of the config may be optional for others. */
static void
missing_constant(Compiler *compiler, const char *path, const char *hole)
{
	static const char prefix[] = "{{config.";
	char	   *name = pstrdup(hole + Min(strlen(hole), strlen(prefix)));

	name[strcspn(name, " |}")] = '\0';
	if (!compiler->in_config && strncmp(hole, prefix, strlen(prefix)) == 0)
		config_fault(compiler, name, NULL, "Object \"%s\" requires it.",
					 compiler->object != NULL ? compiler->object : "");
	compiler_fault(compiler, path, NULL, "%s has no value that could be part of a text.", hole);
}

/* Encodes a constant, and replaces a hole of known value by one. */
static void
fold_part(Compiler *compiler, const char *path, TextForm form, TextPart *part)
{
	const Value *value;

	if (part->expression == NULL)
	{
		part->constant = encode_constant(part->constant, form, true);
		return;
	}
	value = expression_constant(part->expression);
	if (value == NULL)
		return;
	if (value->kind == VALUE_ABSENT && compiler->tentative)
		part->constant = value->data;
	else if (!value_text(value, &part->constant))
		missing_constant(compiler, path, expression_text(part->expression));
	part->constant = encode_constant(part->constant, form, false);
	part->expression = NULL;
}

/* Takes the parts that follow each other as constants together. */
static TextTemplate *
join_parts(List *parts, TextForm form)
{
	TextTemplate *template = palloc0(sizeof(TextTemplate));
	TextPart   *last = NULL;
	ListCell   *cell;

	template->form = form;
	template->parts = palloc0(list_length(parts) * sizeof(TextPart));
	foreach(cell, parts)
	{
		TextPart   *part = lfirst(cell);

		if (last != NULL && last->expression == NULL && part->expression == NULL)
		{
			last->constant.data = psprintf("%.*s%.*s",
										   (int) last->constant.length, last->constant.data,
										   (int) part->constant.length, part->constant.data);
			last->constant.length += part->constant.length;
			continue;
		}
		last = &template->parts[template->part_count++];
		*last = *part;
	}
	return template;
}

TextTemplate *
text_template_compile(Compiler *compiler, const char *path, const char *text,
					  TextForm form, int sees)
{
	List	   *parts = split_text(compiler, path, compiler_utf8(compiler, path, text), sees);
	ListCell   *cell;

	foreach(cell, parts)
		fold_part(compiler, path, form, lfirst(cell));
	return join_parts(parts, form);
}

const char *
text_template_constant(const TextTemplate *template)
{
	if (template->part_count == 0)
		return "";
	if (template->part_count == 1 && template->parts[0].expression == NULL)
		return pnstrdup(template->parts[0].constant.data, template->parts[0].constant.length);
	return NULL;
}

bool
text_template_is_empty(const TextTemplate *template)
{
	return template->part_count == 0;
}

bool
text_template_uses_record(const TextTemplate *template)
{
	for (int i = 0; i < template->part_count; i++)
		if (template->parts[i].expression != NULL &&
			expression_uses_record(template->parts[i].expression))
			return true;
	return false;
}

/* --- evaluating --- */

bool
request_fits(Evaluation *evaluation, StringInfo out, size_t more)
{
	if (more <= MAX_REQUEST_LENGTH && out->len + more <= MAX_REQUEST_LENGTH)
		return true;
	evaluation->error = psprintf("the request would be longer than %d MB",
								 MAX_REQUEST_LENGTH / (1024 * 1024));
	return false;
}

/* Evaluates a hole to text; false when its value is none. */
static bool
evaluate_text(const Expression *expression, Evaluation *evaluation, Slice *text)
{
	Value		value;

	if (!expression_evaluate(expression, evaluation, &value))
		return false;
	if (value_text(&value, text))
		return true;
	evaluation->error = psprintf("%s is %s, which cannot be part of a text",
								 expression_text(expression),
								 value.kind == VALUE_ABSENT ? "not there" :
								 value.data.data[0] == 'n' ? "null" :
								 value.data.data[0] == '{' ? "an object" : "an array");
	return false;
}

bool
text_template_append(const TextTemplate *template, Evaluation *evaluation, StringInfo out)
{
	for (int i = 0; i < template->part_count; i++)
	{
		Slice		text = template->parts[i].constant;
		Expression *expression = template->parts[i].expression;

		if (expression != NULL && !evaluate_text(expression, evaluation, &text))
			return false;
		if (!request_fits(evaluation, out, (size_t) text.length * 3))
			return false;
		if (expression != NULL && template->form != TEXT_PLAIN)
			append_percent_encoded(out, text, "");
		else
			appendBinaryStringInfo(out, text.data, text.length);
	}
	return true;
}

bool
text_template_value(const TextTemplate *template, Evaluation *evaluation, Value *value)
{
	StringInfoData text;

	if (template->part_count == 1 && template->parts[0].expression != NULL)
		return expression_evaluate(template->parts[0].expression, evaluation, value);
	initStringInfo(&text);
	value->kind = VALUE_TEXT;
	if (!text_template_append(template, evaluation, &text))
		return false;
	value->data.data = text.data;
	value->data.length = text.len;
	return true;
}
