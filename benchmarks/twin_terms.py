"""What each optional term of the twin costs: hops, a tower and a step of the cell with one term on, and with all."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from benchmarks.row import BenchRow
from benchmarks.runner import NullRecorder
from opsicm.cli.live_settings import Revisions, shift_between
from opsicm.cli.rigs import load_rig, prepare, specimen_parameters
from opsicm.experiment.file import read_experiment
from opsicm.experiment.yaml_file import read_yaml, yaml_text
from opsicm.instruments.clock import stopwatch
from opsicm.physics.cell.cell import Cell
from opsicm.runner.commands import StopSignal
from opsicm.runner.runner import RunContext, Runner


class Term(NamedTuple):
    """How a term is switched on: keys below `world` of the rig file, and leaves of the parameter set."""

    world: Mapping[str, Mapping[str, Any]] = {}
    leaves: Mapping[str, tuple[float, str]] = {}


# One line a term. With none of them every number below is 0 or false.
TERMS: Final[dict[str, Term]] = {
    "memory": Term({"tip": {"memory": True}}),
    "flow": Term({"tip": {"zeta_mV": 10.0}}),
    "charge": Term({"tip": {"charge_mC_m2": 14.0}}),
    "slow noise": Term({"noise": {"pipette_flicker_ppm": 300.0, "amplifier_flicker_fA_rtHz": 15.0}}),
    "height wander": Term({"noise": {"height_wander_nm": 1.0}}),
    "sizes": Term(leaves={"particle_radius_spread": (0.45, "1")}),
    "hysteresis": Term(leaves={"open_circuit_hysteresis": (5.0, "mV")}),
}
NONE: Final = "none"
ALL: Final = "all"
_ROUNDS: Final = 3
_STEPS: Final = 2000
_STEP_s: Final = 0.1
_HEAD: Final = """\
opsicm: 1
title: terms
rig: rig.yaml
pipette: {bias_V: 0.7}
specimen: {parameters: set.yaml}
envelope: {cell_V: [-0.3, 2.0], cell_mA: 50, approach_um: 5, pipette_nA: 20}
"""
_BODIES: Final = {
    "hop": """\
cell: [{open_circuit: {for_s: 30}}]
probe: [{hop: {at_um: [0, 0], amplitude_nm: 2000, fall_nm_per_ms: 30, setpoint_pct: 2.0}}]
""",
    "tower": """\
cell: [{sweep: {from_V: 1.2, to_V: 0.8, rate_mV_s: 4, cycles: 1}}]
probe: [{tower: {low_um: 100, high_um: 2600, speed_mm_s: 0.5, record_every_s: 0.2}}]
""",
}
# The table's own rows say at which speed the hop and the cell's step must go; with all terms they must still.
_GOALS: Final = {"hop": (500.0, "one point hopped for an hour: ≥ 500×, all terms on")}


def switched(on: str) -> Term:
    """All settings of every term, at 0 but for the term `on`, or for every one of them."""
    world: dict[str, dict[str, Any]] = {}
    leaves: dict[str, tuple[float, str]] = {}
    for name, term in TERMS.items():
        active = on in (name, ALL)
        for group, values in term.world.items():
            world.setdefault(group, {}).update(
                {key: value if active else type(value)(0) for key, value in values.items()}
            )
        leaves |= {leaf: (value if active else 0.0, unit) for leaf, (value, unit) in term.leaves.items()}
    return Term(world, leaves)


def speeds(folder: Path, on: str) -> dict[str, float]:
    """Times real time of hops, a tower and the cell's steps of 0.1 s with the term `on`, files written to `folder`."""
    term = switched(on)
    rig = read_yaml(Path(str(files("opsicm") / "presets" / "twin-graphite.yaml"))).data
    for group, values in term.world.items():
        rig["world"][group] = {**rig["world"].get(group, {}), **values}
    (folder / "rig.yaml").write_text(yaml_text(rig), encoding="utf-8")
    leaves = {
        name: {"value": value, "unit": unit, "u": "unstated", "status": "assumed", "source": "a benchmark"}
        for name, (value, unit) in term.leaves.items()
    }
    own = {"title": on, "parents": [str(rig["world"]["parameters"])], **leaves}
    (folder / "set.yaml").write_text(yaml_text(own), encoding="utf-8")
    return {**{what: _run(folder, _HEAD + body) for what, body in _BODIES.items()}, "cell step": _cell(folder)}


def _run(folder: Path, text: str) -> float:
    file = folder / "terms.yaml"
    file.write_text(text, encoding="utf-8")
    experiment = read_experiment(file)
    loaded = load_rig(experiment, None)
    prepared = prepare(experiment, loaded, 1, lambda _: None)
    context = RunContext(
        prepared.capacity, prepared.reversible, shift_between, Revisions(experiment, loaded), swelling=prepared.swelling
    )
    runner = Runner(experiment.experiment, prepared.rig, NullRecorder(), StopSignal(lambda: False), context)
    began = prepared.rig.clock.now_ns()
    watch = stopwatch()
    runner.run()
    return (prepared.rig.clock.now_ns() - began) * 1e-9 / watch()


def _cell(folder: Path) -> float:
    experiment = read_experiment(folder / "terms.yaml")
    cell = Cell(specimen_parameters(experiment, load_rig(experiment, None)).values, initial_potential=0.2)
    cell.set_current(-1e-6)
    cell.advance(1.0)
    watch = stopwatch()
    for _ in range(_STEPS):
        cell.advance(_STEP_s)
    return _STEPS * _STEP_s / watch()


def row() -> list[BenchRow]:
    """A row for each term and for all of them, and each speed: the ratio to none, medians of interleaved rounds."""
    names = (NONE, *TERMS, ALL)
    measured: dict[str, dict[str, list[float]]] = {name: {} for name in names}
    with tempfile.TemporaryDirectory() as workspace:
        for k in range(_ROUNDS + 1):
            for name in names:
                for what, speed in speeds(Path(workspace), name).items():
                    if k:  # the first round compiles
                        measured[name].setdefault(what, []).append(speed)
    rows = []
    for name in (*TERMS, ALL):
        for what, each in measured[name].items():
            speed, without = float(np.median(each)), np.array(measured[NONE][what])
            ratio = float(np.median(np.array(each) / without))
            least, goal = _GOALS.get(what, (0.0, "")) if name == ALL else (0.0, "")
            met = speed >= least if goal else None
            limit = f"{speed:.4g} x real time, {float(np.median(without)):.4g} with none; the runner without a record"
            rows.append(BenchRow(f"{what}, {name}", ratio, "1", "", limit, goal, met, "" if goal else "reported"))
    return rows
