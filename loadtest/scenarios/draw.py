# SPDX-License-Identifier: MIT
"""Runs over time, drawn with matplotlib: as PNG for docs/images, and as a page
that needs nothing else."""

import html
import io
import re

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({
    "svg.fonttype": "none", "svg.hashsalt": "coupon", "font.size": 8,
    "font.family": "sans-serif", "axes.grid": True, "grid.alpha": 0.3,
    "axes.spines.top": False, "axes.spines.right": False,
    "legend.framealpha": 0.85, "legend.edgecolor": "none",
    "legend.fontsize": 7, "lines.linewidth": 1.1})

# pylint: disable=wrong-import-position
from matplotlib import pyplot  # noqa: E402

from generators import percentile  # noqa: E402

BLUE, ORANGE, RED, GREY = "#1f6fb4", "#e08a1e", "#c62828", "#9aa0a6"


def timeline(runs, marks=(), window=(0, float("inf"))):
    """{title: (records, pool samples)} side by side: latency, answers, pool.

    marks: (title, second, text), a line through all three of a run; window:
    the seconds that are shown.
    """
    runs = {title: ([r for r in records if window[0] <= r.due <= window[1]],
                    [s for s in samples if window[0] <= s[0] <= window[1]])
            for title, (records, samples) in runs.items()}
    figure, axes = pyplot.subplots(
        3, len(runs), sharex="col", sharey="row", squeeze=False,
        figsize=(max(2.2 + 2.9 * len(runs), 8), 6.2), layout="constrained")
    for column, (title, (records, samples)) in enumerate(runs.items()):
        _latency(axes[0][column], records)
        _answers(axes[1][column], records)
        _pool(axes[2][column], samples)
        axes[0][column].set_title(title)
        axes[2][column].set_xlabel("s")
        for name, second, text in marks:
            if name == title:
                _mark(axes[:, column], second, text)
    for row, label in enumerate(("latency, ms", "requests/s", "pool")):
        axes[row][0].set_ylabel(label)
        axes[row][-1].legend(loc="upper right")
    return figure


def _mark(axes, second, text):
    for axis in axes:
        axis.axvline(second, color=GREY, linestyle=":")
    axes[0].annotate(text, (second, 0.02), xycoords=("data", "axes fraction"),
                     rotation=90, fontsize=7, ha="right", va="bottom")


def _bins(records):
    """[(second, records due then)], 100 or so, of a quarter second at least."""
    width = max((records[-1].due - records[0].due) / 100, 0.25)
    groups = {}
    for record in records:
        groups.setdefault(int(record.due / width), []).append(record)
    return width, sorted((n * width, group) for n, group in groups.items())


def _latency(axis, records):
    _, bins = _bins(records)
    seconds = [second for second, _ in bins]
    spans = [sorted(1e3 * (r.done - r.due) for r in group) for _, group in bins]
    for percent, colour in ((50, BLUE), (95, ORANGE), (99, RED)):
        axis.plot(seconds, [percentile(values, percent) for values in spans],
                  color=colour, label=f"p{percent}")
    axis.set_yscale("log")


def _answers(axis, records):
    width, bins = _bins(records)
    seconds = [second for second, _ in bins]

    def rate(wanted):
        return [sum(map(wanted, group)) / width for _, group in bins]
    axis.stackplot(
        seconds, rate(lambda r: r.status == 202), rate(lambda r: r.status in (409, 429)),
        rate(lambda r: r.status not in (202, 409, 429)),
        colors=(BLUE, GREY, RED), labels=("accepted", "refused (409, 429)", "errors"),
        linewidth=0)


def _pool(axis, samples):
    # The highest of those that would share a pixel.
    step = max(len(samples) // 150, 1)
    samples = [max(samples[i:i + step], key=lambda s: (s[2], s[1]))
               for i in range(0, len(samples), step)]
    seconds = [sample[0] for sample in samples]
    axis.plot(seconds, [sample[1] for sample in samples], color=BLUE, label="active")
    axis.plot(seconds, [sample[2] for sample in samples], color=RED, label="waiting")
    axis.plot(seconds, [sample[3] for sample in samples], color=GREY,
              linestyle="--", label="max")
    axis.set_yscale("symlog", linthresh=10)
    axis.set_ylim(bottom=0)


def rows(samples):
    """(second, rows, {partition: lag}) over time: rows/s and lag."""
    figure, (above, below) = pyplot.subplots(2, 1, sharex=True, figsize=(8, 5),
                                             layout="constrained")
    pairs = list(zip(samples, samples[4:]))  # over two seconds
    above.plot([b[0] for _, b in pairs],
               [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairs], color=BLUE)
    above.set_ylabel("rows/s")
    above.set_ylim(bottom=0)
    for name in sorted({name for sample in samples for name in sample[2]}):
        below.plot([s[0] for s in samples], [s[2].get(name) for s in samples],
                   label=re.search(r'partition="(\d+)"', name)[1])
    below.set_ylabel("lag of partition")
    below.set_xlabel("s")
    below.legend()
    return figure


def svg(figure):
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    return text.getvalue()


def png(path, figure):
    figure.savefig(path, metadata={"Software": None})
    pyplot.close(figure)


def page(path, title, figure):
    picture = svg(figure)
    path.write_text(
        f"<!DOCTYPE html>\n<meta charset=\"utf-8\">\n<title>{html.escape(title)}"
        f"</title>\n<h1>{html.escape(title)}</h1>\n{picture[picture.index('<svg'):]}\n")
