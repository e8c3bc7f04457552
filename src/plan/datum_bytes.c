/*
 * datum_bytes.c
 *		The bytes of a SQL value, the same however it is stored.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/lsyscache.h"

#include "plan/datum_bytes.h"

DatumLayout
datum_layout(Oid type, int16 *length)
{
	bool		by_value;

	get_typlenbyval(type, length, &by_value);
	if (type == NAMEOID)
		return LAYOUT_NAME;
	if (*length == -1)
		return LAYOUT_VARLENA;
	if (!by_value)
		return LAYOUT_FIXED;
	switch (*length)
	{
		case 1:
			return LAYOUT_BYTE;
		case 2:
			return LAYOUT_INT2;
		case 4:
			return LAYOUT_INT4;
		default:
			return LAYOUT_INT8;
	}
}

bool
type_is_plain(Oid type)
{
	Oid			element;

	switch (type)
	{
		case BOOLOID:
		case CHAROID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case OIDOID:
		case XIDOID:
		case XID8OID:
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
		case CASHOID:
		case NAMEOID:
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case BYTEAOID:
		case UUIDOID:
		case DATEOID:
		case TIMEOID:
		case TIMETZOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
		case INTERVALOID:
		case JSONOID:
		case JSONBOID:
		case INETOID:
		case CIDROID:
		case MACADDROID:
		case MACADDR8OID:
		case BITOID:
		case VARBITOID:
			return true;
		default:
			element = get_element_type(type);
			return OidIsValid(element) && type_is_plain(element);
	}
}
