"""What each term of the twin costs: a hop, a tower and a step of the cell with it alone, and with all of them.

Terms that a rig or a parameter set switches stand in `TERMS`: one more is one more line. Rounds go through all of them
in turn, and a cost is the median over the rounds of time with it over time without any.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import process_time
from typing import Any, Final

import numpy as np

from benchmarks.cell_step import seconds_per_step
from benchmarks.hopping import controller_of, hops_at
from benchmarks.row import BenchRow
from benchmarks.runner import run_without_record
from opsicm.cli.rigs import load_rig, prepare
from opsicm.experiment.file import LoadedExperiment, experiment_from_text
from opsicm.experiment.parameter_file import DEFAULT_SET, parameter_set
from opsicm.experiment.rig_file import LoadedRig, rig_from_text
from opsicm.experiment.yaml_file import yaml_text
from opsicm.physics.cell.cell import Cell

_ROUNDS: Final = 5
_HOPS: Final = 120
_TOWER_s: Final = 200
_GOAL: Final = "every speed of this table holds with the new terms on: one point hopped ≥ 500× real time"
_EXPERIMENT: Final = """\
opsicm: 1
title: cost of the twin's terms
rig: twin/graphite
pipette: {{bias_V: 0.7}}
specimen: {{rest_V: 1.2, parameters: {parameters}}}
cell: [{{sweep: {{from_V: 1.2, to_V: 0.2, rate_mV_s: 10, cycles: 1}}}}]
probe: [{{tower: {{low_um: 100, high_um: 2600, speed_mm_s: 0.5, during: "cell[0]"}}}}]
"""


@dataclass(frozen=True, slots=True)
class Term:
    """What switches a term on: keys of the rig's `world`, and leaves of the set, each with (value off, value on)."""

    world: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    leaves: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def _of_the_default(*names: str) -> Mapping[str, tuple[float, float]]:
    values = {name: parameter_set(DEFAULT_SET).leaves[name].value for name in names}
    return {name: (0.0, value) for name, value in values.items() if isinstance(value, float)}


TERMS: Final[dict[str, Term]] = {
    "memory of the tip": Term({"tip": {"memory": True}}),
    "electro-osmosis": Term({"tip": {"zeta_mV": 10.0}}),
    "charge of the glass": Term({"tip": {"charge_mC_m2": 14.0}}),
    "flicker of the pipette": Term({"noise": {"pipette_flicker_ppm": 300.0}}),
    "flicker of the amplifier": Term({"noise": {"amplifier_flicker_fA_rtHz": 100.0}}),
    "wander of the pipette": Term({"noise": {"pipette_wander_ppm": 500.0}}),
    "wander of the reference": Term({"noise": {"reference_wander_uV": 100.0}}),
    "drift of the reference": Term({"noise": {"reference_drift_mV_h": 1.0}}),
    "wander of the height": Term({"noise": {"height_wander_nm": 1.0}}),
    "sizes of particles": Term(leaves=_of_the_default("particle_radius_spread")),
    "hysteresis": Term(leaves=_of_the_default("open_circuit_hysteresis", "open_circuit_dilute_below")),
}


@dataclass(frozen=True, slots=True)
class _Twin:
    """A twin with some of the terms: its experiment, its rig, a cell alone."""

    experiment: LoadedExperiment
    rig: LoadedRig
    cell: Cell


def _twin(terms: Mapping[str, Term], folder: Path) -> _Twin:
    leaves = {name: off for term in TERMS.values() for name, (off, _) in term.leaves.items()}
    leaves |= {name: on for term in terms.values() for name, (_, on) in term.leaves.items()}
    chosen = parameter_set(DEFAULT_SET)
    units = {name: chosen.leaves[name].unit for name in leaves}
    stated = {
        name: {"value": value, "unit": units[name], "status": "assumed", "source": "this measurement", "u": "unstated"}
        for name, value in leaves.items()
    }
    file = folder / f"{'-'.join(terms).replace(' ', '_') or 'none'}.yaml"
    file.write_text(yaml_text({"title": "a term's cost", "parents": [DEFAULT_SET], **stated}), encoding="utf-8")
    experiment = experiment_from_text(_EXPERIMENT.format(parameters=file))
    data = dict(load_rig(experiment, None).document.data)
    world = {key: value for key, value in data["world"].items() if key not in ("noise", "tip")}
    # The preset has most of them on: without any, the noise that no file goes without, and a tip that forgets.
    white = {key: data["world"]["noise"][key] for key in ("amplifier_fA_rtHz", "height_nm")}
    world |= {"noise": white, "tip": {"memory": False}}
    for term in terms.values():
        for key, values in term.world.items():
            world[key] = {**world.get(key, {}), **values}
    rig = rig_from_text(yaml_text({**data, "world": world}))
    return _Twin(experiment, rig, Cell(parameter_set(str(file)).values, initial_potential=0.2))


def _hop(twin: _Twin) -> float:
    """[s] of processor for each second of hopping at one point."""
    controller = controller_of(twin.experiment, twin.rig)
    hops_at(controller, [(0.0, 0.0)] * 12)  # what is made once for a place is no cost of a hop
    begin = process_time()
    virtual = hops_at(controller, [(0.0, 0.0)] * _HOPS)
    return (process_time() - begin) / virtual


def _tower(twin: _Twin) -> float:
    """[s] of processor for each second of a tower during a sweep, without a recorder."""
    prepared = prepare(twin.experiment, twin.rig, 1, lambda _: None)
    begin = process_time()
    run_without_record(twin.experiment, twin.rig, prepared)
    return (process_time() - begin) / _TOWER_s


_MEASURED: Final[dict[str, Callable[[_Twin], float]]] = {
    "hop": _hop,
    "tower": _tower,
    "cell_step": lambda twin: seconds_per_step(twin.cell),
}


def _reaches_the_cell(terms: Mapping[str, Term]) -> bool:
    """Whether a step of the cell alone knows of them; none at all is what they are compared with."""
    return not terms or any(term.leaves for term in terms.values())


def row() -> list[BenchRow]:
    """Times real time with every term on, a step's time; the cost of each term alone as a factor of the time."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        chosen: dict[str, Mapping[str, Term]] = {
            "none": {},
            **{name: {name: term} for name, term in TERMS.items()},
            "all": TERMS,
        }
        twins = {name: _twin(terms, place) for name, terms in chosen.items()}
        rows = []
        for what, measure in _MEASURED.items():
            measure(twins["all"])  # compiles
            reaching = [name for name, terms in chosen.items() if what != "cell_step" or _reaches_the_cell(terms)]
            taken = {name: np.empty(_ROUNDS) for name in reaching}
            for k in range(_ROUNDS):
                for name in reaching:
                    taken[name][k] = measure(twins[name])
            cost = {name: float(np.median(each / taken["none"])) for name, each in taken.items() if name != "none"}
            texts = "; ".join(f"{name} {factor:.2f}" for name, factor in cost.items())
            limit = f"time over that without any: {texts}"
            with_all = float(np.median(taken["all"]))
            if what == "cell_step":
                rows.append(BenchRow("terms_cell_step", with_all * 1e6, "µs", "", limit, "", None, "reported"))
            elif what == "hop":
                rows.append(BenchRow("terms_hop", 1 / with_all, "x real time", "", limit, _GOAL, 1 / with_all >= 500.0))
            else:
                rows.append(BenchRow("terms_tower", 1 / with_all, "x real time", "", limit, "", None, "reported"))
    return rows
