"""The twin's own stream in its run file: how small it is, against its entropy, and how soon one hop is there."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from opsicm.app.bench.row import BenchRow
from opsicm.app.execute import execute
from opsicm.instruments.clock import stopwatch
from opsicm.protocol.experiment_file import read_experiment
from opsicm.record.reader import Run

_EXPERIMENT: Final = """opsicm: 1
title: bench
rig: twin/graphite
pipette: {bias_V: 0.7}
cell:
  - open_circuit: {for_s: 30}
probe:
  - hop: {at_um: [0, 0], amplitude_nm: 2000, fall_nm_per_ms: 30, setpoint_pct: 2.0, during: "cell[0]"}
envelope: {cell_V: [-0.05, 3.5], approach_um: 5, pipette_nA: 20}
"""


def row() -> list[BenchRow]:
    """Two rows, of thirty seconds of hopping."""
    with tempfile.TemporaryDirectory() as where:
        file = Path(where) / "bench.yaml"
        file.write_text(_EXPERIMENT, encoding="utf-8")
        path = execute(read_experiment(file), Path(where) / "out").path
        ratio, bits, filters = _ratio(path)
        hop = _hop(path)
    limit = f"{bits:.1f} bits a sample from one sample to the next leave {16 / bits:.1f}; filters of {filters}"
    return [
        BenchRow("record: ratio on the twin's stream", ratio, "1", "", limit, "≥ 2.2",
                 None if ratio >= 2.2 else False, "the goal is for a 10 kHz Bessel; the twin's own filter is one pole"),
        BenchRow("record: a hop by its index", hop * 1e3, "ms", "", "median of 200 hops in no order", "≤ 1 ms",
                 hop <= 1e-3),
    ]  # fmt: skip


def entropy(values: NDArray[Any]) -> float:
    """[bits] of Shannon's entropy of the values as they are distributed."""
    _, count = np.unique(values, return_counts=True)
    share = count / count.sum()
    return float(-(share * np.log2(share)).sum())


def _ratio(path: Path) -> tuple[float, float, str]:
    """(bytes of counts over bytes in the file, entropy of the differences [bits], the channels' filters)."""
    with h5py.File(path, "r") as file:
        counts = file["entry/samples/segment_0001/counts"]
        ratio = counts.size * counts.dtype.itemsize / counts.id.get_storage_size()
        steps = np.diff(counts[: 1 << 20].astype(np.int32), axis=0)
        words = [f"{f:.0f} Hz" if f > 0 else "none" for f in counts.attrs["filter_Hz"]]
    bits = float(np.mean([entropy(steps[:, k]) for k in range(steps.shape[1])]))
    return float(ratio), bits, " and ".join(words)


def _hop(path: Path) -> float:
    """[s] for the samples of one hop, the table of hops known; the median."""
    with Run(path) as run:
        order = np.random.default_rng(1).integers(0, run.hops.sizes["hop"], 200)
        run.trace(0)
        times = []
        for k in order.tolist():
            took = stopwatch()
            run.trace(k)
            times.append(took())
    return float(np.median(times))
