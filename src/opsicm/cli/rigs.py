"""Rigs by name or file, assembled from drivers: the only place that says real or twin."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.calibration import Calibration
from opsicm.core.errors import BadInput, OutsideDomain, Problem
from opsicm.core.units import to_si
from opsicm.experiment.controls import CellControl, cut_offs, nominal_controls
from opsicm.experiment.file import LoadedExperiment
from opsicm.experiment.model import Experiment
from opsicm.experiment.parameter_file import parameter_set
from opsicm.experiment.probe_steps import ApproachingStep
from opsicm.experiment.program import written_steps
from opsicm.experiment.rig_file import TWIN, LoadedRig, Role, read_rig, rig_path
from opsicm.experiment.setup import PipetteShape
from opsicm.forecast.rig_numbers import RigNumbers
from opsicm.forecast.rig_numbers import rig_numbers as numbers_for
from opsicm.instruments.registry import ROLES, Registry, RigSetup
from opsicm.instruments.roles import Rig
from opsicm.instruments.wiring import GROUNDINGS, REFERENCE_FOLLOWS_CELL
from opsicm.physics.cell.parameters import CellParameters
from opsicm.physics.parameters import Curve, Leaf, ParameterSet
from opsicm.physics.pipette.geometry import Pipette, geometric_resistance
from opsicm.physics.pipette.ion_current import resistance
from opsicm.physics.pipette.tip_field import distance_98
from opsicm.physics.specimen.clearance import ExpectedSwelling
from opsicm.record.run_folder import RIG
from opsicm.twin.build import Relief, followed, glass_of, twin_of

BUILT_IN: Final[dict[str, str]] = {
    TWIN: "opsicm.twin.build:DRIVERS",
    "replay": "opsicm.record.replay_rig:DRIVERS",
    "scpi_smu": "opsicm.drivers.scpi_smu:DRIVERS",
    "followed_cell": "opsicm.drivers.followed_cell:DRIVERS",
    "serial_potentiostat": "opsicm.drivers.serial_potentiostat:DRIVERS",
    "world_process": "opsicm.emulators.remote_rig:DRIVERS",
    "nidaqmx": "opsicm.drivers.nidaqmx:DRIVERS",
    "patch_clamp": "opsicm.drivers.patch_clamp:DRIVER",
    "analogue_potentiostat": "opsicm.drivers.analogue_potentiostat:DRIVER",
    "pi_gcs": "opsicm.drivers.pi_gcs:DRIVERS",
    "zaber": "opsicm.drivers.zaber:DRIVERS",
    "adapter": "opsicm.drivers.adapter:DRIVERS",
    "hop_box": "opsicm.drivers.hop_box:DRIVERS",
    "openspm": "opsicm.drivers.openspm:DRIVERS",
}
"""Name in a rig file → where its drivers are, loaded when asked for. A new driver of this package is one line."""
REGISTRY: Final = Registry(BUILT_IN)
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A connected rig, and the facts about it that are recorded.

    `capacity` [C] between x = 0 and 1, `reversible` [C] between the program's cut-offs at rest (None without two),
    stated parameters, seed, and the thickness [m] gained that `swelling` expects for a charge [C].
    """

    rig: Rig
    capacity: float
    reversible: float | None
    parameters: Mapping[str, Any]
    seed: int
    swelling: Callable[[float], float]


def stored_run_role(run: Path) -> Role:
    """The driver entry that fills every role of a rig in a replay of `run`."""
    return Role(driver="replay", address=str(run))


def world_process_role(folder: Path) -> Role:
    """The driver entry that fills every role of a rig from the world process serving in `folder`."""
    return Role(driver="world_process", address=str(folder))


def data_source(loaded: LoadedRig) -> str:
    """The origin of the data for the header: digital twin, instruments, or both."""
    drivers = {loaded.role(role).driver for role in ROLES}
    if loaded.rig.emulation is not None:
        return "emulated instruments, the digital twin behind them"
    if TWIN not in drivers:
        return "instruments"
    return "digital twin" if drivers == {TWIN} else "digital twin and instruments"


def load_rig(experiment: LoadedExperiment, override: str | None) -> LoadedRig:
    """The rig file that the experiment names, or `override`: a preset, a file, or a run folder, which holds its own."""
    if override is not None and Path(override).is_dir():
        stored, original = Path(override) / RIG, experiment.rig_path()
        # Where the original is unchanged it is read instead: relative paths in it still hold there.
        same = stored.is_file() and original.is_file() and stored.read_bytes() == original.read_bytes()
        if stored.is_file() and _only_comments(stored):
            limit = "is a run made of measured files: there is no rig in it to run on"
            raise BadInput(Problem("--rig", override, limit, "name a preset, a rig file, or the run of an experiment"))
        return read_rig(original if same else stored)
    return read_rig(rig_path(override) if override is not None else experiment.rig_path())


def _only_comments(file: Path) -> bool:
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    return not any(line.strip() and not line.lstrip().startswith("#") for line in lines)


