/*
 * source_text.c
 *		SQL from several places, parsed into raw trees that share one text.
 *
 * A model's query and the expressions of mappings are combined as raw parse
 * trees, never as text, so that no text can close a bracket that it did not
 * open.  The locations in the trees must still point into one text, which the
 * parser's messages and pg_stat_statements go by.  So each piece is parsed at
 * the place that it has in the joined text, after as many blanks; and the
 * position of an error is translated back into the piece.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "parser/parser.h"

#include "plan/source_text.h"

SourceText *
source_text_create(int piece_limit)
{
	SourceText *source = palloc0(sizeof(SourceText));

	initStringInfo(&source->joined);
	source->pieces = palloc0(piece_limit * sizeof(SourcePiece));
	source->piece_limit = piece_limit;
	return source;
}

static SourcePiece *
add_piece(SourceText *source, const char *text, const char *destination)
{
	SourcePiece *piece;

	if (source->piece_count == source->piece_limit)
		elog(ERROR, "too many pieces of source text");
	if (source->piece_count > 0)
		appendStringInfoChar(&source->joined, '\n');

	piece = &source->pieces[source->piece_count++];
	piece->text = text;
	piece->destination = destination;
	piece->start_byte = source->joined.len;
	piece->start_character = pg_mbstrlen_with_len(source->joined.data,
												  source->joined.len);
	piece->characters = pg_mbstrlen(text);
	appendStringInfoString(&source->joined, text);
	return piece;
}

/* Moves the position of an error from the joined text into its piece. */
static void
relocate_error(void *arg)
{
	SourceText *source = arg;
	SourcePiece *piece = source->parsing;
	int			position = geterrposition();
	int			start = 0;

	if (piece != NULL)
		start = piece->start_byte;	/* each blank is a character */
	else
	{
		for (int i = source->piece_count - 1; i >= 0 && piece == NULL; i--)
			if (position > source->pieces[i].start_character)
				piece = &source->pieces[i];
		if (piece != NULL)
			start = piece->start_character;
	}

	if (piece != NULL && position > start)
	{
		errposition(0);
		internalerrposition(Min(position - start, piece->characters + 1));
		internalerrquery(piece->text);
	}
	if (piece != NULL && piece->destination != NULL)
		errcontext("mapping expression for \"%s\"", piece->destination);
}

void
source_text_enter(SourceText *source)
{
	source->callback.callback = relocate_error;
	source->callback.arg = source;
	source->callback.previous = error_context_stack;
	error_context_stack = &source->callback;
}

void
source_text_leave(SourceText *source)
{
	error_context_stack = source->callback.previous;
}

/* Runs raw_parser() on a piece, at its place. */
static List *
parse_piece(SourceText *source, SourcePiece *piece, RawParseMode mode)
{
	int			length = strlen(piece->text);
	char	   *padded = palloc(piece->start_byte + length + 1);
	List	   *statements;

	memset(padded, ' ', piece->start_byte);
	memcpy(padded + piece->start_byte, piece->text, length + 1);

	source->parsing = piece;
	source_text_enter(source);
	statements = raw_parser(padded, mode);
	source_text_leave(source);
	source->parsing = NULL;

	pfree(padded);
	return statements;
}

SelectStmt *
source_text_parse_query(SourceText *source, const char *query)
{
	SourcePiece *piece = add_piece(source, query, NULL);
	List	   *statements = parse_piece(source, piece, RAW_PARSE_DEFAULT);
	SelectStmt *select;
	SelectStmt *leftmost;

	if (statements == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("the model's query is empty"),
				 errhint("Give one SELECT.")));
	if (list_length(statements) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("the model's query must be one statement, but has %d",
						list_length(statements)),
				 errhint("Give one SELECT; what it needs from others can be in a WITH.")));

	select = (SelectStmt *) linitial_node(RawStmt, statements)->stmt;
	if (!IsA(select, SelectStmt))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the model's query must be a SELECT"),
				 errhint("SELECT, VALUES, TABLE and WITH ... SELECT are accepted.")));

	leftmost = select;
	while (leftmost->larg != NULL)
		leftmost = leftmost->larg;
	if (leftmost->intoClause != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the model's query must not have INTO"),
				 errhint("A model only reads; where its rows go is what a sync says.")));
	return select;
}

/*
 * PL/pgSQL's expression mode accepts whatever can follow SELECT; an expression
 * is that with nothing but one unnamed output column.
 */
static bool
is_bare_expression(const SelectStmt *select)
{
	const ResTarget *target;

	if (select->op != SETOP_NONE || select->distinctClause != NIL ||
		select->intoClause != NULL || select->fromClause != NIL ||
		select->whereClause != NULL || select->groupClause != NIL ||
		select->havingClause != NULL || select->windowClause != NIL ||
		select->valuesLists != NIL || select->sortClause != NIL ||
		select->limitOffset != NULL || select->limitCount != NULL ||
		select->lockingClause != NIL || select->withClause != NULL ||
		list_length(select->targetList) != 1)
		return false;

	target = linitial_node(ResTarget, select->targetList);
	if (target->name != NULL)
		return false;
	if (IsA(target->val, ColumnRef))
		return !IsA(llast(((ColumnRef *) target->val)->fields), A_Star);
	return true;
}

Node *
source_text_parse_expression(SourceText *source, const char *expression,
							 const char *destination)
{
	SourcePiece *piece = add_piece(source, expression, destination);
	List	   *statements = parse_piece(source, piece, RAW_PARSE_PLPGSQL_EXPR);
	SelectStmt *select = (SelectStmt *) linitial_node(RawStmt, statements)->stmt;

	if (!IsA(select, SelectStmt) || !is_bare_expression(select))
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("mapping expression for \"%s\" is not one expression",
						destination),
				 errhint("Write one SQL expression over the model's columns, such as upper(country).")));
	return linitial_node(ResTarget, select->targetList)->val;
}
