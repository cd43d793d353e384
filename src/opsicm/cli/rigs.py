"""Rigs by name or file: the only place that says real or twin."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opsicm.core.errors import BadInput, OutsideDomain
from opsicm.experiment.controls import cut_offs
from opsicm.experiment.file import LoadedExperiment
from opsicm.experiment.model import Experiment
from opsicm.experiment.parameter_file import parameter_set
from opsicm.experiment.probe_steps import Engage, Hopping, probe_sequence
from opsicm.experiment.rig_file import LoadedRig, read_rig, rig_path
from opsicm.experiment.setup import PipetteShape
from opsicm.forecast.rig_numbers import CellNumbers, RigNumbers
from opsicm.forecast.signals import Noise
from opsicm.instruments.roles import CellControl, Rig
from opsicm.instruments.wiring import GROUNDINGS
from opsicm.physics.cell.cell import Cell, Terms
from opsicm.physics.cell.parameters import CellParameters
from opsicm.physics.parameters import Curve, Leaf, ParameterSet
from opsicm.physics.pipette.geometry import Pipette, geometric_resistance
from opsicm.physics.pipette.ion_current import junction_potential
from opsicm.physics.pipette.tip_field import approach_curve, distance_98
from opsicm.record.run_folder import RIG
from opsicm.twin.build import build_rig, initial_potential, numbers_of
from opsicm.twin.history import live_through
from opsicm.twin.potentiostat import TWO_ELECTRODE


@dataclass(frozen=True, slots=True)
class Prepared:
    """A rig that is ready, and what the run should know of it.

    `capacity` [C] between x = 0 and 1, `reversible` [C] between the program's cut-offs at rest (None without two),
    stated parameters, seed; `provenance` is what the header says of a rig that is a stored run.
    """

    rig: Rig
    capacity: float
    reversible: float | None
    parameters: Mapping[str, Any]
    seed: int
    provenance: Mapping[str, str | int] = field(default_factory=dict)


def load_rig(experiment: LoadedExperiment, override: str | None) -> LoadedRig:
    """The rig file that the experiment names, or `override`: a preset, a file, or a run folder, which holds its own."""
    if override is not None and Path(override).is_dir():
        stored, own = Path(override) / RIG, experiment.rig_path()
        # The same text in its own place: there it finds the files that it names.
        same = stored.is_file() and own.is_file() and stored.read_bytes() == own.read_bytes()
        return read_rig(own if same else stored)
    return read_rig(rig_path(override) if override is not None else experiment.rig_path())


def seed_of(experiment: Experiment, loaded: LoadedRig, override: int | None) -> int:
    """The command line's seed, else the experiment's if it names one, else the rig's."""
    if override is not None:
        return override
    if "seed" in experiment.twin.model_fields_set or loaded.rig.world is None:
        return experiment.twin.seed
    return loaded.rig.world.seed


def specimen_parameters(loaded: LoadedExperiment, rig: LoadedRig) -> ParameterSet:
    """The experiment's parameter set, else the twin's, with what the experiment says of specimen and electrolyte."""
    experiment = loaded.experiment
    file: LoadedExperiment | LoadedRig = rig
    if "parameters" in experiment.specimen.model_fields_set or rig.rig.world is None:
        file, where, name = loaded, ("specimen", "parameters"), experiment.specimen.parameters
    else:
        where, name = ("world", "parameters"), rig.rig.world.parameters
    base = _named_set(file, where, name)
    said = experiment.specimen.model_fields_set
    specimen = experiment.specimen
    changes = {
        name: value
        for key, name, value in (
            ("area_cm2", "area", specimen.area),
            ("thickness_um", "thickness", specimen.thickness),
            ("loading_mg_cm2", "loading", specimen.loading),
        )
        if key in said
    }
    if "salt_M" in experiment.electrolyte.model_fields_set:
        changes["concentration"] = experiment.electrolyte.salt
    chosen = base.with_leaves(changes, source="experiment file")
    p = chosen.values
    if p.material.swelling is not None or p.swelling_factor == 0.0:
        return chosen
    for path, step in probe_sequence(experiment.probe):
        if isinstance(step, Hopping | Engage):
            limit = f"does not state how {p.material.name} swells, and {path} finds the height of its surface"
            remedy = (
                "add swelling: {table: FILE.csv, columns: [stoichiometry, volume_change], …} to the set, or leave "
                "swelling out of the run with swelling_factor: {value: 0, …}"
            )
            raise BadInput(file.problem(where, name, limit, remedy))
    return chosen.with_leaves({"swelling_factor": 0.0}, source="no swelling curve, and no step finds a height")


