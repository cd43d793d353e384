"""The probe program: what the pipette does while the cell program runs."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal, get_args

from pydantic import Field, StringConstraints

from opsicm.core.units import to_si
from opsicm.experiment.hop_parameters import AMPLITUDE_NM, FALL_NM_PER_MS, SETPOINT_PCT, BiasLevels, HopParameters
from opsicm.experiment.probe_bounds import BaseProbeStep, Count, OpenEndedStep
from opsicm.experiment.program import RepeatStep, steps_inside, written_steps
from opsicm.experiment.refusal import KeyPath, Refusal
from opsicm.experiment.step_model import ByWord, FileModel, Leg, Number, Seconds, Text, Whole

# -- Points in the plane of the specimen, in the units of the file.

Coordinate = Annotated[Number, Field(ge=-1e5, le=1e5)]
Length = Annotated[Number, Field(gt=0, le=1e5)]
PixelCount = Annotated[Whole, Field(ge=2, le=4096)]
Point = tuple[Coordinate, Coordinate]
Size = tuple[Length, Length]
Pixels = tuple[PixelCount, PixelCount]


def metres(key: str, pair: tuple[float, float]) -> tuple[float, float]:
    """A pair of numbers whose key carries their unit, in metres."""
    return to_si(key, pair[0]), to_si(key, pair[1])


# -- Steps that hop: at a point, along a line, over an area; and the bias levels at the top of a hop.

Amplitude = Annotated[Number, Field(ge=AMPLITUDE_NM[0], le=AMPLITUDE_NM[1], examples=[2000])]
FallRate = Annotated[Number, Field(ge=FALL_NM_PER_MS[0], le=FALL_NM_PER_MS[1], examples=[30])]
Setpoint = Annotated[Number, Field(gt=SETPOINT_PCT[0], le=SETPOINT_PCT[1], examples=[2.0])]
Levels = Annotated[
    tuple[Annotated[Number, Field(ge=-2, le=2)], ...], Field(min_length=2, max_length=64, examples=[[0.65, 0.75]])
]
Milliseconds = Annotated[Number, Field(gt=0, le=10_000)]
_ENGAGE_AMPLITUDE: Final = 1e-6  # [m] withdrawn between the first contact and the one that confirms it


class Modulation(FileModel):
    """At the top of every hop the pipette electrode steps through `levels_V` (against Li/Li⁺) and back to the bias.

    Of each dwell the first `blanking_ms` are not measured: the stray capacitance charges then.
    """

    levels_V: Levels
    dwell_ms: Annotated[Milliseconds, Field(examples=[5])]
    blanking_ms: Annotated[Number, Field(ge=0, le=10_000, examples=[0.5])]

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """The blanked time must be shorter than the dwell; at least two levels must differ."""
        yield from super().refusals(given)
        dwell, blanking, levels = (given.get(key) for key in ("dwell_ms", "blanking_ms", "levels_V"))
        if dwell is not None and blanking is not None and blanking >= dwell:
            limit = f"must be shorter than dwell_ms, {dwell:g} ms, or nothing is left to measure"
            yield Refusal(("blanking_ms",), blanking, limit, "blank a tenth of the dwell, or dwell longer")
        if levels is not None and len(levels) > 1 and len(set(levels)) == 1:
            limit = "all levels are the same"
            yield Refusal(("levels_V",), list(levels), limit, "give two that differ, as [0.65, 0.75]")

    @property
    def bias_levels(self) -> BiasLevels:
        """The levels and times in SI units."""
        return BiasLevels(self.levels_V, to_si("dwell_ms", self.dwell_ms), to_si("blanking_ms", self.blanking_ms))


class ApproachingStep(BaseProbeStep):
    """A step that approaches the surface."""

    fall_nm_per_ms: FallRate
    setpoint_pct: Setpoint

    @property
    @abstractmethod
    def amplitude(self) -> float:
        """Distance withdrawn after a contact [m]."""

    @property
    def fall_rate(self) -> float:
        """Speed of the approach [m/s]."""
        return to_si("fall_nm_per_ms", self.fall_nm_per_ms)

    @property
    def setpoint(self) -> float:
        """Relative drop of the current that ends an approach: 0.02 for 2 %."""
        return to_si("setpoint_pct", self.setpoint_pct)

    @property
    def bias_levels(self) -> BiasLevels | None:
        """The bias levels at the top of each hop; None where the bias stays."""
        return None

    def hop_parameters(self, approach: float) -> HopParameters:
        """The hop parameters of this step, with the longest `approach` [m] of the envelope."""
        return HopParameters(self.amplitude, self.fall_rate, self.setpoint, approach, self.bias_levels)


class HoppingStep(ApproachingStep):
    """Approaches and withdrawals, one after the other."""

    sampled: ClassVar[bool] = True
    amplitude_nm: Amplitude

    @property
    def amplitude(self) -> float:
        """Distance withdrawn after a contact [m]."""
        return to_si("amplitude_nm", self.amplitude_nm)

    @property
    def bias_levels(self) -> BiasLevels | None:
        """The bias levels at the top of each hop; None where the bias stays."""
        modulate: Modulation | None = getattr(self, "modulate", None)
        return None if modulate is None else modulate.bias_levels

    @property
    def electrode_potentials(self) -> Mapping[KeyPath, tuple[float, ...]]:
        """The bias levels at the top of each hop."""
        return {} if self.bias_levels is None else {("modulate", "levels_V"): self.bias_levels.levels}

    @property
    def count(self) -> int | None:
        """Hops to the step's own end; None where a time or the cell ends it."""
        return None

    @property
    def per_pass(self) -> int | None:
        """Hops of one image or of one pass; None where the step has neither."""
        return None

    def heights(self, start_height: float) -> tuple[float, ...]:
        """Where an approach begins."""
        return (start_height,)


