"""From a probe step of the file to its performance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from opsicm.protocol.hopping_steps import AtPoint
from opsicm.protocol.hopping_steps import Hopping as HoppingStep
from opsicm.protocol.hopping_steps import Modulation as ModulationWords
from opsicm.protocol.probe_program import (
    Engage,
    ExchangeTip,
    Landmark,
    Line,
    Park,
    PipetteSweep,
    ProbeAction,
    Raster,
    ReturnTo,
    Tilt,
    Tower,
    Zero,
)
from opsicm.run.hop_words import HopWords, Modulation
from opsicm.run.hopping import Hopping
from opsicm.run.parking import Parked, Travelling
from opsicm.run.patterns import Floats, Pattern, along_a_line, at_one_point, over_a_rectangle
from opsicm.run.performance import Performance
from opsicm.run.probe_bench import ProbeBench
from opsicm.run.survey import Engaging, LandmarkImage, Registration, Returning, TiltSurvey, TipExchange
from opsicm.run.wire import WireSweep, Zeroing

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
