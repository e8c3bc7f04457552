/*
 * fixed_settings.c
 *		The settings under which models are parsed, run and rendered.
 *
 * A record must not depend on the session, role or database that a run happens
 * in, nor may the meaning of a model's text.
 */
#include "postgres.h"

#include "utils/guc.h"

#include "plan/fixed_settings.h"

static const struct
{
	const char *name;
	const char *value;
}			fixed_settings[] =
{
	/* how values are printed */
	{"bytea_output", "hex"},
	{"datestyle", "ISO"},
	{"extra_float_digits", "1"},
	{"intervalstyle", "postgres"},
	{"lc_monetary", "C"},
	{"quote_all_identifiers", "off"},
	{"timezone", "UTC"},
	{"xmloption", "content"},

	/* how SQL is read */
	{"standard_conforming_strings", "on"},
	{"transform_null_equals", "off"},
};

static void
set_setting(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

int
fixed_settings_enter(const char *search_path)
{
	int			nest_level = NewGUCNestLevel();

	for (size_t i = 0; i < lengthof(fixed_settings); i++)
		set_setting(fixed_settings[i].name, fixed_settings[i].value);
	set_setting("search_path", search_path);
	return nest_level;
}

/*
 * Undoes what the query itself has set, too: the session may be that of somebody
 * who previews what another role has written.
 */
void
fixed_settings_leave(int nest_level)
{
	AtEOXact_GUC(false, nest_level);
}
