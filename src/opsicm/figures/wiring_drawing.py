"""The wiring of a rig as a drawing, from its rig file: instruments, wires with their channels and signs, grounds, the
reference electrode that potentiostat and amplifier share.

`wiring_of(rig)` says what is joined to what, `draw_wiring` draws it: what a technician reads off the drawing is what
the program reads from the file.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Polygon, Rectangle

from opsicm.core.facts import MEANING
from opsicm.experiment.rig_file import LoadedRig, RigFile, Role, RoleName
from opsicm.instruments.wiring import REFERENCE_FOLLOWS_CELL

_TERMINAL: Final = re.compile(r"(?:\w+/)?(?:a[io]\d+|pfi\d+|port\d+/line\d+)", re.IGNORECASE)
_DRAWN: Final[tuple[RoleName, ...]] = ("coarse_stage", "scanner", "amplifier", "potentiostat")
_PREFIXES: Final = {-15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M"}
_FROM_CARD: Final = ("output", "line")  # ends of settings whose wire carries what the card writes


@dataclass(frozen=True, slots=True)
class Wire:
    """One wire from an instrument to a port of acquisition or computer; `to_instrument` is the way of its signal."""

    name: str
    port: str
    meaning: str = ""
    to_instrument: bool = False


@dataclass(frozen=True, slots=True)
class Instrument:
    """One box: its role, the driver that plays it, what to set on its panel, and its wires."""

    role: RoleName
    driver: str
    settings: tuple[str, ...]
    wires: tuple[Wire, ...]


@dataclass(frozen=True, slots=True)
class Wiring:
    """What is joined to what. `ports` are the lines that stand in the box of acquisition and computer."""

    title: str
    grounding: str
    electrodes: str
    instruments: tuple[Instrument, ...]
    ports: tuple[str, ...]

    @property
    def has_potentiostat(self) -> bool:
        """Whether a potentiostat holds the specimen, or the reference is the ground."""
        return REFERENCE_FOLLOWS_CELL.get(self.grounding, 1.0) != 0.0

    @property
    def sentences(self) -> tuple[str, ...]:
        """What holds of the potentials in this grounding."""
        kind = {"silver_chloride": "Ag/AgCl"}.get(self.electrodes, self.electrodes)
        if self.has_potentiostat:
            return (
                "All grounds are joined at one point. The potentiostat keeps the specimen there, the reference at −E.",
                "V_cmd = V_tip − E: the pipette wire is V_tip against the reference, whatever the specimen does.",
                f"Reference and pipette wire are of one kind ({kind}). Cell current: negative lithiates.",
            )
        return (
            "All grounds are joined at one point. No potentiostat: the reference is the ground, the specimen floats.",
            "V_cmd = V_tip: the command is the potential of the pipette wire against the reference.",
            f"Reference and pipette wire are of one kind ({kind}).",
        )


def wiring_of(loaded: LoadedRig) -> Wiring:
    """The wiring that a rig file states."""
    rig = loaded.rig
    roles = {name: loaded.role(name) for name in (*_DRAWN, "hop_controller")}
    return Wiring(
        title=rig.title,
        grounding=rig.wiring.grounding,
        electrodes=rig.wiring.electrodes,
        instruments=tuple(_instrument(rig, name, roles[name]) for name in _DRAWN),
        ports=tuple(_ports(rig, roles["hop_controller"])),
    )


def _instrument(rig: RigFile, name: RoleName, role: Role) -> Instrument:
    panel = []
    if name == "amplifier" and rig.wiring.external_bias_mV_per_V:
        panel.append(f"external command {rig.wiring.external_bias_mV_per_V:g} mV/V")
    for key, value in role.settings.items():
        quantity, unit = _quantity(key)
        if isinstance(value, str) and _TERMINAL.search(value):
            continue
        if quantity in ("gain", "filter", "mode", "specimen terminal", "up"):
            panel.append(f"{quantity} {value} {unit}".strip())
    return Instrument(name, role.driver, tuple(panel), tuple(_wires(rig, name, role)))


def _wires(rig: RigFile, name: RoleName, role: Role) -> Iterator[Wire]:
    channels = [channel for channel in rig.channels if channel.role == name and channel.input is not None]
    for channel in channels:
        sign = "" if channel.sign > 0 else ", inverted"
        offset = f", offset {_with_prefix(channel.offset)}{MEANING[channel.name][1]}" if channel.offset else ""
        _, unit, _ = MEANING[channel.name]
        meaning = f"{_with_prefix(channel.gain)}{unit} a volt{offset}{sign}"
        yield Wire(channel.name.replace("_", " "), str(channel.input), meaning)
    known = {channel.input for channel in channels}
    analogue = bool(channels)
    for key, value in role.settings.items():
        if not isinstance(value, str):
            continue
        for terminal in _TERMINAL.findall(value):
            analogue = True
            if terminal not in known:
                yield Wire(key.replace("_", " "), terminal, to_instrument=key.endswith(_FROM_CARD))
    if role.address is not None and not analogue:
        yield Wire("commands and answers", _short(role.address))


def _ports(rig: RigFile, controller: Role) -> Iterator[str]:
    """Who samples and hops, and where."""
    yield f"hop controller: {controller.driver}"
    if controller.address:
        yield f"at {_short(controller.address)}"
    yield f"clock: {rig.clock.master.replace('_', ' ')}, {rig.clock.rate_kS_s:g} kS/s"
    for key, value in controller.settings.items():
        if isinstance(value, str) and _TERMINAL.fullmatch(value):
            yield f"{key.replace('_', ' ')}: {value}"


def _quantity(key: str) -> tuple[str, str]:
    """(what, unit) of a settings key, for a panel: `gain_mV_per_pA` → gain, mV/pA."""
    found = re.fullmatch(r"([a-z]+(?:_[a-z]+)*?)(?:_((?:[a-zA-Zµ]+)(?:_per_[a-zA-Z]+)?))?", key)
    if key in ("specimen_terminal", "mode", "up") or found is None or found[2] is None:
        return key.replace("_", " "), ""
    return found[1].replace("_", " "), found[2].replace("_per_", "/")


def _with_prefix(gain: float) -> str:
    """A gain with the prefix of its unit: `1e-9` → `1 n`."""
    power = max(-15, min(6, 3 * math.floor(math.log10(abs(gain)) / 3.0 + 1e-9)))
    return f"{gain / 10.0**power:g} {_PREFIXES[power]}"


def _short(address: str, most: int = 34) -> str:
    return address if len(address) <= most else f"…{address[1 - most :]}"


# -- The drawing, in a plane of 110 by 92 units.

_INK: Final = "#222222"
_BATH, _GLASS, _BOX, _IDLE = "#dceaf5", "#8fa9bd", "#f6f4ee", "#eeeeee"
_SIGNAL, _CELL, _BIAS, _REFERENCE = "#1f5a94", "#7a3b00", "#a3195b", "#217a3c"
_PLACES: Final[dict[RoleName, tuple[float, float, float, float]]] = {  # x, y, width, height
    "coarse_stage": (5.0, 80.0, 26.0, 8.0),
    "scanner": (5.0, 57.0, 26.0, 11.0),
    "amplifier": (44.0, 32.0, 22.0, 21.0),
    "potentiostat": (44.0, 9.0, 22.0, 19.0),
}
_PORTS: Final = (92.0, 9.0, 17.0, 79.0)
_PORTS_TEXT: Final = 79.5  # below the wire of the coarse stage, above those of the scanner
_SMALL, _NORMAL = 6.4, 7.6


def draw_wiring(wiring: Wiring) -> Figure:
    """The drawing of a rig's wiring."""
    with mpl.rc_context({"font.size": _NORMAL, "text.parse_math": False}):
        figure = Figure(figsize=(11.0, 9.2))
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set(xlim=(0.0, 110.0), ylim=(0.0, 92.0))
        axes.set_axis_off()
        axes.text(5.0, 90.2, f"{wiring.title}  ·  grounding: {wiring.grounding}", fontsize=10.5, va="center")
        _draw_cell(axes, wiring)
        _draw_ports(axes, wiring)
        for instrument in wiring.instruments:
            idle = instrument.role == "potentiostat" and not wiring.has_potentiostat
            _draw_instrument(axes, instrument, idle)
        for k, sentence in enumerate(wiring.sentences):
            axes.text(5.0, 5.6 - 2.1 * k, sentence, fontsize=_NORMAL, va="center", color=_INK)
        return figure


