"""The twin's samples in their run file: their packing ratio against their entropy, and the time to read one hop."""

from __future__ import annotations

import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from benchmarks.row import BenchRow
from opsicm.cli.execute import execute
from opsicm.experiment.file import read_experiment
from opsicm.instruments.clock import stopwatch
from opsicm.record.reader import Run

_PRESET_FILTER: Final = "filter_kHz: 5"
_EXPERIMENT: Final = """opsicm: 1
title: bench
rig: rig.yaml
pipette: {bias_V: 0.7}
cell:
  - open_circuit: {for_s: 30}
probe:
  - hop: {at_um: [0, 0], amplitude_nm: 2000, fall_nm_per_ms: 30, setpoint_pct: 2.0, during: "cell[0]"}
envelope: {cell_V: [-0.05, 3.5], approach_um: 5, pipette_nA: 20}
"""


def row() -> list[BenchRow]:
    """Two rows, of thirty seconds of hopping on twin/graphite with the goal's 10 kHz in place of its own 5.

    The twin filters with one pole, which passes half as much noise again as a Bessel of four poles at the same -3 dB
    (pi/2 against 1.05 times it): the harder stream of the two to pack.
    """
    preset = (files("opsicm") / "presets" / "twin-graphite.yaml").read_text(encoding="utf-8")
    if _PRESET_FILTER not in preset:
        raise LookupError(f"twin/graphite has no {_PRESET_FILTER}")
    with tempfile.TemporaryDirectory() as workspace:
        file = Path(workspace) / "bench.yaml"
        file.write_text(_EXPERIMENT, encoding="utf-8")
        file.with_name("rig.yaml").write_text(preset.replace(_PRESET_FILTER, "filter_kHz: 10"), encoding="utf-8")
        path = execute(read_experiment(file), Path(workspace) / "out").path
        ratio, bits, filters, rate = _ratio(path)
        hop = _hop(path)
    limit = (
        f"one pole of {filters} at {rate * 1e-3:.0f} kS/s; {bits:.1f} bits of entropy from sample to sample, "
        f"which leave {16 / bits:.1f} at best"
    )
    return [
        BenchRow(
            "record: ratio on the twin's stream",
            ratio,
            "1",
            "",
            limit,
            "≥ 2.7",
            ratio >= 2.7,
            "a 10 kHz Bessel, the goal's, passes less noise",
        ),
        BenchRow(
            "record: a hop by its index", hop * 1e3, "ms", "", "median of 200 hops in no order", "≤ 1 ms", hop <= 1e-3
        ),
    ]


def entropy(values: NDArray[Any]) -> float:
    """[bits] of Shannon's entropy of the values as they are distributed."""
    _, count = np.unique(values, return_counts=True)
    share = count / count.sum()
    return float(-(share * np.log2(share)).sum())


def _ratio(path: Path) -> tuple[float, float, str, float]:
    """(bytes of counts over bytes in the file, entropy of the differences [bits], channels and filters, samples/s)."""
    with h5py.File(path, "r") as file:
        counts = file["entry/samples/segment_0001/counts"]
        ratio = counts.size * counts.dtype.itemsize / counts.id.get_storage_size()
        steps = np.diff(counts[: 1 << 20].astype(np.int32), axis=0)
        names = [name.decode() for name in counts.attrs["name"]]
        words = [
            f"{f:.0f} Hz ({name})" if f > 0 else f"none ({name})"
            for name, f in zip(names, counts.attrs["filter_Hz"], strict=True)
        ]
        rate = 1e9 / float(counts.parent.attrs["dt_ns"])
    bits = float(np.mean([entropy(steps[:, k]) for k in range(steps.shape[1])]))
    return float(ratio), bits, " and ".join(words), rate


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
