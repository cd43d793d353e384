"""The scatter of every result over repeated runs, against the u that each run states: docs/reference/repeatability.md.

    python -m scripts.seed_scatter FOLDER [--only E5,E9] [--seeds 12] [--write]

runs each short experiment once per seed below FOLDER, on one specimen and with other noise each time, analyses every
run and prints a line per result; `--write` makes the page. Runs that FOLDER holds are not run again: it belongs to one
state of the simulation.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import numpy as np
from scipy.stats import chi2

import opsicm
from opsicm.experiment.expansion import expanded
from opsicm.experiment.file import LoadedExperiment, experiment_from_text
from opsicm.experiment.yaml_file import read_yaml, yaml_text
from opsicm.reproduction.cases import chosen_experiments, experiment_file, with_changes
from opsicm.reproduction.runs import begin_child, finished_run, run_into
from opsicm.reproduction.variants import CALIBRATED
from opsicm.results.run_or_file import results_of_path

PAGE: Final = Path(__file__).parents[1] / "docs/reference/repeatability.md"
PRESETS: Final = Path(opsicm.__file__).parent / "presets"
_WHITE: Final = ("amplifier_fA_rtHz", "height_nm")  # keys of a rig's noise
SEEDS: Final = 12
LOWEST, HIGHEST = 0.5, 2.0
"""Scatter over u that needs no reason. That of 12 runs is itself known to 21 %: 0.59 to 1.41 in 95 of 100."""


@dataclass(frozen=True, slots=True)
class Scatter:
    """One result over several runs: mean and standard deviation of its values, root mean square of its u."""

    experiment: str
    label: str
    quantity: str
    unit: str
    runs: int
    mean: float
    scatter: float
    u: float | None

    @property
    def ratio(self) -> float | None:
        """Scatter over u; None where neither is above 0 or u is not stated."""
        if self.u is None:
            return None
        return self.scatter / self.u if self.u > 0.0 else (None if self.scatter == 0.0 else math.inf)

    @property
    def is_off(self) -> bool:
        """Whether the page owes a reason."""
        return self.ratio is not None and not LOWEST <= self.ratio <= HIGHEST


def experiment_of(experiment: str, folder: Path) -> LoadedExperiment:
    """The short form of an experiment on one specimen; of what it varies the first value; its rig below `folder`.

    The rig has white noise alone: u of `analyse` is the scatter that a run shows, and what drifts more slowly than the
    run is in none (decision 0315).
    """
    path = experiment_file(experiment, short=True)
    name = str(read_yaml(path).data["rig"]).replace("/", "-")
    rig = dict(read_yaml(PRESETS / f"{name}.yaml").data)
    noise = {key: rig["world"]["noise"][key] for key in _WHITE}
    parameters = str(rig["world"]["parameters"])
    if parameters.endswith(".yaml"):
        parameters = str(PRESETS / parameters)
    rig["world"] = {**rig["world"], "noise": noise, "parameters": parameters}
    quiet = folder.resolve() / f"{name}-quiet.yaml"
    quiet.parent.mkdir(parents=True, exist_ok=True)
    quiet.write_text(yaml_text(rig), encoding="utf-8")
    changes = {**CALIBRATED, "twin.specimen_seed": 1, "rig": str(quiet)}
    whole = experiment_from_text(yaml_text(with_changes(read_yaml(path).data, changes)), str(path))
    return next(iter(expanded(whole)))


def run_once(loaded: LoadedExperiment, seed: int, folder: Path) -> Path:
    """The run file of `loaded` with `seed` in `folder`; raises RuntimeError where it fails."""
    done = finished_run(folder)
    if done is not None:
        return done
    path, reason = run_into(loaded, seed, folder, lambda: False, lambda _: None)
    if path is None:
        raise RuntimeError(f"{folder}: {reason}")
    return path


def _run_short(experiment: str, seed: int, folder: Path) -> Path:
    return run_once(experiment_of(experiment, folder), seed, folder / experiment / f"seed_{seed:02d}")


def _analysed(path: Path) -> list[tuple[str, str, str, float, float | None]]:
    return [(r.label, r.name, r.unit, r.value, r.u) for r in results_of_path(path, None, None) if r.value is not None]


def scatters(experiment: str, runs: Sequence[list[tuple[str, str, str, float, float | None]]]) -> Iterator[Scatter]:
    """A `Scatter` for each result that at least half of the analysed `runs` have."""
    found: dict[tuple[str, str, str], list[tuple[float, float | None]]] = {}
    for run in runs:
        for label, quantity, unit, value, u in run:
            found.setdefault((label, quantity, unit), []).append((value, u))
    for (label, quantity, unit), each in found.items():
        if len(each) < max(2, len(runs) / 2):
            continue
        values = np.array([value for value, _ in each])
        us = [u for _, u in each if u is not None]
        u = float(np.sqrt(np.mean(np.square(us)))) if us else None
        scatter = float(np.std(values, ddof=1))
        # Round-off of equal values is no scatter.
        scatter = 0.0 if scatter <= 1e-12 * float(np.max(np.abs(values))) else scatter
        yield Scatter(experiment, label, quantity, unit, values.size, float(values.mean()), scatter, u)


def measured(
    experiments: Sequence[str], folder: Path, seeds: int = SEEDS, workers: int = 2, say: Callable[[str], None] = print
) -> list[Scatter]:
    """Run and analyse; every result of every experiment."""
    out: list[Scatter] = []
    context = get_context("spawn")
    # Two pools, for HDF5 must not be loaded beside a live run.
    with (
        ProcessPoolExecutor(workers, context, begin_child) as running,
        ProcessPoolExecutor(1, context, begin_child) as analysing,
    ):
        jobs = {e: [running.submit(_run_short, e, seed, folder) for seed in range(1, seeds + 1)] for e in experiments}
        for experiment, each in jobs.items():
            runs = [analysing.submit(_analysed, job.result()).result() for job in each]
            out += scatters(experiment, runs)
            say(f"{experiment}: {len(runs)} runs")
    return out


def line(s: Scatter) -> str:
    """A line of the table on the terminal."""
    u = "none" if s.u is None else f"{s.u:.3g}"
    ratio = "" if s.ratio is None else f"{s.ratio:.2f}"
    mark = "*" if s.is_off else " "
    return f"{mark} {s.experiment:4} {s.label:58} {s.mean:12.6g} {s.scatter:10.3g} {u:>10} {ratio:>7}  {s.unit}"


_PLACE = "u is that of the surface as a sample: what another place on it would give; repeated here only noise changes"
_COUNTER = "the twin's charge counter has no noise; u says how far the rows confirm it, their noise and their gaps"
_GRID = "the answer lies on a grid of charge or potential, and u is half a step of it as a rectangle"
_REST = "u is what the rest had not yet relaxed, or the bend of the transient: the same in every repetition"
_MODEL = "u holds what the model does not follow, which repeats: the bend within the window, drift, cross-talk"
_CHANCE = (
    "u allows for any instant at which the bias may have been read last; after a programmed change of control, and at "
    "a vertex, the readings have a fixed phase"
)
_WIDE = "rows on either side, or both directions, differ by more than noise, and u takes that for scatter"

REASONS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("Sq", "Rq", "Sa", "Sz", "Ssk", "Sku"), _PLACE),
    **dict.fromkeys(
        (
            "hop_period",
            "line_period",
            "height_change_over_pixels",
            "height_left_over_pixels",
            "irreversible_share",
            "irreversible_area",
            "near_surface_difference",
            "near_surface_geometry_alone",
        ),
        _PLACE,
    ),
    **dict.fromkeys(("charge", "soc_at_end"), _COUNTER),
    **dict.fromkeys(
        ("dq_dv_highest", "stage_end", "transition_from_potential", "transition_from_height", "capacity"), _GRID
    ),
    **dict.fromkeys(
        (
            "relaxed_potential",
            "diffusivity",
            "pipette_step_ohmic",
            "pipette_step_diffusive",
            "pipette_slope",
            "pipette_change_over_rests",
        ),
        _REST,
    ),
    **dict.fromkeys(
        (
            "height_change",
            "expansion",
            "expansion_first_half",
            "expansion_second_half",
            "kymograph_largest_change",
            "shift_x",
            "shift_y",
            "near_less_far_current",
            "gradient_extent",
            "flake_height_change",
            "flake_height_change_spread",
        ),
        _MODEL,
    ),
    **dict.fromkeys(("bias_residual", "ten_hop_bulk_change", "height_cross_talk"), _CHANCE),
    **dict.fromkeys(("peak_current", "peak_potential", "pipette_change_at_peak", "rectification"), _WIDE),
}
"""Quantity: why its scatter may be less than half of its u. None of these excuses a scatter above twice u."""
TOO_SMALL: Final[Mapping[tuple[str, str], str]] = {
    ("E11", "peak_potential"): (
        "a peak that the ohmic drop makes broad and asymmetric: the width of the fitted parabola is chosen from the "
        "same noise; 1.97 over 30 runs"
    )
}
"""(Experiment, quantity): a known u that is too small, by no more than chance can make of twice u."""


def largest_by_chance(runs: int) -> float:
    """The ratio that so many runs show of a true one of `HIGHEST` in 95 of 100 cases at most: 2.67 of twelve."""
    return float(HIGHEST * math.sqrt(chi2.ppf(0.95, runs - 1) / (runs - 1)))


def unexplained(found: Sequence[Scatter]) -> list[Scatter]:
    """Those that scatter by more than twice their u, or by less than half of it, without a reason."""
    return [s for s in found if s.is_off and not _excused(s)]


def _excused(s: Scatter) -> bool:
    if (s.ratio or 0.0) > HIGHEST:
        return (s.experiment, s.quantity) in TOO_SMALL and (s.ratio or 0.0) <= largest_by_chance(s.runs)
    return s.quantity in REASONS


_INTRODUCTION: Final = """\
# Scatter of every result over repeated runs

