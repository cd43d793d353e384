"""Validation finds what is wrong, the catalogue lists what is there, and a replay tells the same again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest

from faults.stream import folder
from opsicm.cli import main as cli
from opsicm.core.errors import BadInput
from opsicm.record.reader import Run
from opsicm.record.recover import CATALOGUE_FILE, run_catalogue
from opsicm.record.replay import Replay
from opsicm.record.shared_recorder import SharedRecorder
from opsicm.record.validate import validate
from tests.fixtures.recorded import BLOCKS, STREAM, record


def test_an_intact_file_is_valid(run_path: Path) -> None:
    assert [result for result in validate(run_path) if not result.ok] == []


def _no_class(file: Any) -> None:
    file["entry/hops"].attrs["NX_class"] = "NXdata"


def _no_unit(file: Any) -> None:
    file["entry/slow/z"].attrs["units"] = "nm"


def _no_column(file: Any) -> None:
    del file["entry/samples/segment_0002/blocks"]


def _hop_twice(file: Any) -> None:
    file["entry/hops/hop"][5] = 4


def _time_back(file: Any) -> None:
    file["entry/cell/t_ns"][3] = 0


def _gap(file: Any) -> None:
    file["entry/samples/segment_0001/blocks"][2, 0] += 1


def _late_beginning(file: Any) -> None:
    file["entry/samples/segment_0002/blocks"][0, 0] += 1


def _hop_outside(file: Any) -> None:
    file["entry/hops/sample_top"][-1] = 10**7


def _no_plot(file: Any) -> None:
    file["entry/data"].attrs["signal"] = "nothing"


def _fact_lost(file: Any) -> None:
    lines = [*file["entry/journal"][:3], *file["entry/journal"][4:]]
    del file["entry/journal"]
    file["entry"].create_dataset("journal", data=lines, chunks=(8,), fletcher32=True)


@pytest.mark.parametrize(
    ("spoil", "check", "says"),
    [
        (_no_class, "standard", "/entry/hops is NXdata, not NXcollection"),
        (_no_unit, "standard", "/entry/slow/z is in nm, not m"),
        (_no_column, "samples", "blocks"),
        (_hop_twice, "rows", "hops: number 4 is not followed by the next"),
        (_time_back, "rows", "cell: time runs backwards at row 3"),
        (_gap, "samples", "segment 1: a gap at sample 10000"),
        (_late_beginning, "samples", "segment 2: a gap at sample 0"),
        (_hop_outside, "hop samples", "segment 3 ends at 20000, a hop at 10000000"),
        (_no_plot, "default plot", "signal nothing"),
        (_fact_lost, "journal", "fact 4 follows 2"),
    ],
)
def test_every_defect_is_named(
    run_path: Path, tmp_path: Path, spoil: Callable[[Any], None], check: str, says: str
) -> None:
    bad = Path(shutil.copy(run_path, tmp_path / "run.nxs"))
    with h5py.File(bad, "r+") as file:
        spoil(file)
    wrong = {result.check: result.seen for result in validate(bad) if not result.ok}
    assert check in wrong
    assert says in wrong[check]


def test_the_catalogue_follows_the_folder(run_path: Path, tmp_path: Path) -> None:
    shutil.copytree(run_path.parent, tmp_path / "20260102T030405Z_a")
    shutil.copytree(run_path.parent, tmp_path / "20260102T030405Z_b")
    (tmp_path / "20260102T030405Z_b" / "run.nxs").unlink()
    (tmp_path / "something else").mkdir()
    first = run_catalogue(tmp_path)
    assert [(entry.outcome, entry.hops) for entry in first] == [("completed", BLOCKS), ("unfinished", 0)]
    assert first[0].duration == pytest.approx(BLOCKS * STREAM.period)
    assert run_catalogue(tmp_path) == first
    assert run_catalogue(tmp_path, rebuild=True) == first
    for path in tmp_path.glob(f"{CATALOGUE_FILE}*"):
        path.write_bytes(b"not a database at all, but long enough to be taken for one" * 20)
    assert run_catalogue(tmp_path) == first
    (tmp_path / "20260102T030405Z_a" / "run.nxs").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    assert run_catalogue(tmp_path)[0].outcome == "unreadable"
    shutil.rmtree(tmp_path / "20260102T030405Z_a")
    assert len(run_catalogue(tmp_path)) == 1
    with pytest.raises(BadInput, match="is not a folder"):
        run_catalogue(tmp_path / "nothing")


def test_a_replay_is_the_same_run(run_path: Path, tmp_path: Path) -> None:
    held: list[int] = []
    with Replay(run_path) as replay:
        path = replay.into(SharedRecorder(folder(tmp_path)), held.append)
    assert held == sorted(held)
    assert [result for result in validate(path) if not result.ok] == []
    with Run(run_path) as one, Run(path) as other:
        assert one.facts == other.facts
        for name in ("hops", "cell", "slow"):
            assert getattr(one, name).identical(getattr(other, name)), name
        for segment in one.segments():
            assert one.samples(segment).identical(other.samples(segment))
            assert one.decimated(segment).identical(other.decimated(segment))
        assert other.provenance["replay_of"] == run_path.parent.name


def test_the_commands(run_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_folder = shutil.copytree(run_path.parent, tmp_path / "20260102T030405Z_a")
    assert cli.main(["validate", str(run_folder)]) == 0
    assert "valid" in capsys.readouterr().out
    assert cli.main(["runs", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["hops"] == BLOCKS
    assert cli.main(["recover", str(run_folder), str(tmp_path)]) == 0
    assert "whole" in capsys.readouterr().out
    assert cli.main(["recover", str(tmp_path / "missing")]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert cli.main(["replay", str(run_folder), "--out", str(tmp_path / "again")]) == 0
    assert Path(capsys.readouterr().out.strip().splitlines()[-1]).name == "run.nxs"
    (run_folder / "run.nxs").write_bytes(run_path.read_bytes()[:5000])
    assert cli.main(["validate", str(run_folder), "--json"]) == 2
    output = capsys.readouterr()
    assert json.loads(output.out)[0]["check"] == "opens"
    assert "truncated" in output.err


def test_a_run_without_samples_can_be_replayed(tmp_path: Path) -> None:
    recorder = SharedRecorder(folder(tmp_path / "parked"))
    recorder.open(STREAM.header())
    for k in range(3):
        recorder.reading(STREAM.reading(k))
    path = recorder.close()
    with Replay(path) as replay:
        again = replay.into(SharedRecorder(folder(tmp_path / "again")))
    assert [result for result in validate(again) if not result.ok] == []
    with Run(path) as one, Run(again) as other:
        assert one.slow.sizes["row"] == 3
        assert one.slow.identical(other.slow)
        assert one.cell.identical(other.cell)


def test_an_empty_record_is_valid(tmp_path: Path) -> None:
    path = record(tmp_path, blocks=0)
    assert [result for result in validate(path) if not result.ok] == []
