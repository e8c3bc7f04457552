EXTENSION = signalsmith
EXTVERSION = $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" $(srcdir)/$(EXTENSION).control)

MODULE_big = signalsmith
OBJS = $(patsubst $(srcdir)/%.c,%.o,$(wildcard $(srcdir)/src/*/*.c))

# The install script is assembled from parts, in this order, then one INSERT
# for each shipped connector.
SQL_PARTS = $(addprefix sql/, prologue.sql roles.sql tables.sql \
	helpers.sql announcements.sql instance.sql models.sql schema_drift.sql \
	connector_definitions.sql destinations.sql connectors.sql connector_catalog.sql \
	secrets.sql cron.sql field_mappings.sql syncs.sql retention.sql runs.sql \
	failed_rows.sql held_deletes.sql preview.sql lifecycle.sql representation.sql installation.sql \
	views.sql alerts.sql monitoring.sql configuration.sql grants.sql)
CONNECTORS = $(wildcard $(srcdir)/sql/connectors/*.json)
DATA_built = sql/$(EXTENSION)--$(EXTVERSION).sql
DATA = $(filter-out $(DATA_built), $(wildcard sql/$(EXTENSION)--*.sql))

PG_CPPFLAGS = -I$(srcdir)/src -DSIGNALSMITH_VERSION='"$(EXTVERSION)"' \
	-DPGDLLEXPORT='__attribute__((visibility("default")))'
PG_CFLAGS = -std=gnu99 -fvisibility=hidden
SHLIB_LINK = -lcurl -lcrypto -lz

# For tests alone: places where the setting signalsmith.fault makes things go
# wrong (src/base/fault.h).
ifdef FAULTS
PG_CPPFLAGS += -DSIGNALSMITH_FAULTS
endif

# pg_regress inputs are in test/sql, their outputs in expected.
REGRESS = $(patsubst $(srcdir)/test/sql/%.sql,%,$(wildcard $(srcdir)/test/sql/*.sql))
REGRESS_OPTS = --inputdir=test --temp-instance=./tmp_check --temp-config=$(srcdir)/test/signalsmith.conf
ISOLATION = $(patsubst $(srcdir)/test/specs/%.spec,%,$(wildcard $(srcdir)/test/specs/*.spec))
ISOLATION_OPTS = --inputdir=test --outputdir=. --temp-instance=./tmp_check_iso --temp-config=$(srcdir)/test/signalsmith.conf \
	--temp-config=$(srcdir)/test/specs/runs.conf
TAP_TESTS = 1
PROVE_TESTS ?= test/t/*.pl

# Bitcode for the JIT compiler gains nothing here: no function is inlined into
# queries.
override with_llvm := no

PG_CONFIG ?= pg_config
srcdir ?= .
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

ifeq ($(shell test $(MAJORVERSION) -ge 15 || echo old),old)
$(error signalsmith needs PostgreSQL 15 or later, but $(PG_CONFIG) says $(VERSION))
endif

# Makefile.global resets PROVE_FLAGS; "override" keeps "make PROVE_FLAGS=-v".
override PROVE_FLAGS += -I $(CURDIR)/test/perl

# PGXS has no header dependencies of its own on Debian.
$(OBJS): $(wildcard $(srcdir)/src/*/*.h)

# $(1) is a manifest's file: its name without .json is the connector's name.
define connector_sql
printf "INSERT INTO signalsmith.connector (name, manifest, builtin) VALUES ('%s', \$$manifest\$$" $(basename $(notdir $(1))) && cat $(1) && printf "\$$manifest\$$, true);\n"
endef

$(DATA_built): $(SQL_PARTS) $(CONNECTORS) $(EXTENSION).control Makefile
	{ cat $(SQL_PARTS) && $(foreach file,$(sort $(CONNECTORS)),$(call connector_sql,$(file)) &&) true; } >$@.tmp
	mv $@.tmp $@

EXTRA_CLEAN = $(DATA_built)

# Fuzz targets; these need clang and its runtime libraries (doc/testing.md).
fuzz:
	$(MAKE) -C $(srcdir)/test/fuzz PG_CONFIG=$(PG_CONFIG)

# What static analysis says; needs cppcheck and clang-tidy.
lint:
	PG_CONFIG=$(PG_CONFIG) $(srcdir)/test/lint/run
.PHONY: fuzz lint
