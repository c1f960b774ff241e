# Makefile of patroni_bgw
#
# PGXS builds patroni_bgw.so (scripts/pgxs.mk); rules of our own build
# patroni_worker.so, patroni_supervisor and libpatroni.a, the library that the
# unit tests link.  Every object is listed by name; "make layering" complains
# about a source file that no list names.
#
#   make [all]      build everything into $(BUILD)
#   make install    PG_CONFIG, PREFIX and DESTDIR say where; PATRONICTL=yes: also under
#                   the name patronictl if there is none; also: uninstall
#   make check      build, then every test; ends with "N passed, N failed"
#   make unit sanitize pure layering headers symbols store regress tap   its parts
#   make fuzz-node  100,000 malformed requests to a running node, whose supervisor is sanitized
#   make compatibility  docs/compatibility.md, from the test t/087_compatibility.pl
#                   in all of its states
#   make fuzz       100,000 malformed requests to the HTTP server, sanitized
#   make bench bench-quick   us and others side by side (docs/benchmarks.md): hours, or minutes
#   make bench-many   1, 100 and 1000 idle clusters on one etcd, for the same page: half an hour
#   make demo       a cluster of three members on this machine; demo-stop
#   make docs       write docs/decisions.md from the decision tables
#   make sim        simulated clusters under faults (docs/proof.md): SEEDS=n
#                   SEED=x NODES=n PROFILE=p TRACE=yes
#   make sim-check sim-regressions sim-digests sim-patches   20,000 seeds; old
#                   seeds; the same runs on two compilers; do mutants apply
#   make sim-mutants   are planted mistakes found?
#   make sim-replay TRACE=file   the decisions of a real node again, from its record
#
# All paths are relative, so that a work tree with spaces in its path works.
#
# Tests need a server that finds our libraries and our extension, without
# touching the PostgreSQL installation or any cluster of this machine.
# PostgreSQL finds its files relative to its programs, so scripts/stage.sh
# makes a private copy in a temporary directory: programs copied, the rest
# symbolic links, our files added.  That needs no root.  As root the servers
# run as an unprivileged user (scripts/as-user.sh); the work tree may be
# unreadable for that user, so the tests are copied to the stage as well.

PG_CONFIG  ?= pg_config
PKG_CONFIG ?= pkg-config
CC          = gcc
CLANG      ?= clang
AR         ?= ar
INSTALL    ?= install
DESTDIR    ?=
PREFIX     ?= /usr/local
BINDIR     ?= $(PREFIX)/bin
UNITDIR    ?= $(PREFIX)/lib/systemd/system
SYSCONFDIR ?= /etc/patroni_bgw
DOCDIR     ?= $(PREFIX)/share/doc/patroni_bgw
BASHDIR    ?= $(PREFIX)/share/bash-completion/completions
PATRONICTL ?= no
BUILD      ?= build
# make WERROR= builds with a compiler that warns of more than ours do
WERROR     ?= -Werror
SANITIZE   ?=

BASE_OBJS = \
	src/base/cycles.o \
	src/base/error.o \
	src/base/lease_page.o

CLUSTER_OBJS = \
	src/cluster/failover.o \
	src/cluster/history.o \
	src/cluster/json_text.o \
	src/cluster/member.o \
	src/cluster/request.o \
	src/cluster/status.o \
	src/cluster/sync_state.o \
	src/cluster/failsafe.o \
	src/cluster/text.o \
	src/cluster/view.o

HA_OBJS = \
	src/ha/actions.o \
	src/ha/command.o \
	src/ha/explain.o \
	src/ha/hang.o \
	src/ha/lease.o \
	src/ha/origin.o \
	src/ha/publish.o \
	src/ha/race.o \
	src/ha/failsafe.o \
	src/ha/requests.o \
	src/ha/restart.o \
	src/ha/rules.o \
	src/ha/save.o \
	src/ha/server_state.o \
	src/ha/slot_plan.o \
	src/ha/slots.o \
	src/ha/state.o \
	src/ha/step.o \
	src/ha/switchover.o \
	src/ha/sync.o \
	src/ha/sync_plan.o \
	src/ha/task.o \
	src/ha/timeline.o \
	src/ha/verbs.o

