"""The probe program: what the pipette does while the cell program runs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, StringConstraints, Tag

from opsicm.core.units import to_si
from opsicm.experiment.cell_steps import DEEPEST_REPEAT, Times
from opsicm.experiment.hop_parameters import BoundedStep, Count, ProbeAction
from opsicm.experiment.refusal import Refusal
from opsicm.experiment.step_model import Frozen, Leg, Number, OneKey, Seconds, Text, Whole, word_of

# -- Places in the plane of the specimen, as a file writes them.


Coordinate = Annotated[Number, Field(ge=-1e5, le=1e5)]
Length = Annotated[Number, Field(gt=0, le=1e5)]
PixelCount = Annotated[Whole, Field(ge=2, le=4096)]
Point = tuple[Coordinate, Coordinate]
Size = tuple[Length, Length]
Pixels = tuple[PixelCount, PixelCount]


def metres(key: str, pair: tuple[float, float]) -> tuple[float, float]:
    """A pair of numbers whose key carries their unit, in metres."""
    return to_si(key, pair[0]), to_si(key, pair[1])


# -- Probe steps that hop: at a point, along a line, over an area; and the bias levels at the top of a hop.


Amplitude = Annotated[Number, Field(ge=1, le=20_000, examples=[2000])]
FallRate = Annotated[Number, Field(ge=0.01, le=1000, examples=[30])]
Setpoint = Annotated[Number, Field(gt=0, le=50, examples=[2.0])]
Levels = Annotated[
    tuple[Annotated[Number, Field(ge=-2, le=2)], ...], Field(min_length=2, max_length=64, examples=[[0.65, 0.75]])
]
Milliseconds = Annotated[Number, Field(gt=0, le=10_000)]


def modulation_refusals(given: Mapping[str, Any]) -> Iterator[Refusal]:
    """The blanked time must leave some of the dwell to look at; two levels at least must differ."""
    dwell, blanking, levels = (given.get(key) for key in ("dwell_ms", "blanking_ms", "levels_V"))
    if dwell is not None and blanking is not None and blanking >= dwell:
        limit = f"must be shorter than dwell_ms, {dwell:g} ms, or nothing is left to measure"
        yield Refusal(("blanking_ms",), blanking, limit, "blank a tenth of the dwell, or dwell longer")
    if levels is not None and len(levels) > 1 and len(set(levels)) == 1:
        yield Refusal(("levels_V",), list(levels), "all levels are the same", "give two that differ, as [0.65, 0.75]")


class Modulation(Frozen):
    """At the top of every hop the wire steps through `levels_V` (against Li/Li⁺) and returns to the bias.

    Of each dwell the first `blanking_ms` are not measured: the stray capacitance charges then.
    """

    levels_V: Levels
    dwell_ms: Annotated[Milliseconds, Field(examples=[5])]
    blanking_ms: Annotated[Number, Field(ge=0, le=10_000, examples=[0.5])]

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """What levels, dwell and blanking must satisfy together."""
        return modulation_refusals(given)

    @property
    def dwell(self) -> float:
        """Time at each level [s]."""
        return to_si("dwell_ms", self.dwell_ms)

    @property
    def blanking(self) -> float:
        """Time at the beginning of each level that is not measured [s]."""
        return to_si("blanking_ms", self.blanking_ms)

    @property
    def duration(self) -> float:
        """Time that all levels take in one hop [s]."""
        return self.dwell * len(self.levels_V)


class Falling(ProbeAction):
    """What every fall towards the surface needs."""

    fall_nm_per_ms: FallRate
    setpoint_pct: Setpoint

    @property
    def fall_rate(self) -> float:
        """Speed of the approach [m/s]."""
        return to_si("fall_nm_per_ms", self.fall_nm_per_ms)

    @property
    def setpoint(self) -> float:
        """Relative drop of the current that ends a fall: 0.02 for 2 %."""
        return to_si("setpoint_pct", self.setpoint_pct)


class Hopping(Falling):
    """Falls and withdrawals, one after the other."""

    amplitude_nm: Amplitude

    @property
    def amplitude(self) -> float:
        """Distance withdrawn after a contact [m]."""
        return to_si("amplitude_nm", self.amplitude_nm)

    @property
    def modulation(self) -> Modulation | None:
        """The bias levels at the top of each hop; None where the bias stays."""
        return getattr(self, "modulate", None)

    @property
    def count(self) -> int | None:
        """Hops to the step's own end; None where a time or the cell ends it."""
        return None


class AtPoint(Hopping, BoundedStep):
    """Hops at one point, over and over."""

    at_um: Annotated[Point, Field(examples=[[0, 0]])]
    hops: Count | None = None

    @property
    def place(self) -> tuple[float, float]:
        """The point (x, y) [m]."""
        return metres("at_um", self.at_um)

    @property
    def count(self) -> int | None:
        """Hops to the step's own end; None where a time or the cell ends it."""
        return self.hops


