# SPDX-License-Identifier: MIT
"""make incident: its runs as the columns of the report's tables, and what
each of them has to reach."""

from collections import Counter
from dataclasses import dataclass

import generators

ALERT = "RedisPoolExhausted"
# A request that takes longer than this is slow.
SLOW_MS = 300

# What the report says; the other cells are measured.
REPORT = {"p95": "2,500 ms", "error rate": "8.5 %", "success rate": "91.5 %",
          "max accepted/s": "200, by arithmetic", "pool use": "10 of 10"}
REPORT_NOTICED, REPORT_REPAIRED = "150 s", "a redeploy, 8 min"
ERROR_TEXT = "Unable to acquire connection from pool"

# The report's 8.5 % and 2.5 s, as well as a run on two cores repeats them.
INCIDENT = {"error rate": (0.05, 0.15), "p95": (2000, 3500)}
# The report's bound for its baseline.
ERRORS = 0.005
# What refuses everything has no errors; our limiter refuses 6 %.
WELL = {"error rate": (0, ERRORS), "success rate": (0.9, 1)}


@dataclass
class Column:
    """One run, with what is said about it.

    violations: None when coupon-verify could not check; complaints: what is
    wrong besides the latencies, a line each.
    """

    title: str
    arrivals: object
    samples: list
    violations: int = 0
    complaints: tuple = ()

    def __post_init__(self):
        self.ok = self.arrivals.ms(status=202)
        self.n = len(self.arrivals.records)
        self.errors = self.arrivals.errors()

    def cells(self):
        """{name of a row: (value, text)}."""
        def at(percent):
            value = generators.percentile(self.ok, percent)
            return value, f"{value:,.0f} ms"
        limited = sum(r.status == 429 for r in self.arrivals.records)
        active, most = max(((s[1], s[3]) for s in self.samples), default=(0, 0))
        waiting = max((s[2] for s in self.samples), default=0)
        return {
            "p50": at(50), "p95": at(95), "p99": at(99),
            "error rate": _share(self.errors, self.n),
            "refused at once (429)": _share(limited, self.n),
            "success rate": _share(len(self.ok), self.n),
            "max accepted/s": _max_rps(self.arrivals.records),
            "pool use": (active / (most or 1), f"{active} of {most}"),
            "most waiting for a connection": (waiting, f"{waiting:,}"),
            "violations": (self.violations, "not checked" if self.violations is None
                           else str(self.violations))}

    def error_text(self):
        """What most of those that failed were told."""
        failed = Counter({key: n for key, n in self.arrivals.outcomes().items()
                          if key[0] not in (202, 409, 429)})
        if not failed:
            return ""
        return self.arrivals.first[failed.most_common(1)[0][0]] or "no answer"


def _share(n, total):
    return n / (total or 1), percent(n / (total or 1))


def percent(share):
    return f"{share * 100:.0f} %" if share in (0, 1) else f"{share * 100:.1f} %"


def _max_rps(records):
    most = max(Counter(int(r.done) for r in records if r.status == 202).values(),
               default=0)
    return most, f"{most:,}"


def audited(verified, issued, arrivals):
    """(violations, complaints) of what coupon-verify and the event say."""
    violations, complaints = verified["violations"], []
    if violations is None:
        complaints.append(f"coupon-verify could not check: {verified['text']}")
    elif violations:
        complaints.append(f"coupon-verify: {violations} violations")
    accepted = len(arrivals.ms(status=202))
    most = accepted + arrivals.errors()
    # Who got no answer may have a coupon; who was told so must.
    if not accepted <= issued <= most:
        complaints.append(f"{issued} coupons issued, {accepted} to {most} promised")
        violations = None if violations is None else violations + 1
    return violations, complaints


# ---- the live scene ----