class PointStep(HoppingStep, OpenEndedStep):
    """Hops at one point, over and over."""

    at_um: Annotated[Point, Field(examples=[[0, 0]])]
    hops: Count | None = None

    @property
    def point(self) -> tuple[float, float]:
        """The point (x, y) [m]."""
        return metres("at_um", self.at_um)

    @property
    def outermost_points(self) -> Mapping[str, tuple[Point, ...]]:
        """The point."""
        return {"at_um": (self.point,)}

    @property
    def count(self) -> int | None:
        """Hops to the step's own end; None where a time or the cell ends it."""
        return self.hops


class Hop(PointStep):
    """Approach and withdraw at one point, over and over."""

    word: ClassVar[str] = "hop"
    modulate: Modulation | None = None


class Modulate(Modulation, PointStep):
    """Hop at one point and step the pipette electrode through `levels_V` at the top of every hop."""

    word: ClassVar[str] = "modulate"

    @property
    def electrode_potentials(self) -> Mapping[KeyPath, tuple[float, ...]]:
        """The bias levels at the top of each hop."""
        return {("levels_V",): self.levels_V}


class LineScan(HoppingStep, OpenEndedStep):
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
    def outermost_points(self) -> Mapping[str, tuple[Point, ...]]:
        """Its two ends."""
        return {"from_um": (self.start,), "to_um": (self.end,)}

    @property
    def per_pass(self) -> int:
        """Hops of one pass."""
        return self.pixels

    @property
    def count(self) -> int | None:
        """Hops to the step's own end; None where a time or the cell ends it."""
        return None if self.passes is None else self.passes * self.per_pass


class AreaStep(HoppingStep):
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

    @property
    def outermost_points(self) -> Mapping[str, tuple[Point, ...]]:
        """Its four corners."""
        (x, y), (w, h), (c, s) = self.center, self.size, (math.cos(self.rotation), math.sin(self.rotation))
        signs = ((-1, -1), (1, -1), (1, 1), (-1, 1))
        corners = tuple((x + (u * w * c - v * h * s) / 2, y + (u * w * s + v * h * c) / 2) for u, v in signs)
        return {"size_um": corners}


class Raster(AreaStep, OpenEndedStep):
    """An image: a hop at every pixel of a rectangle, row by row.

    One pass, unless `passes` gives a number, or `during` or `for_s` lets it continue; with `every_min` one pass each
    time. `amplitude_map` names a .npy or
    .csv file of amplitudes [nm], one per pixel, shape (ny, nx), relative to the experiment file; `amplitude_nm` is then
    that of the first approach.
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
    def per_pass(self) -> int:
        """Hops of one image."""
        return self.pixels[0] * self.pixels[1]

    @property
    def count(self) -> int | None:
        """Hops to the step's own end; None where `during` or `for_s` ends it."""
        goes_on = self.for_s or (self.during and not self.every_min)
        passes = self.passes if self.passes is not None or goes_on else 1
        return None if passes is None else passes * self.per_pass


# -- Steps without hops: park, tower, and the pipette's own voltammogram.

Height = Annotated[Number, Field(gt=0, le=10_000, examples=[10])]
ElectrodePotential = Annotated[Number, Field(ge=-2, le=2)]


class Park(OpenEndedStep):
    """Stay at a height above the specimen."""

    word: ClassVar[str] = "park"
    height_um: Height

    @property
    def height(self) -> float:
        """Height above the specimen [m]."""
        return to_si("height_um", self.height_um)

    def heights(self, start_height: float) -> tuple[float, ...]:  # noqa: ARG002
        """The one height."""
        return (self.height,)


class Tower(OpenEndedStep):
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

    def heights(self, start_height: float) -> tuple[float, ...]:  # noqa: ARG002
        """Both ends and the middle."""
        return (self.low, 0.5 * (self.low + self.high), self.high)


