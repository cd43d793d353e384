"""What is wrong between an experiment and a rig, every problem at once, each with its line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from opsicm.errors import BadInput, Problem
from opsicm.preflight.hop_problems import hop_problems
from opsicm.preflight.prediction import Prediction
from opsicm.preflight.rig_numbers import RigNumbers
from opsicm.preflight.signals import Signal
from opsicm.protocol.amplitude_map import amplitude_map
from opsicm.protocol.envelope import COLLAPSED, READABLE
from opsicm.protocol.experiment_file import LoadedExperiment
from opsicm.protocol.probe_program import Hopping, PipetteSweep, ProbeRepeat, Raster
from opsicm.protocol.refusal import path_text

_POTENTIAL: Final = 1e-3  # [V] that a forecast may miss by without a word


def problems(loaded: LoadedExperiment, rig: RigNumbers, prediction: Prediction) -> list[Problem]:
    """Crashes, false stops and ranges that the run would meet; empty when it may run."""
    return [
        *_command(loaded, rig, prediction),
        *_current(loaded, rig, prediction),
        *_cancelled(loaded, prediction),
        *_envelope(loaded, prediction),
        *hop_problems(loaded, rig, prediction),
        *_wire(loaded, rig),
        *_maps(loaded),
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
    if not prediction.far_current and prediction.hops:
        limit = "drives no current, and a hop needs one to see the surface"
        yield loaded.problem(("pipette", "bias_V"), loaded.experiment.pipette.bias_V, limit, "hop at 0.1 V or more")
    yield from _swings(loaded, rig, prediction)


def _swings(loaded: LoadedExperiment, rig: RigNumbers, prediction: Prediction) -> Iterator[Problem]:
    """The cell's own current moves the pipette's: the range must hold both."""
    if prediction.far_current >= rig.current_range:  # said above
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
    """The cell's own current may take away the pipette's; the run would stop, for so does a touch."""
    far = prediction.far_current
    seen = [signal for signal in prediction.signals if signal.word != PipetteSweep.word]
    least = min(seen, key=_least, default=None)
    if least is not None and far > READABLE and _least(least) < COLLAPSED * far:
        limit = (
            f"is expected to leave {_least(least) * 1e9:.3g} of {far * 1e9:.3g} nA at {least.height * 1e6:g} µm in "
            f"{least.step}, because the cell's current cancels it there; below a tenth the run takes the pipette for "
            "touching or clogged and stops"
        )
        remedy = "compensate less, sweep more slowly, stay higher, or use a larger bias"
        yield loaded.problem(("pipette", "bias_V"), loaded.experiment.pipette.bias_V, limit, remedy)


def _least(signal: Signal) -> float:
    return 0.0 if signal.low <= 0.0 <= signal.high else min(abs(signal.low), abs(signal.high))


def _envelope(loaded: LoadedExperiment, prediction: Prediction) -> Iterator[Problem]:
    """What the forecast finds beyond the program's own words: a jump under iR compensation, above all."""
    envelope = loaded.experiment.envelope
    low, high = prediction.cell_potential
    if low < envelope.cell_V[0] - _POTENTIAL or high > envelope.cell_V[1] + _POTENTIAL:
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


def _wire(loaded: LoadedExperiment, rig: RigNumbers) -> Iterator[Problem]:
    """Potentials that the wire is told to take beside its bias."""
    for k, step in enumerate(loaded.experiment.probe):
        if isinstance(step, ProbeRepeat):
            continue
        if isinstance(step, PipetteSweep):
            levels: tuple[float, ...] = (step.from_V, step.to_V)
            key: tuple[str, ...] = ("from_V",)
        elif isinstance(step, Hopping) and step.modulation is not None:
            levels = step.modulation.levels_V
            key = ("levels_V",) if step.word == "modulate" else ("modulate", "levels_V")
        else:
            continue
        largest = max(levels, key=abs)
        drawn = abs(largest) / rig.resistance
        if drawn >= rig.current_range:
            limit = f"drives {drawn * 1e9:.3g} nA, and the amplifier ends at {rig.current_range * 1e9:.3g} nA"
            remedy = f"stay within ±{0.9 * rig.current_range * rig.resistance:.2g} V, or use a larger range"
            yield loaded.problem(("probe", k, step.word, *key), largest, limit, remedy)


def _maps(loaded: LoadedExperiment) -> Iterator[Problem]:
    for k, step in enumerate(loaded.experiment.probe):
        if isinstance(step, Raster):
            try:
                amplitude_map(loaded, k, step)
            except BadInput as error:
                yield from error.problems


def _unfinished(loaded: LoadedExperiment, prediction: Prediction) -> Iterator[Problem]:
    """A step that waits for events must have the time that it takes before the next event, or the end."""
    for k, step in enumerate(loaded.experiment.probe):
        if isinstance(step, ProbeRepeat) or step.at is None:
            continue
        own = [window for window in prediction.windows if window.path == f"probe[{k}]"]
        path = ("probe", k, step.word)
        if not own and not prediction.note:
            limit = "its event does not come in the forecast of this cell program"
            if step.at.soc_pct is not None:
                limit += "; SOC is counted once the program's highest potential has been reached, and is 0 there"
            yield loaded.problem(
                (*path, "at"), step.at.model_dump(exclude_none=True), limit, "change at, or the cell's steps"
            )
        cut = [window for window in own if not window.whole]
        if cut and not prediction.note:
            needs = max(window.end - window.start for window in own)
            limit = f"the cell program ends {cut[-1].end - cut[-1].start:.0f} s after its last event"
            remedy = f"let the last step last longer; earlier ones took {needs:.0f} s"
            yield loaded.problem(path, path_text(path), limit, remedy)
