# SPDX-License-Identifier: MIT
# local.mk - the targets that need servers; the work is in deploy/local.

.PHONY: run monitoring test test-all chaos drill scene status logs stop setup lint-shell \
	console-vendor console-pictures

run:
	@deploy/local/setup build run
	@$(MAKE) --no-print-directory all
	@deploy/local/stack start
	@deploy/local/demo

# Beside what `make run` started.
monitoring:
	@deploy/local/setup monitoring
	@deploy/local/stack start alertmanager prometheus

# The run builds with this make's variables (WERROR=1, CC=clang ...).
# Go only where none is: it builds the linter of deploy/kubernetes, once.
test_purposes = build run test monitoring \
  $$(command -v go >/dev/null || echo go)

test:
	@deploy/local/setup $(test_purposes)
	@deploy/test/cluster/install static
	@deploy/test/run -m 'not long'

test-all:
	@deploy/local/setup $(test_purposes)
	@deploy/test/cluster/install static
	@TEST_WORKERS=0 deploy/test/run

# A campaign of faults under load; the same SEED, the same schedule.
FAULTS ?= 50
SEED   ?= 1
chaos:
	@deploy/local/setup build run test $$(command -v go >/dev/null || \
	  echo go)
	@+$(MAKE) --no-print-directory all
	@cd deploy/test && /usr/bin/python3 -B -m chaos --faults $(FAULTS) \
	  --seed $(SEED)

# An outage on purpose, on what runs; without NAME, the list.
drill:
	@deploy/local/setup build run test monitoring
	@+$(if $(NAME),$(MAKE) --no-print-directory all $(O)/bench/delay)
	@cd deploy/test && exec /usr/bin/python3 -B -m drill $(NAME) \
	  $(if $(AUTO),--auto) $(if $(RATE),--rate $(RATE))

# 14:02 again, with a stopwatch: RATE requests/s where 200 go through.
scene:
	@+$(MAKE) --no-print-directory drill NAME=scene

status logs stop:
	@deploy/local/stack $@

clean: stop # not under the feet of running servers

setup:
	@deploy/local/setup build run test lint bench monitoring

lint: lint-shell
lint-shell:
	shellcheck .ci/run deploy/test/run deploy/test/unit \
	  deploy/test/cluster/install deploy/images/build \
	  deploy/images/base-files deploy/kubernetes/reload $(addprefix \
	  deploy/local/,stack demo setup install-packages install-kafka \
	  install-go-tool *.sh)

# Another version of the console's plotting library, from the npm registry.
UPLOT ?= 1.6.32
console-vendor:
	@dir=$$(mktemp -d) && trap 'rm -rf $$dir' EXIT && \
	  (cd $$dir && npm pack --silent uplot@$(UPLOT) && tar -xzf uplot-*.tgz) && \
	  cd api/console/vendor/uplot && cp $$dir/package/LICENSE \
	  $$dir/package/dist/uPlot.iife.min.js $$dir/package/dist/uPlot.min.css . && \
	  sha256sum uPlot.iife.min.js uPlot.min.css LICENSE > CHECKSUMS

# docs/images/console-*.png; look at them before you commit them.
console-pictures:
	@deploy/local/setup build run test pictures
	@+$(MAKE) --no-print-directory all
	@cd deploy/test && /usr/bin/python3 -B -m pictures
