"""How far every predicted row follows each assumed number: one at a time, to the ends of what is known of it.

The numbers are the leaves of the parameter set whose status is *assumed*, at the ends of their interval or at
value ± u, words at the other choice, and three settings that no set states: cone and wall of the pipette, and the
compensation. The experiments run in their short forms. What a variation gives of an experiment is kept as a small file
under the hash of its runs and of the code that evaluates them, so that nothing is computed twice and no run is kept.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from opsicm.core.errors import BadInput, Problem
from opsicm.experiment.parameter_file import parameter_set
from opsicm.experiment.yaml_file import yaml_text
from opsicm.physics.parameters import Leaf
from opsicm.reproduction.cases import Case, cases_of, own_compensation, package_hash
from opsicm.reproduction.paper import ROWS, Row, Verdict
from opsicm.reproduction.runs import CaseRun, begin_child, run_into
from opsicm.reproduction.variants import CALIBRATED, COMPENSATION_PCT, DeclaredSet

ALL: Final = "all"
_EVALUATING: Final = ("analysis", "results", "record", "reproduction")
# The other choice where a set assumes a word.
_OTHER: Final[dict[str, dict[str, Any]]] = {
    "facing": {"value": "down"},
    "counter": {"value": "side"},
    "disk_radius": {"value": 3.99, "unit": "mm", "u": "unstated"},
    "conductivity_curve": {"value": "proportional"},
}
_CONE_deg: Final = (3.0, 5.0)
_WALL: Final = (1.3, 1.72)  # outer over inner radius; 1.72 is the capillary's before it is pulled
_COMPENSATION: Final = "ir_compensation_pct"
_POLL_s: Final = 0.2


@dataclass(frozen=True, slots=True)
class Variation:
    """One assumed number at one end: `name` of the leaf or setting, `end` as it is printed, and the set that has it."""

    name: str
    end: str
    chosen: DeclaredSet


@dataclass(frozen=True, slots=True)
class Effect:
    """What a row gives at both ends of an assumed number, and with what; None where there is no number.

    `applies` is false where the number cannot reach the experiment: the compensation, where the short form states its
    own.
    """

    name: str
    ends: tuple[str, str]
    here: tuple[float | None, float | None]
    applies: bool = True

    @property
    def text(self) -> str:
        """The name and both ends."""
        (low, _, low_unit), (_, _, high_unit) = (end.partition(" ") for end in self.ends)
        first = low if low_unit == high_unit else self.ends[0]
        return f"{self.name} {first} … {self.ends[1]}"

    def span(self, base: float) -> float:
        """The larger departure from `base`."""
        return max((abs(value - base) for value in self.here if value is not None), default=0.0)


@dataclass(frozen=True, slots=True)
class RowSensitivity:
    """A predicted row, what the set itself gives of it, and the effect of every assumed number, the largest first."""

    row: Row
    base: float
    u: float | None
    effects: tuple[Effect, ...] = field(default=())

    def judged(self, here: float) -> Verdict | None:
        """The verdict on another number of this row, with the same u."""
        return self.row.judge(here, self.u)

    def record(self) -> dict[str, Any]:
        """The keys that `--json` prints."""
        return {
            "id": self.row.id,
            "quantity": self.row.quantity,
            "unit": self.row.unit,
            "paper": self.row.paper,
            "here": self.base,
            "verdict": self.judged(self.base),
            "effects": [
                {
                    "name": effect.name,
                    "ends": list(effect.ends),
                    "here": list(effect.here),
                    "applies": effect.applies,
                    "verdicts": [None if value is None else self.judged(value) for value in effect.here],
                }
                for effect in self.effects
            ],
        }


def assumed(chosen: DeclaredSet) -> tuple[dict[str, tuple[str | None, str | None]], tuple[str, ...]]:
    """The assumed numbers of a set with their two ends as text (None: the set itself), and those without a range."""
    ends: dict[str, tuple[str | None, str | None]] = {}
    without: list[str] = []
    for name, leaf in sorted(parameter_set(chosen.name).leaves.items()):
        if leaf.status != "assumed":
            continue
        if name in _OTHER and leaf.unit == "word":
            other = _OTHER[name]
            same = other["value"] == leaf.value
            ends[name] = (None, None if same else f"{other['value']} {other.get('unit', '')}".strip())
        elif (span := _span(leaf)) is not None:
            ends[name] = span
        else:
            without.append(name)
    ends["cone_deg"] = (f"{_CONE_deg[0]:g}", f"{_CONE_deg[1]:g}")
    ends["wall"] = (f"{_WALL[0]:g}", f"{_WALL[1]:g}")
    compensation = chosen.compensation_pct
    ends[_COMPENSATION] = ("0" if compensation else None, f"{COMPENSATION_PCT:g}")
    return ends, tuple(without)


def _span(leaf: Leaf) -> tuple[str | None, str | None] | None:
    if not isinstance(leaf.value, float):
        return None
    if leaf.interval is not None:
        low, high = leaf.interval
    elif leaf.u:
        low, high = leaf.value - leaf.u, leaf.value + leaf.u
    else:
        return None
    unit = "" if leaf.unit == "1" else f" {leaf.unit}"
    at = tuple(None if end == leaf.value else f"{end:.6g}{unit}" for end in (low, high))
    return at[0], at[1]


def chosen_names(text: str, chosen: DeclaredSet) -> tuple[str, ...]:
    """The assumed numbers that `--sensitivity transference,cone_deg` names; every one for `all`."""
    known, without = assumed(chosen)
    if text == ALL:
        return tuple(known)
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        reason = "has no range" if set(unknown) & set(without) else "is no assumed number of the set"
        limit = f"{reason}; those with a range are {', '.join(known)}"
        raise BadInput(Problem("--sensitivity", ", ".join(unknown) or repr(text), limit, "name some of these, or all"))
    return names


def variations(chosen: DeclaredSet, names: Iterable[str], folder: Path) -> list[Variation]:
    """Every named number at each of its ends that differs from the set; the changed sets are written into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    known, _ = assumed(chosen)
    made = []
    for name in names:
        for which, end in zip(("low", "high"), known[name], strict=True):
            if end is not None:
                made.append(Variation(name, end, _varied(chosen, name, end, folder / f"{name}-{which}.yaml")))
    return made


