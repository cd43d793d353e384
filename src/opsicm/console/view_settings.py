"""How a run is looked at: the unit and the colour limits of each channel and the levelling, in `view.json` beside it.

The file may come from anybody: it is checked when it is read, and what it holds is numbers and words of a list.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final

from opsicm.console.wire import LEVELLINGS, Kind, Message, message
from opsicm.core.errors import BadInput, Problem

FILE: Final = "view.json"
LONGEST: Final = 4096  # [bytes]
_VERSION: Final = 1
_LENGTH, _CURRENT = ("nm", "µm"), ("pA", "nA", "µA", "mA")
UNITS: Final[Mapping[str, tuple[str, ...]]] = {
    "height": _LENGTH,
    "height change": _LENGTH,
    "pipette current": _CURRENT,
    "current less mode": _CURRENT,
    "cell current": _CURRENT,
}
"""The channels by the quantity on their axes, and the units that each may be shown in."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A channel: its `unit`, and the colour `limits` in it (None: the figure's own)."""

    unit: str
    limits: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class ViewSettings:
    """Channels that are not listed have the unit and the limits that the figure gives them."""

    channels: Mapping[str, Shown] = field(default_factory=dict)
    levelling: str = "none"

    def record(self) -> dict[str, Any]:
        """As in the file."""
        channels = {
            name: {"unit": one.unit, "limits": None if one.limits is None else list(one.limits)}
            for name, one in self.channels.items()
        }
        return {"opsicm_view": _VERSION, "levelling": self.levelling, "channels": channels}


def settings_of(data: object, where: str) -> ViewSettings:
    """The settings in `data`, read from JSON; raises `BadInput` with everything that is wrong. `where` names it."""
    if not isinstance(data, dict) or data.keys() - {"opsicm_view", "levelling", "channels"}:
        raise BadInput(_problem(where, data, "has the keys opsicm_view, levelling and channels, and no others"))
    if data.get("opsicm_view") != _VERSION:
        raise BadInput(_problem(f"{where}: opsicm_view", data.get("opsicm_view"), f"must be {_VERSION}"))
    levelling, channels = data.get("levelling", "none"), data.get("channels", {})
    problems = []
    if levelling not in LEVELLINGS:
        problems.append(_problem(f"{where}: levelling", levelling, f"is one of {', '.join(LEVELLINGS)}"))
    if not isinstance(channels, dict):
        raise BadInput([*problems, _problem(f"{where}: channels", channels, "names channels")])
    shown: dict[str, Shown] = {}
    for name, one in channels.items():
        checked = _channel(str(name), one, where)
        if isinstance(checked, Shown):
            shown[name] = checked
        else:
            problems.append(checked)
    if problems:
        raise BadInput(problems)
    return ViewSettings(shown, levelling)


def _channel(name: str, data: object, where: str) -> Shown | Problem:
    if name not in UNITS:
        return _problem(f"{where}: channel", name, f"is one of {', '.join(UNITS)}")
    if not isinstance(data, dict) or data.keys() != {"unit", "limits"}:
        return _problem(f"{where}: {name}", data, "has unit and limits, and no other keys")
    unit, limits = data["unit"], data["limits"]
    if unit not in UNITS[name]:
        return _problem(f"{where}: unit of {name}", unit, f"is one of {', '.join(UNITS[name])}")
    if limits is None:
        return Shown(unit)
    is_pair = isinstance(limits, list) and len(limits) == 2
    if not is_pair or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in limits):
        return _problem(f"{where}: limits of {name}", limits, "are two numbers, or null for automatic ones")
    low, high = float(limits[0]), float(limits[1])
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        return _problem(f"{where}: limits of {name}", limits, "are finite, the lower one first")
    return Shown(unit, (low, high))


def _problem(thing: str, value: object, limit: str) -> Problem:
    return Problem(thing, ascii(value)[:60], limit, f"set it anew in the page, which writes {FILE} again, or delete it")


def read_settings(folder: Path) -> ViewSettings:
    """The settings beside a run, the usual ones where there is no file; raises `BadInput` for one that is wrong."""
    path = folder / FILE
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST + 1)
    except FileNotFoundError:
        return ViewSettings()
    except OSError as error:
        raise BadInput(_problem(FILE, "", f"cannot be read ({error.strerror})")) from error
    if len(content) > LONGEST:
        raise BadInput(_problem(FILE, f"more than {LONGEST} bytes", "is a small file"))
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadInput(_problem(FILE, content[:40], "is no JSON")) from error
    return settings_of(data, FILE)


def write_settings(folder: Path, settings: ViewSettings) -> None:
    """Replace the file beside a run at once: whoever reads it finds the old or the new one. Raises `OSError`."""
    text = json.dumps(settings.record(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    with NamedTemporaryFile("w", encoding="utf-8", dir=folder, prefix=f".{FILE}.", delete=False) as file:
        file.write(text)
    try:
        Path(file.name).replace(folder / FILE)
    except OSError:
        Path(file.name).unlink(missing_ok=True)
        raise


def settings_message(folder: Path, wanted: Mapping[str, Any] | None = None) -> Message:
    """What a page is told: the settings of the run in `folder`, after those that it has `wanted` are kept there.

    `answers` says whether it wanted any. `kept` is "run", or "browser" where the folder cannot be written to: the page
    then keeps them itself. `problem` is empty, or says why the file or what was wanted is refused.
    """
    settings, problem, kept = ViewSettings(), "", "run" if os.access(folder, os.W_OK) else "browser"
    try:
        settings = read_settings(folder) if wanted is None else settings_of(wanted, "the page's settings")
        if wanted is not None and kept == "run":
            write_settings(folder, settings)
    except BadInput as error:
        problem = "; ".join(f"{one.thing} {one.value} {one.limit}; {one.remedy}" for one in error.problems)
    except OSError:  # a full disk, a folder that is gone
        kept = "browser"
    content = {"settings": settings.record(), "units": UNITS, "run": folder.name, "kept": kept, "problem": problem}
    return message(Kind.SETTINGS, {**content, "answers": wanted is not None})
