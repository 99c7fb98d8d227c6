# coupon - first-come-first-served coupon issuing: two daemons, one library.
#
#   make run              set up, build, start everything, issue a coupon
#   make monitoring       Prometheus and Alertmanager beside it
#   make status|logs|stop look at, follow, end what `make run` started
#   make test             set up, build, run every test, leave nothing behind
#   make test-all         the same plus the long tests
#   make chaos            FAULTS=50 faults under load, SEED=1; docs/chaos.md
#   make drill            outages to practise the runbook on; NAME= AUTO=1
#   make scene            the incident of 14:02 again, with a stopwatch
#   make                  build the daemons and tools  -> build/release/bin/
#   make check            unit tests, headers alone, docs in step
#   make BUILD=asan  ...  AddressSanitizer + UBSan (also debug, tsan, cov)
#   make lint             clang-tidy, cppcheck, thread-safety analysis
#   make fuzz             every fuzzer, FUZZ_SECONDS=60 each
#   make bench            the ratios of docs/benchmarks.md
#   make loadtest         SCENARIO="spike" URL=http://...; docs/loadtest.md
#   make loadtest-compare two result files side by side: A=FILE B=FILE
#   make incident         the outage, replayed; docs/incident.md
#   make bench-compare    what changed since the results that are committed
#   make images           container images, with docker, buildah or podman
#   make k8s-validate | k8s-hpa-test | drain-test | image-test; docs/testing.md
#   make docs             regenerate docs from the tables in the code
#   make setup            every package at once; each target installs its own
#   make format | compile_commands.json | install | dist | clean | help
#
# Variables: CC CFLAGS CPPFLAGS LDFLAGS BUILD WERROR=1 V=1 PREFIX DESTDIR

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