CONFIG_OBJS = \
	src/config/document.o \
	src/config/dynamic.o \
	src/config/environment.o \
	src/config/guc_rules.o \
	src/config/local.o \
	src/config/parameters.o \
	src/config/pgbouncer.o \
	src/config/schema.o \
	src/config/settings.o \
	src/config/values.o \
	src/config/yaml.o

POSTGRES_OBJS = \
	src/postgres/conf_file.o \
	src/postgres/conninfo.o \
	src/postgres/control_file.o \
	src/postgres/data_directory.o \
	src/postgres/divergence.o \
	src/postgres/files.o \
	src/postgres/history_file.o \
	src/postgres/own_conf.o \
	src/postgres/postmaster_file.o \
	src/postgres/unused_history.o

DCS_OBJS = \
	src/dcs/base64.o \
	src/dcs/dcs.o \
	src/dcs/etcd3.o \
	src/dcs/etcd3_shapes.o \
	src/dcs/http.o \
	src/dcs/stream.o

NODE_OBJS = \
	src/node/channel.o \
	src/node/combine.o \
	src/node/edit_config.o \
	src/node/events.o \
	src/node/health_watch.o \
	src/node/host.o \
	src/node/isolation_watch.o \
	src/node/peers.o \
	src/node/postgres_json.o \
	src/node/put_failover.o \
	src/node/snapshot.o \
	src/node/trace.o \
	src/node/trace_json.o

REST_OBJS = \
	src/rest/access.o \
	src/rest/allowlist.o \
	src/rest/answer.o \
	src/rest/documents.o \
	src/rest/facts.o \
	src/rest/health.o \
	src/rest/listen.o \
	src/rest/metrics.o \
	src/rest/query.o \
	src/rest/request.o \
	src/rest/rest.o \
	src/rest/restart.o \
	src/rest/server.o \
	src/rest/switchover.o \
	src/rest/takeover.o \
	src/rest/tls.o

SUPERVISOR_OBJS = \
	src/supervisor/act.o \
	src/supervisor/baton.o \
	src/supervisor/cache.o \
	src/supervisor/callback.o \
	src/supervisor/calls.o \
	src/supervisor/console.o \
	src/supervisor/data_files.o \
	src/supervisor/log.o \
	src/supervisor/notify.o \
	src/supervisor/observe.o \
	src/supervisor/pgbouncer.o \
	src/supervisor/postmaster.o \
	src/supervisor/probe.o \
	src/supervisor/process.o \
	src/supervisor/status.o \
	src/supervisor/supervisor.o \
	src/supervisor/task.o \
	src/supervisor/task_work.o

SUPERVISOR_MAIN = src/supervisor/main.o

CTL_OBJS = \
	src/ctl/client.o \
	src/ctl/cluster.o \
	src/ctl/cmd_cluster.o \
	src/ctl/cmd_config.o \
	src/ctl/cmd_inner.o \
	src/ctl/cmd_member.o \
	src/ctl/cmd_query.o \
	src/ctl/cmd_show.o \
	src/ctl/cmd_switchover.o \
	src/ctl/config.o \
	src/ctl/config_change.o \
	src/ctl/diff.o \
	src/ctl/members.o \
	src/ctl/options.o \
	src/ctl/say.o \
	src/ctl/store.o \
	src/ctl/table.o \
	src/ctl/tree.o \
	src/ctl/values.o \
	src/ctl/when.o \
	src/ctl/yaml_text.o

CTL_MAIN = src/ctl/main.o

# In the server.  The stub is loaded by the postmaster, the rest only by the
# worker process.
STUB_OBJS = \
	patroni_bgw.o \
	src/base/error.o \
	src/base/lease_page.o \
	src/ha/rules.o \
	src/postgres/unused_history.o \
	src/worker/consumer_hold.o \
	src/worker/exposure.o \
	src/worker/fence.o \
	src/worker/fence_shared.o \
	src/worker/isolation.o \
	src/worker/recovery.o \
	src/worker/shared.o \
	src/worker/sql.o \
	src/worker/sync_report.o \
	src/worker/synchronous.o \
	src/worker/wal_sent.o \
	src/worker/walsender.o

