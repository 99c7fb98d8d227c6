# SPDX-License-Identifier: MIT
"""The consumer group: members come and go, the topic grows, nothing is lost."""

from service import wait_for
from web import Load


def test_a_second_consumer_takes_its_share_and_gives_it_back(make_service):
    service = make_service(partitions=3)
    api, first = service.api(), service.consumer()
    event = service.event(api, total=100000)
    load = Load([api.port], event, range(1, 12001), rate=1500)
    wait_for(lambda: service.n_rows(event) > 500)

    second = service.consumer()
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