class Hop(AtPoint):
    """Approach and withdraw at one point, over and over."""

    word: ClassVar[str] = "hop"
    modulate: Modulation | None = None


class Modulate(AtPoint):
    """Hop at one point and step the wire through `levels_V` at the top of every hop."""

    word: ClassVar[str] = "modulate"
    levels_V: Levels
    dwell_ms: Annotated[Milliseconds, Field(examples=[5])]
    blanking_ms: Annotated[Number, Field(ge=0, le=10_000, examples=[0.5])]

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """A step's bounds, and what levels, dwell and blanking must satisfy together."""
        yield from super().refusals(given)
        yield from modulation_refusals(given)

    @property
    def modulation(self) -> Modulation:
        """The bias levels at the top of each hop."""
        return Modulation(levels_V=self.levels_V, dwell_ms=self.dwell_ms, blanking_ms=self.blanking_ms)


class Line(Hopping, BoundedStep):
    """Hop along a straight line of pixels, over and over; one pass is from start to end."""

    word: ClassVar[str] = "line"
    from_um: Annotated[Point, Field(examples=[[0, 0]])]
    to_um: Annotated[Point, Field(examples=[[10, 0]])]
    pixels: Annotated[Whole, Field(ge=2, le=65_536, examples=[128])]
    passes: Count | None = None
    modulate: Modulation | None = None

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """A line must have a length."""
        yield from super().refusals(given)
        start, end = given.get("from_um"), given.get("to_um")
        if start is not None and end is not None and tuple(start) == tuple(end):
            yield Refusal(("to_um",), end, "must differ from from_um", "use hop to stay at one point")

    @property
    def start(self) -> tuple[float, float]:
        """Where the line begins (x, y) [m]."""
        return metres("from_um", self.from_um)

    @property
    def end(self) -> tuple[float, float]:
        """Where the line ends (x, y) [m]."""
        return metres("to_um", self.to_um)

    @property
    def count(self) -> int | None:
        """Hops to the step's own end; None where a time or the cell ends it."""
        return None if self.passes is None else self.passes * self.pixels


class Area(Hopping):
    """A rectangle of pixels."""

    center_um: Annotated[Point, Field(examples=[[0, 0]])]
    size_um: Annotated[Size, Field(examples=[[20, 20]])]

    @property
    def center(self) -> tuple[float, float]:
        """Middle of the rectangle (x, y) [m]."""
        return metres("center_um", self.center_um)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the rectangle [m], from the first pixel to the last."""
        return metres("size_um", self.size_um)

    @property
    def rotation(self) -> float:
        """Angle from the x axis to the rows, counter-clockwise [rad]."""
        return 0.0

    def corners(self) -> tuple[tuple[float, float], ...]:
        """The four corners (x, y) [m]: the outermost places that the tip goes to."""
        (x, y), (w, h), (c, s) = self.center, self.size, (math.cos(self.rotation), math.sin(self.rotation))
        signs = ((-1, -1), (1, -1), (1, 1), (-1, 1))
        return tuple((x + (u * w * c - v * h * s) / 2, y + (u * w * s + v * h * c) / 2) for u, v in signs)


class Raster(Area, BoundedStep):
    """An image: a hop at every pixel of a rectangle, row by row.

    One pass, unless `passes` says how many, or `during` or `for_s` lets it go on. `amplitude_map` names a .npy or .csv
    file of amplitudes [nm], one a pixel, shape (ny, nx), seen from the experiment file; `amplitude_nm` then is that of
    the first fall.
    """

    word: ClassVar[str] = "raster"
    pixels: Annotated[Pixels, Field(examples=[[128, 128]])]
    order: Literal["serpentine", "forward"] = "serpentine"
    rotation_deg: Annotated[Number, Field(ge=-180, le=180)] = 0.0
    passes: Count | None = None
    amplitude_map: Text | None = None
    modulate: Modulation | None = None
    ends_by_itself: ClassVar[bool] = True

    @property
    def rotation(self) -> float:
        """Angle from the x axis to the rows, counter-clockwise [rad]."""
        return to_si("rotation_deg", self.rotation_deg)

    @property
    def count(self) -> int | None:
        """Hops to the step's own end; None where `during` or `for_s` ends it."""
        passes = self.passes if self.passes is not None or self.during or self.for_s else 1
        return None if passes is None else passes * self.pixels[0] * self.pixels[1]


# -- Probe steps without a hop: staying at a height, travelling by millimetres, the pipette's own voltammogram.


Height = Annotated[Number, Field(gt=0, le=10_000, examples=[10])]
WirePotential = Annotated[Number, Field(ge=-2, le=2)]