def _varied(chosen: DeclaredSet, name: str, end: str, path: Path) -> DeclaredSet:
    if name == _COMPENSATION:
        return replace(chosen, compensation_pct=float(end))
    if name in ("cone_deg", "wall"):
        return replace(chosen, changes={**CALIBRATED, **chosen.changes, f"pipette.{name}": float(end)})
    leaf: dict[str, Any] = dict(_OTHER.get(name, {}))
    if not leaf:
        value, _, unit = end.partition(" ")
        leaf = {"value": float(value), "unit": unit or "1", "u": "unstated"}
    stated = {**leaf, "status": "assumed", "source": f"an end of what is known of {name}"}
    text = yaml_text({"title": f"{name} at {end}", "parents": [chosen.name], name: stated})
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
    return replace(chosen, name=str(path.resolve()))


@dataclass(frozen=True, slots=True)
class _Job:
    """The runs of one experiment under one variation (None: the set itself)."""

    variation: Variation | None
    experiment: str
    cases: tuple[Case, ...]

    @property
    def key(self) -> str:
        parts = (self.experiment, *(case.key for case in self.cases), package_hash(_EVALUATING))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def sensitivities(
    chosen: DeclaredSet,
    experiments: Sequence[str],
    names: Sequence[str],
    folder: Path,
    stop: Callable[[], bool],
    on_progress: Callable[[int, int], None],
    workers: int,
) -> list[RowSensitivity] | None:
    """How every predicted row of `experiments` follows the numbers `names`; None after a stop. `folder` keeps results.

    A row without a number under the set itself is left out; a variation whose run fails has None.
    """
    varied = variations(chosen, names, folder / "sets")
    predicted = [row for row in ROWS if row.experiment in experiments and chosen.kind_of(row) == "predicted"]
    wanted = [name for name in experiments if any(row.experiment == name for row in predicted)]
    own = {name for name in wanted if own_compensation(name, short=True) is not None}
    jobs = [
        _Job(variation, experiment, tuple(cases_of(experiment, True, one, in_full=False)))
        for variation, one in ((None, chosen), *((variation, variation.chosen) for variation in varied))
        for experiment in wanted
        if not (variation is not None and variation.name == _COMPENSATION and experiment in own)
    ]
    found = _computed({job.key: job for job in jobs}, folder, stop, on_progress, workers)
    if found is None:
        return None
    by: dict[tuple[str, str], dict[str, Any]] = {}
    for job in jobs:
        where = ("", "") if job.variation is None else (job.variation.name, job.variation.end)
        by.setdefault(where, {}).update(found[job.key])
    known, _ = assumed(chosen)
    rows = []
    for row in predicted:
        value, u = by[("", "")].get(row.id, (None, None))
        if value is None:
            continue
        effects = []
        for name in names:
            applies = name != _COMPENSATION or row.experiment not in own
            here = _at(by, name, known[name], row.id, value) if applies else (None, None)
            effects.append(Effect(name, _ends(known[name]), here, applies))
        rows.append(RowSensitivity(row, value, u, _largest_first(effects, value)))
    return rows


