"""`opsicm check` and `opsicm schema`: checks an experiment against its rig; prints the schema of its file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from numpy.typing import NDArray

from opsicm.cli.rigs import load_rig, rig_numbers
from opsicm.cli.terminal import JsonFlag
from opsicm.core.errors import BadInput, OpsicmError, OutsideDomain, Problem
from opsicm.experiment.data_files import amplitude_maps
from opsicm.experiment.expansion import expanded
from opsicm.experiment.file import LoadedExperiment, read_experiment
from opsicm.forecast.prediction import HopPrediction, Prediction, predict
from opsicm.forecast.problems import problems
from opsicm.forecast.signals import TEN_HOP_CRITERION, Signal


def checked_file(file: Path, rig: str | None) -> list[tuple[LoadedExperiment, Prediction]]:
    """Every run of an experiment file with its prediction; raises `BadInput` with all problems."""
    all_problems: list[Problem] = []
    predictions: list[tuple[LoadedExperiment, Prediction]] = []
    for experiment in expanded(read_experiment(file)):
        try:
            predictions.append((experiment, checked_run(experiment, rig, None)))
        except BadInput as error:
            all_problems += [problem for problem in error.problems if problem not in all_problems]
    if all_problems:
        raise BadInput(all_problems)
    return predictions


def checked_run(experiment: LoadedExperiment, rig: str | None, seed: int | None) -> Prediction:
    """The prediction for one run; raises `BadInput` with every problem of the run on its rig."""
    if seed is not None and not 0 <= seed < 2**63:
        raise BadInput(Problem("--seed", str(seed), "must be 0 or more, and below 2^63", "give a whole number"))
    loaded = load_rig(experiment, rig)
    try:
        numbers = rig_numbers(experiment, loaded, seed)
        prediction = predict(experiment.experiment, numbers, _amplitude_maps(experiment))
    except OutsideDomain as error:  # raised by an equation, which does not know the file
        document = experiment.document
        raise BadInput(replace(p, file=document.name, line=document.line(())) for p in error.problems) from error
    if refusals := problems(experiment, numbers, prediction):
        raise BadInput(refusals)
    return prediction


def _amplitude_maps(experiment: LoadedExperiment) -> Mapping[str, NDArray[np.float64]]:
    """The experiment's amplitude maps [m]; none where one cannot be used, which `problems` reports."""
    try:
        return amplitude_maps(experiment)
    except BadInput:
        return {}


_PREFIXES: Final = {-15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G"}
_LEAST_SHARE: Final = 1e-4
_LEAST_COUNT: Final = 1e-3


def si_text(value: float, unit: str, digits: int = 3) -> str:
    """`value` in SI with the prefix that leaves one to three figures before the point: `3.19 nA`."""
    if value == 0.0 or not math.isfinite(value):
        return f"{value:g} {unit}"
    rounded = float(f"{value:.{digits - 1}e}")
    power = min(max(3 * math.floor(math.log10(abs(rounded)) / 3.0), min(_PREFIXES)), max(_PREFIXES))
    figure = rounded / 10.0**power
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(figure))))
    return f"{figure:.{decimals}f} {_PREFIXES[power]}{unit}"


def percent(share: float) -> str:
    """A share [1] in percent with two figures, or `less than 0.01 %`."""
    return f"{share * 100:.2g} %" if share >= _LEAST_SHARE else "less than 0.01 %"


def expected_count(count: float) -> str:
    """The expected number of events: `none` where it is below one in a thousand runs."""
    return "none" if count < _LEAST_COUNT else f"{count:.2g}"


def check_report(file: Path, predictions: list[tuple[LoadedExperiment, Prediction]]) -> str:
    """The output of `opsicm check` for a file without problems; for a series the common lines first."""
    blocks = [list(prediction_lines(prediction)) for _, prediction in predictions]
    lines = [f"{file}: no problems"]
    if len(blocks) == 1:
        return "\n".join([*lines, *(f"  {line}" for line in blocks[0])])
    common = [line for line in blocks[0] if all(line in block for block in blocks)]
    lines += [f"  {len(blocks)} runs, one after the other; in every one", *(f"  {line}" for line in common)]
    for (experiment, _), block in zip(predictions, blocks, strict=True):
        lines += [f"  {experiment.experiment.title}", *(f"  {line}" for line in block if line not in common)]
    return "\n".join(lines)


def prediction_lines(prediction: Prediction) -> Iterator[str]:
    """The lines of a prediction."""
    low, high = prediction.command_span
    yield f"duration         {_duration(prediction.duration)}"
    yield f"samples          {_samples(prediction)}"
    yield f"run file         about {si_text(prediction.file_bytes, 'B')}"
    far = prediction.far_current
    yield f"far current      {si_text(far, 'A')} at rest" if far else "far current      none at rest: the bias is 0 V"
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
    channels_text = {0: "none kept in full", 1: "one channel kept in full"}
    full = channels_text.get(prediction.channels_in_full, f"{prediction.channels_in_full} channels kept in full")
    return f"{si_text(prediction.samples, '').strip()} per channel, {full}"


