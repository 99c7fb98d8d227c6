#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""dashboards/coupon.json, from the tables below.

    deploy/monitoring/grafana/dashboard.py > deploy/monitoring/grafana/dashboards/coupon.json

A panel is (title, what it says, unit, [(expression, legend)]); three make a
line.  deploy/test/test_monitoring.py runs every expression.
"""

import json

API = 'job="coupon-api",instance=~"$instance"'
CONSUMER = 'job="coupon-consumer",instance=~"$instance"'
BOTH = 'job=~"coupon-.*",instance=~"$instance"'
EVENT = API + ',coupon=~"$coupon"'
RATE = "[$__rate_interval]"

ROWS = [
    ("The report's six", [
        ("Latency", "Requests of users, from headers to reply; the alert is "
         "at p95 > 1 s.", "s", [
             (f"job:http_requests:p{q}_1m{{job=\"coupon-api\"}}", f"p{q}")
             for q in (50, 95, 99)]),
        ("Error rate", "Share of 5xx, over all and by address; the alert is "
         "at 5 %. Sold out and the like are no errors.", "percentunit", [
             ('job:http_errors:ratio_rate1m{job="coupon-api"}', "all"),
             ('job_uri:http_errors:rate1m{job="coupon-api"}'
              ' / (job_uri:http_requests:rate1m{job="coupon-api"} > 0)',
              "{{uri}}")]),
        ("Redis pool", "active + idle = total; pending are requests that "
         "wait. Alerts at 80 % and 90 % of max.", "short", [
             (f"redis_connection_{name}{{{API}}}", f"{name} {{{{instance}}}}")
             for name in ("active", "idle", "pending", "max")]),
        ("DB pool", "PostgreSQL connections of both daemons.", "short", [
            (f"hikaricp_connections_{name}{{{BOTH}}}",
             f"{name} {{{{instance}}}}")
            for name in ("active", "idle", "pending", "max")]),
        ("Kafka", "Sent and issued per second, and what lies between.",
         "short", [
             (f"sum(rate(kafka_producer_delivery_seconds_count{{{API}}}{RATE}))",
              "acknowledged/s"),
             (f"sum(rate(kafka_consumer_records_consumed_total{{{CONSUMER}}}{RATE}))",
              "consumed/s"),
             (f"sum(kafka_producer_queue_messages{{{API}}})", "producer queue"),
             (f"max(kafka_producer_leaderless_partitions{{{API}}})",
              "partitions without leader"),
             ("topic:kafka_consumer_lag:sum", "lag {{topic}}")]),
        ("Memory", "Resident, in place of a JVM's heap.", "bytes", [
            (f"process_resident_memory_bytes{{{BOTH}}}",
             "{{job}} {{instance}}")]),
        ("CPU", "Processors in use.", "short", [
            (f"rate(process_cpu_seconds_total{{{BOTH}}}{RATE})",
             "{{job}} {{instance}}")]),
        ("Threads and descriptors", "Both are constant: a rise is a leak.",
         "short", [
             (f"process_threads{{{BOTH}}}", "threads {{job}} {{instance}}"),
             (f"process_open_fds{{{BOTH}}}", "fds {{job}} {{instance}}")]),
    ]),
    ("Sales", [
        ("Requests by outcome", "What became of issue requests.", "reqps", [
            (f"sum by (outcome) (rate(coupon_issue_total{{{API}}}{RATE}))",
             "{{outcome}}")]),
        ("Accepted against the plan", "rules/plan.yml holds the plan.",
         "reqps", [
             ("coupon:accepted:rate1m", "accepted"),
             ("coupon:turned_away:rate1m", "turned away"),
             ("coupon:planned:rate", "planned")]),
        ("Requests by address", "Of users.", "reqps", [
            ('job_uri:http_requests:rate1m{job="coupon-api"}', "{{uri}}")]),
        ("Left of each event", "Of the newest that have not ended.", "short", [
            (f"min by (coupon) (coupon_event_remaining{{{EVENT}}})",
             "event {{coupon}}")]),
        ("Given out by event", "Coupons a second.", "reqps", [
            (f"max by (coupon) (deriv(coupon_event_given{{{EVENT}}}{RATE}))",
             "event {{coupon}}")]),
        ("Outbox by event", "Accepted, not yet acknowledged by Kafka.", "short", [
            (f"max by (coupon) (coupon_event_pending{{{EVENT}}})",
             "event {{coupon}}")]),
    ]),
    ("Breaker and limiter", [
        ("Breaker", "1 for the state it is in.", "short", [
            (f"resilience4j_circuitbreaker_state{{{API},"
             'state=~"closed|open|half_open|forced_open"}',
             "{{state}} {{instance}}")]),
        ("Breaker's rates", "Percent of the window; -1: too few calls.",
         "percent", [
             (f"resilience4j_circuitbreaker_failure_rate{{{API}}}",
              "failed {{instance}}"),
             (f"resilience4j_circuitbreaker_slow_call_rate{{{API}}}",
              "slow {{instance}}")]),
        ("Admission", "Requests by what admission decided.", "reqps", [
            (f"sum by (verdict) (rate(coupon_admission_total{{{API}}}{RATE}))",
             "{{verdict}}"),
            (f"sum(resilience4j_ratelimiter_available_permissions{{{API}}})",
             "permits left")]),
    ]),
    ("Outbox and reconciler", [
        ("Pending", "Accepted, not yet acknowledged by Kafka.", "short", [
            (f"max(coupon_outbox_pending{{{API}}})", "entries")]),
        ("Oldest", "The alert is at 10 s.", "s", [
            (f"max(coupon_outbox_oldest_seconds{{{API}}})", "oldest")]),
        ("Relay and producer errors", "Sent again, and why.", "ops", [
            (f"sum(rate(coupon_relay_sent_total{{{API}}}{RATE}))",
             "sent again"),
            (f"sum by (cause) (rate(kafka_producer_errors_total{{{API}}}{RATE}))",
             "{{cause}}")]),
        ("Violations", "Where Redis, Kafka and PostgreSQL disagree, as last "
         "seen.", "short", [
             (f"max by (violation) (coupon_reconcile_violations{{{API}}})",
              "{{violation}}")]),
    ]),
    ("Time to issue", [
        ("From accepted to row", "The alert is at p99 > 5 s.", "s", [
            (f"histogram_quantile({q / 100}, sum by (le) "
             f"(rate(coupon_time_to_issue_seconds_bucket{{{CONSUMER}}}{RATE})))",
             f"p{q}") for q in (50, 95, 99)]),
        ("Writing a batch", "One statement of PostgreSQL.", "s", [
            ("histogram_quantile(0.95, sum by (le) "
             f"(rate(coupon_batch_write_seconds_bucket{{{CONSUMER}}}{RATE})))",
             "p95")]),
        ("Dead letters and rejections", "Per minute.", "short", [
            (f"sum by (reason) (increase(coupon_dead_letters_total{{{CONSUMER}}}[1m]))",
             "dead letter {{reason}}"),
            (f"sum by (reason) (increase(coupon_rejections_total{{{CONSUMER}}}[1m]))",
             "rejected {{reason}}")]),
    ]),
    ("Partitions", [
        ("Lag", "Messages behind the end, by partition.", "short", [
            ("topic_partition:kafka_consumer_lag:max", "{{partition}}")]),
        ("Owners", "Partitions each consumer owns; paused and hung ones.",
         "short", [
             (f"kafka_consumer_assigned_partitions{{{CONSUMER}}}",
              "owned {{instance}}"),
             ("sum by (reason) "
              f"(kafka_consumer_paused_partitions{{{CONSUMER}}})",
              "paused {{reason}}"),
             (f"kafka_consumer_hung_partitions{{{CONSUMER}}}",
              "hung {{instance}}")]),
        ("Batch size", "Messages in the last batch.", "short", [
            (f"coupon_batch_size{{{CONSUMER}}}", "{{partition}}")]),
    ]),
]

# (name, colour, expression): drawn where it is above 0.
ANNOTATIONS = [
    ("Reload", "blue",
     "sum by (instance) (increase(coupon_config_reload_total"
     f'{{{BOTH},outcome="changed"}}[1m])) > 0'),
    ("Restart", "purple",
     "sum by (instance) (changes(process_start_time_seconds"
     f"{{{BOTH}}}[1m])) > 0"),
    ("Breaker", "red",
     "max by (instance) (resilience4j_circuitbreaker_state"
     f'{{{API},state=~"open|forced_open"}}) > 0'),
    ("Rebalance", "orange",
     "sum by (instance) (changes(kafka_consumer_rebalances_total"
     f"{{{CONSUMER}}}[1m])) > 0"),
]

SOURCE = {"type": "prometheus", "uid": "$datasource"}


def panel(number, spec, x, y):
    title, description, unit, targets = spec
    return {
        "id": number, "type": "timeseries", "title": title,
        "description": description, "datasource": SOURCE,
        "gridPos": {"h": 8, "w": 8, "x": x, "y": y},
        "fieldConfig": {"defaults": {"unit": unit,
                                     "custom": {"fillOpacity": 10}},
                        "overrides": []},
        "options": {"tooltip": {"mode": "multi", "sort": "desc"},
                    "legend": {"displayMode": "list", "placement": "bottom"}},
        "targets": [
            {"refId": chr(ord("A") + i), "expr": expr, "legendFormat": legend,
             "datasource": SOURCE}
            for i, (expr, legend) in enumerate(targets)],
    }


def panels():
    found, y = [], 0
    for title, specs in ROWS:
        found.append({"id": len(found) + 1, "type": "row", "title": title,
                      "collapsed": False, "panels": [],
                      "gridPos": {"h": 1, "w": 24, "x": 0, "y": y}})
        for i, spec in enumerate(specs):
            found.append(panel(len(found) + 1, spec, i % 3 * 8,
                               y + 1 + i // 3 * 8))
        y += 1 + (len(specs) + 2) // 3 * 8
    return found


def choice(name, label, query):
    """What the user picks from; all of them at first."""
    return {"name": name, "type": "query", "label": label,
            "datasource": SOURCE, "refresh": 2, "multi": True,
            "includeAll": True, "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
            "query": {"query": query, "refId": name}}


def variables():
    return [
        {"name": "datasource", "type": "datasource", "query": "prometheus",
         "label": "Data source"},
        choice("instance", "Instance",
               'label_values(up{job=~"coupon-.*"}, instance)'),
        choice("coupon", "Event", "label_values(coupon_event_stock, coupon)"),
    ]


def dashboard():
    return {
        "uid": "coupon", "title": "Coupon", "tags": ["coupon"],
        "schemaVersion": 38, "editable": False, "graphTooltip": 1,
        "refresh": "5s", "time": {"from": "now-15m", "to": "now"},
        "timezone": "browser", "templating": {"list": variables()},
        "annotations": {"list": [
            {"name": name, "iconColor": colour, "expr": expr, "enable": True,
             "datasource": SOURCE, "step": "5s",
             "titleFormat": f"{name} {{{{instance}}}}"}
            for name, colour, expr in ANNOTATIONS]},
        "panels": panels(),
    }


if __name__ == "__main__":
    print(json.dumps(dashboard(), indent=1))
