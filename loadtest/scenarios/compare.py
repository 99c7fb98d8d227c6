# SPDX-License-Identifier: MIT
"""make loadtest-compare A=FILE B=FILE: two result files side by side."""

import json
import sys
from pathlib import Path


def figures(result):
    """{name: number} of what two runs of a scenario can be compared by."""
    generator, server = result["generator"], result["server"]
    found = {}
    for name, metric in generator.get("summary", {}).get("metrics", {}).items():
        if name in ("http_req_duration", "accepted_duration"):
            found |= {f"{name}, {key}, ms": metric["values"][key]
                      for key in ("med", "p(95)", "p(99)", "max")}
        elif name == "http_reqs":
            found["requests/s"] = metric["values"]["rate"]
    for name in ("latency_ms", "accepted_ms", "own_delay_ms"):
        found |= {f"{name[:-3]}, {key}, ms": value
                  for key, value in generator.get(name, {}).items()}
    found["errors"] = generator["errors"]
    found |= {f"{name}, %": 100 * share for name, share in generator["shares"].items()}
    found["generator, cores"] = generator["cpu_s"] / generator["seconds"]
    found["api, us CPU per request"] = server.get("api_cpu_us_per_request")
    found |= {f"{name}, cores": n for name, n in server.get("cores", {}).items()}
    found |= {f"time to issue, {key}, ms": value
              for key, value in server.get("time_to_issue_ms", {}).items()}
    found |= {f"rows/s, {key}": n for key, n in server.get("rows_per_s", {}).items()}
    found["pool, most active"] = server.get("pool", {}).get("peak_active")
    found["pool, most waiting"] = server.get("pool", {}).get("peak_waiting")
    found["something waited for a CPU, %"] = 100 * server["cpu_stalled_share"]
    return {name: value for name, value in found.items() if value is not None}


def table(a, b):
    """Markdown; the change is B's over A."""
    left, right = figures(a), figures(b)
    rows = [("", f"A: {a['commit'] or '-'}", f"B: {b['commit'] or '-'}", "change"),
            ("scenario", a["scenario"], b["scenario"], ""),
            ("verdict", _outcome(a), _outcome(b), "")]
    rows += [(name, _number(left.get(name)), _number(right.get(name)),
              _change(left.get(name), right.get(name)))
             for name in dict.fromkeys([*left, *right])]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = ["| " + row[0].ljust(widths[0]) + " | " + " | ".join(
        cell.rjust(width) for cell, width in zip(row[1:], widths[1:])) + " |"
        for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _outcome(result):
    """Results of before the outcome had words were verified."""
    return result.get("outcome") or ("passed" if result["passed"] else "FAILED")


def _number(value):
    return "-" if value is None else f"{value:,.2f}"


def _change(a, b):
    if a is None or b is None or (not a and b):
        return "-"
    return f"{(b - a) / a:+.1%}" if a else "0.0%"


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: make loadtest-compare A=FILE B=FILE, two of "
                 "loadtest/results/*.json")
    try:
        print(table(*(json.loads(Path(name).read_text()) for name in sys.argv[1:])))
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"loadtest-compare: not a result file: {error}")


if __name__ == "__main__":
    main()
