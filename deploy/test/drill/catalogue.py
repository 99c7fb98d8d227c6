# SPDX-License-Identifier: MIT
"""The drills: what breaks, what says so, which section of the runbook ends it.

`strike` is a context manager: broken inside, healed outside.  It heals what
the runbook did not, or all of it when the operator gives up.
"""

from dataclasses import dataclass
from typing import Callable

from drill import standby, strikes
from drill.figures import above, api, below, consumer, prometheus


@dataclass(frozen=True)
class Drill:
    name: str
    what: str            # in one line
    section: str         # of docs/runbook.md
    strike: Callable     # world -> context manager
    alerts: tuple = ()   # any of them will do
    figures: tuple = ()  # each says so
    rate: int = 0        # requests a second meanwhile
    act: str = ""        # the section whose Act ends it, if another
    auto: Callable = None  # what no command of the runbook can do here
    lingers: str = ""    # why nobody waits for the all-clear


FIVE_MINUTES = "the alert looks back five minutes"
WAITERS = "Requests wait for a connection"
REDIS_PENDING = api("redis.connection.pending", above(0), pool="redis")
DB_PENDING = api("hikaricp.connections.pending", above(0))
BREAKER = api("resilience4j.circuitbreaker.state", above(0), state="forced_open")
LAG = consumer("kafka.consumer.lag", above(1000))
PAUSED = consumer("kafka.consumer.paused.partitions", above(0))

DRILLS = {drill.name: drill for drill in (
    Drill("redis-pool", "Redis is 50 ms away; 10 connections, one request each",
          "Redis Connection Pool exhausted", strikes.small_pool,
          ("RedisPoolExhausted",), (REDIS_PENDING,), rate=300),
    Drill("pool-waiters", "a forgotten transaction locks user_coupon, the api "
          "has three connections", WAITERS, strikes.readers_wait,
          ("PoolWaiters",), (DB_PENDING,)),
    Drill("leak", "connections of the consumer are held for longer than 2 s",
          "Connection leak suspected", strikes.held_connections,
          ("ConnectionLeakSuspected",),
          (consumer("kafka.consumer.lag", above(50)),), rate=20,
          act=WAITERS, lingers=FIVE_MINUTES),
    Drill("redis-unsafe", "somebody let Redis evict, and not sync",
          "Redis could forget or evict", strikes.unsafe_redis,
          ("RedisUnsafe",), (api("redis.server.unsafe", above(0)),)),
    Drill("api-killed", "kill -9 of the api", "Target down",
          strikes.killed("api"), ("TargetDown",),
          (prometheus('up{job="coupon-api"}', below(1)),), rate=20),
    Drill("consumer-killed", "kill -9 of the consumer", "Target down",
          strikes.killed("consumer"), ("TargetDown",),
          (prometheus('up{job="coupon-consumer"}', below(1)),), rate=20),
    Drill("redis-full", "Redis has reached its maxmemory",
          "Redis full or read-only", strikes.full_redis, ("ErrorRateHigh",),
          (prometheus("job:http_errors:ratio_rate1m", above(0.05)),), rate=50),
    Drill("latency", "reads wait for a lock in PostgreSQL, up to 3 s",
          "Latency high", strikes.patient_readers, ("LatencyHigh",), (DB_PENDING,), act=WAITERS),
    Drill("breaker", "somebody held the breaker open, and forgot it",
          "Circuit breaker open", strikes.forced_breaker,
          ("CircuitBreakerOpen",), (BREAKER,), rate=50),
    Drill("selling-slow", "100 coupons/s are planned, the limiter admits 50",
          "Event sold slower than planned", strikes.low_limit,
          ("EventSellingSlow",),
          (prometheus("coupon:accepted:rate1m", below(80)),), rate=200,
          act="Changing pool and limits live"),
    Drill("kafka-down", "kill -9 of Kafka", "Outbox old",
          strikes.killed("kafka"), ("OutboxOld",),
          (api("coupon.outbox.oldest", above(5)),), rate=50),
    Drill("consumer-lag", "a forgotten transaction locks user_coupon",
          "Consumer lag growing", strikes.locked,
          ("ConsumerLagGrowing",), (LAG,), rate=100, act=WAITERS),
    Drill("time-to-issue", "the consumer writes one row at a time, PostgreSQL "
          "is 20 ms away", "Time to issue slow", strikes.slow_writer,
          ("TimeToIssueSlow",), (LAG,), rate=100),
    Drill("postgres-down", "kill -9 of PostgreSQL", "Partitions paused",
          strikes.killed("postgres"), ("PartitionsPaused",), (PAUSED,),
          rate=50),
    Drill("unowned", "somebody has deleted the topic",
          "Partitions unowned", strikes.deleted_topic, ("PartitionsUnowned",),
          (consumer("kafka.consumer.assigned.partitions", below(1)),), rate=20),
    Drill("hung", "the watchdog allows 1 s, a lock takes longer",
          "Partition hung", strikes.hung_partition, ("PartitionHung",),
          (consumer("kafka.consumer.hung.partitions", above(0)),), rate=50,
          act=WAITERS),
    Drill("rebalance", "a second consumer dies again and again",
          "Rebalance storm", strikes.flapping_consumer, ("RebalanceStorm",),
          (prometheus('increase(kafka_consumer_rebalances_total'
                      '{kind="assigned"}[1m])', above(2)),),
          auto=strikes.stop_flapping, lingers=FIVE_MINUTES),
    Drill("dead-letters", "somebody writes into our topic", "Dead letters",
          strikes.poison, ("DeadLetters",),
          (strikes.LETTERS,), rate=20, lingers=FIVE_MINUTES),
    Drill("reconcile", "somebody rejects by hand what has been issued",
          "Reconcile violation", strikes.two_final_states, ("ReconcileViolation",),
          (api("coupon.reconcile.violations", above(0)),), rate=20),
    Drill("redis-down", "kill -9 of Redis", "Lost Redis",
          strikes.killed("redis"), ("CircuitBreakerOpen", "ErrorRateHigh"),
          (api("redis.connection.total", below(1)),), rate=50),
    Drill("redis-forgot", "FLUSHALL under load", "Lost Redis",
          strikes.flushed, (), (strikes.NOT_OPEN,), rate=50),
    Drill("failover", "kill -9 of the primary; a standby is there", "Failover",
          standby.primary_lost, ("PartitionsPaused",), (PAUSED,), rate=50),
    Drill("partitions", "one partition carries the event",
          "Partitions 1 to 3 during an event", strikes.own_topic, (),
          (consumer("kafka.consumer.assigned.partitions", below(3)),),
          rate=50),
    Drill("restart", "a new version goes out under load",
          "Restart and rollback", strikes.nothing, rate=50),
    Drill("deploy", "consumer and api of a new version, in an event",
          "Deploy during an event", strikes.nothing, rate=50),
    Drill("bad-config", "the api was restarted with a wrong key in its file",
          "A daemon does not start", strikes.wrong_key, ("TargetDown",),
          (prometheus('up{job="coupon-api"}', below(1)),)),
)}