class Park(BoundedStep):
    """Stay at a height above the specimen."""

    word: ClassVar[str] = "park"
    height_um: Height

    @property
    def height(self) -> float:
        """Height above the specimen [m]."""
        return to_si("height_um", self.height_um)


class Tower(BoundedStep):
    """The coarse stage up and down between two heights, over and over; one trip is up and down again."""

    word: ClassVar[str] = "tower"
    low_um: Annotated[Height, Field(examples=[100])]
    high_um: Annotated[Height, Field(examples=[2600])]
    speed_mm_s: Annotated[Number, Field(gt=0, le=100, examples=[0.5])]
    dwell_s: Annotated[Number, Field(ge=0, le=1e6)] = 0.0
    record_every_s: Annotated[Seconds, Field(ge=1e-3)] = 0.05
    trips: Count | None = None

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """A tower goes upwards."""
        yield from super().refusals(given)
        low, high = given.get("low_um"), given.get("high_um")
        if low is not None and high is not None and not low < high:
            yield Refusal(("high_um",), high, f"must be above low_um, {low:g} µm", "write the lower height as low_um")

    @property
    def low(self) -> float:
        """Lower height [m]."""
        return to_si("low_um", self.low_um)

    @property
    def high(self) -> float:
        """Upper height [m]."""
        return to_si("high_um", self.high_um)

    @property
    def speed(self) -> float:
        """Speed of the coarse stage [m/s]."""
        return to_si("speed_mm_s", self.speed_mm_s)

    @property
    def trip_duration(self) -> float:
        """One trip, up and down with its two dwells [s]; accelerations left out."""
        return 2.0 * ((self.high - self.low) / self.speed + self.dwell_s)


class PipetteSweep(ProbeAction):
    """The wire's potential (against Li/Li⁺) there and back at a height: the pipette's own voltammogram."""

    word: ClassVar[str] = "pipette_sweep"
    from_V: Annotated[WirePotential, Field(examples=[-0.7])]
    to_V: Annotated[WirePotential, Field(examples=[0.7])]
    rate_mV_s: Annotated[Number, Field(gt=0, le=100_000, examples=[100])]
    cycles: Annotated[Whole, Field(ge=1, le=10_000)] = 1
    height_um: Height

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """A sweep must go somewhere."""
        yield from super().refusals(given)
        if given.get("to_V") is not None and given.get("from_V") == given["to_V"]:
            yield Refusal(("to_V",), given["to_V"], "must differ from from_V", "use park to stay at one bias")

    @property
    def rate(self) -> float:
        """Magnitude of the sweep rate [V/s]."""
        return to_si("rate_mV_s", self.rate_mV_s)

    @property
    def height(self) -> float:
        """Height above the specimen [m]."""
        return to_si("height_um", self.height_um)

    def legs(self) -> tuple[Leg, ...]:
        """(from [V], to [V], duration [s]) of every straight piece, in order."""
        duration = abs(self.to_V - self.from_V) / self.rate
        return ((self.from_V, self.to_V, duration), (self.to_V, self.from_V, duration)) * self.cycles


# -- Probe steps that prepare and correct: offset, engage, tilt, landmarks, and a new tip.


Name = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9_-]{1,40}$")]


class Zero(ProbeAction):
    """No bias for a time: the amplifier's offset, measured and recorded as a fact."""

    word: ClassVar[str] = "zero"
    for_s: Annotated[Seconds, Field(examples=[2])]

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """`for_s` is how long it measures, not a bound among others."""
        yield from super().refusals({key: value for key, value in given.items() if key != "for_s"})

    @property
    def time_bound(self) -> float | None:
        """How long it measures [s]."""
        return self.for_s


class Engage(Falling):
    """Find the surface from far away: fall over the scanner's range, step the coarse stage down, and again.

    It ends with the surface in the middle of the scanner's range.
    """

    word: ClassVar[str] = "engage"
    step_um: Annotated[Number, Field(gt=0, le=1000, examples=[5])]

    @property
    def step(self) -> float:
        """One step of the coarse stage [m]."""
        return to_si("step_um", self.step_um)


class Tilt(Area):
    """Hop on a grid of `points` × `points`, fit a plane, record it as a fact."""

    word: ClassVar[str] = "tilt"
    points: Annotated[Whole, Field(ge=2, le=64, examples=[3])]

    @property
    def count(self) -> int:
        """Hops to the step's own end."""
        return self.points * self.points


class Landmark(Area):
    """Image a place that can be found again, under a name."""

    word: ClassVar[str] = "landmark"
    name: Annotated[Name, Field(examples=["corner"])]
    pixels: Annotated[Pixels, Field(examples=[[32, 32]])]

    @property
    def count(self) -> int:
        """Hops to the step's own end."""
        return self.pixels[0] * self.pixels[1]