ifeq ($(origin CC),default)
CC := gcc
endif
BUILD   ?= release
PREFIX  ?= /usr/local
VERSION := $(subst ",,$(lastword $(filter "%",$(file < common/version.h))))
O       := build/$(BUILD)

# ---- what is built ---------------------------------------------------------
PKGS         := libmicrohttpd hiredis rdkafka libpq jansson yaml-0.1 libsodium
common_SRC   := $(wildcard common/*.c)
api_SRC      := $(wildcard api/*.c)
consumer_SRC := $(wildcard consumer/*.c)
tool_SRC     := $(wildcard deploy/tools/*.c)
bench_SRC    := $(wildcard loadtest/*.c)
test_SRC     := $(wildcard common/tests/test_*.c api/tests/test_*.c \
		consumer/tests/test_*.c)
support_SRC  := $(filter-out common/tests/test_%.c common/tests/fuzz_%.c,\
		$(wildcard common/tests/*.c))
fuzz_SRC     := $(wildcard common/tests/fuzz_*.c api/tests/fuzz_*.c \
		consumer/tests/fuzz_*.c)
HEADERS      := $(wildcard common/*.h api/*.h consumer/*.h)
# What needs neither a server nor a compiler flag: headers and lint see these.
ALL_SRC      := $(common_SRC) $(api_SRC) $(consumer_SRC) $(tool_SRC)

# ---- flags -----------------------------------------------------------------
# cc-option: the flag if $(CC) takes it, else nothing.
cc-option = $(shell $(CC) -Werror $(1) -fsyntax-only -x c /dev/null \
		2>/dev/null && echo '$(1)')

warn     := -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion \
	    -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition \
	    -Wformat=2 -Wundef -Wvla -Wwrite-strings \
	    -Wpointer-arith -Wnull-dereference \
	    -Werror=implicit -Werror=incompatible-pointer-types \
	    -Werror=int-conversion -Werror=format-security
harden   := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong \
	    -fPIE -fexceptions -fno-common -fno-delete-null-pointer-checks \
	    -fno-strict-overflow
hardenld := -pie -Wl,-z,relro,-z,now -Wl,-z,noexecstack -Wl,--as-needed

cflags_release  = -O2 -g $(harden)
cflags_debug   := -Og -g3 -fno-omit-frame-pointer
san            := -O1 -g3 -fno-omit-frame-pointer -fno-sanitize-recover=all
cflags_asan    := $(san) -fsanitize=address,undefined
cflags_tsan    := $(san) -fsanitize=thread
cflags_cov     := -O0 -g3 --coverage
cflags_fuzz    := $(san) -fsanitize=fuzzer-no-link,address,undefined
ldflags_release := $(hardenld)
$(foreach v,asan tsan cov fuzz,$(eval ldflags_$(v) := $(cflags_$(v))))

ifndef cflags_$(BUILD)
$(error BUILD=$(BUILD): expected release, debug, asan, tsan, cov or fuzz)
endif

# Probing the compiler and pkg-config costs forks; targets that only call a
# script (run, stop, help ...) and make's re-reads do without.
SCRIPT_GOALS := help run monitoring test test-all chaos drill scene status \
		logs stop setup clean loadtest loadtest-compare incident \
		images image-test drain-test k8s-validate k8s-hpa-test
ifneq ($(if $(MAKECMDGOALS),$(filter-out $(SCRIPT_GOALS),$(MAKECMDGOALS)),all),)
# =3 is gcc's: it reads comments, and clang stumbles over uthash's.
warn   += $(call cc-option,-Wimplicit-fallthrough=3)
warn   += $(call cc-option,-Wduplicated-cond) $(call cc-option,-Wlogical-op) \
	  $(call cc-option,-Wtrampolines) $(call cc-option,-Wbidi-chars=any)
harden += $(call cc-option,-fstack-clash-protection) \
	  $(call cc-option,-fcf-protection=full) \
	  $(call cc-option,-fstrict-flex-arrays=3) \
	  $(call cc-option,-ftrivial-auto-var-init=zero)
# -isystem: our warnings are for our code, not for librdkafka's headers.
PKG_CPPFLAGS := $(patsubst -I%,-isystem %,$(shell pkg-config --cflags $(PKGS)))
PKG_LDLIBS   := $(shell pkg-config --libs $(PKGS))
endif

ALL_CPPFLAGS := -I. -D_GNU_SOURCE -include common/banned.h $(CPPFLAGS) \
		$(PKG_CPPFLAGS)
ALL_CFLAGS   := -std=gnu17 -pthread $(warn) $(if $(WERROR),-Werror) \
		$(cflags_$(BUILD)) $(CFLAGS)
ALL_LDFLAGS  := -pthread $(ldflags_$(BUILD)) $(LDFLAGS)
LDLIBS       := $(PKG_LDLIBS) -lm

# ---- rules -----------------------------------------------------------------
Q    := $(if $(V),,@)
say   = $(if $(V),,@printf '  %-7s %s\n' '$(1)' '$(2)';)
obj   = $(patsubst %.c,$(O)/%.o,$(1))

COMMON   := $(O)/libcommon.a
API      := $(O)/libapi.a
CONSUMER := $(O)/libconsumer.a
SUPPORT  := $(O)/libtestsupport.a
TOOLS    := $(patsubst deploy/tools/%.c,$(O)/bin/coupon-%,$(tool_SRC))
BENCHES  := $(patsubst loadtest/%.c,$(O)/bench/%,$(bench_SRC))
PROGRAMS := $(foreach d,api consumer,$(if $(wildcard $(d)/main.c),$(d)))
BINS     := $(PROGRAMS:%=$(O)/bin/%) $(TOOLS)
TESTS    := $(test_SRC:%.c=$(O)/%)
ALL_OBJ  := $(call obj,$(common_SRC) $(api_SRC) $(consumer_SRC) $(tool_SRC) \
		$(bench_SRC) $(test_SRC) $(support_SRC))


.PHONY: all build-all check tests headers docs docs-check lint format help install dist \
	clean fuzz run-fuzzers FORCE
all: $(BINS)

# One link rule: a program is its object and the libraries above it.
link_cmd = $(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o %.a,$^) $(LDLIBS)

$(O)/bin/api:      $(O)/api/main.o $(API) $(COMMON)
$(O)/bin/consumer: $(O)/consumer/main.o $(CONSUMER) $(COMMON)
$(TOOLS): $(O)/bin/coupon-%: $(O)/deploy/tools/%.o $(CONSUMER) $(API) $(COMMON)
$(BENCHES): $(O)/bench/%: $(O)/loadtest/%.o $(API) $(CONSUMER) $(COMMON)
# Every METRIC_FAMILY row must be in it; the code around them is not run, so
# that nothing else of it need be there.
$(O)/bin/coupon-docs: private ALL_LDFLAGS += -Wl,--whole-archive \
  -Wl,--unresolved-symbols=ignore-all
$(O)/bin/coupon-docs: private LDLIBS := -Wl,--no-whole-archive $(LDLIBS)
$(BINS): $(O)/commit.o
$(BINS) $(BENCHES):
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(link_cmd)

# The commit /actuator/info names: a new one relinks the programs only.  Where
# git cannot be asked, COMMIT="ID TIME BRANCH" says it.
$(O)/commit: FORCE
	@mkdir -p $(@D)
	@id="$$(git log -1 --format='%h %cI' 2>/dev/null)"; \
	  id="$$id $$(git rev-parse --abbrev-ref HEAD 2>/dev/null)"; \
	  [ -z "$$COMMIT" ] || id=$$COMMIT; \
	  echo "$$id" | cmp -s - $@ || echo "$$id" > $@
$(O)/commit.o: $(O)/commit $(O)/flags
	@read -r id time branch < $<; for word in commit=$$id \
	  commit_time=$$time branch=$$branch; do echo \
	  "const char build_$${word%%=*}[] = \"$${word#*=}\";"; done | \
	  $(CC) $(cflags_$(BUILD)) -x c -c -o $@ -

$(COMMON):   $(call obj,$(common_SRC))
$(API):      $(call obj,$(filter-out api/main.c,$(api_SRC)))
$(CONSUMER): $(call obj,$(filter-out consumer/main.c,$(consumer_SRC)))
$(SUPPORT):  $(call obj,$(filter-out common/tests/tsan.c,$(support_SRC)))
$(COMMON) $(API) $(CONSUMER) $(SUPPORT):
	@mkdir -p $(@D)
	$(call say,AR,$@)rm -f $@; $(AR) rcsD $@ $^

$(O)/%.o: %.c $(O)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# Files embedded with .incbin (common/embed.h) that -MMD cannot see.
$(O)/api/scripts.o: $(wildcard api/*.lua)
$(O)/common/schema.o: $(wildcard common/schema/*.sql)

# The console's files go in twice, the second time compressed.
console_FILES := $(shell find api/console -type f ! -name CHECKSUMS)
$(O)/api/console_files.o: $(console_FILES) $(console_FILES:%=$(O)/%.gz)
$(O)/api/console_files.o: private ALL_CPPFLAGS += \
  -DCONSOLE_GZIP='"$(O)/api/console/"'
$(console_FILES:%=$(O)/%.gz): $(O)/%.gz: %
	@mkdir -p $(@D)
	@gzip -9nc $< > $@

# cmocka tests; from the library of helpers each takes what it uses.
$(filter $(O)/common/%,$(TESTS)): $(O)/%: $(O)/%.o $(SUPPORT) $(COMMON)
$(filter $(O)/api/%,$(TESTS)): $(O)/%: $(O)/%.o $(SUPPORT) $(API) $(COMMON)
$(filter $(O)/consumer/%,$(TESTS)): $(O)/%: $(O)/%.o $(SUPPORT) $(CONSUMER) $(COMMON)
# Only libraries need what is in tsan.o: from an archive it would not come.
$(TESTS): $(O)/common/tests/tsan.o
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(link_cmd) -lcmocka

# Rebuild when the flags change, not only when a file does.
$(O)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(ALL_LDFLAGS)' | cmp -s - $@ \
	  || echo '$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(ALL_LDFLAGS)' > $@

# Everything that compiles, compiled.
build-all: all $(COMMON) $(API) $(CONSUMER) $(TESTS) $(BENCHES) headers

check: $(TESTS) headers docs-check
	@deploy/test/unit $(TESTS)

tests: $(TESTS)

# Every header compiles alone: nobody depends on include order.
headers: $(HEADERS:%.h=$(O)/%.hco)
$(O)/%.hco: %.h $(O)/flags
	@mkdir -p $(@D)
	$(call say,HDR,$<)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -Wno-unused-function \
	  -MMD -MP -MF $@.d -MT $@ -x c -c -o $@ $<

# docs/ from the tables in the code; docs-check: as committed?
docs: $(O)/bin/coupon-docs
	$< docs
	deploy/kubernetes/components/prometheus-operator/make-rules > \
	  deploy/kubernetes/components/prometheus-operator/rules.yaml

docs-check: $(O)/bin/coupon-docs
	@rm -rf $(O)/docs
	@$< $(O)/docs
	@for d in $(O)/docs/*.md; do diff -u docs/$${d##*/} $$d || \
	  { echo "docs/$${d##*/} is stale: make docs"; exit 1; }; done

# Fuzzers live in a tree of their own, built by clang.
FUZZ_SECONDS ?= 60
FUZZERS      := $(fuzz_SRC:%.c=$(O)/%)
fuzz:
	@$(MAKE) --no-print-directory CC=clang BUILD=fuzz run-fuzzers
run-fuzzers: $(FUZZERS:%=%.run)
.PHONY: $(FUZZERS:%=%.run)
$(FUZZERS): $(O)/%: $(O)/%.o $(API) $(CONSUMER) $(COMMON)
	$(call say,LINK,$@)$(link_cmd) -fsanitize=fuzzer
# New inputs go to the build tree; the corpus of the source tree seeds them.
$(FUZZERS:%=%.run): %.run: %
	@seeds=$(*D:$(O)/%=%)/corpus/$(patsubst fuzz_%,%,$(*F)); \
	  [ -d $$seeds ] || seeds=; mkdir -p $*.corpus; \
	  $< -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -timeout=10 -verbosity=0 \
	  -print_final_stats=1 -artifact_prefix=$*.crash- $*.corpus $$seeds

comma := ,
compile_commands.json: $(O)/flags
	$(file >$@,[)
	$(foreach s,$(ALL_SRC) $(test_SRC),$(file >>$@,$(if $(filter-out \
	  $(firstword $(ALL_SRC)),$(s)),$(comma)){"directory":"$(CURDIR)"$(comma)"file":"$(s)"$(comma)"command":"$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -c $(s)"}))
	$(file >>$@,])
	@:

lint: $(O)/flags
	clang -fsyntax-only -Wthread-safety -Werror $(ALL_CPPFLAGS) -std=gnu17 \
	  -pthread $(ALL_SRC)
	printf '%s\n' $(ALL_SRC) | xargs -P 2 -n 1 \
	  sh -c 'clang-tidy --quiet "$$@" -- $(ALL_CPPFLAGS) -std=gnu17' tidy
	cppcheck --quiet --error-exitcode=1 --inline-suppr -j 2 \
	  --enable=warning,performance,portability -I. -D_GNU_SOURCE $(ALL_SRC)

format:
	clang-format -i $(ALL_SRC) $(test_SRC) $(support_SRC) $(fuzz_SRC) \
	  $(bench_SRC) $(HEADERS)

help:
	@sed -n '/^[^#]*$$/q;s/^# \{0,1\}//p' $(firstword $(MAKEFILE_LIST))

install: all
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/sbin \
	  $(filter-out %/coupon-docs,$(BINS))
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/etc/coupon api/api.yaml \
	  api/api.production.yaml
	install -D -m 0644 consumer/consumer.yaml \
	  $(DESTDIR)$(PREFIX)/etc/coupon/consumer.yaml

dist:
	@mkdir -p build
	git archive --prefix=coupon-$(VERSION)/ -o build/coupon-$(VERSION).tar.gz HEAD
	@echo build/coupon-$(VERSION).tar.gz

clean:
	rm -rf build compile_commands.json

-include deploy/local.mk deploy/kubernetes.mk loadtest/bench.mk \
  loadtest/loadtest.mk
-include $(ALL_OBJ:.o=.d) $(HEADERS:%.h=$(O)/%.hco.d)
