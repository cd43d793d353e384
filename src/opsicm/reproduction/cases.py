"""The runs of each of the paper's experiments: from the packaged file, its `vary` values and the declared variants."""

from __future__ import annotations

import copy
import hashlib
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from opsicm.cli.rigs import load_rig, specimen_parameters
from opsicm.core.errors import BadInput, OpsicmError, Problem
from opsicm.experiment.cell_steps import CELL_STEPS
from opsicm.experiment.expansion import expanded
from opsicm.experiment.file import EXPERIMENTS, LoadedExperiment, experiment_from_text
from opsicm.experiment.refusal import KeyPath
from opsicm.experiment.vary import parsed_path
from opsicm.experiment.yaml_file import read_yaml, yaml_text
from opsicm.reproduction.paper import IDS
from opsicm.reproduction.variants import (
    AS_DECLARED,
    CALIBRATED,
    COMPENSATION_PCT,
    DEFAULT,
    FIRST_VALUE_ONLY,
    IR_COMPENSATED,
    LONG_ONLY,
    ONE_LIQUID,
    ONE_SPECIMEN,
    REPEATED_BY,
    REPEATS,
    VARIANTS,
    WITHOUT_RAW,
    WITHOUT_SPECIMEN,
    DeclaredSet,
)

# Packages that cannot change a run, except for the modules below: they start it or correct positions during it.
_AFTER_A_RUN: Final = (
    "figures",
    "report",
    "results",
    "analysis",
    "console",
    "forecast",
    "formats",
    "emulators",
    "experiments",
    "reproduction",
    "cli",
)
_DURING_A_RUN: Final = ("cli/execute.py", "cli/live_settings.py", "cli/rigs.py", "analysis/topography/registration.py")
_BEFORE_COMPENSATION_s: Final = 60  # hold without compensation


@dataclass(frozen=True, slots=True)
class Case:
    """One run: its experiment and variant, the values that are varied, and its experiment file.

    `key` (SHA-256, 16 hex digits) identifies its result by content: experiment text, rig text, the numbers of the
    parameter set, seed and every source file that a run uses. So sets that make the same experiment file share its run.
    """

    experiment: str
    variant: str
    values: tuple[tuple[str, Any], ...]
    seed: int | None
    loaded: LoadedExperiment
    key: str = field(init=False)

    def __post_init__(self) -> None:
        rig = load_rig(self.loaded, None)
        # The parameter set too: its name in the experiment says nothing of a user's file, which may have changed.
        leaves = sorted(specimen_parameters(self.loaded, rig).leaves.items())
        parts = (self.loaded.text, rig.text, repr(leaves), str(self.seed), sources_hash())
        object.__setattr__(self, "key", hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16])

    @property
    def label(self) -> str:
        """A name for the progress bar and messages."""
        parts = [self.experiment, *([] if self.variant == AS_DECLARED else [self.variant])]
        parts += [f"{path.rpartition('.')[2]} {value}" for path, value in self.values]
        return ", ".join(parts)


def experiment_file(experiment: str, short: bool) -> Path:
    """The packaged file of an experiment, as `e05_….yaml`, of its short form if asked; `BadInput` without one."""
    folder = EXPERIMENTS / "short" if short else EXPERIMENTS
    files = sorted(folder.glob(f"e{int(experiment[1:]):02d}_*.yaml"))
    if len(files) != 1:
        limit = f"{len(files)} files named e{int(experiment[1:]):02d}_*.yaml are packaged; one is needed"
        raise BadInput(Problem(experiment, "short form" if short else "long form", limit, "leave it out with --only"))
    return files[0]


def cases_of(experiment: str, short: bool, chosen: DeclaredSet = DEFAULT, *, in_full: bool = True) -> list[Case]:
    """Every run of an experiment under a set, in order: as declared first, then its variants.

    A set that is not shown `in_full` stands beside one that is: no variants, which explain a number, and no repeats,
    which show the scatter of one.
    """
    path = experiment_file(experiment, short)
    document = read_yaml(path)
    effective = _effective(experiment, chosen)
    cases = []
    for variant, changes in {AS_DECLARED: {}, **(VARIANTS.get(experiment, {}) if in_full else {})}.items():
        if short and (experiment, variant) in LONG_ONLY:
            continue
        of_set = {} if effective == DEFAULT else {"specimen.parameters": effective.name, **effective.changes}
        changed = with_changes(document.data, {**CALIBRATED, **_fixed_changes(experiment), **of_set, **changes})
        compensation = COMPENSATION_PCT if variant == IR_COMPENSATED else effective.compensation_pct
        if compensation:
            changed = with_ir_compensation(changed, compensation)
        if not in_full:
            changed = without_repeats(experiment, changed)
        whole = experiment_from_text(yaml_text(changed), str(path))
        vary = whole.experiment.vary
        values = (tuple(zip(vary, combination, strict=True)) for combination in itertools.product(*vary.values()))
        count = 1 if short and (experiment, variant) in FIRST_VALUE_ONLY else None
        repeats = 1 if short or variant != AS_DECLARED or not in_full else REPEATS.get(experiment, 1)
        for varied, loaded in itertools.islice(zip(values, expanded(whole), strict=True), count):
            seeds = (None, *range(2, repeats + 1))
            cases += [Case(experiment, variant, varied, seed, loaded) for seed in seeds]
    return cases


def _effective(experiment: str, chosen: DeclaredSet) -> DeclaredSet:
    """The set as far as it can change a result of the experiment, else the default: then the run is shared."""
    if experiment in WITHOUT_SPECIMEN:
        return DEFAULT
    if experiment in ONE_LIQUID and not chosen.changes and chosen.conductivity == DEFAULT.conductivity:
        return DEFAULT
    return chosen