def seed_of(experiment: Experiment, loaded: LoadedRig, override: int | None) -> int:
    """The command line's seed, else the experiment's if it names one, else the rig's."""
    if override is not None:
        return override
    if "seed" in experiment.twin.model_fields_set or loaded.rig.world is None:
        return experiment.twin.seed
    return loaded.rig.world.seed


def specimen_parameters(loaded: LoadedExperiment, rig: LoadedRig) -> ParameterSet:
    """The experiment's parameter set, else the twin's, with the experiment's changes to specimen and electrolyte."""
    experiment = loaded.experiment
    file: LoadedExperiment | LoadedRig = rig
    if "parameters" in experiment.specimen.model_fields_set or rig.rig.world is None:
        file, path, name = loaded, ("specimen", "parameters"), experiment.specimen.parameters
    else:
        path, name = ("world", "parameters"), rig.rig.world.parameters
    base = _named_set(file, path, name)
    set_keys = experiment.specimen.model_fields_set
    specimen = experiment.specimen
    changes = {
        name: value
        for key, name, value in (
            ("area_cm2", "area", specimen.area),
            ("thickness_um", "thickness", specimen.thickness),
            ("loading_mg_cm2", "loading", specimen.loading),
        )
        if key in set_keys
    }
    if "salt_M" in experiment.electrolyte.model_fields_set:
        changes["concentration"] = experiment.electrolyte.salt
    chosen = base.with_leaves(changes, source="experiment file")
    p = chosen.values
    if p.material.swelling is not None or p.swelling_factor == 0.0:
        return chosen
    for placed in written_steps("probe", experiment.probe):
        if isinstance(placed.step, ApproachingStep):
            limit = f"does not state how {p.material.name} swells, and {placed.path} finds the height of its surface"
            remedy = (
                "add swelling: {table: FILE.csv, columns: [stoichiometry, volume_change], …} to the set, or leave "
                "swelling out of the run with swelling_factor: {value: 0, …}"
            )
            raise BadInput(file.problem(path, name, limit, remedy))
    return chosen.with_leaves({"swelling_factor": 0.0}, source="no swelling curve, and no step finds a height")


def _named_set(loaded: LoadedExperiment | LoadedRig, path: tuple[str, ...], name: str) -> ParameterSet:
    try:
        return parameter_set(name, Path(loaded.document.name).parent)
    except BadInput as error:
        if error.problems[0].file is not None:  # the problem is in the set's own file
            raise
        raise BadInput(loaded.problem(path, name, p.limit, p.remedy) for p in error.problems) from None


def pipette_of(experiment: Experiment, rig: LoadedRig) -> Pipette:
    """The pipette in SI: each dimension from the experiment, else from the rig file, else the default."""
    pipette, on_rig = experiment.pipette, rig.rig.pipette

    def shape(key: str) -> PipetteShape:
        return on_rig if on_rig is not None and key not in pipette.model_fields_set else pipette

    return Pipette(
        shape("radius_nm").radius, shape("wall").wall, shape("cone_deg").cone_angle, shape("length_um").length
    )


def rig_setup(
    experiment: LoadedExperiment, loaded: LoadedRig, parameters: CellParameters, **run_settings: Any
) -> RigSetup:
    """What is known of a run on this rig before anything is connected; `BadInput` where the two do not fit."""
    _refuse_unknown_grounding(loaded)
    _refuse_driven_cell(experiment, loaded)
    _refuse_twin_settings(experiment, loaded)
    pipette = pipette_of(experiment.experiment, loaded)
    return RigSetup(loaded, experiment.experiment, parameters, pipette, cell_rows=_cell_rows, **run_settings)


def _cell_rows(data: bytes, path: Path, columns: str | None) -> tuple[Floats, Floats, Floats]:
    from opsicm.formats.cell_rows import cell_rows  # the readers of every format take longer to import than a check

    return cell_rows(data, path, columns)


def rig_numbers(experiment: LoadedExperiment, loaded: LoadedRig, seed: int | None = None) -> RigNumbers:
    """The numbers of a rig that `check` needs, from the rig file and its drivers; nothing is connected.

    Of a twin the surface is known too, that of `seed`, by default the experiment's or the rig's, and the tip's glass.
    """
    run_seed = seed_of(experiment.experiment, loaded, seed)
    setup = rig_setup(experiment, loaded, specimen_parameters(experiment, loaded).values, seed=run_seed)
    specification = REGISTRY.specification(setup)
    of_instruments = specification, loaded.rig.wiring, experiment.experiment, setup.specimen, setup.pipette
    if loaded.rig.world is None:
        return numbers_for(*of_instruments)
    return numbers_for(*of_instruments, Relief(setup, specification), glass_of(setup))


