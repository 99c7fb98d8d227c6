# SPDX-License-Identifier: MIT
"""The event of a run: who asks for its coupons, and whether the count is right."""

import random
import time

from verdict import Row

REST_S = 180


class Event:
    """Of an EVENT that was there, coupons and users of earlier runs do not count."""

    def __init__(self, target, event_id):
        self.id, self._target = event_id, target
        at_first = target.settle(event_id, REST_S)
        self.left = at_first["remaining"]
        self._issued_before = at_first["issued"]
        self.first_user = random.randrange(1, 10**12)
        self._issued = self._rest = None

    def settle(self):
        """Waits until nothing is on its way; if that does not come, it is a row."""
        begin = time.monotonic()
        try:
            issued = self._target.settle(self.id, REST_S)["issued"]
        except TimeoutError as error:
            self._rest = _rest_row(str(error), False)
            return
        self._rest = _rest_row(f"{time.monotonic() - begin:.1f} s", True)
        self._issued = issued - self._issued_before

    def rows(self, accepted, errors):
        """Who got no answer, or an unknown one, may have a coupon."""
        high = accepted + errors
        name = "coupons issued, as accepted"
        limit = f"{accepted:,} .. {high:,}" if errors else f"= {accepted:,}"
        if self._issued is None:
            return [self._rest, Row(name, limit, "not known: not at rest", None)]
        return [self._rest, Row(name, limit, f"{self._issued:,}",
                                accepted <= self._issued <= high)]


def _rest_row(value, ok):
    return Row("event at rest", f"within {REST_S} s", value, ok)
