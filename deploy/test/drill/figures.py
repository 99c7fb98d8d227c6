# SPDX-License-Identifier: MIT
"""What an operator looks at: a number with a name, and when it is bad."""

from dataclasses import dataclass
from typing import Callable


@dataclass(frozen=True)
class Figure:
    """read gives None while nobody answers."""

    name: str
    read: Callable   # world -> number
    is_bad: Callable  # number -> bool

    def look(self, world):
        """(is it bad?, as text); nobody to ask is as bad."""
        try:
            value = self.read(world)
        except (OSError, AssertionError):
            value = None
        if value is None:
            return True, f"{self.name}: no answer"
        return self.is_bad(value), f"{self.name} = {value:g}"


def above(limit):
    return lambda value: value > limit


def below(limit):
    return lambda value: value < limit


def _actuator(daemon, name, is_bad, tags):
    shown = "".join(f" {key}={value}" for key, value in tags.items())
    return Figure(f"{daemon} {name}{shown}",
                  lambda w: getattr(w, daemon).metric(name, **tags), is_bad)


def api(name, is_bad, **tags):
    return _actuator("api", name, is_bad, tags)


def consumer(name, is_bad, **tags):
    return _actuator("consumer", name, is_bad, tags)


def prometheus(expression, is_bad):
    def read(world):
        found = world.prometheus.query(expression)
        return float(found[0]["value"][1]) if found else None
    return Figure(expression, read, is_bad)
