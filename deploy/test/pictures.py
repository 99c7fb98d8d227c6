# SPDX-License-Identifier: MIT
"""python3 -m pictures [DIRECTORY]: the console of docs/console.md, taken anew.

Calm by day, then the incident: more is asked than ten connections carry, one
request each, with Redis 50 ms away.
"""

import contextlib
import itertools
import sys
import tempfile
from pathlib import Path

from PIL import Image

from browser import browsing
from delay import DelayProxy
from service import Service
from stack import DIRECTORY, ROOT, Stack
from web import Load

POOL = 10
CALM, BURNING = 110, 15  # draws, one a second: what the charts are to show
WIDE, NARROW = (1400, 1040), (390, 1400)


@contextlib.contextmanager
def world():
    """A page, and a function that puts its api under load."""
    with contextlib.ExitStack() as undo:
        stack = Stack(DIRECTORY)
        undo.callback(stack.close)
        stack.start("redis", "postgres", "kafka")
        proxy = DelayProxy(stack.spare_port, stack.redis_port, 0.05)
        undo.callback(proxy.close)
        service = Service(stack, Path(undo.enter_context(
            tempfile.TemporaryDirectory())), partitions=3)
        undo.callback(service.close)
        api = service.api(
            redis__port=stack.spare_port, redis__pool__max_active=POOL,
            redis__pool__max_pipeline=1, ratelimiter__coupon_issue__enabled="true")
        service.consumer()
        event, users = service.event(api, total=100_000), itertools.count(1)
        page = undo.enter_context(browsing(f"http://127.0.0.1:{api.port}/console"))
        page.driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
        yield page, lambda connections, rate: Load(
            [api.port], event, users, connections, rate)


def shoot(page, path, size, theme, language):
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
        "width": size[0], "height": size[1], "deviceScaleFactor": 1,
        "mobile": size == NARROW})
    page.choose("#theme", theme)
    page.choose("#language", language)
    page.wait_drawn(2)
    page.save(path)
    picture = Image.open(path).convert("RGB")
    # A third of the size; other methods would merge amber and red.
    picture.quantize(method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE
                     ).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size:,} bytes: {page.text('#verdict')!r}")


def main():
    to = Path(sys.argv[1]) if sys.argv[1:] else ROOT / "docs/images"
    with world() as (page, load):
        calm = load(connections=8, rate=60)
        page.wait_drawn(CALM)
        shoot(page, to / "console-light.png", WIDE, "light", "en")
        calm.stop()
        burning = load(connections=64, rate=2000)
        page.wait_drawn(BURNING)
        shoot(page, to / "console-dark.png", WIDE, "dark", "en")
        shoot(page, to / "console-narrow.png", NARROW, "dark", "ko")
        burning.stop()


if __name__ == "__main__":
    main()