def _largest_first(effects: Iterable[Effect], base: float) -> tuple[Effect, ...]:
    return tuple(sorted(effects, key=lambda effect: -effect.span(base)))


def _ends(ends: tuple[str | None, str | None]) -> tuple[str, str]:
    return ends[0] or "as it is", ends[1] or "as it is"


def _at(
    by: Mapping[tuple[str, str], Mapping[str, Any]],
    name: str,
    ends: tuple[str | None, str | None],
    row: str,
    base: float,
) -> tuple[float | None, float | None]:
    here = [base if end is None else by.get((name, end), {}).get(row, (None, None))[0] for end in ends]
    return here[0], here[1]


def _computed(
    jobs: Mapping[str, _Job],
    folder: Path,
    stop: Callable[[], bool],
    on_progress: Callable[[int, int], None],
    workers: int,
) -> dict[str, dict[str, Any]] | None:
    """The rows of every job by its key, from `folder` where they are known; None after a stop."""
    found = {key: rows for key in jobs if (rows := _known(folder, key)) is not None}
    on_progress(len(found), len(jobs))
    waiting = [job for key, job in jobs.items() if key not in found]
    for key, rows in (_one_by_one if workers == 1 else _in_processes)(waiting, folder, stop, workers):
        found[key] = rows
        _keep(folder, key, rows)
        on_progress(len(found), len(jobs))
    return found if len(found) == len(jobs) else None


_Rows = tuple[str, dict[str, Any]]


def _one_by_one(waiting: Sequence[_Job], folder: Path, stop: Callable[[], bool], _workers: int) -> Iterator[_Rows]:
    for job in waiting:
        if stop():
            return
        yield job.key, _rows_of(job.experiment, job.cases, folder / job.key)


def _in_processes(waiting: Sequence[_Job], folder: Path, stop: Callable[[], bool], workers: int) -> Iterator[_Rows]:
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), begin_child) as pool:
        left = {pool.submit(_rows_of, job.experiment, job.cases, folder / job.key): job.key for job in waiting}
        try:
            while left and not stop():
                for future in wait(left, _POLL_s, FIRST_COMPLETED).done:
                    yield left.pop(future), future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _rows_of(experiment: str, cases: Sequence[Case], place: Path) -> dict[str, Any]:
    """(value, u) of every row that the runs of these cases give; the runs are deleted."""
    from opsicm.reproduction.evaluation.experiments import evaluate

    runs = []
    for case in cases:
        path, reason = run_into(case.loaded, case.seed, place / case.key, lambda: False, lambda _: None)
        runs.append(CaseRun(case, path, reason))
    if not any(one.path for one in runs):
        return {}
    results = evaluate(experiment, runs, lambda *_: None).by_row
    shutil.rmtree(place, ignore_errors=True)
    return {name: (result.value, result.u) for name, result in results.items()}


def _known(folder: Path, key: str) -> dict[str, Any] | None:
    try:
        rows = json.loads((folder / f"{key}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return rows if isinstance(rows, dict) else None


def _keep(folder: Path, key: str, rows: Mapping[str, Any]) -> None:
    # Written under another name and moved, so that half a file never counts as a result.
    unfinished = folder / f"{key}.new"
    unfinished.write_text(json.dumps(rows), encoding="utf-8")
    os.replace(unfinished, folder / f"{key}.json")


def turned(rows: Iterable[RowSensitivity]) -> Iterator[tuple[RowSensitivity, Effect, int]]:
    """Every effect that changes a row's verdict, with the end (0 or 1) at which it does."""
    for row in rows:
        for effect in row.effects:
            for k, value in enumerate(effect.here):
                if value is not None and row.judged(value) != row.judged(row.base):
                    yield row, effect, k
