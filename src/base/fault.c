/*
 * fault.c
 *		Places where tests make things go wrong; see fault.h.
 *
 * Empty in the product.  The list of faults is read anew at each point, so a
 * reload takes effect at once; how often this process came to a point is
 * counted per fault text, so that changing the setting starts counting anew.
 */
#include "postgres.h"

#include "base/fault.h"

#ifdef SIGNALSMITH_FAULTS

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#define FAULT_LIMIT 16
#define POLL_MILLISECONDS 10

typedef struct FaultCount
{
	char	   *text;			/* one fault of the setting, as written */
	int			times;			/* that this process came to its point */
} FaultCount;

static char *setting_fault = "";
static FaultCount fault_counts[FAULT_LIMIT];

void
fault_define_setting(void)
{
	DefineCustomStringVariable("signalsmith.fault",
							   "Makes things go wrong at certain places, for tests.",
							   "A list of name:action[:nth][@file].",
							   &setting_fault, "",
							   PGC_SUSET, 0, NULL, NULL, NULL);
}

/* Counts for ever: the texts live as long as the process. */
static int
count_passage(const char *text)
{
	for (int i = 0; i < FAULT_LIMIT; i++)
	{
		if (fault_counts[i].text == NULL)
			fault_counts[i].text = MemoryContextStrdup(TopMemoryContext, text);
		if (strcmp(fault_counts[i].text, text) == 0)
			return ++fault_counts[i].times;
	}
	elog(ERROR, "too many faults in signalsmith.fault, or changed too often");
}

static bool
create_file(const char *path)
{
	int			file = open(path, O_WRONLY | O_CREAT | O_EXCL, 0666);

	if (file < 0)
	{
		if (errno != EEXIST)
			elog(ERROR, "could not create file \"%s\": %m", path);
		return false;
	}
	close(file);
	return true;
}

static void
sleep_until(const char *path, long milliseconds)
{
	struct stat status;

	while (milliseconds > 0 && (path == NULL || stat(path, &status) != 0))
	{
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Min(milliseconds, POLL_MILLISECONDS),
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (milliseconds != LONG_MAX)
			milliseconds -= Min(milliseconds, POLL_MILLISECONDS);
	}
}

static void
act(const char *point, const char *action, const char *argument)
{
	elog(LOG, "fault point \"%s\": %s", point, action);

	if (strcmp(action, "error") == 0)
		elog(ERROR, "fault at \"%s\"", point);
	else if (strcmp(action, "fatal") == 0)
		elog(FATAL, "fault at \"%s\"", point);
	else if (strcmp(action, "kill") == 0)
		kill(MyProcPid, SIGKILL);
	else if (strcmp(action, "abort") == 0)
		abort();
	else if (strcmp(action, "sleep") == 0)
		sleep_until(NULL, argument ? atol(argument) : LONG_MAX);
	else if (strcmp(action, "wait") == 0 && argument)
	{
		(void) create_file(psprintf("%s.reached", argument));
		sleep_until(argument, LONG_MAX);
	}
	else
		elog(ERROR, "unrecognized action \"%s\" in signalsmith.fault", action);
}

/* Cuts the text off where the separator is; returns what follows, or NULL. */
static char *
cut_at(char *text, char separator)
{
	char	   *position = strchr(text, separator);

	if (position == NULL)
		return NULL;
	*position = '\0';
	return position + 1;
}

static void
consider(const char *point, const char *fault)
{
	char	   *name = pstrdup(fault);
	char	   *once = cut_at(name, '@');
	char	   *action = cut_at(name, ':');
	char	   *nth;
	char	   *argument;

	if (action == NULL)
		elog(ERROR, "invalid fault \"%s\" in signalsmith.fault", fault);
	nth = cut_at(action, ':');
	argument = cut_at(action, '=');

	if (strcmp(name, point) == 0 &&
		(nth == NULL || count_passage(fault) == atoi(nth)) &&
		(once == NULL || create_file(once)))
		act(point, action, argument);
	pfree(name);
}

void
fault_point(const char *name)
{
	char	   *list;
	char	   *fault;
	char	   *rest;

	if (setting_fault == NULL || setting_fault[0] == '\0')
		return;

	list = pstrdup(setting_fault);
	for (fault = strtok_r(list, ", ", &rest); fault; fault = strtok_r(NULL, ", ", &rest))
		consider(name, fault);
	pfree(list);
}

#endif							/* SIGNALSMITH_FAULTS */
