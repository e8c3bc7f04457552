/*
 * key_table.c
 *		Packed keys with a word each: an array in the order of arrival, and an
 *		index over it.
 *
 * The array alone serves whoever reads it in order.  The index is built when
 * somebody first has to look something up: open addressing, four bytes a slot,
 * at most three quarters full.  Key widths are constants in the loops.
 */
#include "postgres.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/memutils.h"

#include "plan/key_table.h"

/* Room for this many entries at first. */
#define FIRST_CAPACITY 512

#define FIRST_SLOT_BITS 10

/* Entries and slots are numbered in 32 bits, with one number to spare. */
#define MAX_ENTRIES ((uint32) 3000000000U)

/* Slots are asked for so many entries before they are written. */
#define PREFETCH_DISTANCE 16

/* Interrupts are served each time after so many entries. */
#define INTERRUPT_INTERVAL 65536

KeyTable *
key_table_create(int key_width, Size limit)
{
	KeyTable   *table = palloc0(sizeof(KeyTable));

	table->key_width = key_width;
	table->limit = limit;
	table->context = CurrentMemoryContext;
	return table;
}

void
key_table_free(KeyTable *table)
{
	key_table_drop_index(table);
	if (table->entries != NULL)
		pfree(table->entries);
	pfree(table);
}

/* --- memory --- */

static int
slot_bits_for(uint64 entries)
{
	int			bits = FIRST_SLOT_BITS;

	while ((UINT64CONST(1) << bits) / 4 * 3 < entries)
		bits++;
	return bits;
}

static Size
slots_size(int bits)
{
	return ((Size) 1 << bits) * sizeof(uint32);
}

Size
key_table_memory(uint64 count, int key_width)
{
	return count * key_table_stride(key_width) + slots_size(slot_bits_for(count));
}

static Size
memory_in_use(const KeyTable *table)
{
	Size		slots = table->slots ? ((Size) table->slot_mask + 1) * sizeof(uint32) : 0;

	return (Size) table->capacity * key_table_stride(table->key_width) + slots;
}

/*
 * Large arrays that are read here and there cost a miss of the address
 * translation for each read unless they are in huge pages.  Only a hint.
 */
static void
advise_huge_pages(void *memory, Size size)
{
#if defined(__linux__) && defined(MADV_HUGEPAGE)
	uintptr_t	page = 4096;
	uintptr_t	start = TYPEALIGN(page, (uintptr_t) memory);
	uintptr_t	end = TYPEALIGN_DOWN(page, (uintptr_t) memory + size);

	if (end > start)
		(void) madvise((void *) start, end - start, MADV_HUGEPAGE);
#endif
}

/*
 * Beyond palloc's limit: a snapshot of 100 million records is a few GB, and
 * diff_mem is what bounds it.  The server's allocator hands such sizes to
 * realloc(), which moves pages, not bytes.
 */
static void
set_capacity(KeyTable *table, uint64 capacity)
{
	Size		size = capacity * key_table_stride(table->key_width);

	if (capacity > MAX_ENTRIES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many records in one sync"),
				 errdetail("At most %u are possible.", MAX_ENTRIES)));
	if (table->entries == NULL)
		table->entries = MemoryContextAllocHuge(table->context, size);
	else
		table->entries = repalloc_huge(table->entries, size);
	advise_huge_pages(table->entries, size);
	table->capacity = (uint32) capacity;
	table->peak = Max(table->peak, memory_in_use(table));
}

void
key_table_reserve(KeyTable *table, uint64 count)
{
	if (count > table->capacity)
		set_capacity(table, count);
}

/* False when the limit forbids it. */
static bool
grow(KeyTable *table)
{
	uint64		capacity = Max(FIRST_CAPACITY, table->capacity + (uint64) table->capacity / 2);

	if (table->capacity < MAX_ENTRIES)
		capacity = Min(capacity, MAX_ENTRIES);

	if (table->limit > 0)
	{
		Size		stride = key_table_stride(table->key_width);
		Size		others = memory_in_use(table) - table->capacity * stride;

		if (others > table->limit || (table->limit - others) / stride <= table->capacity)
			return false;
		capacity = Min(capacity, (table->limit - others) / stride);
	}
	set_capacity(table, capacity);
	return true;
}

