"""`opsicm check` and `opsicm schema`: checks an experiment against its rig, shows its time line; prints the schema."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import numpy as np
import typer
from numpy.typing import NDArray

from opsicm.cli.terminal import JsonFlag
from opsicm.core.errors import BadInput, OpsicmError, OutsideDomain, Problem

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from opsicm.experiment.file import LoadedExperiment
    from opsicm.figures.view import View
    from opsicm.forecast.prediction import HopPrediction, Prediction
    from opsicm.forecast.signals import Signal
    from opsicm.forecast.time_line import TimedStep, TimeLine


def checked_file(file: Path, rig: str | None) -> list[tuple[LoadedExperiment, Prediction]]:
    """Every run of an experiment file with its prediction; raises `BadInput` with all problems."""
    from opsicm.experiment.file import read_experiment

    return checked_series(read_experiment(file), rig)


def checked_series(loaded: LoadedExperiment, rig: str | None) -> list[tuple[LoadedExperiment, Prediction]]:
    """Every run of an experiment with its prediction; raises `BadInput` with the problems of all of them."""
    from opsicm.experiment.expansion import expanded

    all_problems: list[Problem] = []
    predictions: list[tuple[LoadedExperiment, Prediction]] = []
    for experiment in expanded(loaded):
        try:
            predictions.append((experiment, checked_run(experiment, rig, None)))
        except BadInput as error:
            all_problems += [problem for problem in error.problems if problem not in all_problems]
    if all_problems:
        raise BadInput(all_problems)
    return predictions


def checked_run(experiment: LoadedExperiment, rig: str | None, seed: int | None) -> Prediction:
    """The prediction for one run; raises `BadInput` with every problem of the run on its rig."""
    from opsicm.cli.rigs import load_rig, rig_numbers
    from opsicm.forecast.prediction import predict
    from opsicm.forecast.problems import problems

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
    from opsicm.experiment.data_files import amplitude_maps

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
    plans = [list(time_line_lines(plan_of(experiment, prediction))) for experiment, prediction in predictions]
    lines = [f"{file}: no problems"]
    if len(blocks) == 1:
        return "\n".join([*lines, *(f"  {line}" for line in blocks[0] + plans[0])])
    common = [line for line in blocks[0] if all(line in block for block in blocks)]
    together = all(plan == plans[0] for plan in plans)
    lines += [f"  {len(blocks)} runs, one after the other; in every one", *(f"  {line}" for line in common)]
    lines += [f"  {line}" for line in plans[0] if together]
    for (experiment, _), block, plan in zip(predictions, blocks, plans, strict=True):
        lines += [f"  {experiment.experiment.title}", *(f"  {line}" for line in block if line not in common)]
        lines += [f"  {line}" for line in plan if not together]
    return "\n".join(lines)


# -- The time line.


def plan_of(loaded: LoadedExperiment, prediction: Prediction) -> TimeLine:
    """The time line of one run."""
    from opsicm.forecast.time_line import time_line

    return time_line(loaded.experiment, prediction.cell, prediction.windows)


def time_line_lines(plan: TimeLine) -> Iterator[str]:
    """The time line: each step of the cell, and below it what the probe does from then on and what it waits for."""
    from opsicm.physics.specimen.clearance import WITHDRAWN

    yield "time line"
    first = 0
    while first < len(plan.steps):
        period, rounds = _rounds(plan.steps, first)
        for step in plan.steps[first : first + period]:
            name = f"{'' if step.track == 'cell' else '  '}{step.path}"
            yield f"  {name:<14} {_periods(step, plan.end):<21} {step.word}{_when(step)}: {_short(step.what)}"
        first += period * rounds
        if rounds > 1:
            last = plan.steps[first - 1]
            yield f"  {'…':<14} {_periods(last, plan.end):<21} the same {rounds - 1} times more, to {last.path}"
    if plan.idle:
        spans = [f"{_clock(span.start, plan.end)} – {_clock(span.end, plan.end)}" for span in plan.idle[:_MOST_IDLE]]
        more = f" and {len(plan.idle) - _MOST_IDLE} times more" if len(plan.idle) > _MOST_IDLE else ""
        yield f"    {'no probe step':<12} {', '.join(spans)}{more}: the pipette waits {WITHDRAWN * 1e6:g} µm up"


def _rounds(steps: Sequence[TimedStep], first: int) -> tuple[int, int]:
    """(steps of a round, rounds) that follow one another from step `first` on; rounds 1 where nothing is repeated."""
    alike = [(step.track, step.word, step.what, step.when) for step in steps[first:]]
    for period in range(1, _LONGEST_ROUND + 1):
        rounds = 1
        while alike[rounds * period : (rounds + 1) * period] == alike[:period]:
            rounds += 1
        if rounds >= _FEWEST_ROUNDS:
            return period, rounds
    return 1, 1


_LONGEST_ROUND: Final = 4
_FEWEST_ROUNDS: Final = 3
_MOST_IDLE: Final = 3
_LONGEST_SETTINGS: Final = 140


def _periods(step: TimedStep, end: float) -> str:
    if not step.spans:
        return "never"
    return f"{_clock(step.spans[0].start, end)} – {_clock(step.spans[-1].end, end)}"


def _when(step: TimedStep) -> str:
    """What a step waits for, how often it runs and how long each time, and whether it is cut off."""
    words = [step.when] if step.when else []
    count = len(step.spans)
    if count and (step.deferred or (step.track == "cell" and count > 1)):
        longest = max(span.end - span.start for span in step.spans)
        words.append(f"{count} times of {_lasting(longest)}" if count > 1 else f"once, {_lasting(longest)}")
    elif count > 1:
        words.append(f"in {count} parts")
    if not count:
        words.append("does not come about in this forecast")
    elif step.spans[-1].cut:
        last = step.spans[-1]
        words.append(f"the last cut off after {_lasting(last.end - last.start)}" if step.deferred else "cut off")
    return f" ({', '.join(words)})" if words else ""


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_SETTINGS else text[: _LONGEST_SETTINGS - 1] + "…"


def _clock(seconds: float, end: float) -> str:
    """A time of a run that lasts `end` [s]: hours, minutes and seconds, or seconds where it is short."""
    if end < _SHORT_RUN:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _lasting(seconds: float) -> str:
    """A duration with two or three figures."""
    for factor, unit in ((3600.0, "h"), (60.0, "min")):
        if seconds >= 2.0 * factor:
            return f"{seconds / factor:.3g} {unit}"
    return f"{seconds:.3g} s"


_SHORT_RUN: Final = 600.0


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
    of_drift = max(hop.false_stop - hop.false_stop_of_noise, 0.0) * image
    if expected_count(of_drift) != "none":
        yield (
            f"                 of these {expected_count(hop.false_stop_of_noise * image)} by noise alone, "
            f"{expected_count(of_drift)} because the current"
        )
        yield (
            f"                 drifts by up to {percent(hop.drift_over_setpoint)} of the setpoint in an approach: "
            "approach faster"
        )
        yield "                 or from nearer, raise setpoint_pct, or let the cell go more slowly"


def _signal_lines(signal: Signal, at_rest: float) -> Iterator[str]:
    from opsicm.forecast.signals import TEN_HOP_CRITERION

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
        return f"expansion stays below the noise of one height, {noise * 1e9:.2f} nm"
    return (
        f"expansion changes the height by {si_text(change, 'm')}, noise of one height {noise * 1e9:.2f} nm, "
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
        "time_line": [_timed_step_record(step) for step in plan_of(experiment, prediction).steps],
    }


def _timed_step_record(step: TimedStep) -> dict[str, Any]:
    spans = [{"start_s": span.start, "end_s": span.end, "cut": span.cut} for span in step.spans]
    return {"track": step.track, "step": step.path, "word": step.word, "when": step.when, "spans": spans}


def _hop_record(hop: HopPrediction) -> dict[str, Any]:
    return {
        "step": hop.step,
        "hops": hop.hops,
        "period_s": hop.period,
        "stop_distance_m": hop.stop_distance,
        "overshoot_m": hop.overshoot,
        "height_noise_m": hop.height_noise,
        "noise_over_setpoint": hop.noise_over_setpoint,
        "drift_over_setpoint": hop.drift_over_setpoint,
        "false_stop_probability": hop.false_stop,
        "false_stop_probability_of_noise": hop.false_stop_of_noise,
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


_PICTURES: Final = (".png", ".svg", ".pdf")


def draw_plans(file: Path, predictions: list[tuple[LoadedExperiment, Prediction]]) -> list[tuple[Path, int]]:
    """Draw the time line to `file`: (path, how many runs it holds for), numbered where runs have different ones.

    Fifteen salts are fifteen runs with one plan: runs of an experiment whose curves and steps agree share a picture.
    """
    from opsicm.core.output_file import write_output
    from opsicm.figures.draw import draw
    from opsicm.figures.time_line import time_line_view
    from opsicm.figures.view import to_csv

    plans: dict[str, list[View]] = {}
    for experiment, prediction in predictions:
        view = time_line_view(plan_of(experiment, prediction), prediction.cell, experiment.experiment.title)
        plans.setdefault(to_csv(replace(view, title=experiment.document.name)), []).append(view)
    drawn: list[tuple[Path, int]] = []
    for number, views in enumerate(plans.values(), start=1):
        path = file if len(plans) == 1 else file.with_stem(f"{file.stem}-{number}")
        more = f", the same for {len(views)} runs" if len(views) > 1 else ""
        buffer = io.BytesIO()
        draw(replace(views[0], title=views[0].title + more)).savefig(buffer, format=path.suffix[1:].lower(), dpi=110)
        write_output(path, buffer.getvalue(), "time line", "--plot")
        drawn.append((path, len(views)))
    return drawn


def _refuse_other_pictures(plot: Path | None) -> None:
    if plot is not None and plot.suffix.lower() not in _PICTURES:
        limit = f"a picture is {', '.join(_PICTURES)}"
        raise BadInput(Problem("--plot", str(plot), limit, f"as --plot {plot.with_suffix('.png').name}"))


@app.command(epilog="Example: opsicm check experiments/e09_height_during_voltammogram.yaml --plot plan.png")
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Experiment files.")],
    rig: Annotated[str | None, typer.Option(help="Rig file or preset instead of the experiment's.")] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="PICTURE", help="Draw the time line to this file: .png, .svg, .pdf."),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Check an experiment file and forecast the run.

    Lists every problem at once, each with its line, the limit and a remedy; without problems, the duration, the file
    size, the signals against their noise, and the time line: when each step runs and what it waits for. Runs nothing.
    """
    from opsicm.cli.rigs import load_rig
    from opsicm.cli.terminal import out as console
    from opsicm.cli.terminal import print_json, print_problems
    from opsicm.cli.verification import instrument_lines, instrument_record

    records: list[dict[str, Any]] = []
    planned: list[tuple[LoadedExperiment, Prediction]] = []
    bad = False
    _refuse_other_pictures(plot)
    for file in files:
        try:
            predictions = checked_file(file, rig)
        except OpsicmError as error:
            bad = True
            print_problems(error)
            problems = [{"file": p.file, "line": p.line, "problem": str(p)} for p in error.problems]
            records.append({"file": str(file), "ok": False, "problems": problems})
            continue
        planned += predictions
        for experiment, prediction in predictions:
            record = prediction_record(experiment, prediction)
            played = instrument_record(load_rig(experiment, rig))
            records.append({"file": str(file), "ok": True, "problems": [], **record, **played})
        if not json:
            console.print(check_report(file, predictions), markup=False, soft_wrap=True)
            for line in instrument_lines(load_rig(predictions[0][0], rig)):
                console.print(f"  {line}", markup=False, soft_wrap=True)
    pictures = draw_plans(plot, planned) if plot is not None else []
    if json:
        print_json(records)
    for picture, runs in pictures if not json else []:
        held = f" (the same for {runs} runs)" if runs > 1 else ""
        console.print(f"time line drawn  {picture}{held}", markup=False)
    raise typer.Exit(2 if bad else 0)


@app.command(epilog="Example: opsicm schema > opsicm.schema.json")
def schema() -> None:
    """Print the JSON Schema of the experiment file."""
    import json as json_module

    from opsicm.experiment.schema import json_schema

    print(json_module.dumps(json_schema(), indent=2, ensure_ascii=False))
