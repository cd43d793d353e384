"""Numba's cache must not survive an edit of a function that another file calls."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from opsicm.core.compiled import kernel_sources, remembered_hash, source_hash

ROOT = Path(__file__).parents[2]

PROBE = """
import numpy as np
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.instruments.hop import HopTiming, start
from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.tip_field import approach_curve
from opsicm.twin.fast_loop import (
    FilterState, Hops, Instrument, LoopState, Slice, Stream, Z_STOP, approach_table, run_slice
)
timing = HopTiming(1e-4, 1e-4, 4e-4, 0.0, 9e-9, 10000)
settings = timing.settings(HopParameters(5e-7, 3e-5, 0.02, 5e-6))
instrument = Instrument(1.0, 1.0, 0.0, 0.0, 1e-5, 3e-13, 3e-10)
hops = Hops(np.array([-3e-7]), np.array([5e-7]), np.zeros((1, 5), np.int64), np.full((1, 5), np.inf))
state = LoopState(start(0.0), FilterState(0.0, 0.0, 3e-9), 0)
run_slice(state, settings, instrument, Slice(20000, 3e-9, 3e-9), Stream(0, 1, 1), hops,
          approach_table(approach_curve(Pipette()).packed), np.empty((20000, 2), np.int16))
print(hops.measured[0, Z_STOP], sum(run_slice.stats.cache_hits.values()))
"""


def stop_height(house: Path, cache: Path) -> tuple[float, int]:
    """Height at the stop of one hop, and how often the compiled loop came from the cache."""
    environment = {**os.environ, "PYTHONPATH": str(house), "NUMBA_CACHE_DIR": str(cache)}
    output = subprocess.run(
        [sys.executable, "-c", PROBE], env=environment, cwd=house, capture_output=True, text=True, check=True
    )
    height, hits = output.stdout.split()
    return float(height), int(hits)


def test_an_edit_of_the_hop_step_changes_a_run_although_the_cache_is_warm(tmp_path: Path) -> None:
    house, cache = tmp_path / "house", tmp_path / "cache"
    shutil.copytree(ROOT / "src/opsicm", house / "opsicm", ignore=shutil.ignore_patterns("__pycache__"))
    before, hits = stop_height(house, cache)
    assert hits == 0
    again, hits = stop_height(house, cache)
    assert again == before
    assert hits == 1, "an unchanged source comes from the cache"
    hop = house / "opsicm/instruments/hop.py"
    text = hop.read_text(encoding="utf-8")
    edited = text.replace(
        "(1.0 - settings.setpoint) * i_ref * i_ref", "(1.0 - 5.0 * settings.setpoint) * i_ref * i_ref"
    )
    assert edited != text
    # The same size and time of change as before: the worst case for a cache that looks at time stamps only.
    stamp = (house / "opsicm/twin/fast_loop/definition.py").stat()
    hop.write_text(edited, encoding="utf-8")
    os.utime(house / "opsicm/twin/fast_loop/definition.py", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    after, hits = stop_height(house, cache)
    assert hits == 0
    # A 10 % drop is reached much nearer to the surface than the 34 nm of a 2 % one.
    assert after < before - 20e-9


def test_the_hash_sees_every_source_that_a_kernel_can_use_and_no_other(tmp_path: Path) -> None:
    house = tmp_path / "house"
    for folder in ("core", "physics/pipette", "twin", "report"):
        (house / folder).mkdir(parents=True)
    (house / "core/compiled.py").write_text("")
    (house / "physics/tables.py").write_text("x = 1\n")
    (house / "physics/pipette/approach.py").write_text("from house.physics import tables\n")
    (house / "twin/loop.py").write_text(
        "from house.core.compiled import compiled\nimport house.physics.pipette.approach\n"
    )
    (house / "report/page.py").write_text("from house.twin import loop\n")
    seen = [source_hash(house)]
    for name in ("physics/tables.py", "physics/pipette/approach.py", "twin/loop.py", "core/compiled.py"):
        with (house / name).open("a") as file:
            file.write("y = 2\n")
        seen.append(source_hash(house))
    assert len(set(seen)) == 5
    (house / "report/page.py").write_text("")
    assert source_hash(house) == seen[-1]


def test_the_hash_is_remembered_by_the_bytes_of_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house, memory = tmp_path / "house", tmp_path / "memory"
    house.mkdir()
    loop = house / "loop.py"
    loop.write_text("from house.core.compiled import compiled\nx = 1\n")
    asked: list[Path] = []

    def plain(package: Path) -> str:
        asked.append(package)
        return source_hash(package)

    monkeypatch.setattr("opsicm.core.compiled.source_hash", plain)
    first = remembered_hash(house, memory)
    assert remembered_hash(house, memory) == first == source_hash(house)
    assert len(asked) == 1
    stamp = loop.stat()
    loop.write_text("from house.core.compiled import compiled\nx = 2\n")
    os.utime(loop, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert remembered_hash(house, memory) == source_hash(house) != first
    (note,) = [one for one in memory.iterdir() if one.read_text() == first]
    note.write_text(first[:5])  # a crash while it was written
    loop.write_text("from house.core.compiled import compiled\nx = 1\n")
    assert remembered_hash(house, memory) == first


def test_the_hash_of_this_package_holds_its_kernels_and_what_they_call() -> None:
    package = ROOT / "src/opsicm"
    reached = {path.relative_to(package).as_posix() for path in kernel_sources(package)}
    assert {
        "instruments/hop.py",
        "twin/fast_loop/definition.py",
        "physics/noise.py",
        "physics/pipette/approach.py",
    } <= reached
    assert not any(name.startswith(("report/", "record/", "figures/", "run/")) for name in reached)


ONE_FUNCTION = """
import sys
import numpy as np
from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.tip_field import approach_curve
print(getattr(approach_curve(Pipette()), sys.argv[1])(np.array([0.98])))
"""


def test_a_second_process_adds_to_the_cache_of_the_first(tmp_path: Path) -> None:
    # Numba cannot keep a function that takes functions: the second process, which asks for another one, then fails.
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "NUMBA_CACHE_DIR": str(tmp_path)}
    for name in ("relative_current", "distance"):
        command = [sys.executable, "-c", ONE_FUNCTION, name]
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