void
key_table_append(KeyTable *table, RecordKey key, uint64 value)
{
	if (unlikely(table->count == table->capacity) && !grow(table))
		elog(ERROR, "key table is full");
	pack_entry(key_table_entry(table, table->count++), key, value, table->key_width);
}

/* --- the index --- */

static pg_attribute_always_inline uint32
slot_of(const KeyTable *table, RecordKey key, const int width)
{
	uint64		mixed = key.low;

	if (width == KEY_WIDTH_WIDE)
		mixed ^= key.high * UINT64CONST(0xff51afd7ed558ccd);
	mixed ^= mixed >> 32;
	mixed *= UINT64CONST(0x9e3779b97f4a7c15);
	return (uint32) (mixed >> table->slot_shift);
}

static pg_attribute_always_inline const char *
entry_at(const KeyTable *table, uint32 entry, const int width)
{
	return table->entries + entry * key_table_stride(width);
}

void
key_table_drop_index(KeyTable *table)
{
	if (table->slots != NULL)
		pfree(table->slots);
	table->slots = NULL;
	table->slots_used = 0;
	table->index_whole = false;
}

static void
allocate_slots(KeyTable *table, int bits)
{
	key_table_drop_index(table);
	table->slots = MemoryContextAllocHuge(table->context, slots_size(bits));
	advise_huge_pages(table->slots, slots_size(bits));
	memset(table->slots, 0, slots_size(bits));
	table->slot_mask = (uint32) ((UINT64CONST(1) << bits) - 1);
	table->slot_shift = 64 - bits;
	table->peak = Max(table->peak, memory_in_use(table));
}

/* The slot of a key, or the free one where it would be. */
static pg_attribute_always_inline uint32
find_slot(const KeyTable *table, RecordKey key, const int width)
{
	uint32		slot = slot_of(table, key, width);

	while (table->slots[slot] != 0 &&
		   !packed_entry_has_key(entry_at(table, table->slots[slot] - 1, width), key, width))
		slot = (slot + 1) & table->slot_mask;
	return slot;
}

static pg_attribute_always_inline void
put_entry(KeyTable *table, uint32 entry, const int width)
{
	uint32		slot = find_slot(table, packed_entry_key(entry_at(table, entry, width), width),
								 width);

	table->slots_used += table->slots[slot] == 0;
	table->slots[slot] = entry + 1;
}

static pg_attribute_always_inline void
index_range(KeyTable *table, uint32 first, uint32 end, const int width)
{
	for (uint32 entry = first; entry < end; entry++)
	{
		if (entry % INTERRUPT_INTERVAL == 0)
			CHECK_FOR_INTERRUPTS();
		put_entry(table, entry, width);
	}
}

void
key_table_index_range(KeyTable *table, uint32 first, uint32 end)
{
	if (table->key_width == KEY_WIDTH_NARROW)
		index_range(table, first, end, KEY_WIDTH_NARROW);
	else
		index_range(table, first, end, KEY_WIDTH_WIDE);
}

void
key_table_begin_index(KeyTable *table, uint64 room)
{
	allocate_slots(table, slot_bits_for(room));
}

/*
 * Puts all live entries into an empty index.  Comparing keys would read entries
 * here and there, so they are not compared: a lookup finds the one of several
 * with one key that was put in first, which is the last one, since we go
 * backwards.
 */
static pg_attribute_always_inline void
fill_index(KeyTable *table, const int width)
{
	for (uint32 entry = table->count; entry-- > 0;)
	{
		const char *packed = entry_at(table, entry, width);
		uint32		slot;

		if (entry % INTERRUPT_INTERVAL == 0)
			CHECK_FOR_INTERRUPTS();
		if (entry >= PREFETCH_DISTANCE)
			__builtin_prefetch(&table->slots[slot_of(table,
													 packed_entry_key(packed - PREFETCH_DISTANCE * key_table_stride(width), width),
													 width)], 1);
		if (packed_entry_value(packed, width) == 0)
			continue;
		slot = slot_of(table, packed_entry_key(packed, width), width);
		while (table->slots[slot] != 0)
			slot = (slot + 1) & table->slot_mask;
		table->slots[slot] = entry + 1;
		table->slots_used++;
	}
}

