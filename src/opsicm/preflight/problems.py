"""What is wrong between an experiment and a rig, every problem at once, each with its line."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from opsicm.errors import Problem
from opsicm.preflight.prediction import Prediction, RigNumbers
from opsicm.protocol.experiment_file import LoadedExperiment
from opsicm.protocol.probe_program import Hop, Line

_FALSE_STOP_SIGMA: Final = 5.0  # a setpoint nearer to the noise stops falsely: 3e-7 per look at 5 sigma


def problems(loaded: LoadedExperiment, rig: RigNumbers, prediction: Prediction) -> list[Problem]:
    """Crashes, false stops and ranges that the run would meet; empty when it may run."""
    return [
        *_command(loaded, rig, prediction),
        *_current(loaded, rig, prediction),
        *_hops(loaded, rig, prediction),
    ]


def _command(loaded: LoadedExperiment, rig: RigNumbers, prediction: Prediction) -> Iterator[Problem]:
    low, high = prediction.command_span
    reach = rig.command_range
    if low < reach[0] or high > reach[1]:
        yield loaded.problem(
            ("pipette", "bias_V"),
            loaded.experiment.pipette.bias_V,
            f"needs V_tip - E of {low:.2f} … {high:.2f} V and the amplifier reaches {reach[0]:g} … {reach[1]:g} V",
            "use a wider external-bias gain, another bias, or a narrower envelope.cell_V",
        )


def _current(loaded: LoadedExperiment, rig: RigNumbers, prediction: Prediction) -> Iterator[Problem]:
    if prediction.far_current >= rig.current_range:
        limit = (
            f"drives {prediction.far_current * 1e9:.3g} nA through {rig.resistance * 1e-6:.3g} MΩ, and the amplifier "
            f"ends at {rig.current_range * 1e9:.3g} nA"
        )
        smaller = 0.7 * loaded.experiment.pipette.bias_V * rig.current_range / prediction.far_current
        remedy = f"use a bias of at most {smaller:.2g} V, a smaller aperture, or a larger range"
        yield loaded.problem(("pipette", "bias_V"), loaded.experiment.pipette.bias_V, limit, remedy)
    if prediction.far_current >= loaded.experiment.envelope.pipette_current:
        limit = f"the far current is {prediction.far_current * 1e9:.3g} nA, so the run would stop at once"
        remedy = "allow more, or use a smaller bias"
        yield loaded.problem(("envelope", "pipette_nA"), loaded.experiment.envelope.pipette_nA, limit, remedy)
    if not prediction.far_current and prediction.hops:
        limit = "drives no current, and a hop needs one to see the surface"
        yield loaded.problem(("pipette", "bias_V"), loaded.experiment.pipette.bias_V, limit, "hop at 0.1 V or more")


def _hops(loaded: LoadedExperiment, rig: RigNumbers, prediction: Prediction) -> Iterator[Problem]:
    by_step = {hop.step: hop for hop in prediction.hops}
    for k, step in enumerate(loaded.experiment.probe):
        if not isinstance(step, Hop | Line):
            continue
        hop = by_step[f"probe[{k}]"]
        path = ("probe", k, step.word)
        if hop.overshoot >= hop.stop_distance:
            limit = (
                f"falls {hop.overshoot * 1e9:.0f} nm between the crossing and the turn, and the surface is "
                f"{hop.stop_distance * 1e9:.0f} nm away at a {step.setpoint_pct:g} % drop: the tip would touch"
            )
            fastest = step.fall_nm_per_ms * 0.5 * hop.stop_distance / hop.overshoot
            yield loaded.problem((*path, "fall_nm_per_ms"), step.fall_nm_per_ms, limit, f"fall at {fastest:.3g} nm/ms")
        if 1.0 < hop.noise_over_setpoint * _FALSE_STOP_SIGMA < math.inf:
            noise = hop.noise_over_setpoint * step.setpoint_pct
            limit = (
                f"is within {_FALSE_STOP_SIGMA:g} standard deviations of the current noise, {noise:.2g} %: false stops"
            )
            remedy = f"use at least {noise * _FALSE_STOP_SIGMA:.2g} %, or a lower filter frequency"
            yield loaded.problem((*path, "setpoint_pct"), step.setpoint_pct, limit, remedy)
        if hop.hops == 0:
            limit = f"one hop lasts {hop.period:.3g} s and the step does not: nothing would be measured"
            yield loaded.problem(path, step.word, limit, "fall faster, or let the step last longer")
        if step.amplitude > rig.z_reach:
            limit = f"the scanner reaches {rig.z_reach * 1e9:.0f} nm above its zero"
            yield loaded.problem((*path, "amplitude_nm"), step.amplitude_nm, limit, "use a smaller amplitude")
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
        points = {"at_um": step.place} if isinstance(step, Hop) else {"from_um": step.start, "to_um": step.end}
        for key, point in points.items():
            if max(abs(value) for value in point) > rig.xy_reach:
                limit = f"the scanner reaches ±{rig.xy_reach * 1e6:g} µm"
                yield loaded.problem((*path, key), getattr(step, key), limit, "move the specimen instead")
