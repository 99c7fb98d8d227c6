# SPDX-License-Identifier: MIT
"""What the HPA saw and did, as a table while it happens and as a plot after."""

import threading
import time

HEIGHT, WIDTH = 300, 900


class Timeline(threading.Thread):
    """Looks twice a second; `ready` is what the last look saw."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster = cluster
        self.began = time.monotonic()
        self.rows, self.notes = [], []
        self.ready, self.ended = 0, threading.Event()

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
        self.ready = row[0]
        if not self.rows or self.rows[-1][1:] != row:
            self.rows.append((time.monotonic() - self.began, *row))
            print("{:5.1f} {:6} {:7} {:17.0f}  {}".format(*self.rows[-1]), flush=True)

    def note(self, text):
        self.notes.append((time.monotonic() - self.began, text))
        print(f"{self.notes[-1][0]:5.1f} -- {text}", flush=True)

    def stop(self):
        self.ended.set()
        self.join()

    def write(self, directory):
        """timeline.tsv and timeline.svg."""
        lines = ["seconds\tready\tdesired\trequests/s a pod\tcpu %"]
        lines += ["\t".join(map(str, row)) for row in self.rows]
        (directory / "timeline.tsv").write_text("\n".join(lines) + "\n")
        (directory / "timeline.svg").write_text(self._svg())
        print(f"timeline: {directory}/timeline.svg")

    def _svg(self):
        end = max(row[0] for row in self.rows) or 1

        def steps(column, top):
            points, level = [], None
            for row in self.rows:
                x = row[0] / end * WIDTH
                if level is not None:
                    points.append(f"{x:.1f},{level:.1f}")
                level = HEIGHT - row[column] / top * HEIGHT
                points.append(f"{x:.1f},{level:.1f}")
            return " ".join([*points, f"{WIDTH},{level:.1f}"])
        marks = "".join(
            f'<line x1="{at / end * WIDTH:.1f}" x2="{at / end * WIDTH:.1f}" y1="0" '
            f'y2="{HEIGHT}" stroke="#bbb"/><text x="{at / end * WIDTH + 3:.1f}" '
            f'y="{12 + n % 8 * 12}">{at:.0f} s: {text}</text>'
            for n, (at, text) in enumerate(self.notes))
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-40 -20 {WIDTH + 80} '
            f'{HEIGHT + 60}" font-family="sans-serif" font-size="10">{marks}'
            f'<polyline fill="none" stroke="#1f77b4" stroke-width="2" '
            f'points="{steps(1, 12)}"/><polyline fill="none" stroke="#d62728" '
            f'points="{steps(3, 1200)}"/><text x="0" y="{HEIGHT + 20}" fill="#1f77b4">'
            f'ready pods (0..12)</text><text x="200" y="{HEIGHT + 20}" fill="#d62728">'
            f'requests/s a pod (0..1,200)</text><text x="{WIDTH - 60}" '
            f'y="{HEIGHT + 20}">{end:.0f} s</text></svg>\n')


def _number(text):
    return float(text[:-1]) / 1000 if text.endswith("m") else float(
        text.replace("k", "000"))
