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

from opsicm.experiment.expansion import expanded
from opsicm.experiment.file import LoadedExperiment, experiment_from_text
from opsicm.experiment.yaml_file import read_yaml, yaml_text
from opsicm.reproduction.cases import chosen_experiments, experiment_file, with_changes
from opsicm.reproduction.runs import begin_child, finished_run, run_into
from opsicm.reproduction.variants import CALIBRATED
from opsicm.results.run_or_file import results_of_path

PAGE: Final = Path(__file__).parents[1] / "docs/reference/repeatability.md"
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


def experiment_of(experiment: str) -> LoadedExperiment:
    """The short form of an experiment on one specimen; of what it varies the first value."""
    path = experiment_file(experiment, short=True)
    changes = {**CALIBRATED, "twin.specimen_seed": 1}
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
    return run_once(experiment_of(experiment), seed, folder / experiment / f"seed_{seed:02d}")


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


REASONS: Final[Mapping[str, str]] = {}
"""Quantity: why its scatter over u is not between 0.5 and 2."""


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
    (chosen.folder / "scatter.json").write_text(json.dumps([asdict(s) for s in found], indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