def _named_set(loaded: LoadedExperiment | LoadedRig, where: tuple[str, ...], name: str) -> ParameterSet:
    try:
        return parameter_set(name, Path(loaded.document.name).parent)
    except BadInput as error:
        if error.problems[0].file is not None:  # what is wrong stands in the set's own file
            raise
        raise BadInput(loaded.problem(where, name, p.limit, p.remedy) for p in error.problems) from None


def pipette_of(experiment: Experiment, rig: LoadedRig) -> Pipette:
    """The pipette in SI: what the experiment says of its shape, else what the rig file says, else the defaults."""
    said, on_rig = experiment.pipette, rig.rig.pipette

    def shape(key: str) -> PipetteShape:
        return on_rig if on_rig is not None and key not in said.model_fields_set else said

    return Pipette(
        shape("radius_nm").radius, shape("wall").wall, shape("cone_deg").cone_angle, shape("length_um").length
    )


def rig_numbers(experiment: LoadedExperiment, loaded: LoadedRig) -> RigNumbers:
    """What `check` needs of a rig: of a twin, the numbers it will run with."""
    _refuse_real(loaded)
    _refuse_unwired(loaded)
    _refuse_driven(experiment, loaded)
    pipette = pipette_of(experiment.experiment, loaded)
    parameters = specimen_parameters(experiment, loaded).values
    fill = experiment.experiment.pipette.fill(parameters.electrolyte.concentration)
    twin = numbers_of(loaded, parameters, pipette, fill)
    return RigNumbers(
        timing=twin.timing,
        current_noise=twin.current_noise,
        filter_Hz=twin.filter_Hz,
        # The twin's amplifier averages a thousand samples; its low-pass makes neighbours alike.
        reading_noise=Noise.filtered(twin.current_noise, twin.filter_Hz, twin.timing.dt_ns * 1e-9).of_mean(1000.0),
        height_noise=twin.height_noise,
        lag=twin.lag,
        command_range=twin.command_range,
        current_range=min(twin.current_range, twin.timing.overload),
        z_reach=twin.z_reach,
        xy_reach=twin.xy_reach,
        start_height=twin.start_height,
        resistance=twin.resistance,
        geometric_resistance=geometric_resistance(pipette),
        curve=approach_curve(pipette),
        channels=sum(policy == "full" for policy in experiment.experiment.record.model_dump().values()),
        channels_kept=sum(policy != "off" for policy in experiment.experiment.record.model_dump().values()),
        grounding=loaded.rig.wiring.grounding,
        junction=_junction(parameters, loaded),
        cell=CellNumbers(parameters, _terms(experiment.experiment), initial_potential(loaded)),
    )


def _junction(parameters: CellParameters, loaded: LoadedRig) -> float:
    """U [V] of the reversal potential U ln(c_in/c_ref) between two of the rig's electrodes."""
    e = parameters.electrolyte
    return float(junction_potential(math.e, 1.0, e.temperature, e.transference, e.tdf, loaded.rig.wiring.electrodes))


def _terms(experiment: Experiment) -> Terms:
    said = experiment.twin.terms
    return Terms(ohmic=said.ohmic, salt=said.salt, convection=said.convection)


