"""What every probe step works with: the instruments, the bias, the record, and what is known of the surface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.facts import Kind, Outcome
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.instruments.roles import CellReading, HopPlan, Rig
from opsicm.physics.specimen.drift import drift_per_fall, restless
from opsicm.record.recorder import Reading, Recorder
from opsicm.runner.bias import BiasTracker
from opsicm.runner.cell_track import CellTrack
from opsicm.runner.fact_log import FactLog
from opsicm.runner.limits import Limits
from opsicm.runner.patterns import Points

_DRIFTING_NS: Final = 50_000_000  # between two looks at a bulk current that drifts too fast to hop


class ProbeContext:
    """One for a run: `approach` [m] is the farthest that one approach may go, `interrupted` ends a plan within its hop.

    It remembers the height of the last contact, the landmarks and how far the specimen has shifted.
    """

    def __init__(
        self,
        rig: Rig,
        recorder: Recorder,
        facts: FactLog,
        bias: BiasTracker,
        limits: Limits,
        cell: CellTrack,
        approach: float,
        interrupted: Callable[[], bool],
    ) -> None:
        self.rig = rig
        self.bias = bias
        self.limits = limits
        self.approach = approach
        self._recorder = recorder
        self._facts = facts
        self._cell = cell
        self._interrupted = interrupted
        self.surface = 0.0  # [m] height of the last contact; before the first, where the operator has engaged
        self.offset = (0.0, 0.0)  # [m] by which the specimen has shifted under the scanner
        self.landmarks: dict[str, NDArray[np.float64]] = {}
        self.segment = 0
        self.hops = 0
        self.arrives_ns = 0  # when the coarse stage will stand still
        self._currents: list[tuple[int, float]] = []
        self._drifts = False
        # A plan that dwells must say how it would hop, and does not.
        self._dwelling = HopParameters(1e-6, 1e-6, 0.01, approach)

    def now(self) -> int:
        """[ns] since the run started."""
        return self.rig.clock.now_ns()

    def fact(self, kind: Kind, path: str, data: Mapping[str, Any]) -> None:
        """A fact of the probe's track."""
        self._facts.write(kind, "probe", path, data)

    # -- motion -----------------------------------------------------------------------------------------------------

    def lift_to(self, height: float, speed: float | None = None) -> None:
        """Let the coarse stage begin to bring the pipette to `height` [m] above the surface as last seen."""
        self.arrives_ns = self.rig.coarse_stage.move_to(self.surface + height, speed)

    def begin_segment(self) -> None:
        """What is sampled next does not join what was sampled before."""
        self.segment += 1

    def dwell(self, path: str, until_ns: int) -> None:
        """Stay at the top, sampling, until `until_ns`."""
        self.run(self.plan(path, Points.none(), self._dwelling, until_ns))

    def travels(self, until_ns: int) -> bool:
        """Wait, but not beyond `until_ns`, where the coarse stage is still on its way."""
        if self.now() >= self.arrives_ns:
            return False
        self.rig.clock.wait_until(min(until_ns, self.arrives_ns))
        return True

    def plan(self, path: str, points: Points, hop: HopParameters, until_ns: int) -> HopPlan:
        """A plan of hops at `points`, as the specimen lies now."""
        amplitude = np.full(points.x.size, hop.amplitude) if points.amplitude is None else points.amplitude
        return HopPlan(
            path,
            self.segment,
            self.hops,
            points.x + self.offset[0],
            points.y + self.offset[1],
            points.line,
            points.pixel,
            amplitude,
            hop,
            self.bias.tip_potential(self.now()),
            until_ns,
        )

    def run(self, plan: HopPlan, misses_matter: bool = True) -> NDArray[Any]:
        """Run a plan, keep what it left, judge it; its hop records."""
        outcome = self.rig.hop_controller.run(plan, self._interrupted)
        for block in outcome.blocks:
            self._recorder.block(block)
        hops = outcome.hops
        if not hops.size:
            return hops
        self._recorder.hops(plan.step, hops)
        self.hops += hops.size
        self.fact("hops", plan.step, {"range": [int(hops["hop"][0]), int(hops["hop"][-1])]})
        self.limits.hops(hops, misses_matter)
        self.bias.judge(float(np.max(np.abs(hops["bias_residual"]))))
        contacts = hops[hops["outcome"] == Outcome.CONTACT]
        if contacts.size:
            self.surface = self.rig.coarse_stage.position() + float(contacts["z_stop"][-1])
        return hops

    # -- looks ------------------------------------------------------------------------------------------------------

    def read_current(self) -> float:
        """The pipette current now [A]; remembered as the bulk's while the wire stands where it should."""
        current, _ = self.rig.amplifier.read()
        self._notice(current)
        return current

    def _notice(self, current: float) -> None:
        """Remember the bulk current while the wire stands where it should; two looks at one instant tell no drift."""
        if self.bias.nominal:
            now = self.now()
            earlier = [reading for reading in self._currents if reading[0] < now]
            self._currents = [*earlier[-1:], (now, current)]

    def keep_reading(self, cell: CellReading) -> None:
        """A slow row, judged; `cell` is what the potentiostat says now."""
        current, command = self.rig.amplifier.read()
        residual = self.bias.residual(command, cell)
        self.limits.reading(current, self.bias.nominal)
        self._notice(current)
        self._recorder.reading(
            Reading(
                t_ns=cell.t_ns,
                potential=cell.potential,
                current=cell.current,
                charge=cell.charge,
                set_point=cell.set_point,
                control=cell.control,
                soc=self._cell.soc(cell.charge),
                pipette_current=current,
                pipette_bias=command,
                bias_residual=residual,
                z=self.rig.scanner.read_z(),
                coarse_z=self.rig.coarse_stage.position(),
            )
        )

    def waits_for_current(self, path: str, hop: HopParameters, until_ns: int) -> bool:
        """Dwell a little where the cell moves the bulk current so fast that an approach would stop for it."""
        if len(self._currents) < 2 or self._currents[0][0] == self._currents[1][0]:
            return False
        (t0, before), (t1, after) = self._currents
        drift = drift_per_fall(before, after, (t1 - t0) * 1e-9, hop.fall_time)
        drifts = restless(drift, hop.setpoint)
        if drifts != self._drifts:
            self._drifts = drifts
            message = "waiting at the top" if drifts else "hopping again"
            self.fact("quality", path, {"message": message, "drift_per_fall": drift, "setpoint": hop.setpoint})
        if drifts:
            self.dwell(path, min(until_ns, self.now() + _DRIFTING_NS))
        return drifts
