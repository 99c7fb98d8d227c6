# SPDX-License-Identifier: MIT
"""Drills: outages on purpose, on what `make run` started (docs/drills.md).

world     that stack, what a drill may do to it, and how all is put back
figures   what an operator looks at, as numbers
catalogue the drills: what breaks, which section of the runbook ends it
course    one drill from the first break to the all-clear
scene     14:02 again, with a stopwatch
"""
