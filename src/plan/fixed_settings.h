/*
 * fixed_settings.h
 *		The settings under which models are parsed, run and rendered.
 */
#ifndef SIGNALSMITH_FIXED_SETTINGS_H
#define SIGNALSMITH_FIXED_SETTINGS_H

#include "postgres.h"

/*
 * Puts the fixed settings and a search_path in force; returns what
 * fixed_settings_leave() takes to undo it, and whatever was set in between.  An
 * error undoes it with the transaction.
 */
extern int	fixed_settings_enter(const char *search_path);
extern void fixed_settings_leave(int nest_level);

#endif							/* SIGNALSMITH_FIXED_SETTINGS_H */
