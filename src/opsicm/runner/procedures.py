"""From a step of the probe's program to the procedure that carries it out: the one list of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from opsicm.experiment.hop_parameters import HopParameters
from opsicm.experiment.probe_steps import (
    Engage,
    ExchangeTip,
    Hop,
    Landmark,
    Line,
    Modulate,
    Park,
    PipetteSweep,
    Raster,
    ReturnTo,
    SingleProbeStep,
    Tilt,
    Tower,
    Zero,
)
from opsicm.runner.hopping import Hopping
from opsicm.runner.patterns import Floats, Pattern, along_a_line, at_one_point, over_a_rectangle
from opsicm.runner.pipette_electrode import PipetteVoltammogram, ZeroBias
from opsicm.runner.probe_context import ProbeContext
from opsicm.runner.probe_track import Procedure
from opsicm.runner.survey import Engagement, LandmarkImage, Registration, ReturnToLandmark, TiltSurvey, TipExchange

# -- Standing and travelling: a pipette parked at a height, or on its way up and down a tower.


class Parked:
    """At a height above the surface; slow rows only."""

    hop: HopParameters | None = None
    finished = False

    def __init__(self, context: ProbeContext, step: Park) -> None:
        self._context = context
        self._height = step.height
        self.done = 0

    def start(self) -> None:
        """Go there."""
        self._context.lift_to(self._height)

    def stop(self) -> None:
        """Nothing to put back."""

    def wait(self, until_ns: int) -> None:
        """Stand."""
        self._context.rig.clock.wait_until(until_ns)

    def advance(self, until_ns: int) -> None:
        """Stand, no longer than the bias can be trusted."""
        if not self._context.travels(until_ns):
            self.wait(min(until_ns, self._context.now() + self._context.bias.trusted_ns))


class Travelling:
    """Up and down between two heights by the coarse stage, with a dwell at either end."""

    hop: HopParameters | None = None

    def __init__(self, context: ProbeContext, step: Tower) -> None:
        self._context = context
        self._step = step
        self._dwell_ns = round(step.dwell_s * 1e9)
        self._row_ns = round(step.record_every_s * 1e9)
        self._departs_ns = 0
        self._legs = 0  # so far; two make a trip
        self.done = 0

    @property
    def finished(self) -> bool:
        """Whether every trip is done."""
        return self._step.trips is not None and self.done >= self._step.trips

    def start(self) -> None:
        """Go to the lower end; a trip that was interrupted begins anew."""
        self._legs = 2 * self.done
        self._travel_to(self._step.low)

    def stop(self) -> None:
        """Stand still where it is: what follows says where to go."""
        stage = self._context.rig.coarse_stage
        self._context.arrives_ns = stage.move_to(stage.position())

    def wait(self, until_ns: int) -> None:
        """Travel on: the stage needs nobody."""
        self._context.rig.clock.wait_until(until_ns)

    def advance(self, until_ns: int) -> None:
        """Until the next slow row; where the stage has arrived and dwelt, to the other end."""
        context, now = self._context, self._context.now()
        if now >= self._departs_ns:
            self._travel_to(self._step.low if self._legs % 2 else self._step.high)
            self._legs += 1
        ends = [until_ns, now + self._row_ns, now + context.bias.trusted_ns]
        if self._departs_ns > now:
            ends.append(self._departs_ns)
        self.wait(min(ends))
        self.done = max(self.done, (self._legs - (context.now() < self._departs_ns)) // 2)

    def _travel_to(self, height: float) -> None:
        self._context.lift_to(height, self._step.speed)
        self._departs_ns = self._context.arrives_ns + self._dwell_ns


@dataclass(frozen=True, slots=True)
class Procedures:
    """Starts from what they need beside their step: `landmarks` by name, `amplitude_maps` [m] by the step's path."""

    context: ProbeContext
    landmarks: Mapping[str, Landmark]
    register: Registration
    amplitude_maps: Mapping[str, Floats]

    def procedure_for(self, path: str, step: SingleProbeStep) -> Procedure:
        """A procedure that carries out the step at `path` from its beginning."""
        context = self.context
        match step:
            case Park():
                return Parked(context, step)
            case Tower():
                return Travelling(context, step)
            case PipetteSweep():
                return PipetteVoltammogram(context, path, step)
            case Zero():
                return ZeroBias(context, path, step)
            case ExchangeTip():
                return TipExchange(context, path, step)
            case Engage():
                return Engagement(context, path, step)
            case Landmark():
                return LandmarkImage(context, path, step)
            case ReturnTo():
                return ReturnToLandmark(context, path, self.landmarks[step.name], self.register)
            case Tilt():
                return TiltSurvey(context, path, step)
            case Hop() | Modulate() | Line() | Raster():
                return Hopping(context, path, self._pattern(path, step), step.hop_parameters(context.approach))
            case _:
                assert_never(step)

    def _pattern(self, path: str, step: Hop | Modulate | Line | Raster) -> Pattern:
        match step:
            case Raster():
                passes = None if step.count is None else step.count // step.per_pass
                back, amplitudes = step.order == "serpentine", self.amplitude_maps.get(path)
                return over_a_rectangle(step.center, step.size, step.pixels, step.rotation, back, passes, amplitudes)
            case Line():
                return along_a_line(step.start, step.end, step.pixels, step.passes)
            case Hop() | Modulate():
                return at_one_point(step.place, step.hops)
            case _:
                assert_never(step)