Each short experiment was run {seeds} times on one specimen, with other white noise of amplifier, scanner and
potentiostat each time ([the twin's noise](rig-file.md)), without the slow noise of the presets, which no u of a single
run can know ([0315](../explanations/decisions/0315-every-rig-has-slow-noise.md)).
`scatter` is the standard deviation of a result over the runs, `u` the root
mean square of the repeatability that each run states, `ratio` the one over the other; from {seeds} runs it is itself
known to {share:.0f} %. A ratio above 2 is a u that promises too much: `make long` fails where one appears without a
reason here. Below 0.5 u is wider than what repeating the run on this twin shows, for the reason that the table names.
Several results of one quantity (stages, images, levellings) are one row: how many, the medians, the range of the ratio.
Made by `python -m scripts.seed_scatter FOLDER --write`.

| experiment | quantity | results | scatter | u | unit | ratio | reason |
|---|---|---|---|---|---|---|---|
"""


def page(found: Sequence[Scatter], seeds: int) -> str:
    """The page: one row per experiment and quantity, then the reasons."""
    reasons = list(dict.fromkeys((*REASONS.values(), *TOO_SMALL.values())))
    groups: dict[tuple[str, str, str], list[Scatter]] = {}
    for each in found:
        if each.ratio is not None:
            groups.setdefault((each.experiment, each.quantity, each.unit), []).append(each)
    lines = []
    for (experiment, quantity, unit), some in groups.items():
        ratios = [s.ratio for s in some if s.ratio is not None]
        low, high = min(ratios), max(ratios)
        ratio = f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f}–{high:.2f}"
        why = REASONS.get(quantity) if low < LOWEST else TOO_SMALL.get((experiment, quantity))
        number = "" if why is None else str(reasons.index(why) + 1)
        scatter = float(np.median([s.scatter for s in some]))
        u = float(np.median([s.u for s in some if s.u is not None]))
        shown = "" if unit == "1" else unit.replace("MOhm", "MΩ")
        lines.append(
            f"| {experiment} | `{quantity}` | {len(some)} | {scatter:.2g} | {u:.2g} | {shown} | {ratio} | {number} |"
        )
    listed = "\n".join(f"{k}. {reason}." for k, reason in enumerate(reasons, start=1))
    introduction = _INTRODUCTION.format(seeds=seeds, share=100.0 / (2.0 * (seeds - 1)) ** 0.5)
    without = sorted({s.quantity for s in found if s.u is None})
    note = f"\nWithout a u: {', '.join(f'`{name}`' for name in without)}.\n" if without else ""
    return f"{introduction}{chr(10).join(lines)}\n{note}\nReasons:\n\n{listed}\n"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    found = measured(chosen_experiments(chosen.only), chosen.folder, chosen.seeds)
    for each in found:
        print(line(each))
    for each in unexplained(found):
        print("unexplained", line(each))
    if chosen.write:
        PAGE.write_text(page(found, chosen.seeds), encoding="utf-8")
    (chosen.folder / "scatter.json").write_text(json.dumps([asdict(s) for s in found], indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
