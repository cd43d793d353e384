"""Follow and recover run folders and compare what is kept with what was recorded: python recover_all.py FOLDER...

One JSON string a folder: "message" (refused in words), "same", "less" (with the loss named), or what was wrong.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import xarray as xr

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faults.stream import Stream
from opsicm.core.errors import OpsicmError
from opsicm.core.facts import Fact
from opsicm.record.follow import LiveRun
from opsicm.record.reader import Run
from opsicm.record.recover import recover

BLOCKS = 6
STREAM = Stream(channels=2, samples=2_000, per_segment=4)
TEXTS = ("title: fault\n", "title: rig\n")
_FACTS = {fact.seq: fact for fact in (STREAM.begun(), *(STREAM.fact(k + 1, k) for k in range(BLOCKS)))}


def followed(folder: Path) -> str | None:
    """What is wrong with what the tail of a log gives, which may be less than there was."""
    pool = STREAM.pool()
    try:
        with LiveRun(folder) as live:
            wrong = wrong_rows(live.hops, live.slow, live.facts)
            for segment, length in live.segments().items():
                samples = live.samples(segment, 0, length)
                first = (segment - 1) * STREAM.per_segment
                blocks = range(first, first + -(-length // STREAM.samples))
                counts = np.concatenate([STREAM.counts(pool, k) for k in blocks])[:length]
                for k, name in enumerate(samples):
                    values, true = samples[name].values, counts[:, k] * 1e-12
                    if not np.all(np.isnan(values) | (values == true)):
                        wrong = wrong or f"other samples of {name}"
    except OpsicmError:
        return None
    return wrong and f"followed: {wrong}"


def wrong_rows(hops: xr.Dataset, slow: xr.Dataset, facts: tuple[Fact, ...]) -> str | None:
    """Which rows are not those that were recorded."""
    if any(
        STREAM.hop(int(k))["z_stop"][0] != z for k, z in zip(hops["number"].values, hops["z_stop"].values, strict=True)
    ):
        return "another hop"
    true = {row.t_ns: row.pipette_current for row in map(STREAM.reading, range(BLOCKS))}
    rows = zip(slow["t_ns"].values, slow["pipette_current"].values, strict=True)
    if any(true.get(int(t)) != current for t, current in rows):
        return "another slow row"
    return None if all(_FACTS.get(fact.seq) == fact for fact in facts) else "another fact"


def judged(folder: Path) -> str:
    """What became of a folder that held six blocks with their hops, slow rows and notes."""
    if (wrong := followed(folder)) is not None:
        return wrong
    (recovery,) = recover([folder], "faults")
    if not recovery.opens:
        return "message" if folder.name in recovery.note else f"says nothing of use: {recovery.note}"
    try:
        stored = list(STREAM.kept(recovery.path))
    except KeyError:  # no counts: nobody knows which channels there were
        stored = []
    except AssertionError as error:
        return str(error)
    with Run(recovery.path) as run:
        hops, slow, facts = run.hops, run.slow, run.facts
        losses, texts = run.provenance["losses"], (run.experiment_text, run.rig_text)
    if (wrong := wrong_rows(hops, slow, facts)) is not None:
        return wrong
    if texts != TEXTS:
        return f"other texts: {texts}"
    kept = {"blocks": len(stored), "hops": hops.sizes["hop"], "slow rows": slow.sizes["row"], "facts": len(facts) - 1}
    if all(n == BLOCKS for n in kept.values()):
        return "same"
    return "less" if losses != "none" else f"{kept} of {BLOCKS}, and no loss is named"


def main() -> None:
    """Answer for every folder."""
    np.seterr(all="ignore")
    for folder in sys.argv[1:]:
        print(json.dumps(judged(Path(folder))), flush=True)


if __name__ == "__main__":
    main()
