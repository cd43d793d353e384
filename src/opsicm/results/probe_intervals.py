"""When each step of the probe's program ran: the words of the experiment file beside the facts of the journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from opsicm.record.reader import Run


@dataclass(frozen=True, slots=True)
class Stretch:
    """One execution of a probe step: its `word` and `keys` as written, its `step` path, and when [ns]."""

    word: str
    keys: Mapping[str, Any]
    step: str
    start_ns: int
    stop_ns: int


def stretches(run: Run) -> list[Stretch]:
    """Every execution of every probe step, in order of time; a step that never ended ends with the run."""
    try:
        program = yaml.safe_load(run.experiment_text).get("probe", [])
    except (yaml.YAMLError, AttributeError):
        return []
    words = {
        f"probe[{k}]": next(iter(entry.items()))
        for k, entry in enumerate(program)
        if isinstance(entry, dict) and len(entry) == 1
    }
    facts = [fact for fact in run.facts if fact.track == "probe" and fact.step in words]
    last = max((fact.t_ns for fact in run.facts), default=0)
    found, begun = [], {}
    for fact in facts:
        if fact.kind == "step_started":
            begun[fact.step] = fact.t_ns
        elif fact.kind == "step_ended" and fact.step in begun:
            found.append((fact.step, begun.pop(fact.step), fact.t_ns))
    found += [(step, start, last) for step, start in begun.items()]
    found.sort(key=lambda one: one[1])
    return [
        Stretch(word, keys if isinstance(keys, dict) else {}, step, start, stop)
        for step, start, stop in found
        for word, keys in [words[step]]
    ]
