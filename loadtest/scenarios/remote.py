# SPDX-License-Identifier: MIT
"""One HTTP request to a deployment, and what Prometheus would read there."""

import http.client
import json
import re
import urllib.error
import urllib.request

_SERIES = re.compile(r"^([a-z_0-9:]+(?:\{.*\})?) (\S+)", re.M)
_START = "process_start_time_seconds"
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_proxied = urllib.request.build_opener()


class Refused(Exception):
    """The deployment answered, but not with 2xx."""


def fetch(url, method="GET", body=None, token=None, timeout=10):
    """The body of a 2xx; a dict is sent as JSON."""
    headers = {"Content-Type": "application/json"} if body is not None else {}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    local = request.host.partition(":")[0] in ("localhost", "127.0.0.1")
    try:
        with (_direct if local else _proxied).open(request, timeout=timeout) as reply:
            return reply.read().decode()
    except urllib.error.HTTPError as error:
        raise Refused(f"{method} {url}: {error.code} {error.read().decode()}") from error
    except http.client.HTTPException as error:
        raise OSError(f"{method} {url}: {error!r}") from error


def fetch_json(*arguments, **options):
    return json.loads(fetch(*arguments, **options))


def series(url):
    """{series: value} of an /actuator/prometheus; {} where there is none."""
    try:
        return parse_series(fetch(f"{url}/actuator/prometheus"))
    except (OSError, Refused):
        return {}


def parse_series(text):
    return {name: float(value) for name, value in _SERIES.findall(text)}


def total(values, name, part=""):
    """The sum of a family's series whose labels contain `part`."""
    return sum(value for series_name, value in values.items()
               if series_name.partition("{")[0] == name and part in series_name)


def is_restarted(before, after):
    """Whether the process is another one, whose counters began at 0."""
    if _START in before and _START in after:
        return before[_START] != after[_START]
    return any(after.get(name, 0) < value for name, value in before.items()
               if name.partition("{")[0].endswith(("_total", "_count", "_bucket")))


def increase(before, after, name, part=""):
    return total(after, name, part) - total(before, name, part)


def quantiles(before, after, name, *wanted):
    """Of what a histogram counted in between, in ms, as Prometheus reckons."""
    edges = sorted((float(edge), after[key] - before.get(key, 0))
                   for key in after
                   for edge in re.findall(rf'^{name}_bucket.*le="([^"]*)"', key))
    if not edges or not edges[-1][1]:
        return {}
    return {f"p{q:g}": _quantile(edges, q / 100) * 1e3 for q in wanted}


def _quantile(edges, q):
    rank = q * edges[-1][1]
    low, seen = 0.0, 0.0
    for edge, count in edges:
        if count >= rank:
            if edge == float("inf"):
                return low
            return low + (edge - low) * (rank - seen) / max(count - seen, 1)
        low, seen = edge, count
    return low
