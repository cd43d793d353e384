"""The recorder through its real writer process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from faults.stream import Stream, folder
from opsicm.core.errors import BadInput, LimitCrossed
from opsicm.core.facts import Policy
from opsicm.record import shared_recorder
from opsicm.record.reader import Run
from opsicm.record.shared_recorder import SharedRecorder
from opsicm.record.validate import validate
from tests.fixtures.recorded import BLOCKS, STREAM, feed, record


def test_everything_recorded_is_read_back(run_path: Path) -> None:
    assert run_path.name == "run.nxs"
    assert sorted(path.name for path in run_path.parent.iterdir()) == [
        "experiment.yaml",
        "journal.jsonl",
        "rig.yaml",
        "run.nxs",
    ]
    assert list(STREAM.kept(run_path)) == list(range(BLOCKS))
    with Run(run_path) as run:
        assert run.outcome == "completed"
        assert run.segments() == [1, 2, 3]
        assert run.hops["number"].values.tolist() == list(range(BLOCKS))
        assert run.hops["step"].values.tolist() == ["probe[0]"] * BLOCKS
        np.testing.assert_array_equal(run.slow["pipette_current"].values, np.arange(BLOCKS) * 1e-12)
        assert np.isnan(run.cell["soc"].values).all()
        assert [fact.seq for fact in run.facts] == list(range(BLOCKS + 2))
        assert run.title == "fault"
        assert run.provenance["seed"] == 1
        assert run.provenance["losses"] == "none"
        assert len((run_path.parent / "journal.jsonl").read_text().splitlines()) == len(run.facts)


@pytest.mark.parametrize(
    ("policies", "in_full", "in_short"),
    [
        (("full", "decimated"), ["pipette_current"], ["pipette_current", "z"]),
        (("decimated", "off"), [], ["pipette_current"]),
        (("off", "off"), [], []),
    ],
)
def test_each_channel_is_recorded_by_its_policy(
    tmp_path: Path, policies: tuple[Policy, Policy], in_full: list[str], in_short: list[str]
) -> None:
    header = STREAM.header()
    channels = tuple(replace(c, policy=p) for c, p in zip(header.channels, policies, strict=True))
    path = record(tmp_path, replace(header, channels=channels), blocks=3)
    with Run(path) as run:
        assert list(run.samples(1, 0, 10)) == in_full
        with h5py.File(path) as file:
            # Of channels kept in full it is computed when it is asked for.
            assert ("decimated" in file["entry/samples/segment_0001"]) == ("decimated" in policies)
        if in_short:
            short = run.decimated(1)
            assert short["channel"].values.tolist() == in_short
            counts = STREAM.counts(STREAM.pool(), 1)[128:256, 0]
            row = int(np.flatnonzero(short["first_sample"].values == STREAM.samples + 128)[0])
            assert short["minimum"].values[row, 0] == pytest.approx(counts.min() * 1e-12, rel=1e-12)
            assert short["mean"].values[row, 0] == pytest.approx(counts.mean() * 1e-12, rel=1e-6)


@pytest.mark.parametrize(("steps", "axis"), [(0.0, "time"), (1e-5, "coarse_z")])
def test_a_tower_is_drawn_against_its_height(tmp_path: Path, steps: float, axis: str) -> None:
    recorder = SharedRecorder(folder(tmp_path))
    recorder.open(STREAM.header())
    for k in range(4):
        recorder.reading(replace(STREAM.reading(k), coarse_z=1e-3 - k * steps))
    path = recorder.close()
    with h5py.File(path) as file:
        data = file["entry/data"]
        assert (data.attrs["signal"], data.attrs["axes"]) == ("pipette_current", axis)
        np.testing.assert_array_equal(data["pipette_current"][:], np.arange(4) * 1e-12)
        assert data[axis].shape == (4,)
    assert all(result.ok for result in validate(path))


def test_every_channel_of_the_contract_by_its_own_policy(tmp_path: Path) -> None:
    stream = Stream(channels=8, per_segment=8)
    header = stream.header()
    policies: list[Policy] = ["full", "off", "decimated", "full", "decimated", "off", "full", "decimated"]
    channels = tuple(replace(c, policy=p) for c, p in zip(header.channels, policies, strict=True))
    path = record(tmp_path, replace(header, channels=channels), stream, blocks=3)
    with Run(path) as run:
        full = [c.name for c in channels if c.policy == "full"]
        assert list(run.samples(1, 0, 10)) == full
        assert set(run.decimated(1)["channel"].values) == {c.name for c in channels if c.policy != "off"}
        counts = stream.counts(stream.pool(), 1)
        there = run.samples(1, stream.samples, 2 * stream.samples)
        for k, channel in enumerate(channels):
            if channel.policy == "full":
                np.testing.assert_array_equal(there[channel.name].values, counts[:, k] * channel.scale)
    assert all(result.ok for result in validate(path))


def test_a_block_out_of_order_is_refused_by_name(tmp_path: Path) -> None:
    recorder = SharedRecorder(folder(tmp_path))
    recorder.open(STREAM.header())
    pool = STREAM.pool()
    recorder.block(STREAM.block(pool, 0))
    with pytest.raises(LimitCrossed, match=r"block is sample 10000 of segment 1; sample 5000 of segment 1 comes next"):
        recorder.block(STREAM.block(pool, 2))
    with pytest.raises(LimitCrossed, match="8 channels wide; the header announced 2"):
        recorder.block(Stream(channels=8).block(Stream(channels=8).pool(), 1))
    recorder.close()


def test_a_step_name_too_long_is_refused(tmp_path: Path) -> None:
    recorder = SharedRecorder(folder(tmp_path))
    recorder.open(STREAM.header())
    with pytest.raises(BadInput, match="step path is 200 bytes long"):
        recorder.hops("p" * 200, np.zeros(1, "i8"))
    recorder.close()


def test_a_writer_that_cannot_start_is_reported_before_anything_moves(tmp_path: Path) -> None:
    recorder = SharedRecorder(folder(tmp_path), [sys.executable, "-c", "raise SystemExit(7)"])
    with pytest.raises(LimitCrossed, match=r"writer process is ended \(code 7\)"):
        recorder.open(STREAM.header())


def test_a_run_of_which_nothing_came_for_long_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than a writer may take nothing at the end of a run: the end is what that time counts from."""
    monkeypatch.setattr(shared_recorder, "_STUCK_AFTER", 2.0)
    slow = (
        "import sys, time; from opsicm.record.writer_process import main; main(sys.argv[1:], lambda: time.sleep(0.5))"
    )
    recorder = SharedRecorder(folder(tmp_path), [sys.executable, "-P", "-c", slow])
    recorder.open(STREAM.header())
    feed(recorder, blocks=1)
    time.sleep(2.5)
    path = recorder.close()
    assert recorder.unfinished is None
    assert list(STREAM.kept(path)) == [0]


