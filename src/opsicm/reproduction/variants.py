"""The declared parameters of the twin for all twelve experiments, and the variants of each."""

from __future__ import annotations

from typing import Any, Final

# The one calibrated parameter. The paper states no cone angle. 4 degrees was chosen because a hand calculation of
# the titration's step (E5) then gives the printed number; with the default of 3 degrees the step is a quarter smaller.
# It is used in every experiment, and no other parameter was chosen by a result of the paper. The step is proportional
# to 1/R_geo of the pipette and depends neither on conductivity nor on bias.
CALIBRATED: Final[dict[str, Any]] = {"pipette.cone_deg": 4.0}

# The same set with the other conductivity: the default's maximum near 1 M contradicts the linear calibration of E1.
PROPORTIONAL: Final[dict[str, Any]] = {"specimen.parameters": "graphite-li-ec-dec-proportional"}

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
# plate. E9 hops over another typical plate each time.
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
KAPPA_PROPORTIONAL: Final = "kappa proportional"
VARIANTS: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "E1": {KAPPA_PROPORTIONAL: PROPORTIONAL},
    "E2": {KAPPA_PROPORTIONAL: PROPORTIONAL, **SWITCHED_OFF},
    "E4": SWITCHED_OFF,
    "E5": {KAPPA_PROPORTIONAL: PROPORTIONAL, **SWITCHED_OFF},
    "E6": {STRIP: _STRIP},
    "E9": {IR_COMPENSATED: {}},
    "E11": SWITCHED_OFF,
}
LONG_ONLY: Final = {("E6", STRIP), ("E9", IR_COMPENSATED)}
# In the short form these variants show one signal, not what the experiment varies: the first of its values is enough.
FIRST_VALUE_ONLY: Final = {("E2", KAPPA_PROPORTIONAL), *((e, term) for e in VARIANTS for term in SWITCHED_OFF)}
LONGEST: Final = ("E9", "E6", "E7", "E11", "E10")  # by duration of their runs, longest first
REPEATS: Final = {"E9": 3, "E10": 3}  # the paper's n
