"""A twin's settings: what its rig file may say, in which unit, and what holds when it says nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from opsicm.core.errors import BadInput, Problem
from opsicm.core.units import factor, suffix_of, to_si
from opsicm.experiment.rig_file import LoadedRig

DEFAULTS: Final[dict[str, dict[str, float]]] = {
    "roles.amplifier.settings": {
        "range_nA": 10.0,
        "filter_kHz": 5.0,
        "output_V": 10.0,
        "command_step_uV": 0.0,
        "headstage_MOhm": 0.0,
        "offset_pA": 0.0,
        "stray_pF": 0.0,
    },
    "roles.potentiostat.settings": {
        "initial_V": 1.2,
        "current_range_mA": 100.0,
        "potential_range_V": 5.0,
        "potential_noise_uV": 0.0,
        "current_noise_nA": 0.0,
        "potential_step_uV": 0.0,
        "current_step_nA": 0.0,
        "latency_ms": 0.0,
    },
    "roles.scanner.settings": {
        "z_range_um": 20.0,
        "xy_range_um": 80.0,
        "lag_us": 200.0,
        "resonance_kHz": 0.0,
        "damping": 0.7,
        "hysteresis_pct": 0.0,
        "creep_pct": 0.0,
        "drift_x_nm_min": 0.0,
        "drift_y_nm_min": 0.0,
        "drift_z_nm_min": 0.0,
    },
    "roles.coarse_stage.settings": {"speed_mm_s": 0.5, "backlash_um": 0.0, "step_um": 0.0},
    "roles.hop_controller.settings": {
        "settle_ms": 4.0,
        "reference_ms": 4.0,
        "withdraw_nm_per_ms": 400.0,
        "start_height_um": 3.0,
    },
    "world.noise": {"amplifier_fA_rtHz": 15.0, "height_nm": 0.3},
}
SURFACES: Final[dict[str, dict[str, float]]] = {
    "flat": {},
    "rough": {"rq_nm": 300.0, "correlation_nm": 1500.0, "size_um": 20.0, "pixels": 128.0},
    "steps": {"step_nm": 2.0, "swollen_nm": 10.0, "swollen_width_nm": 400.0, "size_um": 20.0, "pixels": 512.0},
    "flakes": {
        "rq_nm": 1300.0,
        "flake_um": 3.5,
        "size_um": 20.0,
        "pixels": 512.0,
        "share_spread": 0.4,
        "lag_s": 20.0,
        "slide_nm": 400.0,
        "detach_below_V": 0.2,
    },
    "image": {"size_um": 20.0},
}
_IMAGE_FILE: Final = "file"
_PER_ROOT_HERTZ: Final = "_fA_rtHz"
_MAY_BE_ZERO: Final = {
    "lag_us",
    "rq_nm",
    "amplifier_fA_rtHz",
    "height_nm",
    "step_nm",
    "swollen_nm",
    "slide_nm",
    "share_spread",
}
# Where a thousandth to a thousand times the usual makes no sense.
_BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "initial_V": (-1.0, 5.0),
    "detach_below_V": (-1.0, 5.0),
    "share_spread": (0.0, 2.0),
    "command_step_uV": (0.0, 1e5),
    "headstage_MOhm": (0.0, 1e6),
    "offset_pA": (-1e4, 1e4),
    "stray_pF": (0.0, 100.0),
    "potential_noise_uV": (0.0, 1e5),
    "current_noise_nA": (0.0, 1e6),
    "potential_step_uV": (0.0, 1e5),
    "current_step_nA": (0.0, 1e6),
    "latency_ms": (0.0, 1000.0),
    "resonance_kHz": (0.0, 40.0),
    "damping": (0.01, 10.0),
    "hysteresis_pct": (0.0, 30.0),
    "creep_pct": (0.0, 10.0),
    "drift_x_nm_min": (-1000.0, 1000.0),
    "drift_y_nm_min": (-1000.0, 1000.0),
    "drift_z_nm_min": (-1000.0, 1000.0),
    "pixels": (16.0, 2048.0),
    "speed_mm_s": (1e-4, 20.0),
    "backlash_um": (0.0, 100.0),
    "step_um": (0.0, 10.0),
}


def settings(rig: LoadedRig, path: str) -> dict[str, float]:
    """The settings at `path` of a twin's file, in SI, defaults filled in; `BadInput` names an unknown key's line."""
    found: object = rig.rig
    for part in path.split("."):
        found = getattr(found, part, None)
    given = found if isinstance(found, Mapping) else {}
    return _checked(rig, path, given, DEFAULTS[path])


def surface(rig: LoadedRig) -> tuple[str, dict[str, float], Path | None]:
    """(kind, its settings in SI, the file of an image) of the twin's specimen."""
    assert rig.rig.world is not None
    given = dict(rig.rig.world.surface)
    kind = str(given.pop("kind"))
    if kind not in SURFACES:
        kinds = ", ".join(SURFACES)
        path = ("world", "surface", "kind")
        raise BadInput(rig.problem(path, kind, f"this version knows {kinds}", "write one of these"))
    file = given.pop(_IMAGE_FILE, None) if kind == "image" else None
    if kind == "image" and not isinstance(file, str):
        path = ("world", "surface", "kind")
        raise BadInput(rig.problem(path, kind, "needs a file of heights", "add file: surface.npy, .gsf or .gwy"))
    values = _checked(rig, "world.surface", given, SURFACES[kind])
    return kind, values, rig.path.parent / str(file) if file is not None else None


def _checked(rig: LoadedRig, path: str, given: Mapping[str, object], known: Mapping[str, float]) -> dict[str, float]:
    problems: list[Problem] = []
    values = dict(known)
    for key, value in given.items():
        where = (*path.split("."), key)
        if key not in known:
            names = ", ".join(known) or "nothing"
            problems.append(
                rig.problem(where, value, f"is not a setting of a twin; it takes {names}", "correct the key")
            )
        elif isinstance(value, bool) or not isinstance(value, int | float):
            problems.append(rig.problem(where, value, "must be a number", f"as {key}: {known[key]:g}"))
        elif not _bounds(key, known[key])[0] <= value <= _bounds(key, known[key])[1]:
            low, high = _bounds(key, known[key])
            problems.append(rig.problem(where, value, f"must lie in {low:g} … {high:g}", f"as {key}: {known[key]:g}"))
        else:
            values[key] = float(value)
    if problems:
        raise BadInput(problems)
    return {_name(key): _si(key, value) for key, value in values.items()}


def _bounds(key: str, usual: float) -> tuple[float, float]:
    """What a setting may be: a thousandth to a thousand times the usual, 0 too where nothing is a sensible amount."""
    return _BOUNDS.get(key, (0.0 if key in _MAY_BE_ZERO else 1e-3 * usual, 1e3 * usual))


def _name(key: str) -> str:
    if key.endswith(_PER_ROOT_HERTZ):
        return key.removesuffix(_PER_ROOT_HERTZ)
    suffix = suffix_of(key)
    return key.removesuffix(f"_{suffix}") if suffix else key


def _si(key: str, value: float) -> float:
    if key.endswith(_PER_ROOT_HERTZ):
        return value * factor("fA")
    return to_si(key, value) if suffix_of(key) else value
