# The part of the build that PGXS does: patroni_bgw.so, what the server loads.
#
# Called by the Makefile inside the build directory, with VPATH (the way to the
# sources, relative) and STUB_OBJS.

MODULE_big = patroni_bgw
OBJS = $(STUB_OBJS)
PG_CPPFLAGS = -I$(VPATH)/src
PG_CFLAGS = -std=gnu11 -Wno-declaration-after-statement
# no copy as bitcode: nothing here is worth inlining into queries
with_llvm = no

SHLIB_LINK = -Wl,--version-script=$(VPATH)/src/worker/patroni_bgw.map

PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)
override with_llvm = no

$(OBJS): $(wildcard $(VPATH)/src/base/*.h $(VPATH)/src/ha/*.h $(VPATH)/src/postgres/*.h $(VPATH)/src/worker/*.h)
