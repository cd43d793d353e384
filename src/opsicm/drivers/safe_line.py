"""A line of its own by which a watchdog makes an instrument safe when the program is gone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from opsicm.core.errors import LimitCrossed


@dataclass(frozen=True, slots=True)
class SafeLine:
    """Called, it makes the instrument safe and says whether it is; `revive` and `close` are those of its line.

    A line that was lost is tried anew first: this may be the last call that anybody makes.
    """

    make_safe: Callable[[], bool]
    revive: Callable[[], bool]
    close: Callable[[], None]

    def __call__(self) -> bool:
        self.revive()
        try:
            return self.make_safe()
        except LimitCrossed:  # lost, or refused
            return False


def address_of_safe(module: str, settings: Mapping[str, Any], role: str) -> str:
    """The address that a watchdog opens by itself: `driver:MODULE:FUNCTION {settings}#role`."""
    return f"driver:{module}:safe_channel {json.dumps(dict(settings), sort_keys=True)}#{role}"
