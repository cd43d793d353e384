"""An experiment through every vendor's client on an emulated bench, against the twin alone.

    python -m scripts.emulated_against_twin FOLDER [--only E9] [--write]

starts `opsicm emulate` in a process of its own, as in another terminal, runs each experiment on it and on the twin,
both with the same specimen, and compares what `analyse` says of the two runs: docs/reference/emulated-bench.md. An
emulated bench keeps real time: E9 in short form takes 20 minutes, E5 47. Runs that FOLDER holds are not run again.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from opsicm.record.reader import Run
from opsicm.results.run_or_file import results_of_path

PAGE: Final = Path(__file__).parents[1] / "docs/reference/emulated-bench.md"
_EXPERIMENTS: Final = Path(__file__).parents[1] / "experiments"
CASES: Final = {
    "E9": ("short/e09_height_during_voltammogram.yaml", "rigs/emulated.yaml"),
    "E5": ("short/e05_titration.yaml", "rigs/emulated-smu.yaml"),
}
"""Experiment → its short form and the bench on which it runs."""
_READY: Final = 180.0  # [s] for an emulator whose kernels are compiled first
SIGMAS: Final = 3.0  # of the two u together within which two runs agree


@dataclass(frozen=True, slots=True)
class Comparison:
    """One result of both runs: `value` and `u` on the bench, and those of the twin."""

    name: str
    unit: str
    value: float
    u: float
    twin: float
    u_twin: float

    @property
    def sigmas(self) -> float:
        """|difference| over both repeatabilities together."""
        u = math.hypot(self.u, self.u_twin)
        return abs(self.value - self.twin) / u if u > 0.0 else (0.0 if self.value == self.twin else math.inf)


@contextmanager
def on_the_wire(rig: Path, experiment: Path, log: Path) -> Iterator[None]:
    """`opsicm emulate` in a process of its own while the block runs."""
    command = [sys.executable, "-u", "-m", "opsicm", "emulate", str(rig), "--experiment", str(experiment)]
    with log.open("w", encoding="utf-8") as out:
        emulator = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    try:
        began = time.monotonic()
        while "on the wire" not in log.read_text(encoding="utf-8"):
            if emulator.poll() is not None or time.monotonic() - began > _READY:
                raise RuntimeError(f"opsicm emulate {rig}: {log.read_text(encoding='utf-8') or 'not ready'}")
            time.sleep(0.1)
        yield
    finally:
        emulator.send_signal(signal.SIGINT)
        emulator.wait(30.0)


def run_of(experiment: Path, out: Path, *options: str) -> Path:
    """The run folder of `opsicm run`, made in a process of its own unless `out` holds a completed one."""
    if not (found := _completed(out)):
        command = [sys.executable, "-m", "opsicm", "run", str(experiment), "--out", str(out), *options]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"}
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
        found = _completed(out)
    return found[-1]


def _completed(out: Path) -> list[Path]:
    found = []
    for path in sorted(out.glob("*/run.nxs")):
        with Run(path) as run:
            if run.outcome == "completed":
                found.append(path.parent)
    return found


def both(experiment: Path, rig: Path, folder: Path) -> tuple[Path, Path]:
    """(run on the bench, run on the twin) of one experiment."""
    folder.mkdir(parents=True, exist_ok=True)
    twin = run_of(experiment, folder / "twin")
    if not _completed(folder / "bench"):
        with on_the_wire(rig, experiment, folder / "emulator.log"):
            run_of(experiment, folder / "bench", "--rig", str(rig))
    return run_of(experiment, folder / "bench"), twin


def compared(bench: Path, twin: Path) -> list[Comparison]:
    """Every result that both runs have with an uncertainty."""
    here, there = ({(r.name, r.of, r.index): r for r in results_of_path(run, None)} for run in (bench, twin))
    return [
        Comparison(f"{r.name}_{r.index}" if r.index else r.name, r.unit, r.value, r.u, other.value, other.u)
        for key, r in here.items()
        if (other := there.get(key)) is not None
        and None not in (r.value, r.u, other.value, other.u)
        and r.value is not None
        and r.u is not None
        and other.value is not None
        and other.u is not None
    ]


def table(comparisons: Sequence[Comparison]) -> list[str]:
    """The comparison as lines of Markdown."""
    lines = ["| result | bench | twin | unit | difference / u |", "|---|---|---|---|---|"]
    lines += [
        f"| `{c.name}` | {c.value:.5g} ± {c.u:.2g} | {c.twin:.5g} ± {c.u_twin:.2g} | {c.unit} | {c.sigmas:.1f} |"
        for c in comparisons
    ]
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, compare, print; `--write` makes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args(arguments)
    text = [(__doc__ or "").partition("\n")[0], ""]
    for name in given.only.split(","):
        experiment, rig = (_EXPERIMENTS / each for each in CASES[name])
        bench, twin = both(experiment, rig, given.folder / name)
        comparisons = compared(bench, twin)
        far = [c for c in comparisons if c.sigmas > SIGMAS]
        said = f"{len(comparisons)} results, {len(far)} of them farther apart than {SIGMAS:g} u"
        text += [f"## {name}: `{CASES[name][0]}` on `{CASES[name][1]}`", "", said + ".", "", *table(comparisons), ""]
    print("\n".join(text))
    if given.write:
        PAGE.write_text("\n".join(["# An emulated bench against the twin", "", *text]), encoding="utf-8")


if __name__ == "__main__":
    main()
