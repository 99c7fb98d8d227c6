# SPDX-License-Identifier: MIT
"""The offered load that the report's figures imply.

The report gives the pool (10 connections), Redis (50 ms), the peak (1,000
requests/s), the errors (8.5 %) and the p95 (2.5 s), not the load over time.
A first-come-first-served queue in front of 10 / 0.05 s = 200 requests/s, whose
waiters give up after 3 s, tells the rest.  At 1,000/s it grows by 800 a second
and is 3 s long after 600 / 800 = 0.75 s; from then on four of five fail.  With
8.5 % failing over the two minutes of the report's spike, the peak was short,
a sale's first seconds, over an ordinary load below 200/s.  Two unknowns, the
ordinary load and how long the peak lasted, and two figures: solve() finds them.
"""

import generators

PEAK = 1000          # requests/s
SECONDS = 120        # as the report's spike
RISE = 1             # from the ordinary load to the peak, and back
PEAK_AT = 20
CONNECTIONS, LATENCY_S = 10, 0.05
MAX_WAIT_S = 3.0
ERRORS, P95_S = 0.085, 2.5


def profile(ordinary, held):
    """[(second, requests/s)] with straight lines between."""
    return [(0, ordinary), (PEAK_AT, ordinary), (PEAK_AT + RISE, PEAK),
            (PEAK_AT + RISE + held, PEAK), (PEAK_AT + 2 * RISE + held, ordinary),
            (SECONDS, ordinary)]


def outcome(points):
    """(share of errors, p95 of the others in s) of the pool of the incident."""
    free_at, failed, latencies = 0.0, 0, []
    for at in generators.arrivals(points):
        start = max(at, free_at)
        if start - at > MAX_WAIT_S:
            failed += 1
            continue
        free_at = start + LATENCY_S / CONNECTIONS
        latencies.append(start - at + LATENCY_S)
    latencies.sort()
    return (failed / (failed + len(latencies)),
            latencies[int((len(latencies) - 1) * 0.95)])


def solve():
    """(ordinary load, seconds at the peak), to 1/s and 0.05 s.

    More load dilutes the errors and the slow ones alike; a longer peak adds
    to both.  For each load the peak that gives the errors, then the load whose
    p95 is nearest.
    """
    return min(((ordinary, _held(ordinary)) for ordinary in range(40, 180, 5)),
               key=lambda found: abs(outcome(profile(*found))[1] - P95_S))


def _held(ordinary):
    low, high = 0.05, 10.0
    while high - low > 0.02:
        middle = (low + high) / 2
        if outcome(profile(ordinary, middle))[0] < ERRORS:
            low = middle
        else:
            high = middle
    return round(high, 2)


if __name__ == "__main__":
    found = solve()
    print("%d requests/s, %g s at the peak: %.1f %% errors, p95 %.2f s" % (
        *found, 100 * outcome(profile(*found))[0], outcome(profile(*found))[1]))