def _draw_instrument(axes: Axes, instrument: Instrument, idle: bool) -> None:
    x, y, width, height = _PLACES[instrument.role]
    _box(axes, x, y, width, height, _IDLE if idle else _BOX)
    middle = x + 0.5 * width
    axes.text(middle, y + height - 1.8, instrument.role.replace("_", " "), ha="center", va="center", weight="bold")
    lines = [f"driver {instrument.driver}", *instrument.settings]
    lines = ["no part in this wiring"] if idle else [line for long in lines for line in textwrap.wrap(long, 34)]
    for k, line in enumerate(lines[:4]):
        axes.text(middle, y + height - 4.2 - 2.0 * k, line, ha="center", va="center", fontsize=_SMALL)
    wires = () if idle else instrument.wires
    right, left = x + width, _PORTS[0]
    step = min(3.2, (height - 1.0) / max(len(wires), 1))
    top = y + 0.5 * height + 0.5 * step * (len(wires) - 1)
    for k, wire in enumerate(wires):
        _draw_wire(axes, wire, right, left, top - step * k)


def _draw_wire(axes: Axes, wire: Wire, right: float, left: float, y: float) -> None:
    ends = ((left, y), (right, y)) if wire.to_instrument else ((right, y), (left, y))
    style = {"arrowstyle": "-|>", "color": _SIGNAL, "lw": 0.9, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=ends[1], xytext=ends[0], arrowprops=style)
    text = f"{wire.name}  {wire.meaning}".rstrip()
    axes.text(left - 1.5, y + 0.25, text, ha="right", va="bottom", fontsize=_SMALL, color=_SIGNAL)
    axes.text(left + 0.6, y, textwrap.shorten(wire.port, 28), ha="left", va="center", fontsize=_SMALL)


