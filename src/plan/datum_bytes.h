/*
 * datum_bytes.h
 *		The bytes of a SQL value, the same however it is stored.
 */
#ifndef SIGNALSMITH_DATUM_BYTES_H
#define SIGNALSMITH_DATUM_BYTES_H

#include "postgres.h"

#include "fmgr.h"

#include "base/compat.h"
#include "base/types.h"

/* How values of a type are laid out. */
typedef enum DatumLayout
{
	LAYOUT_BYTE,				/* by value */
	LAYOUT_INT2,
	LAYOUT_INT4,
	LAYOUT_INT8,
	LAYOUT_FIXED,				/* by reference, always as long */
	LAYOUT_VARLENA,
	LAYOUT_NAME
} DatumLayout;

/* The layout of a type by its length and by-value mark. */
extern DatumLayout datum_layout(Oid type, int16 *length);

/*
 * A value passed by value, as eight bytes.  Which bits above the value's own
 * are set depends on whether it came from a tuple or out of a function, so they
 * are made to agree.
 */
static inline uint64
datum_word(DatumLayout layout, Datum value)
{
	switch (layout)
	{
		case LAYOUT_BYTE:
			return (uint64) (uint8) value;
		case LAYOUT_INT2:
			return (uint64) (int64) (int16) value;
		case LAYOUT_INT4:
			return (uint64) (int64) (int32) value;
		default:
			return (uint64) value;
	}
}

/*
 * A value passed by reference, as bytes: detoasted, and without the header,
 * which may be short or long.
 */
static inline Slice
datum_slice(DatumLayout layout, int16 length, Datum value)
{
	Slice		slice;

	if (layout == LAYOUT_VARLENA)
	{
		struct varlena *varlena = PG_DETOAST_DATUM_PACKED(value);

		slice.data = VARDATA_ANY(varlena);
		slice.length = VARSIZE_ANY_EXHDR(varlena);
	}
	else
	{
		slice.data = DatumGetPointer(value);
		slice.length = layout == LAYOUT_NAME ? (uint32) strlen(slice.data) : (uint32) length;
	}
	return slice;
}

static inline bool
layout_is_by_value(DatumLayout layout)
{
	return layout <= LAYOUT_INT8;
}

/*
 * Whether two values of a type are the same to a destination exactly when their
 * bytes are: built-in types whose text depends on nothing else.  (A value may
 * have several representations, such as numeric 1.0 and 1.00 in a record whose
 * text differs too.)
 */
extern bool type_is_plain(Oid type);

#endif							/* SIGNALSMITH_DATUM_BYTES_H */