def without_repeats(experiment: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """`data` with the middle one of the values by which the experiment repeats itself."""
    changed = copy.deepcopy(dict(data))
    path = REPEATED_BY.get(experiment)
    if path in changed.get("vary", {}):
        values = sorted(changed["vary"][path])
        changed["vary"][path] = [values[len(values) // 2]]
    return changed


def _fixed_changes(experiment: str) -> dict[str, Any]:
    return {**WITHOUT_RAW.get(experiment, {}), **ONE_SPECIMEN.get(experiment, {})}


def with_changes(data: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`data` with the values at paths like `cell[0].sweep.rate_mV_s` replaced; missing mappings are created."""
    changed = copy.deepcopy(dict(data))
    for path, value in changes.items():
        parent: Any = changed
        *parents, last = _parsed(path)
        for part in parents:
            parent = parent.setdefault(part, {}) if isinstance(parent, dict) else parent[part]
        parent[last] = value
    return changed


def with_ir_compensation(data: Mapping[str, Any], percent: float) -> dict[str, Any]:
    """`data` with iR compensation in every step that controls a potential and states none, and a wider envelope.

    Unchanged where there is no such step. The measured potential then lies below the program's by the drop in the
    bath. The start of the first sweep is held without compensation before it: a jump to it with hardly any resistance
    left drives the potentiostat to its limit.
    """
    changed = copy.deepcopy(dict(data))
    controlled = [values for values in _controlled(changed) if "ir_compensation_pct" not in values]
    if not controlled:
        return changed
    for values in controlled:
        values["ir_compensation_pct"] = percent
    ((kind, first),) = changed["cell"][0].items()
    if kind in ("sweep", "conditioning") and any(first is values for values in controlled):
        start = first["from_V"]
        changed["cell"].insert(0, {"hold": {"potential_V": start, "for_s": _BEFORE_COMPENSATION_s}})
        for step in changed.get("probe", []):
            for values in (one for one in step.values() if isinstance(one, dict) and "during" in one):
                values["during"] = _one_step_later(values["during"])
        if "vary" in changed:
            changed["vary"] = {_one_step_later(path): values for path, values in changed["vary"].items()}
    low, high = changed.get("envelope", {}).get("cell_V", (0.0, 2.0))
    changed.setdefault("envelope", {})["cell_V"] = [min(low, -1.0), high]
    return changed


def _controlled(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The values of every cell step that controls a potential, and so can be compensated."""
    return [
        values
        for step in data["cell"]
        for kind, values in step.items()
        if "ir_compensation_pct" in CELL_STEPS[kind].model_fields
    ]


def own_compensation(experiment: str, short: bool) -> float | None:
    """The compensation [%] of an experiment that states one in every step that controls a potential, the first one's.

    None where a step leaves it to the set. No set's compensation reaches such an experiment.
    """
    data = read_yaml(experiment_file(experiment, short)).data
    stated = [float(v["ir_compensation_pct"]) for v in _controlled(data) if "ir_compensation_pct" in v]
    return stated[0] if stated and len(stated) == len(_controlled(data)) else None


def _one_step_later(path: str) -> str:
    return re.sub(r"cell\[(\d+)\]", lambda number: f"cell[{int(number[1]) + 1}]", path)


def _parsed(path: str) -> KeyPath:
    parsed = parsed_path(path)
    if parsed is None:
        raise BadInput(Problem("path", path, "is no path into an experiment", "write it as cell[0].sweep.rate_mV_s"))
    return parsed


@cache
def sources_hash() -> str:
    """SHA-256 over every source and table of the package that a run can use."""
    return _hash_of(lambda name: name.partition("/")[0] not in _AFTER_A_RUN or name in _DURING_A_RUN)


@cache
def package_hash(packages: tuple[str, ...]) -> str:
    """SHA-256 over every source and table of these packages."""
    return _hash_of(lambda name: name.partition("/")[0] in packages)


def _hash_of(counts: Callable[[str], bool]) -> str:
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(p for p in package.rglob("*") if p.suffix in (".py", ".npz", ".csv", ".yaml")):
        name = path.relative_to(package).as_posix()
        if counts(name):
            digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Plan:
    """The runs of the chosen experiments; `refused` has the reason where an experiment has none.

    `own_compensation` [%] of the experiments that state it themselves, whatever the set has.
    """

    cases: dict[str, list[Case]]
    refused: dict[str, str]
    own_compensation: dict[str, float] = field(default_factory=dict)

    @property
    def all(self) -> list[Case]:
        """Every run, in the paper's order."""
        return [case for cases in self.cases.values() for case in cases]


def chosen_experiments(only: str | None) -> tuple[str, ...]:
    """The experiments that `--only E5,E9` names, in the paper's order; all without it."""
    if only is None:
        return IDS
    named = [name.strip() for name in only.split(",") if name.strip()]
    unknown = [name for name in named if name not in IDS]
    if unknown or not named:
        limit = f"experiments are {', '.join(IDS)}"
        raise BadInput(Problem("--only", ", ".join(unknown) or repr(only), limit, "write, for example, E5,E9"))
    return tuple(name for name in IDS if name in named)


def plan(experiments: Sequence[str], short: bool, chosen: DeclaredSet = DEFAULT, *, in_full: bool = True) -> Plan:
    """The runs of `experiments` under a set, as `cases_of`; with the reason where a file is missing or refused."""
    cases: dict[str, list[Case]] = {}
    refused: dict[str, str] = {}
    own: dict[str, float] = {}
    for experiment in experiments:
        try:
            cases[experiment] = cases_of(experiment, short, chosen, in_full=in_full)
            if (percent := own_compensation(experiment, short)) is not None:
                own[experiment] = percent
        except OpsicmError as error:
            refused[experiment] = str(error)
    return Plan(cases, refused, own)