def _draw_ports(axes: Axes, wiring: Wiring) -> None:
    x, y, width, height = _PORTS
    _box(axes, x, y, width, height, _BOX)
    axes.text(x + 0.5 * width, y + height - 2.0, "acquisition, computer", ha="center", va="center", weight="bold")
    lines = [line for long in wiring.ports for line in textwrap.wrap(long, 31, break_on_hyphens=False)]
    for k, line in enumerate(lines[:5]):
        axes.text(x + 0.6, _PORTS_TEXT - 2.0 * k, line, va="center", fontsize=_SMALL)


def _draw_cell(axes: Axes, wiring: Wiring) -> None:
    """Bath, specimen, counter, reference and pipette, with their wires to the instruments."""
    axes.add_patch(Rectangle((5.0, 10.0), 31.0, 15.0, facecolor=_BATH, edgecolor="none"))
    axes.plot([5.0, 5.0, 36.0, 36.0], [27.5, 10.0, 10.0, 27.5], color=_GLASS, lw=2.0)
    axes.add_patch(Rectangle((7.0, 10.4), 18.0, 1.6, facecolor="#444444", edgecolor="none"))
    specimen = "specimen (working)" if wiring.has_potentiostat else "specimen"
    axes.text(7.4, 13.2, specimen, fontsize=_SMALL, va="center")
    # The pipette, hanging from the scanner, which hangs from the coarse stage.
    axes.add_patch(
        Polygon([(15.2, 40.0), (20.8, 40.0), (18.15, 15.0), (17.85, 15.0)], facecolor="white", edgecolor=_INK)
    )
    axes.plot([18.0, 18.0], [40.0, 57.0], color=_INK, lw=3.0)
    axes.plot([18.0, 18.0], [68.0, 80.0], color=_INK, lw=3.0)
    axes.text(14.4, 37.6, "pipette", ha="right", va="center", fontsize=_SMALL)
    axes.text(16.6, 48.5, "holder", ha="right", va="center", fontsize=_SMALL)
    _path(axes, [(18.0, 20.0), (18.0, 43.5), (44.0, 43.5)], _BIAS)
    axes.text(31.0, 44.0, "pipette wire, V_cmd", ha="center", va="bottom", fontsize=_SMALL, color=_BIAS)
    axes.add_patch(Rectangle((26.2, 14.0), 1.2, 18.0, facecolor=_REFERENCE, edgecolor="none"))
    if wiring.has_potentiostat:
        _draw_three_electrodes(axes)
    else:
        _path(axes, [(26.8, 32.0), (26.8, 37.5), (44.0, 37.5)], _REFERENCE)
        axes.text(35.5, 38.0, "reference, 0 V", ha="center", va="bottom", fontsize=_SMALL, color=_REFERENCE)
        _ground(axes, 41.5, 37.5)
        axes.text(30.0, 9.0, "specimen floats: no lead", ha="center", va="top", fontsize=_SMALL)
    _ground(axes, 69.0, 34.0, lead=(66.0, 34.0))
    _ground(axes, 106.0, 9.0)