def prepare(
    experiment: LoadedExperiment,
    loaded: LoadedRig,
    seed: int,
    on_advance: Callable[[int], None],
    history: Sequence[Sequence[tuple[int, CellControl]]] = (),
) -> Prepared:
    """The rig for an experiment. A rig whose drivers are not `twin` is refused: this version drives none yet.

    `history` is what runs before this one did to the specimen, as (nanosecond, control): a twin's lives through it.
    """
    _refuse_real(loaded)
    _refuse_unwired(loaded)
    _refuse_driven(experiment, loaded)
    pipette = pipette_of(experiment.experiment, loaded)
    leaves = specimen_parameters(experiment, loaded)
    parameters = leaves.values
    cell = Cell(parameters, initial_potential=initial_potential(loaded), terms=_terms(experiment.experiment))
    for done in history:
        live_through(cell, done)
    fill = experiment.experiment.pipette.fill(parameters.electrolyte.concentration)
    kept = {name for name, policy in experiment.experiment.record.model_dump().items() if policy != "off"}
    twin = experiment.experiment.twin
    rig = build_rig(loaded, cell, pipette, fill, seed, on_advance, kept, twin.faults, twin.specimen_seed)
    stated = {name: _stated(leaf) for name, leaf in leaves.leaves.items()}
    facts = {
        "pipette": {
            "radius_m": pipette.radius,
            "wall": pipette.wall,
            "cone_angle_rad": pipette.cone_angle,
            "length_m": pipette.length,
            "bias_V": experiment.experiment.pipette.bias,
            "distance_98_m": distance_98(pipette),
            "fill_mol_m3": fill,
            "resistance_Ohm": numbers_of(loaded, parameters, pipette, fill).resistance,
        },
        "specimen": {"thickness_m": parameters.thickness, "area_m2": parameters.area, "capacity_C": cell.capacity},
        "set": {"name": leaves.name, "leaves": stated},
    }
    turns = cut_offs(experiment.experiment.cell)
    reversible = None
    if turns is not None:
        with suppress(OutsideDomain):  # a cut-off beyond the open-circuit curve is not reached at rest: no SOC
            low, high = map(parameters.material.stoichiometry_at, turns)
            reversible = cell.capacity * (low - high)
    return Prepared(rig, cell.capacity, reversible, facts, seed)


def _refuse_unwired(loaded: LoadedRig) -> None:
    """What a rig file may say and this version would pass over: refused, for a sign passed over is a wrong number."""
    problems = []
    if loaded.rig.wiring.grounding not in GROUNDINGS:
        limit = f"this version knows {', '.join(GROUNDINGS)} grounds only: the sign of the bias depends on it"
        problems.append(loaded.problem(("wiring", "grounding"), loaded.rig.wiring.grounding, limit, "write common"))
    for k, channel in enumerate(loaded.rig.channels):
        for key, usual in (("gain", 1.0), ("offset", 0.0), ("sign", 1)):
            if (value := getattr(channel, key)) != usual:
                limit = f"a twin's channels come in SI as they are; {key} is {usual:g}"
                problems.append(loaded.problem(("channels", k, key), value, limit, "leave it out"))
    if problems:
        raise BadInput(problems)


def _refuse_driven(experiment: LoadedExperiment, loaded: LoadedRig) -> None:
    """With two electrodes nothing drives the specimen: a program that would is a mistake."""
    if loaded.rig.wiring.grounding != TWO_ELECTRODE:
        return
    limit = "the rig's wiring is two_electrode: no specimen is at the potentiostat"
    problems = [
        experiment.problem(("cell", k), step.word, limit, "write open_circuit: {for_s: …}, or take a rig of three")
        for k, step in enumerate(experiment.experiment.cell)
        if step.word not in ("open_circuit", "rest")
    ]
    if problems:
        raise BadInput(problems)


def _refuse_real(loaded: LoadedRig) -> None:
    if not loaded.rig.is_twin:
        driver = loaded.rig.roles.amplifier.driver
        limit = "this version drives the digital twin only"
        raise BadInput(loaded.problem(("roles", "amplifier", "driver"), driver, limit, "run with --rig twin/graphite"))


def _stated(leaf: Leaf) -> dict[str, Any]:
    match leaf.value:
        case Curve():
            value: Any = leaf.value.label
        case tuple():
            value = dict(leaf.value)
        case float() if not math.isfinite(leaf.value):
            value = str(leaf.value)
        case _:
            value = leaf.value
    return {"value": value, "unit": leaf.unit, "u": leaf.u, "status": leaf.status, "source": leaf.source}