def _hop_lines(hop: HopPrediction) -> Iterator[str]:
    times = f" on {hop.occasions} occasions" if hop.occasions > 1 else ""
    image = hop.per_image if hop.per_image is not None else 1000
    yield f"{hop.step:<16} {hop.hops} hops of {hop.period * 1e3:.1f} ms{times}, {hop.seconds:.0f} s"
    yield (
        f"                 stops {hop.stop_distance * 1e9:.1f} nm from the surface, overshoots by "
        f"{hop.overshoot * 1e9:.1f} nm; noise of one height {hop.height_noise * 1e9:.2f} nm"
    )
    yield (
        f"                 current noise {hop.noise_over_setpoint * 100:.2g} % of the setpoint: false stops "
        f"expected in {image} hops: {expected_count(hop.false_stop * image)}"
    )


def _signal_lines(signal: Signal, at_rest: float) -> Iterator[str]:
    yield f"{signal.step:<16} at {signal.height * 1e6:g} µm {_current_text(signal)}{_level_shift(signal, at_rest)}"
    if signal.height_change is not None and signal.height_noise is not None:
        yield f"                 {_height_text(signal.height_change, signal.height_noise)}"
    if signal.ten_hops is not None and signal.unstable_share is not None and signal.drift_per_fall is not None:
        yield (
            f"                 bulk current drifts by {percent(signal.drift_per_fall)} in an approach and "
            f"{percent(signal.ten_hops)} in ten hops at most, bias lag included (noise alone: "
            f"{percent(signal.ten_hops_of_noise or 0.0)})"
        )
        if signal.unstable_share > 0.0:
            yield (
                f"                 above the paper's {TEN_HOP_CRITERION * 100:g} % in ten hops for "
                f"{signal.unstable_share * signal.seconds:.0f} s of {signal.seconds:.0f} s"
            )


def _current_text(signal: Signal) -> str:
    noise = si_text(signal.noise, "A", 2)
    if signal.swing < signal.noise:
        return f"the current stays at {si_text(signal.high, 'A', 4)}: it changes by less than the noise, {noise}"
    ratio = signal.swing / signal.noise if signal.noise > 0.0 else float("inf")
    return (
        f"the current goes {signal.low * 1e9:.3f} … {signal.high * 1e9:.3f} nA: swing {si_text(signal.swing, 'A')}, "
        f"noise {noise}, signal/noise {_ratio(ratio)}"
    )


def _level_shift(signal: Signal, at_rest: float) -> str:
    """Offset from the value at rest of a current that hardly changes: at constant current the offset is the signal."""
    middle = 0.5 * (signal.low + signal.high)
    away = abs(middle) - at_rest
    if not at_rest or signal.word == "pipette_sweep" or abs(away) < max(signal.swing, 10.0 * signal.noise):
        return ""
    return f"; {si_text(abs(away), 'A')} {'above' if away > 0.0 else 'below'} its value at rest"


def _height_text(change: float, noise: float) -> str:
    if change < noise:
        return f"swelling stays below the noise of one height, {noise * 1e9:.2f} nm"
    return (
        f"swelling changes the height by {si_text(change, 'm')}, noise of one height {noise * 1e9:.2f} nm, "
        f"signal/noise {_ratio(change / noise)}"
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
        "restless": signal.unstable_share,
        "ten_hops_of_noise": signal.ten_hops_of_noise,
    }


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "until a cut-off"
    hours = f" ({seconds / 3600:.2f} h)" if seconds >= 3600 else ""
    return f"{seconds:.0f} s{hours}"


app = typer.Typer(add_completion=False)


@app.command(epilog="Example: opsicm check experiments/e09_height_during_voltammogram.yaml")
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Experiment files.")],
    rig: Annotated[str | None, typer.Option(help="Rig file or preset instead of the experiment's.")] = None,
    json: JsonFlag = False,
) -> None:
    """Check an experiment file and forecast the run.

    Lists every problem at once, each with its line, the limit and a remedy; without problems, the duration, the file
    size and the signals against their noise. Runs nothing.
    """
    from opsicm.cli.terminal import out as console
    from opsicm.cli.terminal import print_json, print_problems

    records: list[dict[str, Any]] = []
    bad = False
    for file in files:
        try:
            predictions = checked_file(file, rig)
        except OpsicmError as error:
            bad = True
            print_problems(error)
            problems = [{"file": p.file, "line": p.line, "problem": str(p)} for p in error.problems]
            records.append({"file": str(file), "ok": False, "problems": problems})
            continue
        for experiment, prediction in predictions:
            record = prediction_record(experiment, prediction)
            records.append({"file": str(file), "ok": True, "problems": [], **record})
        if not json:
            console.print(check_report(file, predictions), markup=False, soft_wrap=True)
    if json:
        print_json(records)
    raise typer.Exit(2 if bad else 0)


@app.command(epilog="Example: opsicm schema > opsicm.schema.json")
def schema() -> None:
    """Print the JSON Schema of the experiment file."""
    import json as json_module

    from opsicm.experiment.file import json_schema

    print(json_module.dumps(json_schema(), indent=2, ensure_ascii=False))