@dataclass
class Scene:
    """The live run and its operator, in seconds of the run; None: it did not
    come to that, and `trouble` says why."""

    column: Column
    load_at: float
    paged: float = None
    asked: float = None     # for the reload
    reloaded: float = None  # its answer
    trouble: str = ""

    def __post_init__(self):
        if self.reloaded is None:
            return
        records = self.column.arrivals.records
        self.well = recovered(records, self.asked)
        waiting = [r for r in records if r.due < self.asked <= r.done]
        self.waiting, self.lost = len(waiting), _n_failed(waiting)
        self.after = [r for r in records if r.done >= self.asked]

    def rows(self):
        """[(what, the report's, ours)]."""
        repaired = self.reloaded is not None
        return [
            ("from the load to somebody knowing (the page, `" + ALERT + "`)",
             REPORT_NOTICED, "none came" if self.paged is None
             else f"{self.paged - self.load_at:.1f} s"),
            ("from the page to the reload being done", "-",
             f"{self.reloaded - self.paged:.2f} s" if repaired else "-"),
            ("from asking for the reload to the last failed or slow request",
             REPORT_REPAIRED,
             f"{self.well - self.asked:.2f} s" if repaired else "-"),
            ("waiting when the reload was asked for", "-",
             f"{self.waiting:,}" if repaired else "-"),
            ("of them failed", "-", f"{self.lost:,}" if repaired else "-")]


def recovered(records, since):
    """The end of the last request that failed or was slow; of those that ended
    after `since`, so that who waited then counts."""
    return max((r.done for r in records if r.done >= since and (
        r.status != 202 or r.done - r.due > SLOW_MS / 1e3)), default=since)


def _n_failed(records):
    return sum(r.status != 202 for r in records)


# ---- the verdict ----

def unmet(before, said, after, ours, scene):
    """What was not as it has to be, a line each; none: the incident is that of
    the report, and both cures cure it."""
    found = [*_outside(before, INCIDENT), *_outside(after, WELL),
             *_outside(ours, WELL)]
    if ERROR_TEXT not in said:
        found.append(f'{before.title}: the pool did not run dry: no "{ERROR_TEXT}" '
                     "in the api's log")
    if '"reason":"EXHAUSTED"' not in before.error_text().replace(" ", ""):
        found.append(f"{before.title}: clients were told "
                     f"{before.error_text() or 'of no error'}, not EXHAUSTED")
    for column in (before, after, ours, scene.column):
        found += [f"{column.title}: {line}" for line in column.complaints]
    return found + _not_repaired(scene)


def _outside(column, bounds):
    cells = column.cells()
    for row, (low, high) in bounds.items():
        value, text = cells[row]
        if not low <= value <= high:
            yield f"{column.title}: {row} {text}, not {_bound(row, low, high)}"


def _bound(row, low, high):
    show = percent if row.endswith("rate") else "{:,.0f} ms".format
    return f"{show(low)} to {show(high)}"


def _not_repaired(scene):
    title = scene.column.title
    if scene.reloaded is None:
        return [f"{title}: {scene.trouble or 'not repaired'}"]
    found = []
    share = _n_failed(scene.after) / (len(scene.after) or 1)
    if share > ERRORS:
        found.append(f"{title}: {percent(share)} of requests failed after the reload, "
                     f"not {percent(0)} to {percent(ERRORS)}")
    late = sorted(1e3 * (r.done - r.due) for r in scene.after
                  if r.due >= scene.reloaded)
    p95 = generators.percentile(late, 95)
    if not late or p95 > SLOW_MS:
        found.append(f"{title}: p95 {p95:,.0f} ms of {len(late):,} requests after the "
                     f"reload, not up to {SLOW_MS} ms")
    return found


# ---- the tables, as Markdown ----

def table(title, heads, rows):
    return "\n".join([f"### {title}", "", "| | " + " | ".join(heads) + " |",
                      "|---" + "|--:" * len(heads) + "|",
                      *("| " + " | ".join(row) + " |" for row in rows), ""])


def change(name, value, base):
    """How a latency changed; the rest speaks for itself."""
    if name not in ("p50", "p95", "p99") or not base:
        return ""
    return f" ({round((value - base) / base * 100):+d} %)"


def incident(before, said):
    return table("3.2 The incident", ("report", "replayed"), [
        (name, REPORT.get(name, "-"), text)
        for name, (_, text) in before.cells().items()]) + (
        f"\nThe api's log:\n\n```\n{said}\n```\n\nThe clients were told:\n\n"
        f"```json\n{before.error_text()}\n```\n")


def comparison(before, *columns, live=None):
    """The live run's load is another one: it has no change in percent."""
    others = [column.cells() for column in columns]
    last = [live.cells()] if live else []
    titles = [c.title for c in (before, *columns, *([live] if live else []))]
    return table("5.1 Before and after", titles, [
        (name, text,
         *(other[name][1] + change(name, other[name][0], value) for other in others),
         *(cells[name][1] for cells in last))
        for name, (value, text) in before.cells().items()])


def repair(scene):
    return table("Put right while it lasts", ("report", "replayed"), scene.rows())
