"""What is wrong with hopping steps on a rig: crashes, false stops, places out of reach, rests that are too short."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from opsicm.errors import Problem
from opsicm.preflight.prediction import HopPrediction, Prediction
from opsicm.preflight.rig_numbers import RigNumbers
from opsicm.protocol.cell_program import Gitt, Ladder, OpenCircuit, numbered
from opsicm.protocol.experiment_file import LoadedExperiment
from opsicm.protocol.hopping_steps import Area, AtPoint, Hopping, Line
from opsicm.protocol.refusal import KeyPath

_CLEARANCE: Final = 0.5  # of the amplitude that a rise may take before the tip counts as in danger
_FALSE_STOP_SIGMA: Final = 5.0  # a setpoint nearer to the noise stops falsely: 3e-7 per look at 5 sigma


def hop_problems(loaded: LoadedExperiment, rig: RigNumbers, prediction: Prediction) -> Iterator[Problem]:
    """Every problem of every hopping step of the program; those inside a repeat are judged in its place."""
    by_step = {hop.step: hop for hop in prediction.hops}
    hopping = list(_hopping(loaded))
    for path, name, step in hopping:
        hop = by_step[name]
        yield from _speed(loaded, path, step, hop)
        yield from _noise(loaded, path, step, hop)
        yield from _reach(loaded, path, step, rig)
        yield from _room(loaded, path, step, hop)
        yield from _crushed(loaded, path, name, step, prediction)
        if hop.hops == 0 and hop.occasions > 0:
            limit = f"one hop lasts {hop.period:.3g} s and the step does not: nothing would be measured"
            yield loaded.problem(path, step.word, limit, "fall faster, or let the step last longer")
    if hopping:
        yield from _start(loaded, hopping[0][0], hopping[0][2], rig)


def _hopping(loaded: LoadedExperiment) -> Iterator[tuple[KeyPath, str, Hopping]]:
    for k, step in enumerate(loaded.experiment.probe):
        if isinstance(step, Hopping):
            yield ("probe", k, step.word), f"probe[{k}]", step
        elif step.word == "repeat":
            for m, inner in enumerate(getattr(step, "steps", ())):
                if isinstance(inner, Hopping):
                    yield ("probe", k, "repeat", "steps", m, inner.word), f"probe[{k}].{m}", inner


def _speed(loaded: LoadedExperiment, path: KeyPath, step: Hopping, hop: HopPrediction) -> Iterator[Problem]:
    if hop.overshoot >= hop.stop_distance:
        limit = (
            f"falls {hop.overshoot * 1e9:.0f} nm between the crossing and the turn, and the surface is "
            f"{hop.stop_distance * 1e9:.0f} nm away at a {step.setpoint_pct:g} % drop: the tip would touch"
        )
        fastest = step.fall_nm_per_ms * 0.5 * hop.stop_distance / hop.overshoot
        yield loaded.problem((*path, "fall_nm_per_ms"), step.fall_nm_per_ms, limit, f"fall at {fastest:.3g} nm/ms")


def _noise(loaded: LoadedExperiment, path: KeyPath, step: Hopping, hop: HopPrediction) -> Iterator[Problem]:
    if 1.0 < hop.noise_over_setpoint * _FALSE_STOP_SIGMA < math.inf:
        noise = hop.noise_over_setpoint * step.setpoint_pct
        count = hop.per_image or 1
        limit = (
            f"is within {_FALSE_STOP_SIGMA:g} standard deviations of the current noise, {noise:.2g} %: "
            f"{hop.false_stop * count:.3g} false stops in {count} hops"
        )
        remedy = f"use at least {noise * _FALSE_STOP_SIGMA:.2g} %, or a lower filter frequency"
        yield loaded.problem((*path, "setpoint_pct"), step.setpoint_pct, limit, remedy)


def _reach(loaded: LoadedExperiment, path: KeyPath, step: Hopping, rig: RigNumbers) -> Iterator[Problem]:
    if step.amplitude > rig.z_reach:
        limit = f"the scanner reaches {rig.z_reach * 1e9:.0f} nm above its zero"
        yield loaded.problem((*path, "amplitude_nm"), step.amplitude_nm, limit, "use a smaller amplitude")
    for key, points in _places(step).items():
        if max(abs(value) for point in points for value in point) > rig.xy_reach * (1.0 + 1e-9):
            limit = f"the scanner reaches ±{rig.xy_reach * 1e6:g} µm"
            yield loaded.problem((*path, key), getattr(step, key), limit, "move the specimen instead")


def _places(step: Hopping) -> dict[str, tuple[tuple[float, float], ...]]:
    match step:
        case AtPoint():
            return {"at_um": (step.place,)}
        case Line():
            return {"from_um": (step.start,), "to_um": (step.end,)}
        case Area():
            return {"size_um": step.corners()}
        case _:
            return {}


def _start(loaded: LoadedExperiment, path: KeyPath, step: Hopping, rig: RigNumbers) -> Iterator[Problem]:
    if rig.start_height >= rig.z_reach:
        limit = (
            f"the first approach begins {rig.start_height * 1e6:g} µm above the surface and the scanner reaches "
            f"{rig.z_reach * 1e6:g} µm down"
        )
        yield loaded.problem(path, step.word, limit, "lower start_height_um of the rig file")
    if loaded.experiment.envelope.approach <= rig.start_height:
        limit = f"the first approach begins {rig.start_height * 1e6:g} µm above the surface and could not reach it"
        remedy = f"allow at least {rig.start_height * 1.5e6:g} µm"
        yield loaded.problem(("envelope", "approach_um"), loaded.experiment.envelope.approach_um, limit, remedy)


def _room(loaded: LoadedExperiment, path: KeyPath, step: Hopping, hop: HopPrediction) -> Iterator[Problem]:
    """What is done at each rest must end within it, the time between the falls counted too."""
    if step.at is None or step.at.after_each is None or step.count is None:
        return
    takes = step.count * hop.period
    for _, where, rest in numbered(loaded.experiment.cell):
        room, key = _room_of(rest)
        if room is not None and takes > room:
            hops = f"{step.count} hops of {hop.period * 1e3:.1f} ms"
            limit = f"takes {takes:.0f} s at each rest ({hops}) and {where}.{rest.word}.{key} leaves {room:g} s"
            remedy = f"raise {key} to {math.ceil(takes * 1.05)} or more, or take fewer pixels"
            yield loaded.problem(path, "", limit, remedy)
            return


def _crushed(
    loaded: LoadedExperiment, path: KeyPath, name: str, step: Hopping, prediction: Prediction
) -> Iterator[Problem]:
    """After its last hop the tip stands an amplitude above the surface; nothing moves it when that comes up."""
    worst = max((r for r in prediction.rises if r.path == name), key=lambda r: r.height, default=None)
    if worst is not None and worst.height >= _CLEARANCE * step.amplitude:
        limit = (
            f"ends at {worst.start:.0f} s with the tip {step.amplitude_nm:g} nm above the surface, which then rises by "
            f"{worst.height * 1e9:.0f} nm until {worst.end:.0f} s while no step moves the pipette: it would touch"
        )
        yield loaded.problem(path, "", limit, "put a park: {height_um: 10} before it, or after it")


def _room_of(rest: object) -> tuple[float | None, str]:
    match rest:
        case Ladder():
            return rest.hold_s, "hold_s"
        case Gitt():
            return rest.rest_s, "rest_s"
        case OpenCircuit():
            return rest.for_s, "for_s"
        case _:
            return None, ""
