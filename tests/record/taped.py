"""A rig that keeps everything it is asked, as the runner would: what a contract test needs of a stored run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from faults.stream import folder
from opsicm.facts.fact import Fact, Kind, Track
from opsicm.instruments.cell_control import CellControl, CellReading
from opsicm.instruments.rig import Rig
from opsicm.instruments.roles import HopPlan, PlanOutcome
from opsicm.record.recorder import Header, Reading
from opsicm.record.shared_recorder import SharedRecorder


class Tape:
    """Roles of `rig` that write rows, intents, blocks and hops into a run below `out`; what they lack, `rig` does."""

    def __init__(self, rig: Rig, out: Path) -> None:
        self._rig = rig
        self._facts = 0
        self._recorder = SharedRecorder(folder(out))
        controller = rig.hop_controller
        began = "2026-01-02T03:04:05+00:00"
        self._recorder.open(Header("taped", began, "", "", controller.channels, controller.timing.dt_ns))
        self._fact("run_started")
        self._row()
        self.rig = replace(
            rig,
            clock=_taped(rig.clock, wait_until=self._wait_until),
            potentiostat=_taped(rig.potentiostat, apply=self._apply, read=self._read),
            hop_controller=_taped(rig.hop_controller, run=self._run),
        )

    def close(self) -> Path:
        self._row()
        self._fact("run_ended", outcome="completed")
        return self._recorder.close()

    def _fact(self, kind: Kind, step: str = "run", **data: object) -> None:
        track: Track = "run" if step == "run" else "cell"
        self._recorder.fact(Fact(self._facts, self._rig.clock.now_ns(), kind, track, step, data))
        self._facts += 1

    def _row(self) -> CellReading:
        rig, cell = self._rig, self._rig.potentiostat.read()
        current, bias = rig.amplifier.read()
        said = {name: value for name, value in asdict(cell).items() if name != "cut_off"}
        z, coarse = rig.scanner.read_z(), rig.coarse_stage.position()
        self._recorder.reading(Reading(**said, soc=None, pipette_current=current, pipette_bias=bias,
                                       bias_residual=0.0, z=z, coarse_z=coarse))  # fmt: skip
        return cell

    def _wait_until(self, t_ns: int) -> None:
        self._rig.clock.wait_until(t_ns)
        self._row()

    def _apply(self, control: CellControl, at_ns: int) -> None:
        self._fact("intent", "cell[0]", control=repr(control), at_ns=at_ns)
        self._rig.potentiostat.apply(control, at_ns)

    def _read(self) -> CellReading:
        return self._row()

    def _run(self, plan: HopPlan, stop: Callable[[], bool]) -> PlanOutcome:
        outcome = self._rig.hop_controller.run(plan, stop)
        for block in outcome.blocks:
            self._recorder.block(block)
        self._recorder.hops(plan.step, outcome.hops)
        self._row()
        return outcome


def _taped(role: object, **instead: Callable[..., object]) -> Any:
    return _Taped(role, instead)


class _Taped:
    """A role with some of its methods taken over."""

    def __init__(self, role: object, instead: dict[str, Callable[..., object]]) -> None:
        self._role = role
        self._instead = instead

    def __getattr__(self, name: str) -> object:
        return self._instead[name] if name in self._instead else getattr(self._role, name)
