"""Read run files whole and compare them with a good one: python read_all.py GOOD FILE... One JSON string a file:
"message" (refused in words), "same" (every number true), or what was wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from opsicm.core.errors import OpsicmError
from opsicm.record.reader import Run


def content(path: str) -> dict[str, Any]:
    """All tables, samples, texts and facts of a run file."""
    with Run(path) as run:
        tables = {"hops": run.hops, "cell": run.cell, "slow": run.slow}
        tables |= {f"samples {k}": run.samples(k) for k in run.segments()}
        tables |= {f"decimated {k}": run.decimated(k) for k in run.segments()}
        texts = [run.title, run.started_utc, run.experiment_text, run.rig_text, run.parameters, run.provenance]
        return {**tables, "texts": texts, "facts": run.facts, "outcome": run.outcome}


def differs(a: dict[str, Any], b: dict[str, Any]) -> str | None:
    """Which part, if any."""
    if a.keys() != b.keys():
        return f"parts {sorted(a.keys() ^ b.keys())}"
    for name, value in a.items():
        same = value.identical(b[name]) if hasattr(value, "identical") else value == b[name]
        if not same:
            return name
    return None


def main() -> None:
    """Answer for every file."""
    np.seterr(all="ignore")
    intact = content(sys.argv[1])
    for path in sys.argv[2:]:
        try:
            difference = differs(intact, content(path))
            answer = "same" if difference is None else f"another {difference}"
        except OpsicmError as error:
            answer = "message" if str(error) and Path(path).name in str(error) else f"says nothing of use: {error}"
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
