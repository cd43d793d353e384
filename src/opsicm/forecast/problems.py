"""Problems of an experiment on a rig that the forecast shows, all at once, each with its line in the file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from opsicm.core.errors import BadInput, Problem
from opsicm.core.units import at_least, at_most
from opsicm.experiment.controls import nominal_controls
from opsicm.experiment.data_files import amplitude_maps
from opsicm.experiment.file import LoadedExperiment
from opsicm.experiment.probe_bounds import BaseProbeStep
from opsicm.experiment.probe_steps import ApproachingStep, Engage, HoppingStep, PipetteSweep
from opsicm.experiment.program import written_steps
from opsicm.experiment.refusal import KeyPath, path_text
from opsicm.experiment.setup import COLLAPSED, READABLE
from opsicm.forecast.cell import Floats
from opsicm.forecast.clearance import clearance_problems
from opsicm.forecast.empty_steps import empty_step_problems
from opsicm.forecast.prediction import Approach, HopPrediction, Prediction, approach_of, largest_tip_bias
from opsicm.forecast.rig_numbers import RigNumbers
from opsicm.forecast.schedule import Window
from opsicm.forecast.signals import Signal
from opsicm.forecast.surface_walk import walk_problems
from opsicm.physics.pipette.electroosmosis import LARGEST_RATIO

# -- Hopping steps: crashes, false stops, points out of range, rests that are too short.


_FALSE_STOP_SIGMA: Final = 5.0  # a setpoint nearer to the noise stops falsely: 3e-7 per independent sample at 5 sigma


def hop_problems(
    loaded: LoadedExperiment, rig: RigNumbers, prediction: Prediction, amplitude_maps: Mapping[str, Floats]
) -> Iterator[Problem]:
    """Every problem of every step of the program that approaches the surface."""
    by_step = {hop.step: hop for hop in prediction.hops}
    steps = list(written_steps("probe", loaded.experiment.probe))
    hopping = [(placed.key_path, placed.path, placed.step) for placed in steps if isinstance(placed.step, HoppingStep)]
    for path, name, step in hopping:
        hop = by_step[name]
        yield from _speed(loaded, path, step, approach_of(step, prediction.far_current, rig))
        yield from _noise(loaded, path, step, hop)
        yield from _reach(loaded, path, step, rig, amplitude_maps.get(name))
        yield from _fits_rest(loaded, path, step, hop)
        if hop.hops == 0 and hop.occasions > 0:
            limit = f"is shorter than one hop, {hop.period:.3g} s: nothing would be measured"
            yield loaded.problem(path, step.word, limit, "fall faster, or let the step last longer")
    for placed in steps:
        if isinstance(placed.step, Engage):
            approach = approach_of(placed.step, prediction.far_current, rig)
            yield from _speed(loaded, placed.key_path, placed.step, approach)
            yield from _engage_noise(loaded, placed.key_path, placed.step, approach)
    if hopping:
        yield from _start(loaded, hopping[0][0], hopping[0][2], rig)


def _speed(loaded: LoadedExperiment, path: KeyPath, step: ApproachingStep, approach: Approach) -> Iterator[Problem]:
    below = approach.late + approach.overshoot
    if below >= approach.stop_distance:
        limit = (
            f"overshoots by {below * 1e9:.0f} nm after the setpoint is crossed, and the surface is "
            f"{approach.stop_distance * 1e9:.0f} nm away at a {step.setpoint_pct:g} % drop: the tip would touch"
        )
        # At least in proportion: the slower a fall, the smaller the part of it that turning costs.
        fastest = step.fall_nm_per_ms * 0.5 * approach.stop_distance / below
        yield loaded.problem((*path, "fall_nm_per_ms"), step.fall_nm_per_ms, limit, f"fall at {fastest:.3g} nm/ms")


def _noise(loaded: LoadedExperiment, path: KeyPath, step: HoppingStep, hop: HopPrediction) -> Iterator[Problem]:
    if 1.0 < hop.noise_over_setpoint * _FALSE_STOP_SIGMA < math.inf:
        noise = hop.noise_over_setpoint * step.setpoint_pct
        count = hop.per_image or 1
        limit = (
            f"is within {_FALSE_STOP_SIGMA:g} standard deviations of the current noise, {noise:.2g} %: "
            f"{hop.false_stop * count:.3g} false stops in {count} hops"
        )
        remedy = f"use at least {at_least(noise * _FALSE_STOP_SIGMA)} %, or a lower filter frequency"
        yield loaded.problem((*path, "setpoint_pct"), step.setpoint_pct, limit, remedy)


def _engage_noise(loaded: LoadedExperiment, path: KeyPath, step: Engage, approach: Approach) -> Iterator[Problem]:
    """An engagement must tell the surface from noise as well: two false stops at one height would end it in mid-air."""
    if 1.0 < approach.noise_over_setpoint * _FALSE_STOP_SIGMA < math.inf:
        noise = approach.noise_over_setpoint * step.setpoint_pct
        limit = f"is within {_FALSE_STOP_SIGMA:g} standard deviations of the current noise, {noise:.2g} %"
        remedy = f"use at least {at_least(noise * _FALSE_STOP_SIGMA)} %, or a lower filter frequency"
        yield loaded.problem((*path, "setpoint_pct"), step.setpoint_pct, limit, remedy)


def _reach(
    loaded: LoadedExperiment, path: KeyPath, step: HoppingStep, rig: RigNumbers, amplitudes: Floats | None
) -> Iterator[Problem]:
    if amplitudes is not None and float(np.max(amplitudes)) > rig.z_reach:
        largest = float(np.max(amplitudes)) * 1e9
        limit = f"holds {largest:g} nm, and the scanner reaches {rig.z_reach * 1e9:.0f} nm above its zero"
        yield loaded.problem((*path, "amplitude_map"), getattr(step, "amplitude_map", ""), limit, "lower it")
    if step.amplitude > rig.z_reach:
        limit = f"the scanner reaches {rig.z_reach * 1e9:.0f} nm above its zero"
        yield loaded.problem((*path, "amplitude_nm"), step.amplitude_nm, limit, "use a smaller amplitude")
    for key, points in step.outermost_points.items():
        if max(abs(value) for point in points for value in point) > rig.xy_reach * (1.0 + 1e-9):
            limit = f"the scanner reaches ±{rig.xy_reach * 1e6:g} µm"
            yield loaded.problem((*path, key), getattr(step, key), limit, "move the specimen instead")


def _start(loaded: LoadedExperiment, path: KeyPath, step: HoppingStep, rig: RigNumbers) -> Iterator[Problem]:
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


def _fits_rest(loaded: LoadedExperiment, path: KeyPath, step: HoppingStep, hop: HopPrediction) -> Iterator[Problem]:
    """Hops at each rest must end within it, with the time between their approaches."""
    if step.at is None or step.at.after_each is None or step.count is None:
        return
    takes = step.count * hop.period
    for placed in written_steps("cell", loaded.experiment.cell):
        rest, key = placed.step, placed.step.rest_key
        available = nominal_controls(rest).time_after_rest
        if available is not None and takes > available:
            hops = f"{step.count} hops of {hop.period * 1e3:.1f} ms"
            limit = (
                f"takes {takes:.0f} s at each rest ({hops}) and {placed.path}.{rest.word}.{key} leaves {available:g} s"
            )
            remedy = f"raise {key} to {math.ceil(takes * 1.05)} or more, or take fewer pixels"
            yield loaded.problem(path, "", limit, remedy)
            return


# -- The rig, the envelope and the events.


_POTENTIAL_TOLERANCE: Final = 1e-3  # [V] of the forecast


def problems(loaded: LoadedExperiment, rig: RigNumbers, prediction: Prediction) -> list[Problem]:
    """Every crash, false stop and limit that the run would meet; empty when it may run."""
    maps: Mapping[str, Floats] = {}
    unusable: list[Problem] = []
    try:
        maps = amplitude_maps(loaded)
    except BadInput as error:
        unusable = list(error.problems)
    return [
        *_command(loaded, rig, prediction),
        *_current(loaded, rig, prediction),
        *_glass(loaded, rig, prediction),
        *_cancelled(loaded, prediction),
        *_envelope(loaded, prediction),
        *empty_step_problems(loaded, prediction.empty_steps),
        *_stopped(loaded, prediction),
        *_slow_approaches(loaded, prediction),
        *hop_problems(loaded, rig, prediction, maps),
        *clearance_problems(loaded, prediction.near_passes),
        *walk_problems(loaded, prediction.walks),
        *_electrode(loaded, rig),
        *unusable,
        *_unfinished(loaded, prediction),
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
    if not prediction.far_current and _approaches(loaded):
        limit = "drives no current, and a hop needs one to see the surface"
        yield loaded.problem(("pipette", "bias_V"), loaded.experiment.pipette.bias_V, limit, "hop at 0.1 V or more")
    yield from _swings(loaded, rig, prediction)


def _glass(loaded: LoadedExperiment, rig: RigNumbers, prediction: Prediction) -> Iterator[Problem]:
    """Flow and rectification of a twin's charged tip are described up to a bias, beyond which the run would fault."""
    glass, experiment, cell = rig.glass, loaded.experiment, prediction.cell
    if glass is None:
        return
    bath = rig.cell.parameters.electrolyte.concentration
    salt = np.append(bath, cell.concentration[:, :-1])
    largest = largest_tip_bias(experiment, cell, rig)
    for key, value, allowed, what in (
        ("zeta_mV", glass.zeta * 1e3, glass.largest_flow_bias, "the flow that it drives"),
        ("charge_mC_m2", glass.charge * 1e3, glass.largest_charge_bias(float(salt.min())), "what it rectifies"),
    ):
        if largest.volts > allowed:
            limit = (
                f"the run puts up to {largest.volts:.3g} V across the tip ({largest.cause}), and world.tip.{key} of "
                f"the rig file is {value:g}: {what} is known up to {allowed:.3g} V, and the run would end in a fault"
            )
            smaller = math.copysign(float(at_most(abs(value) * allowed / largest.volts)), value)
            remedy = f"write {key}: {smaller:g} in world.tip of the rig file"
            yield loaded.problem(("pipette", "bias_V"), experiment.pipette.bias_V, limit, remedy)
    inside = experiment.pipette.fill(bath)
    ratio = float(np.max(np.maximum(salt / inside, inside / salt)))
    if glass.peclet_per_volt and ratio > LARGEST_RATIO:
        limit = (
            f"differs {ratio:.3g} times from the salt outside, and the flow that world.tip.zeta_mV of the rig file "
            f"drives is computed up to {LARGEST_RATIO:g} times: the run would end in a fault"
        )
        remedy = "write zeta_mV: 0 in world.tip of the rig file, or fill the pipette with a salt nearer to the bath's"
        yield loaded.problem(("pipette", "fill_M"), experiment.pipette.fill_M, limit, remedy)