WORKER_OBJS = \
	src/worker/act.o \
	src/worker/commands.o \
	src/worker/commit_watch.o \
	src/worker/health.o \
	src/worker/loop.o \
	src/worker/no_stdin.o \
	src/worker/observe.o \
	src/worker/shared_worker.o \
	src/worker/slot_copier.o \
	src/worker/slot_copy.o \
	src/worker/slot_keeper.o \
	src/worker/slot_leader.o \
	src/worker/slot_maker.o \
	src/worker/sync_watch.o

# The simulator, and what it links of what ships; the rest it replaces.
SIM_OBJS = \
	src/sim/act.o \
	src/sim/check.o \
	src/sim/check_data.o \
	src/sim/check_home.o \
	src/sim/check_isolation.o \
	src/sim/check_peace.o \
	src/sim/check_sync.o \
	src/sim/client.o \
	src/sim/commits.o \
	src/sim/data.o \
	src/sim/driver.o \
	src/sim/driver_call.o \
	src/sim/driver_operation.o \
	src/sim/faults.o \
	src/sim/home.o \
	src/sim/home_supervisor.o \
	src/sim/home_worker.o \
	src/sim/main.o \
	src/sim/memo.o \
	src/sim/moments.o \
	src/sim/network.o \
	src/sim/node.o \
	src/sim/observe.o \
	src/sim/operators.o \
	src/sim/patroni.o \
	src/sim/peers.o \
	src/sim/consent.o \
	src/sim/profile.o \
	src/sim/queue.o \
	src/sim/random.o \
	src/sim/server.o \
	src/sim/shims.o \
	src/sim/store.o \
	src/sim/store_watch.o \
	src/sim/stream.o \
	src/sim/sync.o \
	src/sim/tasks.o \
	src/sim/trace.o \
	src/sim/wal.o \
	src/sim/world.o
SIM_SHIPPED_OBJS = $(BASE_OBJS) $(CLUSTER_OBJS) $(HA_OBJS) $(CONFIG_OBJS) \
	src/postgres/divergence.o \
	src/dcs/dcs.o \
	src/node/combine.o \
	src/node/edit_config.o \
	src/node/events.o \
	src/node/host.o \
	src/node/isolation_watch.o \
	src/node/postgres_json.o \
	src/node/put_failover.o \
	src/node/snapshot.o \
	src/node/trace.o \
	src/node/trace_json.o

# The engine alone, fed from the record of a real node.
REPLAY_OBJS = src/sim/replay.o $(BASE_OBJS) $(CLUSTER_OBJS) $(HA_OBJS) \
	src/node/postgres_json.o \
	src/node/trace_json.o

PURE_OBJS   = $(CLUSTER_OBJS) $(HA_OBJS)
SHARED_OBJS = $(BASE_OBJS) $(PURE_OBJS) $(CONFIG_OBJS) $(POSTGRES_OBJS) $(DCS_OBJS) $(NODE_OBJS)
LIBRARY_OBJS = $(SHARED_OBJS) $(REST_OBJS) $(SUPERVISOR_OBJS) $(CTL_OBJS)
MAIN_OBJS   = $(SUPERVISOR_MAIN) $(CTL_MAIN)


# ---------------------------------------------------------------------------
# Flags

MODULES_USED = jansson yaml-0.1 libcurl libevent libevent_openssl openssl libpq
OUR_CPPFLAGS = -D_GNU_SOURCE -Isrc $(shell $(PKG_CONFIG) --cflags $(MODULES_USED) 2>/dev/null)
OUR_CFLAGS   = -std=gnu11 -O2 -g -Wall -Wextra $(WERROR) $(CFLAGS)
# sim/memo.c stands before member_read(); calls into a shared jansson would cost 5 %
SIM_LIBS     = -Wl,--wrap=member_read $(STATIC_JANSSON) -lyaml -lm
PROGRAM_LIBS = -ljansson -lyaml -lcurl -levent -levent_openssl -lssl -lcrypto -lpq -lm

