# SPDX-License-Identifier: MIT
"""What each scenario is: its generator, its event, what it has to reach.

The shapes and thresholds of the k6 scenarios are in k6/issue.js.
"""

import os
from dataclasses import dataclass

PLENTY = 10_000_000


@dataclass(frozen=True)
class Scenario:
    """limiter: the report's 500/s stays on; private: on servers of its own;
    k6: its generator, openload otherwise."""

    name: str
    what: str
    limiter: bool = True
    stock: int = PLENTY
    private: bool = False
    k6: bool = True


SCENARIOS = {scenario.name: scenario for scenario in (
    Scenario("baseline", "100 VU, 1 min, about 100 requests/s"),
    Scenario("spike", "10 -> 500 -> 10 VU, 2 min"),
    Scenario("extreme", "to 1,000 VU, about 1,000 requests/s", limiter=False),
    Scenario("stampede", "open model, 0 -> 5,000/s in 1 s, held 20 s, 50,000 "
             "users for 10,000 coupons", limiter=False, stock=10_000, k6=False),
    Scenario("soak", "300/s for 30 min, resize and more partitions in the middle",
             private=True),
    Scenario("partitions", "lag with 1 partition and a 20 ms database, then 3 live",
             limiter=False, private=True, k6=False),
)}
DEFAULT = ["baseline", "spike", "extreme"]
SOAK_MINUTES = int(os.environ.get("SOAK_MINUTES", "30"))
