"""A prediction in words and figures, and as a record with stable keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from opsicm.app.amounts import amount, expected, percent
from opsicm.preflight.prediction import HopPrediction, Prediction
from opsicm.preflight.signals import TEN_HOP_CRITERION, Signal
from opsicm.protocol.experiment_file import LoadedExperiment


def checked_text(file: Path, predictions: list[tuple[LoadedExperiment, Prediction]]) -> str:
    """What `opsicm check` says of a file without problems; of a series first what holds for every run of it."""
    said = [list(prediction_lines(prediction)) for _, prediction in predictions]
    lines = [f"{file}: no problems"]
    if len(said) == 1:
        return "\n".join([*lines, *(f"  {line}" for line in said[0])])
    alike = [line for line in said[0] if all(line in other for other in said)]
    lines += [f"  {len(said)} runs, one after the other; in every one", *(f"  {line}" for line in alike)]
    for (experiment, _), own in zip(predictions, said, strict=True):
        lines += [f"  {experiment.experiment.title}", *(f"  {line}" for line in own if line not in alike)]
    return "\n".join(lines)


def prediction_lines(prediction: Prediction) -> Iterator[str]:
    """A prediction, a line for each figure."""
    low, high = prediction.command_span
    yield f"duration         {_duration(prediction.duration)}"
    yield f"samples          {_samples(prediction)}"
    yield f"run file         about {amount(prediction.file_bytes, 'B')}"
    far = prediction.far_current
    said = f"{amount(far, 'A')} at rest" if far else "none at rest: the bias is 0 V"
    yield f"far current      {said}"
    yield f"bias command     {low:.2f} … {high:.2f} V"
    for hop in prediction.hops:
        yield from _hop_lines(hop)
    for signal in prediction.signals:
        yield from _signal_lines(signal, prediction.far_current)
    if prediction.note:
        yield f"not forecast     {prediction.note}"


def _samples(prediction: Prediction) -> str:
    if not prediction.samples:
        return "none: nothing hops"
    kept = {0: "none kept in full", 1: "one channel kept in full"}
    full = kept.get(prediction.channels_in_full, f"{prediction.channels_in_full} channels kept in full")
    return f"{amount(prediction.samples, '').strip()} per channel, {full}"


def _hop_lines(hop: HopPrediction) -> Iterator[str]:
    times = f" on {hop.occasions} occasions" if hop.occasions > 1 else ""
    image = hop.per_image if hop.per_image is not None else 1000
    yield f"{hop.step:<16} {hop.hops} hops of {hop.period * 1e3:.1f} ms{times}, {hop.seconds:.0f} s"
    yield (
        f"                 stops {hop.stop_distance * 1e9:.1f} nm from the surface, then falls "
        f"{hop.overshoot * 1e9:.1f} nm on; noise of one height {hop.height_noise * 1e9:.2f} nm"
    )
    yield (
        f"                 current noise {hop.noise_over_setpoint * 100:.2g} % of the setpoint: false stops to be "
        f"expected in {image} hops: {expected(hop.false_stop * image)}"
    )


def _signal_lines(signal: Signal, at_rest: float) -> Iterator[str]:
    yield f"{signal.step:<16} at {signal.height * 1e6:g} µm {_current_text(signal)}{_shift(signal, at_rest)}"
    if signal.height_change is not None and signal.height_noise is not None:
        yield f"                 {_height_text(signal.height_change, signal.height_noise)}"
    if signal.ten_hops is not None and signal.restless is not None and signal.drift_per_fall is not None:
        yield (
            f"                 bulk current drifts by {percent(signal.drift_per_fall)} in a fall and "
            f"{percent(signal.ten_hops)} in ten hops at most, bias lag counted (noise alone: "
            f"{percent(signal.ten_hops_of_noise or 0.0)})"
        )
        if signal.restless > 0.0:
            yield (
                f"                 above the paper's {TEN_HOP_CRITERION * 100:g} % in ten hops for "
                f"{signal.restless * signal.seconds:.0f} s of {signal.seconds:.0f} s"
            )


def _current_text(signal: Signal) -> str:
    noise = amount(signal.noise, "A", 2)
    if signal.swing < signal.noise:
        return f"the current stays at {amount(signal.high, 'A', 4)}: it changes by less than the noise, {noise}"
    ratio = signal.swing / signal.noise if signal.noise > 0.0 else float("inf")
    return (
        f"the current goes {signal.low * 1e9:.3f} … {signal.high * 1e9:.3f} nA: swing {amount(signal.swing, 'A')}, "
        f"noise {noise}, signal/noise {_ratio(ratio)}"
    )


def _shift(signal: Signal, at_rest: float) -> str:
    """How far a current that hardly changes lies from its value at rest: of a constant current that is the signal."""
    middle = 0.5 * (signal.low + signal.high)
    away = abs(middle) - at_rest
    if not at_rest or signal.word == "pipette_sweep" or abs(away) < max(signal.swing, 10.0 * signal.noise):
        return ""
    return f"; {amount(abs(away), 'A')} {'above' if away > 0.0 else 'below'} its value at rest"


def _height_text(change: float, noise: float) -> str:
    if change < noise:
        return f"swelling stays below the noise of one height, {noise * 1e9:.2f} nm"
    return (
        f"swelling changes the height by {amount(change, 'm')}, noise of one height {noise * 1e9:.2f} nm, signal/noise "
        f"{_ratio(change / noise)}"
    )


def _ratio(value: float) -> str:
    """Two figures, without a power of ten."""
    if value < 10.0 or value == float("inf"):
        return f"{value:.2g}"
    return f"{float(f'{value:.1e}'):.0f}"


def prediction_record(experiment: LoadedExperiment, prediction: Prediction) -> dict[str, Any]:
    """A prediction with stable keys, SI."""
    return {
        "title": experiment.experiment.title,
        "duration_s": prediction.duration,
        "samples": prediction.samples,
        "file_bytes": prediction.file_bytes,
        "far_current_A": prediction.far_current,
        "command_V": list(prediction.command_span),
        "note": prediction.note,
        "hops": [_hop_record(hop) for hop in prediction.hops],
        "signals": [_signal_record(signal) for signal in prediction.signals],
    }


def _hop_record(hop: HopPrediction) -> dict[str, Any]:
    return {
        "step": hop.step,
        "hops": hop.hops,
        "period_s": hop.period,
        "stop_distance_m": hop.stop_distance,
        "overshoot_m": hop.overshoot,
        "height_noise_m": hop.height_noise,
        "noise_over_setpoint": hop.noise_over_setpoint,
        "false_stop_probability": hop.false_stop,
        "seconds_s": hop.seconds,
        "occasions": hop.occasions,
    }


def _signal_record(signal: Signal) -> dict[str, Any]:
    return {
        "step": signal.step,
        "height_m": signal.height,
        "seconds_s": signal.seconds,
        "current_low_A": signal.low,
        "current_high_A": signal.high,
        "swing_A": signal.swing,
        "noise_A": signal.noise,
        "height_change_m": signal.height_change,
        "height_noise_m": signal.height_noise,
        "drift_per_fall": signal.drift_per_fall,
        "ten_hops": signal.ten_hops,
        "restless": signal.restless,
        "ten_hops_of_noise": signal.ten_hops_of_noise,
    }


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "until a cut-off"
    hours = f" ({seconds / 3600:.2f} h)" if seconds >= 3600 else ""
    return f"{seconds:.0f} s{hours}"