class ReturnTo(ProbeAction):
    """Image a landmark again and shift x and y by how far it has moved; the shift is a fact."""

    word: ClassVar[str] = "return_to"
    name: Annotated[Name, Field(examples=["corner"])]


class ExchangeTip(ProbeAction):
    """The pipette has been exchanged: a fact, so that what is measured before and after is not taken for one."""

    word: ClassVar[str] = "exchange_tip"
    note: Annotated[Text, Field(examples=["pipette 2 of the batch"])]


class ProbeRepeat(Frozen):
    """Its steps, `times` over. Inside it every step has an end of its own, and none waits for the cell."""

    word: ClassVar[str] = "repeat"
    times: Times
    steps: Annotated[tuple[ProbeStep, ...], Field(min_length=1, examples=[[{"park": {"height_um": 10, "for_s": 60}}]])]

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """Every step inside ends by itself and starts by itself; repeats only so deep."""
        for index, step in enumerate(given.get("steps") or ()):
            word = word_of(step)
            if word is None or not isinstance(step[word], dict) or word not in PROBE_STEPS:
                continue
            path, settings = ("steps", index, word), step[word]
            for key in ("during", "at"):
                if settings.get(key) is not None:
                    limit = "a step inside a repeat runs after the one before it"
                    yield Refusal((*path, key), settings[key], limit, f"delete {key}")
            if not has_end(PROBE_STEPS[word], settings):
                yield Refusal(path, "", "has no end, so the repeat would never go on", "give it for_s or a count")
        if _depth(given) > DEEPEST_REPEAT:
            limit = f"repeats may stand {DEEPEST_REPEAT} deep at most"
            yield Refusal(("steps",), "", limit, "multiply two of the times, or write steps out")

    @property
    def during_index(self) -> None:
        """A repeat runs after the step before it and accompanies none."""
        return


ProbeStep = Annotated[
    Annotated[Park, OneKey("park"), Tag("park")]
    | Annotated[Hop, OneKey("hop"), Tag("hop")]
    | Annotated[Line, OneKey("line"), Tag("line")]
    | Annotated[Raster, OneKey("raster"), Tag("raster")]
    | Annotated[Tower, OneKey("tower"), Tag("tower")]
    | Annotated[Modulate, OneKey("modulate"), Tag("modulate")]
    | Annotated[PipetteSweep, OneKey("pipette_sweep"), Tag("pipette_sweep")]
    | Annotated[Zero, OneKey("zero"), Tag("zero")]
    | Annotated[Engage, OneKey("engage"), Tag("engage")]
    | Annotated[Tilt, OneKey("tilt"), Tag("tilt")]
    | Annotated[Landmark, OneKey("landmark"), Tag("landmark")]
    | Annotated[ReturnTo, OneKey("return_to"), Tag("return_to")]
    | Annotated[ExchangeTip, OneKey("exchange_tip"), Tag("exchange_tip")]
    | Annotated[ProbeRepeat, OneKey("repeat"), Tag("repeat")],
    Discriminator(word_of),
]
ProbeRepeat.model_rebuild()
_ACTIONS: tuple[type[ProbeAction], ...] = (
    Park,
    Hop,
    Line,
    Raster,
    Tower,
    Modulate,
    PipetteSweep,
    Zero,
    Engage,
    Tilt,
    Landmark,
    ReturnTo,
    ExchangeTip,
)
PROBE_STEPS: dict[str, type[Frozen]] = {**{step.word: step for step in _ACTIONS}, ProbeRepeat.word: ProbeRepeat}


def has_end(model: type[Frozen], settings: Mapping[str, Any]) -> bool:
    """Whether a step, in the file's form, ends without the cell's help."""
    if not issubclass(model, ProbeAction):
        return True
    return model.ends_by_itself or any(settings.get(key) is not None for key in ("for_s", "hops", "passes", "trips"))


def _depth(given: Mapping[str, Any]) -> int:
    steps = given.get("steps")
    inner = [step["repeat"] for step in steps or () if word_of(step) == "repeat" and isinstance(step["repeat"], dict)]
    return 1 + max((_depth(repeat) for repeat in inner), default=0)


def probe_sequence(program: Sequence[ProbeStep]) -> Iterator[tuple[str, ProbeAction]]:
    """Every step that is no repeat, in the order of the file: (its path, the step).

    The path is `probe[2]`, or `probe[2].1` for the second step inside a repeat, in every round alike.
    """
    for index, step in enumerate(program):
        yield from _unrolled(f"probe[{index}]", step)


def _unrolled(path: str, step: ProbeStep) -> Iterator[tuple[str, ProbeAction]]:
    if not isinstance(step, ProbeRepeat):
        yield path, step
        return
    for _ in range(step.times):
        for position, inner in enumerate(step.steps):
            yield from _unrolled(f"{path}.{position}", inner)
