# SPDX-License-Identifier: MIT
"""partitions: a consumer that cannot keep up with one, given three while it
runs.

PostgreSQL answers the consumer 20 ms later, through toxiproxy, and batches are
small: the wait is what a partition thread spends its time on, and two cores
can offer more than three of them drain.
"""

import threading
import time

import draw
import generators
import verdict
from chaos.proxy import Proxy
from remote import series, total
from watch import Watch

DELAY_MS = 20
BATCH = 10
RATE = 2000
SECONDS = 45
GROW_AT = 15
RAISED = 2.8


class Rows:
    """A thread that samples the consumer's counters."""

    def __init__(self, url):
        self._url = url
        self.samples = []  # (seconds, rows, lag of each partition)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._begin = time.monotonic()
        self._thread.start()

    def _run(self):
        while not self._stop.wait(0.5):
            values = series(self._url)
            lag = {name: value for name, value in values.items()
                   if name.startswith("kafka_consumer_lag{") and ".dlq" not in name}
            if values:
                self.samples.append((time.monotonic() - self._begin, total(
                    values, "coupon_rows_written_total"), lag))

    def close(self):
        self._stop.set()
        self._thread.join()

    def rate(self, n_partitions):
        """Rows/s while that many partitions had a lag, all of them; None: too
        short to tell."""
        busy = [s for s in self.samples
                if len(s[2]) == n_partitions and all(lag > BATCH for lag in s[2].values())]
        # The first seconds show the start, or the change.
        busy = [s for s in busy if s[0] > busy[0][0] + 3]
        if len(busy) < 10:
            return None
        return (busy[-1][1] - busy[0][1]) / (busy[-1][0] - busy[0][0])


def run(scenario, target, event, stem):
    log = stem.with_suffix(".csv")
    proxy = Proxy(target.spare_port, {"postgres": target.postgres_port},
                  target.dir / "toxiproxy.log")
    try:
        proxy.add("postgres", "latency", ["downstream"], latency=DELAY_MS)
        target.set({"consumer.batch-size": BATCH}, "consumer")
        target.start("consumer", LOCAL_POSTGRES_PORT=str(proxy.listen["postgres"]))
        rows = Rows(target.consumer_url)
        with Watch(target) as watch:
            arrivals = _load(target, event, log)
        rows.close()
        target.set({"consumer.batch-size": 500}, "consumer")
        event.settle()
        figures = watch.figures()
        # Back to the database itself, as coupon-verify will see it.
        target.start("consumer")
    finally:
        proxy.close()
    log.unlink()
    generator, found, verdicts = _result(scenario, stem, arrivals, rows, figures)
    return generator, found, verdicts + watch.rows()


def _load(target, event, log):
    process = generators.start_openload(
        target, event.id, [(0, RATE), (SECONDS, RATE)], log,
        first_user=event.first_user)
    time.sleep(GROW_AT)
    print(f"  topic grown to {target.grow_topic(2)} partitions", flush=True)
    return generators.finish_openload(process, log)


def _result(scenario, stem, arrivals, rows, figures):
    one, three = rows.rate(1), rows.rate(3)
    draw.page(stem.with_suffix(".html"), scenario.what, draw.rows(rows.samples))
    figures |= {"rows_per_s": {name: round(rate) for name, rate in (
                    ("1 partition", one), ("3 partitions", three)) if rate},
                "batch": BATCH, "database_delay_ms": DELAY_MS,
                "rows_and_lag_over_time": [(round(at, 1), n, sum(lag.values()))
                                           for at, n, lag in rows.samples]}
    refused = sum(r.status in (409, 429) for r in arrivals.records)
    return arrivals.summary(), figures, [
        raised_row(one, three),
        verdict.equals("errors", arrivals.errors(), 0),
        verdict.equals("refused (409, 429)", refused, 0)]


def raised_row(one, three):
    name, limit = "rows/s, 3 partitions over 1", f">= {RAISED} x"
    if not one or not three:
        which = "three partitions" if one else "one partition"
        return verdict.Row(name, limit, f"{which} lagged too short to tell", False)
    return verdict.Row(name, limit, f"{three / one:.2f} x ({one:,.0f} -> {three:,.0f})",
                       three >= RAISED * one)
