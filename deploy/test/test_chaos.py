# SPDX-License-Identifier: MIT
"""A short campaign (make chaos is the long one): nine faults that need no
proxy, some at once, then the reckoning of all guarantees."""

from chaos.campaign import Campaign
from chaos.faults import Stroke, catalogue
from chaos.reckoning import Loss, forgotten_since
from stack import DIRECTORY

#        fault, which of two, seconds it lasts, at once with the one before
FAULTS = [
    ("redis from old files", 0, 2, False),
    ("consumer stopped", 0, 7, False),
    ("redis flushed", 0, 0, True),
    ("postgres killed", 0, 1, False),
    ("api killed", 1, 0.5, True),
    ("topic 1 -> 3 partitions", 0, 0, False),
    ("kafka restarted", 0, 1, False),
    ("redis killed", 0, 0.5, True),
    ("all daemons killed", 0, 0.5, False),
]


def test_a_short_campaign_violates_nothing(stack):
    directory = DIRECTORY / "logs/chaos"
    directory.mkdir(parents=True, exist_ok=True)
    by_name = {fault.name: fault for fault in catalogue(proxied=False)}
    campaign = Campaign(stack, directory, seed=1)
    try:
        campaign.run([Stroke(by_name[name], which, seconds, 0.2, overlaps)
                      for name, which, seconds, overlaps in FAULTS])
    finally:
        campaign.close()
    assert not campaign.violations, campaign.violations
    assert campaign.counts["accepted"] > 1000


def test_what_redis_may_forget_is_what_kafka_had_no_time_for():
    """The excuse of G3, which the reckoning may not stretch."""
    loss = Loss(100.0, 100.0)
    assert forgotten_since(loss, []) == 95
    # Away until the loss, or until the relay's next pass: all since then.
    assert forgotten_since(loss, [(60, 100)]) == 55
    assert forgotten_since(loss, [(60, 98.5), (30, 58.5)]) == 25
    # Back for longer than a pass takes: what was due then is in Kafka.
    assert forgotten_since(loss, [(60, 97)]) == 95
    assert forgotten_since(loss, [(100.5, 120)]) == 95
