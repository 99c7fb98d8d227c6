# SPDX-License-Identifier: MIT
"""When the rows were there."""

import contextlib
import threading
import time

from remote import Refused


class LastRow:
    """Polls an event until all its coupons are rows; `unix`: when that was."""

    def __init__(self, target, event):
        self._target, self._event = target, event
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.unix = float("inf")

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self._thread.join(60)
        self._stop.set()

    def _run(self):
        while not self._stop.wait(0.02):
            with contextlib.suppress(OSError, Refused):
                event = self._target.event(self._event)
                if event["issued"] == event["total"]:
                    self.unix = time.time()
                    return