def _approaches(loaded: LoadedExperiment) -> bool:
    return any(isinstance(p.step, ApproachingStep) for p in written_steps("probe", loaded.experiment.probe))


def _swings(loaded: LoadedExperiment, rig: RigNumbers, prediction: Prediction) -> Iterator[Problem]:
    """The cell's current changes the pipette's: the amplifier's range must hold both."""
    if prediction.far_current >= rig.current_range:  # reported above
        return
    allowed = min(rig.current_range, loaded.experiment.envelope.pipette_current)
    worst = max(prediction.signals, key=lambda s: max(abs(s.low), abs(s.high)), default=None)
    if worst is not None and max(abs(worst.low), abs(worst.high)) >= allowed:
        ends = "the amplifier ends" if allowed == rig.current_range else "envelope.pipette_nA ends"
        limit = (
            f"is expected to draw {worst.low * 1e9:.3g} … {worst.high * 1e9:.3g} nA at {worst.height * 1e6:g} µm in "
            f"{worst.step}, because the cell's current shifts the potential there, and {ends} at {allowed * 1e9:.3g} nA"
        )
        remedy = "sweep more slowly, compensate less, stay higher, or use a larger range"
        yield loaded.problem(("pipette", "bias_V"), loaded.experiment.pipette.bias_V, limit, remedy)