def test_a_restarted_writer_is_in_the_journal(tmp_path: Path) -> None:
    recorder = SharedRecorder(folder(tmp_path))
    recorder.open(STREAM.header())
    os.kill(recorder.writer, signal.SIGKILL)
    waited = time.monotonic()
    while (recorder.restarts == 0 or not recorder.ready) and time.monotonic() - waited < 20.0:
        time.sleep(0.01)
    feed(recorder)
    with Run(recorder.close()) as run:
        alarms = [fact for fact in run.facts if fact.kind == "alarm"]
        assert len(alarms) == 1
        assert "signal 9" in str(alarms[0].data["message"])
        assert [fact.seq for fact in run.facts] == list(range(BLOCKS + 3))
        assert run.outcome == "completed"


_LIVE = """
import sys
from opsicm.cli import main as cli
import opsicm.cli.execute
seen = []
class Watched(opsicm.cli.execute.Runner):
    def _loop(self):
        ending = super()._loop()
        seen.append(sorted({"h5py", "hdf5plugin"} & set(sys.modules)))
        return ending
opsicm.cli.execute.Runner = Watched
code = cli.main(["run", sys.argv[1], "--out", sys.argv[2], "--speed", "1"])
assert seen == [[]], seen
sys.exit(code)
"""
_EXPERIMENT = """
opsicm: 1
title: an hour
rig: twin/graphite
pipette: {bias_V: 0.7}
cell:
  - open_circuit: {for_s: 3600}
probe:
  - hop: {at_um: [0, 0], amplitude_nm: 2000, fall_nm_per_ms: 30, setpoint_pct: 2.0, during: "cell[0]"}
"""


def test_an_interrupt_of_the_whole_group_keeps_the_file_and_hdf5_stays_out_of_a_live_run(tmp_path: Path) -> None:
    (tmp_path / "e.yaml").write_text(_EXPERIMENT)
    command = [sys.executable, "-W", "error", "-c", _LIVE, str(tmp_path / "e.yaml"), str(tmp_path / "out")]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    waited = time.monotonic()
    while time.monotonic() - waited < 100.0:
        folders = list((tmp_path / "out").glob("*/record-0001.log"))
        if folders and '"hops"' in (folders[0].parent / "journal.jsonl").read_text():
            break
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    with Run(Path(out.strip().splitlines()[-1])) as run:
        assert run.outcome == "interrupted"
        assert run.hops.sizes["hop"] > 0
        assert run.parameters["specimen"]["capacity_C"] > 0
        assert not [fact for fact in run.facts if fact.kind == "alarm"]
