"""The procedure of every step of the probe program, and those of the steps that do not hop: park and tower."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from opsicm.experiment.hop_parameters import HopParameters
from opsicm.experiment.patterns import Floats, pattern_of
from opsicm.experiment.probe_steps import (
    Engage,
    ExchangeTip,
    Hop,
    Landmark,
    LineScan,
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
from opsicm.runner.hopping import HoppingProcedure
from opsicm.runner.pipette_electrode import PipetteSweepProcedure, ZeroProcedure
from opsicm.runner.probe_context import ProbeContext
from opsicm.runner.probe_track import Procedure
from opsicm.runner.survey import (
    EngageProcedure,
    ExchangeTipProcedure,
    ImageRegistration,
    LandmarkProcedure,
    ReturnToProcedure,
    TiltProcedure,
)


class ParkProcedure:
    """Stays at a height above the surface; only slow rows are recorded."""

    hop: HopParameters | None = None
    finished = False

    def __init__(self, context: ProbeContext, step: Park) -> None:
        self._context = context
        self._height = step.height
        self.done = 0

    def start(self) -> None:
        """Go to the height."""
        self._context.lift_to(self._height)

    def stop(self) -> None:
        """Nothing to restore."""

    def wait(self, until_ns: int) -> None:
        """Stay in place."""
        self._context.rig.clock.wait_until(until_ns)

    def advance(self, until_ns: int) -> None:
        """Stay in place, no longer than the bias may ramp without a new reading."""
        until_ns = min(until_ns, self._context.now() + self._context.bias.ramp_duration_ns)
        if not self._context.wait_for_stage(until_ns):
            self.wait(until_ns)


class TowerProcedure:
    """Moves the coarse stage up and down between two heights, with a dwell at either end."""

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
        """Go to the lower end; a trip that was interrupted begins again."""
        self._legs = 2 * self.done
        self._move_to(self._step.low)

    def stop(self) -> None:
        """Stop the stage where it is."""
        stage = self._context.rig.coarse_stage
        self._context.stage_arrival_ns = stage.move_to(stage.position())

    def wait(self, until_ns: int) -> None:
        """Let the stage move on."""
        self._context.rig.clock.wait_until(until_ns)

    def advance(self, until_ns: int) -> None:
        """Wait for the next slow row; after the dwell at one end, send the stage to the other."""
        context, now = self._context, self._context.now()
        if now >= self._departs_ns:
            self._move_to(self._step.low if self._legs % 2 else self._step.high)
            self._legs += 1
        ends = [until_ns, now + self._row_ns, now + context.bias.ramp_duration_ns]
        if self._departs_ns > now:
            ends.append(self._departs_ns)
        self.wait(min(ends))
        self.done = max(self.done, (self._legs - (context.now() < self._departs_ns)) // 2)

    def _move_to(self, height: float) -> None:
        self._context.lift_to(height, self._step.speed)
        self._departs_ns = self._context.stage_arrival_ns + self._dwell_ns


@dataclass(frozen=True, slots=True)
class Procedures:
    """Makes procedures: `landmarks` by their name, `amplitude_maps` [m] by the path of their step."""

    context: ProbeContext
    landmarks: Mapping[str, Landmark]
    register: ImageRegistration
    amplitude_maps: Mapping[str, Floats]

    def procedure_for(self, path: str, step: SingleProbeStep) -> Procedure:
        """A new procedure for the step at `path`."""
        context = self.context
        match step:
            case Park():
                return ParkProcedure(context, step)
            case Tower():
                return TowerProcedure(context, step)
            case PipetteSweep():
                return PipetteSweepProcedure(context, path, step)
            case Zero():
                return ZeroProcedure(context, path, step)
            case ExchangeTip():
                return ExchangeTipProcedure(context, path, step)
            case Engage():
                return EngageProcedure(context, path, step)
            case Landmark():
                return LandmarkProcedure(context, path, step)
            case ReturnTo():
                return ReturnToProcedure(context, path, self.landmarks[step.name], self.register)
            case Tilt():
                return TiltProcedure(context, path, step)
            case Hop() | Modulate() | LineScan() | Raster():
                pattern = pattern_of(step, self.amplitude_maps.get(path))
                return HoppingProcedure(context, path, pattern, step.hop_parameters(context.approach))
            case _:
                assert_never(step)