static void
index_all(KeyTable *table, int bits)
{
	instr_time	begin;
	instr_time	end;

	INSTR_TIME_SET_CURRENT(begin);
	allocate_slots(table, bits);
	if (table->key_width == KEY_WIDTH_NARROW)
		fill_index(table, KEY_WIDTH_NARROW);
	else
		fill_index(table, KEY_WIDTH_WIDE);
	table->index_whole = true;
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, begin);
	table->index_seconds += INSTR_TIME_GET_DOUBLE(end);
}

void
key_table_index_all(KeyTable *table)
{
	index_all(table, slot_bits_for(table->count));
}

static bool
index_is_full(const KeyTable *table)
{
	return table->slots_used >= (table->slot_mask / 4 + 1) * 3 - 1;
}

/* Doubles an index, with what is in it. */
static void
enlarge_index(KeyTable *table)
{
	uint32	   *old_slots = table->slots;
	uint64		old_count = (uint64) table->slot_mask + 1;

	table->slots = NULL;
	allocate_slots(table, 64 - table->slot_shift + 1);
	for (uint64 i = 0; i < old_count; i++)
		if (old_slots[i] != 0)
			put_entry(table, old_slots[i] - 1, table->key_width);
	pfree(old_slots);
}

void
key_table_index_entry(KeyTable *table, uint32 entry)
{
	if (table->slots == NULL)
		allocate_slots(table, FIRST_SLOT_BITS);
	else if (index_is_full(table))
		enlarge_index(table);
	put_entry(table, entry, table->key_width);
}

uint32
key_table_find(const KeyTable *table, RecordKey key)
{
	uint32		slot = table->key_width == KEY_WIDTH_NARROW ?
		find_slot(table, key, KEY_WIDTH_NARROW) : find_slot(table, key, KEY_WIDTH_WIDE);

	return table->slots[slot] == 0 ? KEY_TABLE_NONE : table->slots[slot] - 1;
}

/* Room for one more key in the index; false when the limit forbids it. */
static bool
make_room_in_index(KeyTable *table)
{
	int			bits;

	if (!table->index_whole)
	{
		index_all(table, slot_bits_for((uint64) table->count + 1));
		return true;
	}
	if (!index_is_full(table))
		return true;

	bits = 64 - table->slot_shift + 1;
	if (table->limit > 0 &&
		table->capacity * key_table_stride(table->key_width) + slots_size(bits) > table->limit)
		return false;
	index_all(table, bits);
	return true;
}

uint32
key_table_find_or_add(KeyTable *table, RecordKey key, uint64 value, bool *added)
{
	bool		has_room = make_room_in_index(table);
	int			width = table->key_width;
	uint32		slot = width == KEY_WIDTH_NARROW ?
		find_slot(table, key, KEY_WIDTH_NARROW) : find_slot(table, key, KEY_WIDTH_WIDE);

	*added = false;
	if (table->slots[slot] != 0)
		return table->slots[slot] - 1;
	if (!has_room || (table->count == table->capacity && !grow(table)))
		return KEY_TABLE_NONE;

	pack_entry(key_table_entry(table, table->count), key, value, width);
	*added = true;
	table->slots_used++;
	table->slots[slot] = ++table->count;
	return table->count - 1;
}

void
key_table_prefetch_slot(const KeyTable *table, RecordKey key)
{
	uint32		slot = table->key_width == KEY_WIDTH_NARROW ?
		slot_of(table, key, KEY_WIDTH_NARROW) : slot_of(table, key, KEY_WIDTH_WIDE);

	__builtin_prefetch(&table->slots[slot]);
}

void
key_table_prefetch_entry(const KeyTable *table, RecordKey key)
{
	uint32		slot = table->key_width == KEY_WIDTH_NARROW ?
		slot_of(table, key, KEY_WIDTH_NARROW) : slot_of(table, key, KEY_WIDTH_WIDE);

	if (table->slots[slot] != 0)
		__builtin_prefetch(key_table_entry(table, table->slots[slot] - 1));
}
