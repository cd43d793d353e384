"""One seed, one run: every sample, record and reading of two whole runs is the same, and of another seed is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from opsicm.cli.execute import execute
from opsicm.experiment.file import read_experiment
from opsicm.record.reader import Run

TEXT = """\
opsicm: 1
title: everything that chance touches
rig: twin/graphite
pipette: {bias_V: 0.7}
specimen: {loading_mg_cm2: 0.1}
cell:
  - sweep: {from_V: 1.2, to_V: 1.0, rate_mV_s: 100, cycles: 1}
probe:
  - line: {from_um: [0, 0], to_um: [1, 0], pixels: 6, amplitude_nm: 1500, fall_nm_per_ms: 30, setpoint_pct: 2}
envelope: {cell_V: [0.5, 2.0]}
record: {cell_potential: full, z_command: decimated}
twin:
  faults:
    - {fault: bubble, at_s: 1, for_s: 1, share: 0.01, flicker_Hz: 30}
    - {fault: loose_reference, at_s: 2, amplitude_mV: 2, flicker_Hz: 5}
"""


def seen(folder: Path, seed: int, text: str = TEXT) -> dict[str, bytes]:
    """Everything measured in a run, as bytes."""
    folder.mkdir()
    path = folder / "experiment.yaml"
    path.write_text(text, encoding="utf-8")
    with Run(execute(read_experiment(path), folder / "out", seed=seed).path) as run:
        tables = {"hops": run.hops, "cell": run.cell, "slow": run.slow, "samples": run.samples(1)}
        return {
            f"{table}/{name}": np.ascontiguousarray(values).tobytes()
            for table, dataset in tables.items()
            for name, values in ((name, dataset[name].values) for name in dataset.variables)
            if values.dtype != object
        }


def test_two_runs_with_one_seed_are_bit_identical_and_another_seed_is_not(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("first", "again", "other")]
    first, again, other = (seen(folder, seed) for folder, seed in zip(folders, (4, 4, 5), strict=True))
    assert first == again
    assert len(first) > 30
    differing = {name for name in first if first[name] != other[name]}
    assert {"hops/z_stop", "hops/i_ref", "samples/pipette_current", "samples/z", "slow/pipette_current"} <= differing


def test_with_a_seed_of_its_own_the_specimen_stays_and_the_noise_changes(tmp_path: Path) -> None:
    text = TEXT.replace("twin:\n", "twin:\n  specimen_seed: 4\n")
    first, same, other = (
        seen(tmp_path / name, seed, form)
        for name, seed, form in (("first", 4, TEXT), ("same", 5, text), ("other", 5, TEXT))
    )
    heights, same_heights, other_heights = (np.frombuffer(run["hops/z_stop"])[:20] for run in (first, same, other))
    assert first["samples/z"] != same["samples/z"]
    # Medians: the reference and the bubble of the file flicker by chance as well.
    assert np.median(np.abs(same_heights - heights)) < 5e-9
    assert np.median(np.abs(other_heights - heights)) > 50e-9
