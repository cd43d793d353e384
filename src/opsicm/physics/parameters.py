"""Parameter sets: every number with unit, uncertainty, status and source, and the cell that they describe.

A set is data: the sets of this package are files (`presets/parameters`), read as a user's file is. Here stands what a
set may say, in which unit, and how it becomes the numbers that a cell computes with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import OutsideDomain, Problem
from opsicm.core.units import KEY_SUFFIX, factor, si_unit, suffix_of
from opsicm.physics.cell import electrolyte as solution
from opsicm.physics.cell.parameters import CellParameters
from opsicm.physics.materials.material import TURN, Material
from opsicm.physics.materials.open_circuit import gallery_curve, ocp_curve

Floats = NDArray[np.float64]
Status = Literal["measured", "literature", "derived", "calibrated", "assumed"]
STATUSES: Final = get_args(Status)

_IN_UNIT: Final = {
    "1": (
        "active_fraction bruggeman diffusivity_slope highest_stoichiometry irreversible_factor lowest_stoichiometry "
        "open_circuit_dilute_below open_circuit_hysteresis_turn particle_radius_spread porosity swelling_factor tdf "
        "transference"
    ),
    "m": (
        "bath_depth disk_radius particle_radius reference_height reference_offset sei_formed_thickness "
        "sei_initial_thickness sei_throttle_thickness thickness vessel_radius"
    ),
    "m2": "area",
    "m2/s": "diffusivity_1M particle_diffusivity",
    "kg/m2": "loading",
    "kg/m3": "solid_density solvent_density",
    "kg/mol": "density_slope",
    "mol/m3": "concentration conductivity_maximum_at",
    "S/m": "conductivity_1M",
    "A/m2": "exchange_current_density sei_rate",
    "C/kg": "specific_capacity",
    "C/m2": "sei_charge_per_nm",
    "Ohm m2": "film_resistance sei_resistance_per_nm",
    "F/m2": "double_layer_capacitance",
    "Pa s": "viscosity",
    "K": "temperature",
    "V": "initial_potential open_circuit_hysteresis sei_potential",
    "s": "response_time",
}
UNITS: Final = {name: unit for unit, names in _IN_UNIT.items() for name in names.split()}
"""SI unit of every number that a set may state."""
_WORDS: Final[dict[str, dict[str, float]]] = {
    "facing": {"up": 1.0, "down": -1.0},
    "counter": {"above": 1.0, "side": 0.0},
    "disk_radius": {"slab": np.inf},
    "vessel_radius": {"open": np.inf},
}
_CURVES: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "open_circuit_potential": (("stoichiometry", "potential_V"), ("standard_potential_V", "share", "width")),
    "swelling": (("stoichiometry", "volume_change"),),
    "conductivity_curve": (("concentration_M", "conductivity_mS_cm"),),
}
"""Columns of each curve, or others of the same kind; an open-circuit potential is a measured curve or galleries."""
_TEXTS: Final = ("material", "formula", "conductivity_curve")
_RANGE: Final = ("lowest_stoichiometry", "highest_stoichiometry")
_HYSTERESIS: Final = ("open_circuit_hysteresis", "open_circuit_hysteresis_turn")
_DILUTE: Final = "open_circuit_dilute_below"
_OF_ITS_CURVE: Final = ("swelling", "stages", _DILUTE, *_HYSTERESIS)
_OPTIONAL_OF_THE_MATERIAL: Final = ("formula", *_OF_ITS_CURVE, *_RANGE)
_BESIDE_THE_AXIS: Final = ("reference_offset", "vessel_radius")
_OPTIONAL: Final = (*_OPTIONAL_OF_THE_MATERIAL, "particle_radius_spread", *_BESIDE_THE_AXIS)
_OF_THE_MATERIAL: Final = (*_OPTIONAL_OF_THE_MATERIAL, "open_circuit_potential", "solid_density", "specific_capacity")
NAMES: Final = frozenset({*UNITS, *_WORDS, *_CURVES, *_TEXTS, "stages"})


@dataclass(frozen=True)
class Curve:
    """A table in SI, its first column rising; `label` names it in listings; `units` of the columns where known."""

    label: str
    columns: tuple[Sequence[float] | Floats, ...]
    units: tuple[str, ...] = ()


Stages = tuple[tuple[str, float], ...]
Value = float | str | Curve | Stages


@dataclass(frozen=True)
class Leaf:
    """`value` in `unit` with standard uncertainty `u` (same unit; None: nobody has stated one).

    `interval` instead of `u`: the lowest and the highest value [same unit] to which it is varied, where sources
    differ and none is better. A number chosen because a result of the paper then comes out is *calibrated*, and its
    source names the result. A word (`"up"`), a `Curve` or stages have the unit `"word"`, `"curve"` or `"stages"` and no
    uncertainty.
    """

    value: Value
    unit: str
    u: float | None
    status: Status
    source: str
    interval: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise OutsideDomain(Problem("status", repr(self.status), ", ".join(STATUSES), "write one of these"))
        if not self.source:
            raise OutsideDomain(Problem("source", "empty", "every number says where it comes from", "name the source"))
        if isinstance(self.value, float):
            factor(self.unit)
        if self.interval is not None:
            low, high = self.interval
            inside = isinstance(self.value, float) and low < high and low <= self.value <= high
            if not inside or self.u is not None:
                value = f"[{low:g}, {high:g}] beside {self.value!r}"
                limit = "an interval stands in place of u, its lower end first, and holds the value"
                raise OutsideDomain(Problem("interval", value, limit, "correct its ends, or give u instead"))

    @property
    def range_si(self) -> tuple[float, float] | None:
        """The ends of its interval, or value ± u, in SI; None for a word or curve, and where neither is stated."""
        if not isinstance(self.value, float):
            return None
        if self.interval is not None:
            return self.interval[0] * factor(self.unit), self.interval[1] * factor(self.unit)
        if not self.u:
            return None
        return (self.value - self.u) * factor(self.unit), (self.value + self.u) * factor(self.unit)

    @property
    def si(self) -> float:
        """The value in SI; raises for a word or a curve."""
        if not isinstance(self.value, float):
            raise OutsideDomain(Problem("leaf", repr(self.value), "a number is needed here", "give a number"))
        return self.value * factor(self.unit)

    @property
    def si_unit(self) -> str:
        """The unit of `si`."""
        return si_unit(self.unit) if isinstance(self.value, float) else self.unit


def problem_with(name: str, leaf: Leaf) -> Problem | None:
    """What is wrong with `leaf` under this name: no such parameter, another kind of value, a unit of another kind."""
    if name not in NAMES:
        near = get_close_matches(name, NAMES, 1)
        remedy = f"did you mean {near[0]}?" if near else "opsicm parameters show lists the names"
        return Problem(name, "", "is no parameter of a set", remedy)
    match leaf.value:
        case float():
            fits = UNITS.get(name) == leaf.si_unit
        case str():
            fits = name in _TEXTS or leaf.value in _WORDS.get(name, ())
        case Curve():
            known = [tuple(map(_unit_of, columns)) for columns in _CURVES.get(name, ())]
            fits = leaf.value.units in known or (bool(known) and not leaf.value.units)
        case _:
            fits = name == "stages"
    if fits:
        return None
    value = leaf.si_unit if isinstance(leaf.value, float) else repr(leaf.value)
    if isinstance(leaf.value, Curve):
        value = f"a table in [{', '.join(leaf.value.units)}]"
    return Problem(name, value, "must be " + ", or ".join(_kinds(name)), "write it so")


def _unit_of(column: str) -> str:
    """The SI unit of a column, from the end of its name."""
    suffix = suffix_of(column)
    return si_unit(KEY_SUFFIX[suffix]) if suffix else "1"


def _kinds(name: str) -> Iterator[str]:
    if name in UNITS:
        yield f"in units of {UNITS[name]}"
    if name in _WORDS:
        yield "one of " + ", ".join(_WORDS[name])
    if name in _TEXTS:
        yield "one of maximum, proportional" if name == "conductivity_curve" else "a name"
    for columns in _CURVES.get(name, ()):
        yield f"a table with columns [{', '.join(columns)}]"
    if name == "stages":
        yield "names of stages, each with its stoichiometry"


def not_inherited(parent: Mapping[str, Leaf], own: Mapping[str, Leaf]) -> frozenset[str]:
    """The names that a set which states `own` does not take over from `parent`.

    Another material than the parent's inherits nothing of what belongs to the material. An open-circuit table without a
    `material` may be another material's: it inherits no curve over the same x. Else a set that changes the potential
    alone would swell like graphite, a wrong number that looks right. Where a table's dilute end begins belongs to that
    table, whatever it is of.
    """
    of_the_table = frozenset({_DILUTE} if "open_circuit_potential" in own else ())
    if "material" in own:
        same = "material" not in parent or parent["material"].value == own["material"].value
        return of_the_table if same else frozenset(_OF_THE_MATERIAL)
    return frozenset(_OF_ITS_CURVE) if of_the_table else frozenset()


@dataclass(frozen=True)
class ParameterSet:
    """A name, what it stands for, and its leaves; `values` checks them and builds the cell's numbers."""

    name: str
    title: str
    leaves: Mapping[str, Leaf]

    def with_leaves(self, changes: Mapping[str, Value | Leaf], *, source: str = "the user") -> ParameterSet:
        """This set with some leaves changed: a `Leaf` as it is, a bare number in SI. Unknown names are refused."""
        own = {
            name: change if isinstance(change, Leaf) else _assumed(name, change, source)
            for name, change in changes.items()
        }
        if problems := [problem for name, leaf in own.items() if (problem := problem_with(name, leaf))]:
            raise OutsideDomain(problems)
        dropped = not_inherited(self.leaves, own)
        kept = {name: leaf for name, leaf in self.leaves.items() if name not in dropped}
        return replace(self, leaves=MappingProxyType({**kept, **own}))

    @property
    def values(self) -> CellParameters:
        """The numbers in SI, refused with everything that is wrong with them."""
        missing = sorted(NAMES - set(_OPTIONAL) - set(self.leaves))
        if missing:
            limit, remedy = f"{self.name} does not state it", "add it, or name a parent that has it"
            if not {"material", *_OF_THE_MATERIAL}.isdisjoint(missing):
                remedy += "; another material inherits nothing of its parent's material"
            raise OutsideDomain(Problem(name, "", limit, remedy) for name in missing)
        scalars = {
            name: leaf.si if isinstance(leaf.value, float) else _WORDS[name][str(leaf.value)]
            for name, leaf in self.leaves.items()
            if isinstance(leaf.value, float) or name in _WORDS
        }
        scalars["counter_above"] = scalars.pop("counter")
        # What sets that were kept before these leaves existed have meant.
        scalars = {"particle_radius_spread": 0.0, "reference_offset": 0.0, "vessel_radius": np.inf} | scalars
        wanted = {field.name for field in fields(CellParameters)} - {"electrolyte", "material"}
        return CellParameters(
            electrolyte=self._electrolyte(scalars),
            material=self._material(scalars),
            **{name: scalars[name] for name in wanted},
        )

    def _electrolyte(self, scalars: Mapping[str, float]) -> solution.Electrolyte:
        curve = self.leaves["conductivity_curve"].value
        if isinstance(curve, Curve):
            concentration, measured = map(np.asarray, curve.columns)
            if concentration[0] > 0.0:
                concentration, measured = np.append(0.0, concentration), np.append(0.0, measured)
            kappa = solution.sampled(concentration, measured)
        elif curve == "maximum":
            kappa = solution.conductivity_with_maximum(scalars["conductivity_1M"], scalars["conductivity_maximum_at"])
        elif curve == "proportional":
            kappa = solution.conductivity_proportional(scalars["conductivity_1M"])
        else:
            limit = "maximum, proportional or a table"
            raise OutsideDomain(Problem("conductivity_curve", repr(curve), limit, "write one of these"))
        return solution.Electrolyte(
            kappa_table=kappa,
            diffusivity_table=solution.diffusivity_exponential(scalars["diffusivity_1M"], scalars["diffusivity_slope"]),
            transference=scalars["transference"],
            tdf=scalars["tdf"],
            concentration=scalars["concentration"],
            temperature=scalars["temperature"],
        )

    def _material(self, scalars: Mapping[str, float]) -> Material:
        optional = {name: leaf.value for name, leaf in self.leaves.items() if name in _OPTIONAL}
        swelling, stages = optional.get("swelling"), optional.get("stages", ())
        potential = self.leaves["open_circuit_potential"].value
        assert isinstance(potential, Curve)
        assert isinstance(stages, tuple)
        return Material(
            name=str(self.leaves["material"].value),
            formula=str(optional.get("formula", "")),
            ocp=_open_circuit_rows(potential, scalars.get(_DILUTE, 0.0)),
            swelling=np.column_stack(swelling.columns) if isinstance(swelling, Curve) else None,
            stages=stages,
            density=scalars["solid_density"],
            specific_capacity=scalars["specific_capacity"],
            stoichiometry_range=(scalars.get("lowest_stoichiometry", 0.0), scalars.get("highest_stoichiometry", 1.0)),
            hysteresis=scalars.get("open_circuit_hysteresis", 0.0),
            hysteresis_turn=scalars.get("open_circuit_hysteresis_turn", TURN),
        )


def _open_circuit_rows(curve: Curve, dilute_below: float) -> Floats:
    if len(curve.columns) == 2:
        return ocp_curve(*curve.columns, dilute_below)
    if dilute_below > 0.0:
        limit = "galleries are smooth down to x = 0; only a measured table has a dilute end to replace"
        raise OutsideDomain(Problem(_DILUTE, f"{dilute_below:g}", limit, "leave it out, or write 0"))
    return gallery_curve(np.column_stack(curve.columns))


def _assumed(name: str, value: Value, source: str) -> Leaf:
    match value:
        case str():
            unit = "word"
        case Curve():
            unit = "curve"
        case tuple():
            unit = "stages"
        case _:
            unit, value = UNITS.get(name, "1"), float(value)
    return Leaf(value, unit, None, "assumed", source)
