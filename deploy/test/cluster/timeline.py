# SPDX-License-Identifier: MIT
"""What the HPA saw and did, as a table while it happens and as a plot after."""

import threading
import time

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({
    "svg.fonttype": "none", "svg.hashsalt": "coupon", "font.size": 8,
    "axes.grid": True, "grid.alpha": 0.3, "axes.spines.top": False,
    "axes.spines.right": False, "legend.fontsize": 7, "lines.linewidth": 1.1})

# pylint: disable=wrong-import-position
from matplotlib import pyplot  # noqa: E402

BLUE, ORANGE, RED, GREY = "#1f6fb4", "#e08a1e", "#c62828", "#9aa0a6"
COLUMNS = "seconds", "ready", "desired", "requests/s a pod", "cpu %"


class Timeline(threading.Thread):
    """Looks twice a second, and keeps what has changed."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster = cluster
        self.began = time.time()
        self.rows, self.notes = [], []
        self.ended = threading.Event()

    def _now(self):
        return time.time() - self.began

    def run(self):
        print("    s  ready desired  requests/s a pod  cpu %", flush=True)
        while not self.ended.wait(0.5):
            try:
                self._look()
            except (LookupError, OSError) as error:
                self.note(f"no look: {error}")

    def _look(self):
        hpa, scale = self.cluster.hpa(), self.cluster.kube.get(
            "/apis/apps/v1/namespaces/coupon/deployments/coupon-api")
        figures = {m["type"]: m[m["type"].lower()]["current"]
                   for m in hpa.get("currentMetrics") or [] if m["type"]}
        row = (scale["status"].get("readyReplicas", 0), hpa.get("desiredReplicas", 0),
               _number(figures.get("Pods", {}).get("averageValue", "0")),
               figures.get("Resource", {}).get("averageUtilization"))
        if not self.rows or self.rows[-1][1:] != row:
            self.rows.append((round(self._now(), 1), *row))
            print("{:5.1f} {:6} {:7} {:17.0f}  {}".format(*self.rows[-1]), flush=True)

    def note(self, text):
        self.notes.append((self._now(), text))
        print(f"{self.notes[-1][0]:5.1f} -- {text}", flush=True)

    def is_shared(self, rate, least, most):
        """Whether the HPA sees enough pods, each with its part of the load."""
        if not self.rows:
            return False
        _, ready, desired, each, _ = self.rows[-1]
        part = rate / max(ready, 1)
        return (least <= ready == desired <= most and
                abs(each - part) <= part / 10)

    def stop(self):
        self.ended.set()
        self.join()

    def write(self, directory, seconds):
        """timeline.tsv and timeline.svg; `seconds`: the lines of load.py."""
        lines = ["\t".join(COLUMNS), *("\t".join(map(str, row)) for row in self.rows)]
        (directory / "timeline.tsv").write_text("\n".join(lines) + "\n")
        figure = self._draw([s for s in seconds if "p50" in s])
        figure.savefig(directory / "timeline.svg", metadata={"Date": None})
        pyplot.close(figure)
        print(f"timeline: {directory}/timeline.svg")

    def _draw(self, seconds):
        figure, axes = pyplot.subplots(3, 1, sharex=True, figsize=(9, 6),
                                       layout="constrained")
        times = [row[0] for row in self.rows]
        pods, figures, latency = axes
        for column, colour in ((2, GREY), (1, BLUE)):
            pods.step(times, [row[column] for row in self.rows], where="post",
                      color=colour, label=COLUMNS[column])
        pods.set(ylabel="pods", ylim=(0, 13))
        figures.step(times, [row[3] for row in self.rows], where="post", color=RED,
                     label="seen by the HPA")
        figures.axhline(200, color=GREY, linestyle="--", label="its target")
        figures.set_ylabel("requests/s a pod")
        at = [second["time"] - self.began for second in seconds]
        for name, colour in (("p50", BLUE), ("p99", ORANGE)):
            latency.plot(at, [second[name] for second in seconds], color=colour,
                         label=name)
        latency.set(ylabel="answered, ms", xlabel="s", yscale="log")
        for axis in axes:
            axis.legend(loc="center left" if axis is pods else "upper left")
            for when, text in self.notes:
                if not text.startswith("shared"):
                    axis.axvline(when, color=GREY, linestyle=":", linewidth=0.7)
        for when, text in self.notes:
            if not text.startswith("shared"):
                pods.annotate(text.split(" done")[0], (when, 0.98), rotation=90,
                              xycoords=("data", "axes fraction"), fontsize=6,
                              ha="right", va="top")
        return figure


def _number(text):
    return float(text[:-1]) / 1000 if text.endswith("m") else float(
        text.replace("k", "000"))
