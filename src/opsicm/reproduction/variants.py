"""The declared parameters of the twin for all twelve experiments: three sets, and the variants of each experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from opsicm.core.errors import BadInput, Problem
from opsicm.experiment.parameter_file import DEFAULT_SET, parameter_set
from opsicm.reproduction.paper import Kind, Row

# The one calibrated parameter of every set. The paper states no cone angle. 4 degrees was chosen because a hand
# calculation of the titration's step (E5) then gives the printed number; with the default of 3 degrees the step is a
# quarter smaller. The step is proportional to 1/R_geo of the pipette and depends neither on conductivity nor on bias.
CALIBRATED: Final[Mapping[str, Any]] = MappingProxyType({"pipette.cone_deg": 4.0})
_BY_THE_CONE: Final = frozenset({"E5.step"})
_BY_THE_LINE: Final = frozenset({"E1.linearity", "E1.linearity_low", "E1.slope", "E1.slope_low"})


@dataclass(frozen=True, slots=True)
class DeclaredSet:
    """A parameter set under which the experiments run, with what belongs to it and to no cell.

    `name` of the set, or the path of its file; `label` for the head of a column. `compensation_pct` of the ohmic drop
    in every step that controls a potential and states none itself. `calibrated` names the rows that chose something in
    it: they are no predictions of this set. `changes` are further values at paths into every experiment.
    """

    name: str
    label: str
    compensation_pct: float = 0.0
    calibrated: frozenset[str] = _BY_THE_CONE
    changes: Mapping[str, Any] = field(default_factory=dict)

    def kind_of(self, row: Row) -> Kind:
        """The kind of a row under this set: what the table declares, unless the row chose something in the set.

        Only a prediction can become a calibration: a row that repeats another would count the same number twice.
        """
        return "calibrated" if row.id in self.calibrated and row.kind == "predicted" else row.kind

    @property
    def conductivity(self) -> float:
        """Conductivity of its electrolyte at rest [S/m]: all that a pipette with one liquid on both sides feels."""
        electrolyte = parameter_set(self.name).values.electrolyte
        return float(electrolyte.conductivity(electrolyte.concentration))


DEFAULT: Final = DeclaredSet(DEFAULT_SET, "default")
PROPORTIONAL: Final = DeclaredSet(
    "graphite-li-ec-dec-proportional",
    "κ ∝ c",
    # The set is there because a line through E1's points implies it.
    calibrated=_BY_THE_CONE | _BY_THE_LINE,
)
TAKAHASHI: Final = DeclaredSet(
    "graphite-li-ec-dec-takahashi",
    "calibrated",
    # Fixed by the ratio of E9's halves: x = 0.56 at the turn. 66 % of 65.5 Ω cm² leave 22, as a nearer reference would.
    compensation_pct=66.0,
    # E9's halves are two numbers: their ratio chose the compensation, their size the swelling factor, so that the total
    # predicts nothing at any compensation. The maximum of the conductivity lies where E1's line, E5's flat rests and
    # E11's last reversal go together. E11.C took part by another reading of its length: no success of this set, which
    # misses it as declared, and no prediction either. The first reversal chose nothing.
    calibrated=_BY_THE_CONE
    | _BY_THE_LINE
    | {"E5.rest", "E11.C", "E11.reversal_last"}
    | {"E9.ratio", "E9.stage_2", "E9.stage_1", "E9.total", "E9.total_compensated"},
)
SETS: Final = (DEFAULT, TAKAHASHI, PROPORTIONAL)
"""The default first: its column is the one that `--json` has at the top of a record."""


def declared_sets(names: Sequence[str]) -> tuple[DeclaredSet, ...]:
    """The sets that `--set` names, all three without it; another set, or a YAML file, with the declared cone.

    Raises `BadInput` for a name that is no set, and for a file that is none.
    """
    if not names:
        return SETS
    known = {one.name: one for one in SETS}
    chosen: dict[str, DeclaredSet] = {}
    for name in names:
        parameter_set(name)
        path = str(Path(name).resolve()) if name.endswith((".yaml", ".yml")) else name
        if path in chosen:
            raise BadInput(Problem("--set", name, "is named twice", "name each set once"))
        chosen[path] = known.get(path, DeclaredSet(path, Path(name).stem))
    return tuple(chosen.values())


SWITCHED_OFF: Final[dict[str, dict[str, Any]]] = {
    f"{term} off": {f"twin.terms.{term}": False} for term in ("ohmic", "salt", "convection")
}

# The paper states a three-electrode cell and no compensation, and so do the experiment files. How far a slow sweep
# lithiates the electrode depends on it, so E9 is shown with it too (long form; the short form always has it).
# 85 % is the usual default of potentiostats and leaves the pipette a quarter of its current at worst;
# at 95 % the cell current cancels its bias (decision 0109).
COMPENSATION_PCT: Final = 85.0
IR_COMPENSATED: Final = "iR compensated"

# Raw samples are kept where a row or a figure needs them, which for E9 is nowhere. All of E6's would be 15 GB: its
# section comes from a strip of four lines at every potential.
WITHOUT_RAW: Final[dict[str, dict[str, Any]]] = {"E9": {"record.pipette_current": "decimated", "record.z": "decimated"}}
# Repeats of E10 hop over the same line of the same specimen: on another specimen this line may meet the wall of a
# plate. Those of E9 are at three places: each seed lays other plates, and what lies under the origin is another one.
ONE_SPECIMEN: Final[dict[str, dict[str, Any]]] = {"E10": {"twin.specimen_seed": 1}}
STRIP: Final = "strip with raw samples"
_STRIP: Final[dict[str, Any]] = {
    "probe[0].raster.pixels": [128, 4],
    "probe[0].raster.size_um": [20, 0.625],
    **{f"cell[{k}].ladder.hold_s": 120 for k in (0, 1)},
    "record.pipette_current": "full",
    "record.z": "full",
}

AS_DECLARED: Final = "as declared"
# Of the first set only: they explain its numbers. The columns beside it have the experiments as declared.
VARIANTS: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "E2": SWITCHED_OFF,
    "E4": SWITCHED_OFF,
    "E5": SWITCHED_OFF,
    "E6": {STRIP: _STRIP},
    "E9": {IR_COMPENSATED: {}},
    "E11": SWITCHED_OFF,
}
LONG_ONLY: Final = {("E6", STRIP), ("E9", IR_COMPENSATED)}
# In the short form these variants show one signal, not what the experiment varies: the first of its values is enough.
FIRST_VALUE_ONLY: Final = {(e, term) for e in VARIANTS for term in SWITCHED_OFF}
# HOPG is no graphite of a set's. Pipettes with the same liquid on both sides feel its conductivity and nothing else.
WITHOUT_SPECIMEN: Final = ("E8",)
ONE_LIQUID: Final = ("E12",)
LONGEST: Final = ("E9", "E6", "E7", "E11", "E10")  # by duration of their runs, longest first
REPEATS: Final = {"E9": 3, "E10": 3}  # the paper's n
# What an experiment varies to repeat itself, and the value that is enough where repeats are not: the middle one.
REPEATED_BY: Final = {"E1": "pipette.radius_nm"}
