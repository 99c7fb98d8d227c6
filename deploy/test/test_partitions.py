# SPDX-License-Identifier: MIT
"""The consumer group: members come and go, the topic grows, nothing is lost."""

import pytest

from service import wait_for
from web import Load

STRATEGY = "kafka__properties__partition__assignment__strategy"


# Whoever configures another than ours, range, loses nothing by it.
@pytest.mark.parametrize("settings", [{}, {STRATEGY: "cooperative-sticky"}],
                         ids=["range", "cooperative"])
def test_a_second_consumer_takes_its_share_and_gives_it_back(make_service, settings):
    service = make_service(partitions=3)
    api, first = service.api(), service.consumer(**settings)
    event = service.event(api, total=100000)
    load = Load([api.port], event, range(1, 12001), rate=1500)
    wait_for(lambda: service.n_rows(event) > 500)

    second = service.consumer(**settings)
    wait_for(lambda: {first.partitions(), second.partitions()} == {1, 2},
             what="one of three partitions moved")
    assert second.stop() == 0
    wait_for(lambda: first.partitions() == 3, what="partition back")

    answers = load.join()
    service.settle(event)
    service.check(event, 100000, answers)
    assert service.n_rows(event) == 12000


def test_new_partitions_are_consumed_from_their_first_message(make_service):
    service = make_service(partitions=1)
    api, consumer = service.api(), service.consumer()
    event = service.event(api, total=100000)
    load = Load([api.port], event, range(1, 16001), rate=1500)
    wait_for(lambda: service.n_rows(event) > 500)

    service.stack.tool("coupon-topic", "--alter", "--topic", service.topic,
                       "--partitions", "3")
    wait_for(lambda: consumer.partitions() == 3, 10, "partitions found in time")

    answers = load.join()
    service.settle(event)
    service.check(event, 100000, answers)
    offsets = service.query(
        "SELECT partition, next_offset FROM consumer_offset"
        " WHERE group_id = %s ORDER BY partition", service.group)
    assert [partition for partition, _ in offsets] == [0, 1, 2]
    assert all(next_offset > 0 for _, next_offset in offsets)
    assert sum(next_offset for _, next_offset in offsets) == 16000


def test_the_topic_tool_prints_as_kafka_topics_sh(service):
    name = f"{service.topic}-shown"

    def tool(*arguments):
        return service.stack.tool("coupon-topic", "--topic", name, *arguments)
    assert tool("--create", "--partitions", "1") == f"Created topic {name}.\n"
    assert tool("--create", "--if-not-exists") == ""
    assert tool("--alter", "--partitions", "2").endswith("Adding partitions succeeded!\n")
    assert tool("--describe").splitlines() == [
        f"Topic: {name}\tPartitionCount: 2\tReplicationFactor: 1",
        *(f"\tTopic: {name}\tPartition: {n}\tLeader: 1\tReplicas: 1\tIsr: 1"
          for n in range(2))]
    assert tool("--delete") == "" and tool("--describe", "--if-exists") == ""