ifneq ($(SANITIZE),)
OUR_CFLAGS  += -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
OUR_LDFLAGS  = -fsanitize=address,undefined
endif

SERVER_INCLUDE = $(shell $(PG_CONFIG) --includedir-server)
SERVER_CFLAGS  = -fPIC -fno-strict-aliasing -fwrapv -Wno-unused-parameter -Wno-sign-compare \
                 -Wno-missing-field-initializers -Wno-ignored-attributes
# jansson is linked statically: the server exports symbols of the same names
STATIC_JANSSON = $(shell $(PKG_CONFIG) --variable=libdir jansson)/libjansson.a

UNIT_SOURCES  = $(wildcard test/*/test_*.c)
UNIT_PROGRAMS = $(UNIT_SOURCES:%.c=$(BUILD)/%)

objects = $(addprefix $(BUILD)/,$(1))
worker_objects = $(addprefix $(BUILD)/pic/,$(1))

export PG_CONFIG BUILD CLANG
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all install uninstall clean unit sanitize pure layering headers symbols store regress tap \
	fuzz fuzz-node compatibility check bench bench-quick bench-many demo demo-stop docs unit-programs clang lists FORCE \
	sim sim-replay sim-check sim-mutants sim-patches sim-regressions sim-digests

all: $(BUILD)/patroni_bgw.so $(BUILD)/patroni_worker.so $(BUILD)/patroni_supervisor $(BUILD)/patroni_ctl

# ---------------------------------------------------------------------------
# Building

$(BUILD)/%.o: %.c Makefile
	@mkdir -p '$(@D)'
	$(CC) $(OUR_CPPFLAGS) $(OUR_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/pic/src/worker/%.o: src/worker/%.c Makefile
	@mkdir -p '$(@D)'
	$(CC) $(OUR_CPPFLAGS) -I$(SERVER_INCLUDE) $(OUR_CFLAGS) $(SERVER_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/pic/%.o: %.c Makefile
	@mkdir -p '$(@D)'
	$(CC) $(OUR_CPPFLAGS) $(OUR_CFLAGS) -fPIC -MMD -MP -c -o $@ $<

$(BUILD)/libpatroni.a: $(call objects,$(LIBRARY_OBJS))
	rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/patroni_supervisor: $(call objects,$(SUPERVISOR_MAIN)) $(BUILD)/libpatroni.a
	$(CC) $(OUR_CFLAGS) $(OUR_LDFLAGS) $(LDFLAGS) -o $@ $^ $(PROGRAM_LIBS)

$(BUILD)/patroni_ctl: $(call objects,$(CTL_MAIN)) $(BUILD)/libpatroni.a
	$(CC) $(OUR_CFLAGS) $(OUR_LDFLAGS) $(LDFLAGS) -o $@ $^ $(PROGRAM_LIBS)

$(BUILD)/patroni_sim: $(call objects,$(SIM_OBJS) $(SIM_SHIPPED_OBJS))
	$(CC) $(OUR_CFLAGS) $(OUR_LDFLAGS) $(LDFLAGS) -o $@ $^ $(SIM_LIBS)

$(BUILD)/patroni_replay: $(call objects,$(REPLAY_OBJS))
	$(CC) $(OUR_CFLAGS) $(OUR_LDFLAGS) $(LDFLAGS) -o $@ $^ -ljansson

$(BUILD)/many_clusters: bench/many_clusters.c $(BUILD)/libpatroni.a
	$(CC) $(OUR_CPPFLAGS) $(OUR_CFLAGS) $(OUR_LDFLAGS) $(LDFLAGS) -o $@ $^ $(PROGRAM_LIBS)

$(BUILD)/patroni_worker.so: $(call worker_objects,$(WORKER_OBJS) $(SHARED_OBJS)) src/worker/patroni_worker.map
	$(CC) $(OUR_CFLAGS) $(LDFLAGS) -shared -o $@ $(filter %.o,$^) \
		-Wl,--version-script=src/worker/patroni_worker.map \
		-Wl,-Bsymbolic -Wl,--exclude-libs,ALL -Wl,--wrap=stdin $(STATIC_JANSSON) -lyaml -lcurl -lpq -lssl -lcrypto -lm

# The stub: PGXS in a directory of its own, sources found by a relative VPATH.
$(BUILD)/patroni_bgw.so: FORCE
	@mkdir -p '$(BUILD)/pgxs/src/base' '$(BUILD)/pgxs/src/ha' '$(BUILD)/pgxs/src/postgres' '$(BUILD)/pgxs/src/worker'
	@+$(MAKE) --no-print-directory -C '$(BUILD)/pgxs' -f '$(UP)/scripts/pgxs.mk' \
		VPATH='$(UP)' STUB_OBJS='$(STUB_OBJS)' patroni_bgw.so
	@cmp -s '$(BUILD)/pgxs/patroni_bgw.so' $@ || cp '$(BUILD)/pgxs/patroni_bgw.so' $@

# The way back from $(BUILD)/pgxs: one ".." for each component of a relative path.
empty =
space = $(empty) $(empty)
UP = $(if $(filter /%,$(BUILD)),$(CURDIR),$(subst $(space),/,$(patsubst %,..,$(subst /,$(space),$(BUILD)/pgxs))))

# ---------------------------------------------------------------------------
# Installing

PKGLIBDIR = $(shell $(PG_CONFIG) --pkglibdir)
SHAREDIR  = $(shell $(PG_CONFIG) --sharedir)

install: all
	$(INSTALL) -d '$(DESTDIR)$(PKGLIBDIR)' '$(DESTDIR)$(SHAREDIR)/extension' '$(DESTDIR)$(BINDIR)' \
		'$(DESTDIR)$(UNITDIR)' '$(DESTDIR)$(SYSCONFDIR)' '$(DESTDIR)$(DOCDIR)/docs' \
		'$(DESTDIR)$(DOCDIR)/examples' '$(DESTDIR)$(BASHDIR)'
	$(INSTALL) -m 755 $(BUILD)/patroni_bgw.so $(BUILD)/patroni_worker.so '$(DESTDIR)$(PKGLIBDIR)'
	$(INSTALL) -m 644 extension/*.sql patroni_bgw.control '$(DESTDIR)$(SHAREDIR)/extension'
	$(INSTALL) -m 755 $(BUILD)/patroni_supervisor $(BUILD)/patroni_ctl '$(DESTDIR)$(BINDIR)'
	$(INSTALL) -m 644 src/ctl/patroni_ctl.bash '$(DESTDIR)$(BASHDIR)/patroni_ctl'
	scripts/link-patronictl.sh '$(PATRONICTL)' '$(DESTDIR)$(BINDIR)' '$(DESTDIR)$(BASHDIR)' '$(DESTDIR)'
	sed 's,@BINDIR@,$(BINDIR),g; s,@SYSCONFDIR@,$(SYSCONFDIR),g; s,@DOCDIR@,$(DOCDIR),g' \
		systemd/patroni_supervisor@.service > $(BUILD)/patroni_supervisor@.service
	$(INSTALL) -m 644 $(BUILD)/patroni_supervisor@.service '$(DESTDIR)$(UNITDIR)'
	$(INSTALL) -m 644 examples/patroni.yml '$(DESTDIR)$(SYSCONFDIR)/patroni.yml.sample'
	$(INSTALL) -m 644 README.md CHANGELOG.md LICENSE '$(DESTDIR)$(DOCDIR)'
	$(INSTALL) -m 644 $(wildcard docs/*.md docs/*.svg) '$(DESTDIR)$(DOCDIR)/docs'
	$(INSTALL) -m 644 $(wildcard examples/*) '$(DESTDIR)$(DOCDIR)/examples'

uninstall:
	rm -f '$(DESTDIR)$(PKGLIBDIR)/patroni_bgw.so' '$(DESTDIR)$(PKGLIBDIR)/patroni_worker.so'
	rm -f '$(DESTDIR)$(SHAREDIR)/extension/patroni_bgw.control' \
		$(patsubst extension/%,'$(DESTDIR)$(SHAREDIR)/extension/%',$(wildcard extension/*.sql))
	rm -f '$(DESTDIR)$(BINDIR)/patroni_supervisor' '$(DESTDIR)$(UNITDIR)/patroni_supervisor@.service'
	scripts/link-patronictl.sh remove '$(DESTDIR)$(BINDIR)' '$(DESTDIR)$(BASHDIR)'
	rm -f '$(DESTDIR)$(BINDIR)/patroni_ctl' '$(DESTDIR)$(BASHDIR)/patroni_ctl'
	rm -f '$(DESTDIR)$(SYSCONFDIR)/patroni.yml.sample'
	rm -rf '$(DESTDIR)$(DOCDIR)'

clean:
	rm -rf '$(BUILD)'

# ---------------------------------------------------------------------------
# Testing.  With TALLY=file each target appends "passed failed what" to it.

$(BUILD)/test/%: test/%.c $(BUILD)/libpatroni.a
	@mkdir -p '$(@D)'
	$(CC) $(OUR_CPPFLAGS) -Itest $(OUR_CFLAGS) -Wno-format-truncation $(OUR_LDFLAGS) -MMD -MP -MF $@.d -o $@ $< \
		$(BUILD)/libpatroni.a -lcmocka $(PROGRAM_LIBS)

unit-programs: $(UNIT_PROGRAMS)

# What only it can find: a function that does not do what its comment says.
unit: $(UNIT_PROGRAMS)
	@scripts/unit.sh $(UNIT_PROGRAMS)

# What only it can find: memory and arithmetic errors that happen to work.
sanitize:
	@+$(MAKE) --no-print-directory BUILD='$(BUILD)/sanitize' SANITIZE=yes \
		'$(BUILD)/sanitize/patroni_supervisor' '$(BUILD)/sanitize/patroni_ctl' unit-programs
	@+$(MAKE) --no-print-directory BUILD='$(BUILD)/sanitize' SANITIZE=yes unit

# The same requests as in the unit test test_fuzz, only more: FUZZ_REQUESTS=n FUZZ_SEED=x
fuzz:
	@+$(MAKE) --no-print-directory -s BUILD='$(BUILD)/sanitize' SANITIZE=yes '$(BUILD)/sanitize/test/rest/test_fuzz'
	@TESTS=fuzz FUZZ_REQUESTS=$(or $(FUZZ_REQUESTS),50000) FUZZ_SEED=$(or $(FUZZ_SEED),1) \
		scripts/unit.sh '$(BUILD)/sanitize/test/rest/test_fuzz'

# What only it can find: memory errors of a whole supervisor under 100,000 malformed requests.
fuzz-node: all
	@+$(MAKE) --no-print-directory -s BUILD='$(BUILD)/sanitize' SANITIZE=yes '$(BUILD)/sanitize/patroni_supervisor'
	@STAGE_SUPERVISOR='$(BUILD)/sanitize/patroni_supervisor' FUZZ_REQUESTS=$(or $(FUZZ_REQUESTS),100000) \
		scripts/tap.sh t/063_fuzz.pl

# Write down what the test has found: docs/compatibility.md
compatibility: all
	@file=$$(mktemp) && chmod 666 "$$file" && PATRONI_TEST_ALL_STATES=yes PATRONI_WRITE_COMPATIBILITY="$$file" scripts/tap.sh t/087_compatibility.pl && \
		cp "$$file" docs/compatibility.md; status=$$?; rm -f "$$file"; exit $$status

# What only it can find: the engine reaching for a clock, a socket or a file.
pure: $(call objects,$(PURE_OBJS))
	@scripts/pure.sh $(call objects,$(PURE_OBJS)) -- $(PURE_OBJS:.o=.c)

# What only it can find: an include that points upwards, a file no list names.
layering:
	@scripts/layering.sh $(LIBRARY_OBJS) $(MAIN_OBJS) $(STUB_OBJS) $(WORKER_OBJS) $(SIM_OBJS) src/sim/replay.o

# What only it can find: a header that needs another one included before it.
headers:
	@scripts/headers.sh

# What only it can find: a name in our libraries that the server has as well.
symbols: $(BUILD)/patroni_worker.so $(BUILD)/patroni_bgw.so
	@scripts/tally.sh symbols test/check_symbols.sh $(BUILD)/patroni_worker.so $(BUILD)/patroni_bgw.so

# What only it can find: a real etcd that answers otherwise than we think.
store: $(BUILD)/test/dcs/live_etcd3
	@TESTS=store scripts/unit.sh test/dcs/live_etcd3.sh

# What only it can find: what SQL shows and refuses on a real server.
regress: all
	@scripts/regress.sh

# What only it can find: failover, restart and fencing on real servers and a real store.
tap: all $(BUILD)/patroni_replay
	@scripts/tap.sh $(PROVE_TESTS)

# What only it can find: what clang warns of and gcc does not.
clang:
	@+scripts/tally.sh clang $(MAKE) --no-print-directory -s BUILD='$(BUILD)/clang' CC='$(CLANG)' \
		'$(BUILD)/clang/patroni_worker.so' '$(BUILD)/clang/patroni_supervisor' \
		'$(BUILD)/clang/patroni_ctl'

# ---------------------------------------------------------------------------
# The simulator: docs/proof.md

SIM_OPTIONS = $(if $(SEEDS),--seeds $(SEEDS)) $(if $(SEED),--seed $(SEED)) \
	$(if $(NODES),--nodes $(NODES)) $(if $(PROFILE),--profile $(PROFILE)) $(if $(TRACE),--trace)

sim-replay: $(BUILD)/patroni_replay
	@$(BUILD)/patroni_replay '$(TRACE)'

# SEED alone runs one seed and shows what happens in it
sim: $(BUILD)/patroni_sim
	@$(BUILD)/patroni_sim $(SIM_OPTIONS)

# What only it can find: a broken promise in what nobody thought of.
sim-check: $(BUILD)/patroni_sim
	@scripts/tally.sh simulator $(BUILD)/patroni_sim --seeds 20000 --seed 1
	@scripts/tally.sh 'simulator, servers that hang' $(BUILD)/patroni_sim --seeds 300 --seed 1 --profile gray

# Every seed that has found a mistake.
sim-regressions: $(BUILD)/patroni_sim
	@scripts/tally.sh 'old seeds' $(BUILD)/patroni_sim --list test/sim/regressions

# The same runs on gcc and clang?
sim-digests: $(BUILD)/patroni_sim
	@+scripts/sim-digests.sh '$(MAKE)' '$(BUILD)' '$(CLANG)'

# Are planted mistakes found?  MUTANTS="name ..." tries some of them only.
sim-mutants: $(BUILD)/patroni_sim
	@CC='$(CC)' FLAGS='$(OUR_CPPFLAGS) $(OUR_CFLAGS)' LIBRARIES='$(SIM_LIBS)' \
		scripts/sim-mutants.sh '$(BUILD)' $(SIM_OBJS) $(SIM_SHIPPED_OBJS)

# Do their patches still apply?
sim-patches:
	@SEEDS=0 scripts/sim-mutants.sh '$(BUILD)'

check:
	@+scripts/check.sh

# BENCH_OPTIONS: bench/bench.pl --help
bench: all
	@bench/bench.pl --runs 20 --rounds 4 --results bench/results/benchmarks.json --report docs $(BENCH_OPTIONS)

bench-quick: all
	@bench/bench.pl --quick --results bench/results/quick.json $(BENCH_OPTIONS)

# MANY: what bench/many_clusters.sh shall measure, if not all; --help says how
bench-many: $(BUILD)/many_clusters
	@RESULTS=bench/results/many_clusters.json bench/many_clusters.sh $(MANY)
	@bench/bench.pl --report-only --results bench/results/benchmarks.json --report docs

# installs what is missing and builds by itself, as "make check" does
demo:
	@scripts/demo.sh start

demo-stop:
	@scripts/demo.sh stop

docs: $(BUILD)/test/docs/test_decisions
	$< --print > docs/decisions.md

-include $(patsubst %.o,%.d,$(call objects,$(LIBRARY_OBJS) $(MAIN_OBJS) $(SIM_OBJS) src/sim/replay.o) \
	$(call worker_objects,$(WORKER_OBJS) $(SHARED_OBJS))) $(addsuffix .d,$(UNIT_PROGRAMS))
