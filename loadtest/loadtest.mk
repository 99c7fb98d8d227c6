# SPDX-License-Identifier: MIT
# loadtest.mk - the scenarios of docs/loadtest.md and the incident of
# docs/incident.md; the work is in loadtest/scenarios.
#
#   make loadtest [SCENARIO="spike stampede"] [URL=http://...]
#   make loadtest-compare A=FILE B=FILE
#   make incident

.PHONY: loadtest loadtest-compare incident loadtest-programs

loadtest: loadtest-programs
	@/usr/bin/python3 -B loadtest/scenarios $(if $(URL),--url $(URL)) $(SCENARIO)

loadtest-compare:
	@/usr/bin/python3 -B loadtest/scenarios/compare.py $(A) $(B)

incident: loadtest-programs
	@deploy/local/setup monitoring
	@/usr/bin/python3 -B loadtest/scenarios/incident.py

# Another deployment has servers of its own.
loadtest-programs:
	@deploy/local/setup build $(if $(URL),,run test) loadtest \
	  $$(command -v go >/dev/null || echo go)
	@+$(MAKE) --no-print-directory all build/release/bench/openload
