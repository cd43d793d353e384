"""Which calibrations act on which result, and the uncertainty that they give it.

A height is as good as z, an expansion as z and the thickness; a share of charges, a roughness' skewness or the error of
a height caused by a drifting current are ratios in which the instrument's factor cancels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from opsicm.analysis.result import Result
from opsicm.core.calibration import Calibration
from opsicm.core.units import factor

_POTENTIAL: Final = ("potential",)  # an offset; every other calibration is a factor
_Z, _XY, _CURRENT, _CELL = ("z",), ("xy",), ("current",), ("cell_current",)
_NONE: Final[tuple[str, ...]] = ()

CALIBRATIONS: Final[Mapping[str, tuple[str, ...]]] = {
    # heights
    "height_change": _Z,
    "height_change_over_pixels": _Z,
    "height_left_over_pixels": _Z,
    "kymograph_largest_change": _Z,
    "height_scatter": _Z,
    "height_drift": _Z,
    "height_at_stop": _Z,
    "step_height": _Z,
    "flake_height_change": _Z,
    "flake_height_change_spread": _Z,
    **{name: _Z for name in ("Sq", "Rq", "Sa", "Sz")},
    "gradient_extent": _Z,
    # heights over the thickness of the specimen
    **{name: ("z", "thickness") for name in ("expansion", "expansion_first_half", "expansion_second_half")},
    # lengths in the plane
    "shift_x": _XY,
    "shift_y": _XY,
    "step_edge_rise": _XY,
    # the pipette's current
    **{
        name: _CURRENT
        for name in (
            "near_surface_difference",
            "near_surface_geometry_alone",
            "pipette_change_at_peak",
            "pipette_change_over_rests",
            "pipette_slope",
            "pipette_step_ohmic",
            "pipette_step_diffusive",
            "near_less_far_current",
            "current_offset",
            "current_at_bias",
            "hysteresis",
            "pipette_resistance",
            "conductance",
            "conductance_change",
            "reference_current",
            "pipette_current",
            "current_noise",
            "calibration_slope",
            "calibration_largest_residual",
        )
    },
    # the cell's current and its integral
    **{name: _CELL for name in ("peak_current", "charge", "sweep_charge", "charge_hold", "capacity")},
    # potentials against the reference
    **{name: _POTENTIAL for name in ("peak_potential", "relaxed_potential", "dq_dv_highest", "intercept_potential")},
    # counts, times, and ratios in which the instrument's factor cancels
    **{
        name: _NONE
        for name in (
            "hops",
            "samples",
            "plausibility",
            "reference_jump",
            "reference_jump_time",
            "reference_drift",
            "resistance_jump",
            "current_jump",
            "current_jump_time",
            "current_drift",
            "overshoot_time",
            "setpoint",
            "hop_period",
            "line_period",
            "overshoot",
            "tower_ways",
            "flakes",
            "cycles",
            "sweeps",
            "scan_rate",  # the slope of a potential: its offset cancels
            "intercept_potential_change",
            "bias_residual",  # what the tracking missed, by the same potentiostat
            "ten_hop_bulk_change",
            "height_cross_talk",  # a relative drift over the slope of ln I: neither current nor z
            "Ssk",
            "Sku",
            "irreversible_area",
            "irreversible_share",
            "soc_at_end",
            "stage_end",
            "transition_from_height",
            "transition_from_potential",
            "diffusivity",  # ratio of potential changes, times a stated radius squared
            "rectification",
            "concentration",  # from the ratio to the current far away
            "concentration_change",
            "concentration_sensitivity",
            "concentration_in_the_middle",
            "calibration_curvature_over_u",
        )
    },
}


def calibrated(results: Iterable[Result], calibration: Calibration) -> list[Result]:
    """The results with `u_calibration` and the names of what acts on each; those of an unknown quantity as they are.

    u = |value| · sqrt(sum of the squared relative u's), and for a potential the offset's u itself. Assumes independent
    calibrations, each a factor common to all of the value. Fails for sums of kinds: none of these is one.
    """
    return [_calibrated(result, calibration) for result in results]


def _calibrated(result: Result, calibration: Calibration) -> Result:
    names = CALIBRATIONS.get(result.name)
    if names is None:
        return result
    if result.value is None or not names:
        return replace(result, calibrations=names)
    if names == _POTENTIAL:
        u = calibration.potential / factor(result.unit)
    else:
        u = abs(result.value) * calibration.relative(names)
    return replace(result, u_calibration=u, calibrations=names)