def _draw_three_electrodes(axes: Axes) -> None:
    axes.add_patch(Rectangle((31.6, 14.0), 2.2, 13.0, facecolor=_CELL, edgecolor="none"))
    _path(axes, [(26.8, 32.0), (26.8, 34.0), (41.5, 34.0), (41.5, 25.0), (44.0, 25.0)], _REFERENCE)
    axes.text(34.0, 34.4, "shared reference, −E", ha="center", va="bottom", fontsize=_SMALL, color=_REFERENCE)
    _path(axes, [(32.7, 27.0), (32.7, 30.0), (39.5, 30.0), (39.5, 20.0), (44.0, 20.0)], _CELL)
    axes.text(34.0, 30.3, "counter", ha="left", va="bottom", fontsize=_SMALL, color=_CELL)
    _path(axes, [(25.0, 11.2), (44.0, 11.2)], _INK)
    _ground(axes, 40.5, 11.2)
    for y, name in ((25.0, "REF"), (20.0, "CE"), (11.2, "WE")):
        axes.text(44.6, y, name, va="center", fontsize=_SMALL, weight="bold")


def _box(axes: Axes, x: float, y: float, width: float, height: float, colour: str) -> None:
    style = "round,pad=0,rounding_size=0.8"
    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=style, facecolor=colour, edgecolor=_INK, lw=1.0))


def _path(axes: Axes, points: list[tuple[float, float]], colour: str) -> None:
    xs, ys = zip(*points, strict=True)
    axes.plot(xs, ys, color=colour, lw=1.5, solid_joinstyle="miter")


def _ground(axes: Axes, x: float, y: float, lead: tuple[float, float] | None = None) -> None:
    """A ground symbol that hangs from (x, y); `lead` is where its wire comes from."""
    if lead is not None:
        _path(axes, [lead, (x, y)], _INK)
    else:
        axes.plot([x], [y], marker="o", color=_INK, ms=3.0)
    style: dict[str, Any] = {"color": _INK, "lw": 1.2}
    axes.plot([x, x], [y, y - 1.5], **style)
    for k, half in enumerate((1.2, 0.8, 0.4)):
        axes.plot([x - half, x + half], [y - 1.5 - 0.45 * k] * 2, **style)