def prepare(
    experiment: LoadedExperiment,
    loaded: LoadedRig,
    seed: int,
    on_advance: Callable[[int], None],
    history: Sequence[Sequence[tuple[int, CellControl]]] = (),
    stand_in: Role | None = None,
    connections: ExitStack | None = None,
    slice_ns: int | None = None,
) -> Prepared:
    """The connected rig for an experiment; `connections` closes what its drivers have opened.

    `history` holds the controls that earlier runs applied to the specimen, as (nanosecond, control): a twin repeats
    them. `stand_in` fills every role in place of the rig file's drivers.
    """
    leaves = specimen_parameters(experiment, loaded)
    parameters = leaves.values
    setup = rig_setup(
        experiment,
        loaded,
        parameters,
        seed=seed,
        on_advance=on_advance,
        history=history,
        slice_ns=slice_ns,
        connections=ExitStack() if connections is None else connections,
    )
    specification = REGISTRY.specification(setup)
    rig = REGISTRY.connect(setup, specification, stand_in)
    if stand_in is None and loaded.rig.world is not None:
        rig = followed(rig, twin_of(setup, specification))
    pipette = setup.pipette
    stored_leaves = {name: _stored_leaf(leaf) for name, leaf in leaves.leaves.items()}
    capacity = parameters.areal_capacity * parameters.area
    facts = {
        "pipette": {
            "radius_m": pipette.radius,
            "wall": pipette.wall,
            "cone_angle_rad": pipette.cone_angle,
            "length_m": pipette.length,
            "bias_V": experiment.experiment.pipette.bias,
            "distance_98_m": distance_98(pipette),
            "fill_mol_m3": setup.fill,
            "resistance_Ohm": resistance(geometric_resistance(pipette), parameters.electrolyte, setup.fill),
        },
        "specimen": {"thickness_m": parameters.thickness, "area_m2": parameters.area, "capacity_C": capacity},
        "set": {"name": leaves.name, "leaves": stored_leaves},
        "calibration": _calibration(experiment, loaded).record(),
    }
    potentials = cut_offs(experiment.experiment.cell)
    reversible = None
    if potentials is not None:
        with suppress(OutsideDomain):  # a cut-off beyond the open-circuit curve is not reached at rest: no SOC
            low, high = map(parameters.material.stoichiometry_at, potentials)
            reversible = capacity * (low - high)
    swelling = ExpectedSwelling(parameters, specification.potentiostat.rest_potential)
    return Prepared(rig, capacity, reversible, facts, seed, swelling)


def _calibration(experiment: LoadedExperiment, loaded: LoadedRig) -> Calibration:
    """The instruments' from the rig file, the specimen's dimensions' from the experiment file."""
    rig, specimen = loaded.rig.calibration, experiment.experiment.specimen
    instruments = {key.rpartition("_")[0]: to_si(key, value) for key, value in rig.model_dump().items()}
    of_specimen = {name: to_si(f"{name}_u_pct", getattr(specimen, f"{name}_u_pct")) for name in ("thickness", "area")}
    return Calibration(**instruments, **of_specimen)


def _refuse_unknown_grounding(loaded: LoadedRig) -> None:
    if (grounding := loaded.rig.wiring.grounding) not in GROUNDINGS:
        limit = f"must be one of {', '.join(GROUNDINGS)}: the sign of the bias depends on it"
        remedy = (
            "write common where a potentiostat holds the specimen at ground, two_electrode where the reference is the "
            "ground: docs/explanations/signs.md"
        )
        raise BadInput(loaded.problem(("wiring", "grounding"), grounding, limit, remedy))


def _refuse_twin_settings(experiment: LoadedExperiment, loaded: LoadedRig) -> None:
    """Refuse the experiment's twin settings on a rig without a twin, where they would silently have no effect."""
    if loaded.rig.world is None and "twin" in experiment.experiment.model_fields_set:
        limit = f"is for a digital twin, and {loaded.rig.title} has none"
        raise BadInput(experiment.problem(("twin",), "", limit, "delete it, or take a rig with a twin"))


def _refuse_driven_cell(experiment: LoadedExperiment, loaded: LoadedRig) -> None:
    """Refuse a cell program that drives the specimen on a two-electrode rig, which has no specimen."""
    if REFERENCE_FOLLOWS_CELL[loaded.rig.wiring.grounding]:
        return
    limit = "the rig's wiring is two_electrode: no specimen is at the potentiostat"
    problems = [
        experiment.problem(("cell", k), step.word, limit, "write open_circuit: {for_s: …}, or take a rig of three")
        for k, step in enumerate(experiment.experiment.cell)
        if any(nominal_controls(inner.step).controls_cell for inner in written_steps("cell", [step]))
    ]
    if problems:
        raise BadInput(problems)


def _stored_leaf(leaf: Leaf) -> dict[str, Any]:
    more: dict[str, Any] = {}
    match leaf.value:
        case Curve():
            value: Any = leaf.value.label
            points = b"".join(np.asarray(column, dtype="<f8").tobytes() for column in leaf.value.columns)
            more["sha256"] = hashlib.sha256(points).hexdigest()
        case tuple():
            value = dict(leaf.value)
        case float() if not math.isfinite(leaf.value):
            value = str(leaf.value)
        case _:
            value = leaf.value
    if leaf.interval is not None:
        more["interval"] = list(leaf.interval)
    return {"value": value, "unit": leaf.unit, "u": leaf.u, "status": leaf.status, "source": leaf.source, **more}