class PipetteSweep(BaseProbeStep):
    """The pipette's own voltammogram: its electrode's potential (against Li/Li⁺) there and back at a height."""

    word: ClassVar[str] = "pipette_sweep"
    sampled: ClassVar[bool] = True
    from_V: Annotated[ElectrodePotential, Field(examples=[-0.7])]
    to_V: Annotated[ElectrodePotential, Field(examples=[0.7])]
    rate_mV_s: Annotated[Number, Field(ge=1e-6, le=100_000, examples=[100])]
    cycles: Annotated[Whole, Field(ge=1, le=10_000)] = 1
    height_um: Height

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """The two vertices differ."""
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

    @property
    def electrode_potentials(self) -> Mapping[KeyPath, tuple[float, ...]]:
        """The two vertices."""
        return {("from_V",): (self.from_V, self.to_V)}

    def heights(self, start_height: float) -> tuple[float, ...]:  # noqa: ARG002
        """The one height."""
        return (self.height,)

    def legs(self) -> tuple[Leg, ...]:
        """(from [V], to [V], duration [s]) of every ramp, in order."""
        duration = abs(self.to_V - self.from_V) / self.rate
        return ((self.from_V, self.to_V, duration), (self.to_V, self.from_V, duration)) * self.cycles


# -- Steps that prepare and correct: offset, engage, tilt, landmarks, and a new tip.

Name = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9_-]{1,40}$")]


class Zero(BaseProbeStep):
    """Measure the amplifier's offset at zero bias and record it as a fact."""

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


class Engage(ApproachingStep):
    """Find the surface from far away: approach over the scanner's range, step the coarse stage down, and repeat.

    It ends with the surface in the middle of the scanner's range.
    """

    word: ClassVar[str] = "engage"
    step_um: Annotated[Number, Field(gt=0, le=1000, examples=[5])]

    @property
    def amplitude(self) -> float:
        """Distance withdrawn between the first contact and the one that confirms it [m]."""
        return _ENGAGE_AMPLITUDE

    @property
    def step(self) -> float:
        """One step of the coarse stage [m]."""
        return to_si("step_um", self.step_um)


class Tilt(AreaStep):
    """Hop on a grid of `points` × `points`, fit a plane, record it as a fact."""

    word: ClassVar[str] = "tilt"
    points: Annotated[Whole, Field(ge=2, le=64, examples=[3])]

    @property
    def count(self) -> int:
        """Hops to the step's own end."""
        return self.points * self.points


class Landmark(AreaStep):
    """Image a feature that can be found again, and keep the image under a name."""

    word: ClassVar[str] = "landmark"
    name: Annotated[Name, Field(examples=["corner"])]
    pixels: Annotated[Pixels, Field(examples=[[32, 32]])]

    @property
    def per_pass(self) -> int:
        """Hops of the image."""
        return self.pixels[0] * self.pixels[1]

    @property
    def count(self) -> int:
        """Hops to the step's own end."""
        return self.per_pass


class ReturnTo(BaseProbeStep):
    """Image a landmark again and shift x and y by how far it has moved; the shift is a fact."""

    word: ClassVar[str] = "return_to"
    name: Annotated[Name, Field(examples=["corner"])]


class ExchangeTip(BaseProbeStep):
    """Record that the pipette has been exchanged, so that data before and after it are kept apart."""

    word: ClassVar[str] = "exchange_tip"
    note: Annotated[Text, Field(examples=["pipette 2 of the batch"])]


class ProbeRepeat(RepeatStep):
    """Its steps, repeated `times` times. Inside it every step has an end of its own, and none waits for the cell."""

    steps: Annotated[tuple[ProbeStep, ...], Field(min_length=1, examples=[[{"park": {"height_um": 10, "for_s": 60}}]])]

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """Every step inside starts and ends without the cell; repeats are nested only so deep."""
        for entry in steps_inside(given):
            model, settings = PROBE_STEPS.get(str(entry.key_path[-1])), entry.step
            if model is None:
                continue
            for key in ("during", "at", "every_min"):
                if settings.get(key) is not None:
                    limit = "a step inside a repeat runs after the one before it"
                    yield Refusal((*entry.key_path, key), settings[key], limit, f"delete {key}")
            if not has_end(model, settings):
                limit = "has no end, so the repeat would never continue"
                yield Refusal(entry.key_path, "", limit, "give it for_s or a count")
        yield from super().refusals(given)


SingleProbeStep = (
    Park
    | Hop
    | LineScan
    | Raster
    | Tower
    | Modulate
    | PipetteSweep
    | Zero
    | Engage
    | Tilt
    | Landmark
    | ReturnTo
    | ExchangeTip
)
"""Every step that is no repeat. A `match` on it ends with `assert_never`, so that a new step cannot be forgotten."""
ProbeStep = Annotated[SingleProbeStep | ProbeRepeat, ByWord()]
ProbeRepeat.model_rebuild()
PROBE_STEPS: dict[str, type[FileModel]] = {step.word: step for step in (*get_args(SingleProbeStep), ProbeRepeat)}


def landmarks(program: Sequence[ProbeStep]) -> dict[str, Landmark]:
    """Every landmark of a program by its name."""
    return {p.step.name: p.step for p in written_steps("probe", program) if isinstance(p.step, Landmark)}


def has_end(model: type[FileModel], given: Mapping[str, Any]) -> bool:
    """Whether a step in the file's form ends before the cell program does; a repeat always does."""
    return not issubclass(model, BaseProbeStep) or model.has_end(given)
