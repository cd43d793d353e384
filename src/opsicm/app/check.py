"""Check: an experiment against its rig, before anything moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from opsicm.app.rigs import load_rig, rig_numbers
from opsicm.errors import BadInput, Problem
from opsicm.preflight.prediction import Prediction, predict
from opsicm.preflight.problems import problems
from opsicm.protocol.experiment_file import LoadedExperiment, read_experiment


def checked(file: Path, rig: str | None) -> Prediction:
    """The prediction for an experiment file; raises `BadInput` with every problem found."""
    return refuse(read_experiment(file), rig, None)


def refuse(experiment: LoadedExperiment, rig: str | None, seed: int | None) -> Prediction:
    """The prediction for an experiment; raises `BadInput` with every problem between it and its rig."""
    if seed is not None and not 0 <= seed < 2**63:
        raise BadInput(Problem("--seed", str(seed), "must be 0 or more, and below 2^63", "give a whole number"))
    loaded = load_rig(experiment, rig)
    numbers = rig_numbers(experiment, loaded)
    prediction = predict(experiment.experiment, numbers)
    found = problems(experiment, numbers, prediction)
    if found:
        raise BadInput(found)
    return prediction


def prediction_text(file: Path, prediction: Prediction) -> str:
    """A prediction in words and figures."""
    low, high = prediction.command_span
    lines = [f"{file}: no problems"]
    lines.append(f"  duration         {_duration(prediction.duration)}")
    if prediction.samples is not None and prediction.file_bytes is not None:
        size = prediction.file_bytes * 1e-6
        lines.append(f"  samples          {prediction.samples:.3g} per channel in full, run file about {size:.3g} MB")
    lines.append(f"  far current      {prediction.far_current * 1e9:.3g} nA at rest")
    lines.append(f"  bias command     {low:.2f} … {high:.2f} V")
    for hop in prediction.hops:
        count = "hops until a cut-off," if hop.hops is None else f"{hop.hops} hops of"
        lines.append(
            f"  {hop.step}         {count} {hop.period * 1e3:.1f} ms; stop {hop.stop_distance * 1e9:.1f} nm "
            f"from the surface, overshoot {hop.overshoot * 1e9:.1f} nm; height noise {hop.height_noise * 1e9:.2f} nm; "
            f"current noise {hop.noise_over_setpoint * 100:.2g} % of the setpoint"
        )
    return "\n".join(lines)


def prediction_record(prediction: Prediction) -> dict[str, Any]:
    """A prediction with stable keys, SI."""
    return {
        "duration_s": prediction.duration,
        "samples": prediction.samples,
        "file_bytes": prediction.file_bytes,
        "far_current_A": prediction.far_current,
        "command_V": list(prediction.command_span),
        "hops": [
            {
                "step": hop.step,
                "hops": hop.hops,
                "period_s": hop.period,
                "stop_distance_m": hop.stop_distance,
                "overshoot_m": hop.overshoot,
                "height_noise_m": hop.height_noise,
                "noise_over_setpoint": hop.noise_over_setpoint,
            }
            for hop in prediction.hops
        ],
    }


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "until a cut-off"
    hours = f" ({seconds / 3600:.2f} h)" if seconds >= 3600 else ""
    return f"{seconds:.0f} s{hours}"
