# SPDX-License-Identifier: MIT
"""The verdict on a run: what had to hold, what was measured; as a table on the
terminal, and with everything known of the run as JSON."""

import html
import itertools
import json
import statistics
from dataclasses import asdict, dataclass

from target import ROOT

import report

RESULTS = ROOT / "loadtest/results"
VERIFIER = "coupon-verify"
_UNITS = {"http_req_duration": "ms", "accepted_duration": "ms"}
_NAMES = {"http_req_duration": "latency", "accepted_duration": "latency, accepted",
          "errors": "errors", "outcome_limited": "refused by the limiter",
          "outcome_sold_out": "sold out", "outcome_duplicate": "users who had asked",
          "requests_per_s": "requests/s at full load",
          "dropped_iterations": "k6 too late for a request"}


@dataclass
class Row:
    """ok None: could not be checked."""

    name: str
    limit: str
    value: str
    ok: bool


def k6_rows(summary):
    """A row for each threshold of k6, which gives them in any order."""
    places = {name: place for place, name in enumerate(_NAMES)}
    return [_k6_row(name, metric, expression, outcome["ok"])
            for name, metric in sorted(summary["metrics"].items(),
                                       key=lambda item: places.get(item[0], len(places)))
            for expression, outcome in metric.get("thresholds", {}).items()]


def _k6_row(name, metric, expression, ok):
    statistic = next(part for part in ("p(95)", "rate", "count")
                     if expression.startswith(part))
    value, limit = metric["values"][statistic], expression[len(statistic):]
    label = _NAMES.get(name, name) + (" p95" if statistic == "p(95)" else "")
    relation, bound = limit[0], float(limit.lstrip("<=>"))
    if statistic == "rate":
        return Row(label, f"{relation} {bound:.2%}", f"{value:.3%}", ok)
    unit = f" {_UNITS[name]}" if name in _UNITS else ""
    return Row(label, f"{relation} {bound:g}{unit}", f"{value:.1f}{unit}", ok)


def below(name, value, bound, unit, digits=1):
    return Row(name, f"< {bound:g} {unit}", f"{value:.{digits}f} {unit}", value < bound)


def equals(name, value, wanted):
    return Row(name, f"= {wanted:,}", f"{value:,}", value == wanted)


def verifier_row(found):
    """What coupon-verify had to say; None: it did not run."""
    if found is None:
        return Row(VERIFIER, "nothing", "not run: VERIFY_CONFIG is not set", None)
    if found["violations"] is None:
        return Row(VERIFIER, "nothing", "could not check", False)
    return Row(VERIFIER, "nothing", f"{found['violations']} violations",
               not found["violations"])


def table(rows):
    cells = [("", "threshold", "value", "")] + [
        (row.name, row.limit, row.value,
         {True: "pass", False: "FAIL", None: "-"}[row.ok]) for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(4)]
    return "\n".join("  " + "  ".join(
        cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
        for line in cells)


def write(stem, scenario, target, generator, server, rows):
    """The result file; what is in it."""
    result = {
        "scenario": scenario.name, "what": scenario.what, "time": stem.name[-16:],
        "passed": all(row.ok is not False for row in rows), "outcome": _outcome(rows),
        "verdict": [asdict(row) for row in rows],
        "commit": target.commit(), "machine": target.machine(),
        "generator": generator | {"commit": report.commit(),
                                  "machine": report.machine()},
        "server": server, "config": target.settings()}
    # Where this tree lies is nobody's business.
    text = json.dumps(result, indent=1).replace(f"{ROOT}/", "")
    stem.with_suffix(".json").write_text(text + "\n")
    return result


def _outcome(rows):
    if any(row.ok is False for row in rows):
        return "FAILED"
    not_verified = any(row.name == VERIFIER and row.ok is None for row in rows)
    return "passed, not verified" if not_verified else "passed"


def add_to_report(path, text):
    """At the end of the page, k6's included: it does not know the whole verdict."""
    body, end, rest = path.read_text().rpartition("</body>")
    path.write_text(f"{body or rest}<pre>{html.escape(text)}</pre>\n"
                    f"{end}{rest if body else ''}")


# ---- memory ----

PEAK_MB = 150
# A leak of glibc's smallest block in every request is three times as much at
# the soak's 300/s.
GROWTH_MB_PER_H = 10
RATE_NEEDS_S = 600  # in less, what comes and goes looks like growth


def memory_rows(over_time, peaks):
    """Of a soak: RSS in MB by daemon from time to time, and the most of each.

    Its halves count for themselves: in between the topic grows, and partitions
    are threads with their batches.  Nor does the first sixth of a half count,
    in which pools and maps fill.
    """
    if not peaks:
        return [Row("RSS", f"< {PEAK_MB} MB, flat", "not known: METRICS_URL is not set "
                    "or gives nothing", None)]
    middle, sixth = len(over_time) // 2, max(len(over_time) // 12, 1)
    halves = {"first half": over_time[sixth:middle],
              "second half": over_time[middle + sixth:]}
    return [below(f"RSS of {name}, most", mb, PEAK_MB, "MB")
            for name, mb in peaks.items()] + [
        _flat(f"RSS of {name}, {half}",
              [(second, by[name]) for second, by in of_half if name in by])
        for half, of_half in halves.items() for name in peaks]


def _flat(name, points):
    """The last third against the first one, and the growth per hour."""
    if len(points) < 3:
        return Row(name, "flat", "too short to tell", None)
    third, values = len(points) // 3, [mb for _, mb in points]
    early, late = (statistics.median(part)
                   for part in (values[:third], values[-third:]))
    bound = max(0.05 * early, 4)
    limit, value = f"< +{bound:.1f} MB", f"{late - early:+.1f} ({early:.1f} -> {late:.1f})"
    if points[-1][0] - points[0][0] < RATE_NEEDS_S:
        return Row(name, limit, value, late - early < bound)
    slope = mb_per_h(points)
    return Row(name, f"{limit}, < {GROWTH_MB_PER_H} MB/h", f"{value}, {slope:.1f} MB/h",
               late - early < bound and slope < GROWTH_MB_PER_H)


def mb_per_h(points):
    """The median slope between any two points: a peak does not move it."""
    return 3600 * statistics.median(
        (b - a) / (to - since)
        for (since, a), (to, b) in itertools.combinations(points, 2))
