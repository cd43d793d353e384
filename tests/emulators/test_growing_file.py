"""The growing file has the form of a real one, and the cell behind it runs the emulation's experiment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from opsicm.core.errors import BadInput
from opsicm.emulators.growing_file import GrowingFile, written
from opsicm.emulators.paced_world import PacedWorld
from opsicm.emulators.registry import Entry
from opsicm.experiment.rig_file import Emulation
from opsicm.formats.cell_rows import cell_rows
from tests.fixtures.foreign_data import DATA
from tests.fixtures.one_instrument import EXPERIMENT, role_setup, wait_for, world_behind

pytestmark = pytest.mark.real_time

ENTRY = "{driver: followed_cell, settings: {rest_V: 0.4}}"


@pytest.fixture(scope="module")
def world() -> Iterator[PacedWorld]:
    with world_behind() as world:
        yield world


def test_it_runs_the_emulations_experiment(tmp_path: Path, world: PacedWorld) -> None:
    program = "constant_current: {current_mA: -0.02, until: {for_s: 0.5}}\n  - open_circuit: {for_s: 60}"
    (tmp_path / "program.yaml").write_text(EXPERIMENT.replace("open_circuit: {for_s: 1}", program), encoding="utf-8")
    rig = role_setup("potentiostat", ENTRY, None).rig.rig
    emulation = Emulation(rig="twin/graphite", experiment=str(tmp_path / "program.yaml"))
    rig = replace(rig, rig=rig.rig.model_copy(update={"emulation": emulation}))
    entry = Entry("followed_cell", str(tmp_path / "day_*.mpt"), {"potentiostat": rig.role("potentiostat")}, rig)
    served = GrowingFile(world, entry)
    path = tmp_path / "day_01_MB_C01.mpt"
    assert served.path == path

    def rows() -> int:
        return path.read_bytes().count(b"\n") - 20

    wait_for(lambda: rows() > 25, 6.0)
    served.close()
    t, potential, current = cell_rows(path.read_bytes(), path)
    flowing = current < -1e-5
    assert current[flowing] == pytest.approx(-2e-5, abs=3e-6)
    assert 0.3 < t[flowing][-1] - t[flowing][0] < 0.8
    assert not flowing[-1]
    assert potential[flowing].min() < potential[~flowing].min()


@pytest.mark.skipif(not (DATA / "electrochemistry").is_dir(), reason="not at hand: set OPSICM_DATA")
def test_the_form_is_that_of_a_real_file(tmp_path: Path, world: PacedWorld) -> None:
    rig = role_setup("potentiostat", ENTRY, None).rig.rig
    entry = Entry("followed_cell", str(tmp_path / "one.mpt"), {"potentiostat": rig.role("potentiostat")}, rig)
    served = GrowingFile(world, entry)
    wait_for(lambda: served.path.read_bytes().count(b"\n") > 22)
    served.close()
    real = (DATA / "electrochemistry/Pt_poly_cv.mpt").read_text(encoding="latin-1").splitlines()
    ours = served.path.read_text(encoding="latin-1").splitlines()
    assert ours[0] == real[0]
    stated = [int(lines[1].partition(":")[2]) for lines in (real, ours)]
    titles = [lines[count - 1].split("\t") for lines, count in zip((real, ours), stated, strict=True)]
    assert set(titles[1]) <= set(titles[0])
    for name in ("time/s", "Ewe/V", "<I>/mA"):
        forms = [
            re.sub(r"\d", "0", lines[count + 1].split("\t")[header.index(name)]).lstrip("-")
            for lines, count, header in zip((real, ours), stated, titles, strict=True)
        ]
        assert forms[0].replace("-", "+") == forms[1].replace("-", "+")


def test_numbers_as_the_program_writes_them() -> None:
    assert written(2.581600122357486, 15) == "2,581600122357486E+000"
    assert written(-0.12345678, 7) == "-1,2345678E-001"


def test_it_replaces_its_own_file_and_no_other(tmp_path: Path, world: PacedWorld) -> None:
    rig = role_setup("potentiostat", ENTRY, None).rig.rig
    entry = Entry("followed_cell", str(tmp_path / "one.mpt"), {"potentiostat": rig.role("potentiostat")}, rig)
    GrowingFile(world, entry).close()
    GrowingFile(world, entry).close()
    path = tmp_path / "one.mpt"
    path.write_bytes(path.read_bytes().replace(b"SN 0961", b"SN 0962"))
    measured = path.read_bytes()
    with pytest.raises(BadInput, match="was not written by this emulator"):
        GrowingFile(world, entry)
    assert path.read_bytes() == measured