def _cancelled(loaded: LoadedExperiment, prediction: Prediction) -> Iterator[Problem]:
    """The cell's current may cancel the pipette's, which the run would take for a touch and stop."""
    far = prediction.far_current
    at_bias = [signal for signal in prediction.signals if signal.word != PipetteSweep.word]
    weakest = min(at_bias, key=_least_magnitude, default=None)
    if weakest is not None and far > READABLE and _least_magnitude(weakest) < COLLAPSED * far:
        limit = (
            f"is expected to leave {_least_magnitude(weakest) * 1e9:.3g} of {far * 1e9:.3g} nA at "
            f"{weakest.height * 1e6:g} µm in {weakest.step}, because the cell's current cancels it there; below a "
            "tenth the run takes the pipette for touching or clogged and stops"
        )
        remedy = "compensate less, sweep more slowly, stay higher, or use a larger bias"
        yield loaded.problem(("pipette", "bias_V"), loaded.experiment.pipette.bias_V, limit, remedy)


def _least_magnitude(signal: Signal) -> float:
    return 0.0 if signal.low <= 0.0 <= signal.high else min(abs(signal.low), abs(signal.high))


def _envelope(loaded: LoadedExperiment, prediction: Prediction) -> Iterator[Problem]:
    """The actual potential and current may leave the envelope although the program does not, as by iR compensation."""
    envelope = loaded.experiment.envelope
    low, high = prediction.cell_potential
    if low < envelope.cell_V[0] - _POTENTIAL_TOLERANCE or high > envelope.cell_V[1] + _POTENTIAL_TOLERANCE:
        limit = (
            f"the cell's actual potential is expected from {low:.3f} to {high:.3f} V, and the run would stop; under iR "
            "compensation it goes beyond the program's by f i R_u"
        )
        remedy = (
            "begin a compensated step from a hold without compensation at its own potential, compensate less, or widen "
            "the envelope if the specimen allows it"
        )
        yield loaded.problem(("envelope", "cell_V"), list(envelope.cell_V), limit, remedy)
    largest = max(map(abs, prediction.cell_current))
    if largest > envelope.cell_current:
        limit = f"the cell's current is expected to reach {largest * 1e3:.3g} mA, and the run would stop"
        remedy = "sweep more slowly, compensate less, or allow more if the specimen does"
        yield loaded.problem(("envelope", "cell_mA"), envelope.cell_mA, limit, remedy)


