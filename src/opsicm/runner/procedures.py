"""From a probe step of the file to its performance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from opsicm.experiment.hop_parameters import ProbeAction
from opsicm.experiment.probe_steps import (
    AtPoint,
    Engage,
    ExchangeTip,
    Landmark,
    Line,
    Park,
    PipetteSweep,
    Raster,
    ReturnTo,
    Tilt,
    Tower,
    Zero,
)
from opsicm.experiment.probe_steps import Hopping as HoppingStep
from opsicm.experiment.probe_steps import Modulation as ModulationWords
from opsicm.runner.hop_words import HopWords, Modulation
from opsicm.runner.hopping import Hopping
from opsicm.runner.patterns import Floats, Pattern, along_a_line, at_one_point, over_a_rectangle
from opsicm.runner.pipette_electrode import WireSweep, Zeroing
from opsicm.runner.probe_context import ProbeBench
from opsicm.runner.probe_track import Performance
from opsicm.runner.survey import Engaging, LandmarkImage, Registration, Returning, TiltSurvey, TipExchange

# -- Standing and travelling: a pipette parked at a height, or on its way up and down a tower.


class Parked:
    """At a height [m] above the surface; slow rows only."""

    def __init__(self, bench: ProbeBench, height: float) -> None:
        self._bench = bench
        self._height = height
        self.words: HopWords | None = None
        self.done = 0

    @property
    def over(self) -> bool:
        """Never by itself."""
        return False

    def enter(self) -> None:
        """Go there."""
        self._bench.lift_to(self._height)

    def leave(self) -> None:
        """Nothing to put back."""

    def pass_time(self, until_ns: int) -> None:
        """Stand."""
        self._bench.rig.clock.wait_until(until_ns)

    def turn(self, until_ns: int) -> None:
        """Stand, no longer than the bias can be trusted."""
        if not self._bench.travels(until_ns):
            self.pass_time(min(until_ns, self._bench.now() + self._bench.bias.trusted_ns))


class Travelling:
    """Up and down by the coarse stage between `low` and `high` [m] at `speed` [m/s], `dwell` [s] at either end."""

    def __init__(
        self,
        bench: ProbeBench,
        low: float,
        high: float,
        speed: float,
        dwell: float,
        row_period: float,
        trips: int | None,
    ) -> None:
        self._bench = bench
        self._ends = (high, low)
        self._speed = speed
        self._dwell_ns = round(dwell * 1e9)
        self._row_ns = round(row_period * 1e9)
        self._trips = trips
        self._leaves_ns = 0
        self._legs = 0  # gone so far, of which two make a trip
        self.words: HopWords | None = None
        self.done = 0

    @property
    def over(self) -> bool:
        """Whether every trip is done."""
        return self._trips is not None and self.done >= self._trips

    def enter(self) -> None:
        """Go to the lower end; a trip that was interrupted begins anew."""
        self._legs = 2 * self.done
        self._bench.lift_to(self._ends[1], self._speed)
        self._leaves_ns = self._bench.arrives_ns + self._dwell_ns

    def leave(self) -> None:
        """Stand still where it is: what follows says where to go."""
        self._bench.arrives_ns = self._bench.rig.coarse_stage.move_to(self._bench.rig.coarse_stage.position())

    def pass_time(self, until_ns: int) -> None:
        """Travel on: the stage needs nobody."""
        self._bench.rig.clock.wait_until(until_ns)

    def turn(self, until_ns: int) -> None:
        """Until the next slow row; where the stage has arrived and dwelt, back it goes."""
        bench, now = self._bench, self._bench.now()
        if now >= self._leaves_ns:
            bench.lift_to(self._ends[self._legs % 2], self._speed)
            self._leaves_ns = bench.arrives_ns + self._dwell_ns
            self._legs += 1
        turns = [until_ns, now + self._row_ns, now + bench.bias.trusted_ns]
        if self._leaves_ns > now:
            turns.append(self._leaves_ns)
        self.pass_time(min(turns))
        self.done = max(self.done, (self._legs - (bench.now() < self._leaves_ns)) // 2)


_ENGAGE_AMPLITUDE: Final = 1e-6  # [m] withdrawn between the first contact and the one that confirms it


def words_of(step: ProbeAction) -> HopWords | None:
    """How a step hops; None where it does not."""
    if isinstance(step, HoppingStep):
        return HopWords(step.amplitude, step.fall_rate, step.setpoint)
    if isinstance(step, Engage):
        return HopWords(_ENGAGE_AMPLITUDE, step.fall_rate, step.setpoint)
    return None


class Stage:
    """Makes performances. `maps` holds the amplitude maps [m] by the path of their step."""

    def __init__(
        self, bench: ProbeBench, steps: Iterable[ProbeAction], register: Registration, maps: Mapping[str, Floats]
    ) -> None:
        self._bench = bench
        self._landmarks = {step.name: step for step in steps if isinstance(step, Landmark)}
        self._register = register
        self._maps = maps

    def performance(self, path: str, step: ProbeAction) -> Performance:
        """A fresh performance of `step`."""
        bench = self._bench
        match step:
            case Park():
                return Parked(bench, step.height)
            case Tower():
                speed, dwell, rows = step.speed, step.dwell_s, step.record_every_s
                return Travelling(bench, step.low, step.high, speed, dwell, rows, step.trips)
            case PipetteSweep():
                return WireSweep(bench, path, step.from_V, step.to_V, step.rate, step.cycles, step.height)
            case Zero():
                return Zeroing(bench, path, step.for_s)
            case ExchangeTip():
                return TipExchange(bench, path, step.note)
            case Engage():
                return Engaging(bench, path, _words(step), step.step)
            case ReturnTo():
                return self._returning(path, step)
            case _:
                assert isinstance(step, HoppingStep), step.word
                return self._hopping(path, step)

    def _hopping(self, path: str, step: HoppingStep) -> Performance:
        bench, words = self._bench, _words(step)
        match step:
            case Landmark():
                return LandmarkImage(bench, path, _pattern_of(step), words, step.name)
            case Tilt():
                return TiltSurvey(bench, path, words, step.center, step.size, step.points)
            case Raster():
                passes = None if step.count is None else step.count // (step.pixels[0] * step.pixels[1])
                turned, back = step.rotation, step.order == "serpentine"
                heights = self._maps.get(path)
                pattern = over_a_rectangle(step.center, step.size, step.pixels, turned, back, passes, heights)
            case Line():
                pattern = along_a_line(step.start, step.end, step.pixels, step.passes)
            case _:
                assert isinstance(step, AtPoint), step.word
                pattern = at_one_point(step.place, step.hops)
        return Hopping(bench, path, pattern, words, _modulation(step.modulation))

    def _returning(self, path: str, step: ReturnTo) -> Performance:
        landmark = self._landmarks[step.name]
        columns, rows = landmark.pixels
        pixel = (landmark.size[0] / (columns - 1), landmark.size[1] / (rows - 1))
        pattern, words = _pattern_of(landmark), _words(landmark)
        return Returning(self._bench, path, pattern, words, step.name, pixel, self._register)


def _pattern_of(step: Landmark) -> Pattern:
    return over_a_rectangle(step.center, step.size, step.pixels)


def _words(step: ProbeAction) -> HopWords:
    words = words_of(step)
    assert words is not None
    return words


def _modulation(words: ModulationWords | None) -> Modulation | None:
    return None if words is None else Modulation(words.levels_V, words.dwell)
