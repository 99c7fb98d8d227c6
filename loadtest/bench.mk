# SPDX-License-Identifier: MIT
# bench.mk - the ratios of docs/benchmarks.md; the work is in loadtest/bench.
#
#   make bench [ROUNDS=5] [ONLY="cpu flood"]
#   make bench-compare [BEFORE=results.json] [AFTER=results.json]

.PHONY: bench bench-compare

bench:
	@deploy/local/setup build run test bench
	@+$(MAKE) --no-print-directory all $(BENCHES)
	@/usr/bin/python3 -B loadtest/bench $(if $(ROUNDS),--rounds $(ROUNDS)) $(ONLY)

bench-compare:
	@/usr/bin/python3 -B loadtest/bench/compare.py \
	  $(if $(BEFORE),--before $(BEFORE)) $(if $(AFTER),--after $(AFTER))
