/*
 * source_text.h
 *		SQL from several places, parsed into raw trees that share one text.
 */
#ifndef SIGNALSMITH_SOURCE_TEXT_H
#define SIGNALSMITH_SOURCE_TEXT_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "nodes/parsenodes.h"
#include "utils/elog.h"

/* A piece of SQL: the model's query, or one mapping's expression. */
typedef struct SourcePiece
{
	const char *text;
	const char *destination;	/* the field it is mapped to; NULL: the query */
	int			start_byte;		/* in the joined text */
	int			start_character;
	int			characters;
} SourcePiece;

typedef struct SourceText
{
	StringInfoData joined;		/* what locations in the raw trees refer to */
	int			piece_count;
	int			piece_limit;
	SourcePiece *pieces;
	SourcePiece *parsing;		/* the piece that raw_parser() is at, or NULL */
	ErrorContextCallback callback;
} SourceText;

/* Room for this many pieces, in CurrentMemoryContext. */
extern SourceText *source_text_create(int piece_limit);

/*
 * Parses a query, which must be exactly one SELECT without INTO, or an
 * expression, which must be one and nothing else.  Raises ERRCODE_SYNTAX_ERROR
 * or ERRCODE_FEATURE_NOT_SUPPORTED.
 */
extern SelectStmt *source_text_parse_query(SourceText *source, const char *query);
extern Node *source_text_parse_expression(SourceText *source,
										  const char *expression,
										  const char *destination);

/*
 * Between these two, an error's position is shown in the piece that it falls
 * into, and a mapping's expression is named.  Nothing needs to be undone after
 * an error.
 */
extern void source_text_enter(SourceText *source);
extern void source_text_leave(SourceText *source);

#endif							/* SIGNALSMITH_SOURCE_TEXT_H */
