/*
 * exact_memory.c
 *		A memory context in which each piece is a malloc of its own.
 *
 * The server's own contexts carve pieces out of large blocks, where the address
 * sanitizer cannot tell one from the next.  From PostgreSQL 16 on the kinds of
 * contexts are fixed, and an ordinary one has to do.
 */
#include "postgres.h"

#include "lib/ilist.h"
#include "utils/memutils.h"

#include "harness.h"

#if PG_VERSION_NUM >= 160000

MemoryContext
exact_context_create(MemoryContext parent)
{
	return AllocSetContextCreate(parent, "fuzz input", ALLOCSET_DEFAULT_SIZES);
}

#else

typedef struct ExactContext
{
	MemoryContextData header;
	dlist_head	pieces;
} ExactContext;

/* Lies before each piece; the server looks for the context right there. */
typedef struct PieceHeader
{
	dlist_node	node;
	Size		size;
	MemoryContext context;
} PieceHeader;

#define piece_header(pointer) ((PieceHeader *) (pointer) - 1)

static void *
exact_alloc(MemoryContext context, Size size)
{
	PieceHeader *piece = malloc(sizeof(PieceHeader) + size);

	if (piece == NULL)
		return NULL;
	piece->size = size;
	piece->context = context;
	dlist_push_head(&((ExactContext *) context)->pieces, &piece->node);
	context->mem_allocated += sizeof(PieceHeader) + size;
	return piece + 1;
}

static void
exact_free(MemoryContext context, void *pointer)
{
	PieceHeader *piece = piece_header(pointer);

	dlist_delete(&piece->node);
	context->mem_allocated -= sizeof(PieceHeader) + piece->size;
	free(piece);
}

static void *
exact_realloc(MemoryContext context, void *pointer, Size size)
{
	void	   *result = exact_alloc(context, size);

	if (result == NULL)
		return NULL;
	memcpy(result, pointer, Min(size, piece_header(pointer)->size));
	exact_free(context, pointer);
	return result;
}

static void
exact_reset(MemoryContext context)
{
	ExactContext *exact = (ExactContext *) context;

	while (!dlist_is_empty(&exact->pieces))
		exact_free(context, dlist_head_element(PieceHeader, node, &exact->pieces) + 1);
}

static void
exact_delete(MemoryContext context)
{
	exact_reset(context);
	free(context);
}

static Size
exact_get_chunk_space(MemoryContext context, void *pointer)
{
	return piece_header(pointer)->size;
}

static bool
exact_is_empty(MemoryContext context)
{
	return dlist_is_empty(&((ExactContext *) context)->pieces);
}

static void
exact_stats(MemoryContext context, MemoryStatsPrintFunc print, void *arg,
			MemoryContextCounters *totals, bool to_stderr)
{
	(void) context;
}

static const MemoryContextMethods exact_methods = {
	.alloc = exact_alloc,
	.free_p = exact_free,
	.realloc = exact_realloc,
	.reset = exact_reset,
	.delete_context = exact_delete,
	.get_chunk_space = exact_get_chunk_space,
	.is_empty = exact_is_empty,
	.stats = exact_stats
};

MemoryContext
exact_context_create(MemoryContext parent)
{
	ExactContext *context = calloc(1, sizeof(ExactContext));

	dlist_init(&context->pieces);
	MemoryContextCreate(&context->header, T_AllocSetContext, &exact_methods, parent,
						"fuzz input");
	return &context->header;
}

#endif