def _stopped(loaded: LoadedExperiment, prediction: Prediction) -> Iterator[Problem]:
    """No specimen of these parameters could follow the program to its end."""
    if prediction.stopped is None:
        return
    name, problem = prediction.stopped
    path = next((p.key_path for p in written_steps("cell", loaded.experiment.cell) if p.path == name), ("cell",))
    limit = f"the specimen cannot follow it: {problem.thing} {problem.value}, {problem.limit}"
    yield loaded.problem(path, "", limit, problem.remedy)


def _slow_approaches(loaded: LoadedExperiment, prediction: Prediction) -> Iterator[Problem]:
    """The bias follows the slope that the potential had when an approach began."""
    allowed = loaded.experiment.envelope.bias_residual
    by_path = {slow.path: slow for slow in prediction.slow_approaches if slow.error > allowed}
    for placed in written_steps("probe", loaded.experiment.probe):
        slow, step = by_path.get(placed.path), placed.step
        if slow is not None and isinstance(step, ApproachingStep):
            limit = (
                f"a single approach lasts {slow.seconds:.3g} s, and the cell's potential leaves its slope by "
                f"{slow.error * 1e3:.0f} mV meanwhile, at {slow.time:.0f} s; envelope.bias_mV is {allowed * 1e3:g}"
            )
            remedy = "approach faster, let the step run while the potential is steady, or sweep more slowly"
            yield loaded.problem((*placed.key_path, "fall_nm_per_ms"), step.fall_nm_per_ms, limit, remedy)


def _electrode(loaded: LoadedExperiment, rig: RigNumbers) -> Iterator[Problem]:
    """The current at potentials of the pipette electrode other than the bias."""
    for placed in written_steps("probe", loaded.experiment.probe):
        for key, potentials in placed.step.electrode_potentials.items():
            largest = max(potentials, key=abs)
            current = abs(largest) / rig.resistance
            if current >= rig.current_range:
                limit = f"drives {current * 1e9:.3g} nA, and the amplifier ends at {rig.current_range * 1e9:.3g} nA"
                remedy = f"stay within ±{0.9 * rig.current_range * rig.resistance:.2g} V, or use a larger range"
                yield loaded.problem((*placed.key_path, *key), largest, limit, remedy)


def _repeats(loaded: LoadedExperiment, path: KeyPath, step: BaseProbeStep, windows: list[Window]) -> Iterator[Problem]:
    """What is repeated at intervals must be over before the next time."""
    assert step.interval is not None
    takes = max((window.end - window.start for window in windows), default=0.0)
    if takes > step.interval:
        limit = f"it takes {takes / 60.0:.3g} min each time, so it is not over when it is due again"
        enough = math.ceil(takes / 60.0 * 1.05)
        remedy = f"write every_min: {enough} or more, or take fewer pixels or hops"
        yield loaded.problem((*path, "every_min"), step.every_min, limit, remedy)


def _unfinished(loaded: LoadedExperiment, prediction: Prediction) -> Iterator[Problem]:
    """A step that waits for events must meet at least one, and have time to finish before the cell program ends."""
    for placed in written_steps("probe", loaded.experiment.probe):
        path, step = placed.key_path, placed.step
        windows = [window for window in prediction.windows if window.path == placed.path]
        if step.interval is not None:
            yield from _repeats(loaded, path, step, windows)
        if step.at is None:
            continue
        if not windows and not prediction.note:
            limit = "its event does not come in the forecast of this cell program"
            if step.at.soc_pct is not None:
                limit += "; SOC is counted once the program's highest potential has been reached, and is 0 there"
            yield loaded.problem(
                (*path, "at"), step.at.model_dump(exclude_none=True), limit, "change at, or the cell's steps"
            )
        shortened = [window for window in windows if not window.whole]
        if shortened and not prediction.note:
            needs = max(window.end - window.start for window in windows)
            limit = f"the cell program ends {shortened[-1].end - shortened[-1].start:.0f} s after its last event"
            remedy = f"let the last step last longer; earlier ones took {needs:.0f} s"
            yield loaded.problem(path, path_text(path), limit, remedy)
