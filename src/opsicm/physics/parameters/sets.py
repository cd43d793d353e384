"""The named sets, and how a set of leaves becomes the numbers a cell computes with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Final

import numpy as np

from opsicm.core.errors import OutsideDomain, Problem
from opsicm.core.units import si_unit
from opsicm.physics.cell import electrolyte as solution
from opsicm.physics.cell.parameters import CellParameters
from opsicm.physics.materials.graphite import measured_ocp, ocp_curve
from opsicm.physics.materials.msmr import graphite_msmr
from opsicm.physics.parameters import values
from opsicm.physics.parameters.leaf import Curve, Leaf

DEFAULT_SET: Final = "graphite-li-ec-dec"
MSMR: Final = "msmr-verbrugge-2017"
_BASE: Final = {**values.GRAPHITE, **values.ELECTROLYTE, **values.VESSEL, **values.FILM, **values.TAKAHASHI_2023}
_SETS: Final[dict[str, tuple[str, Mapping[str, Leaf]]]] = {
    DEFAULT_SET: ("graphite on copper against Li, LiClO4 in EC:DEC; κ(c) with a maximum; 28 µm read as right", _BASE),
    "graphite-li-ec-dec-proportional": (
        "the same with κ ∝ c, as the paper's linear calibration implies",
        {**_BASE, **values.PROPORTIONAL_CONDUCTIVITY},
    ),
    "graphite-li-ec-dec-printed-loading": (
        "the same with the printed 10.2 mg/cm²",
        {**_BASE, **values.PRINTED_LOADING},
    ),
}
_WORDS: Final = {"facing": {"up": 1.0, "down": -1.0}, "counter": {"above": 1.0, "side": 0.0}}


def _problem(thing: str, value: str, limit: str, remedy: str) -> OutsideDomain:
    return OutsideDomain(Problem(thing, value, limit, remedy))


@dataclass(frozen=True)
class ParameterSet:
    """A name, what it stands for, and its leaves; `values` checks them and builds the cell's numbers."""

    name: str
    title: str
    leaves: Mapping[str, Leaf]

    def with_leaves(
        self, changes: Mapping[str, float | str | Curve | Leaf], *, source: str = "the user"
    ) -> ParameterSet:
        """This set with some leaves changed: a `Leaf` as it is, a bare number in SI. Unknown names are refused."""
        unknown = [name for name in changes if name not in self.leaves]
        if unknown:
            known = ", ".join(sorted(self.leaves))
            raise _problem("parameter", ", ".join(map(repr, unknown)), f"known names: {known}", "correct the name")
        leaves = dict(self.leaves)
        for name, change in changes.items():
            if isinstance(change, Leaf):
                leaves[name] = change
                continue
            unit = self.leaves[name].unit
            if isinstance(change, Curve):
                unit = "curve"
            elif isinstance(change, str):
                unit = "word"
            elif isinstance(self.leaves[name].value, float):
                unit = si_unit(unit)
            value = change if isinstance(change, str | Curve) else float(change)
            leaves[name] = Leaf(value, unit, None, "assumed", source)
        return replace(self, leaves=MappingProxyType(leaves))

    @property
    def values(self) -> CellParameters:
        """The numbers in SI, refused with everything that is wrong with them."""
        scalars: dict[str, float] = {}
        for name, leaf in self.leaves.items():
            if name in _WORDS:
                scalars[name] = self._word(name, _WORDS[name])
            elif isinstance(leaf.value, float):
                scalars[name] = leaf.si
        scalars["counter_above"] = scalars.pop("counter")
        wanted = {field.name for field in fields(CellParameters)} - {"electrolyte", "ocp"}
        return CellParameters(
            electrolyte=self._electrolyte(scalars), ocp=self._ocp(), **{name: scalars[name] for name in wanted}
        )

    def _word(self, name: str, words: Mapping[str, float]) -> float:
        value = self.leaves[name].value
        if isinstance(value, str) and value in words:
            return words[value]
        raise _problem(name, repr(value), "one of " + ", ".join(words), "write one of these")

    def _electrolyte(self, scalars: Mapping[str, float]) -> solution.Electrolyte:
        curve = self.leaves["conductivity_curve"].value
        if isinstance(curve, Curve):
            kappa = solution.sampled(np.append(0.0, curve.x), np.append(0.0, curve.y))
        elif curve == "maximum":
            kappa = solution.conductivity_with_maximum(scalars["conductivity_1M"], scalars["conductivity_maximum_at"])
        elif curve == "proportional":
            kappa = solution.conductivity_proportional(scalars["conductivity_1M"])
        else:
            raise _problem("conductivity_curve", repr(curve), "maximum, proportional or a table", "write one of these")
        return solution.Electrolyte(
            kappa_table=kappa,
            diffusivity_table=solution.diffusivity_exponential(scalars["diffusivity_1M"], scalars["diffusivity_slope"]),
            transference=scalars["transference"],
            tdf=scalars["tdf"],
            concentration=scalars["concentration"],
            temperature=scalars["temperature"],
        )

    def _ocp(self) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        value = self.leaves["open_circuit_potential"].value
        if isinstance(value, Curve):
            return ocp_curve(value.x, value.y)
        if value == MSMR:
            return graphite_msmr()
        if isinstance(value, str):
            return measured_ocp(value)
        raise _problem("open_circuit_potential", repr(value), "a curve's name or a table", "give one")


def parameter_set_names() -> tuple[str, ...]:
    """The names that `parameter_set` knows, the default first."""
    return tuple(_SETS)


def parameter_set(name: str = DEFAULT_SET) -> ParameterSet:
    """The named set; an unknown name is refused with the known ones."""
    if name not in _SETS:
        raise _problem("parameter set", repr(name), "known: " + ", ".join(_SETS), "name one, or give a file")
    title, leaves = _SETS[name]
    return ParameterSet(name, title, MappingProxyType(dict(leaves)))
