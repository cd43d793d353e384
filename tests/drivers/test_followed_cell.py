"""A cell run by other software: rows of a growing file, another computer's clock, and what the program states."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from opsicm.core.errors import BadInput, InstrumentLost
from opsicm.core.facts import Quality
from opsicm.drivers import followed_cell
from opsicm.drivers.followed_cell import ClockOfAnother, FollowedCell, specify
from opsicm.emulators.paced_world import PacedWorld
from opsicm.experiment.controls import ConstantCurrent, OpenCircuit, PotentialRamp
from opsicm.formats.cell_rows import cell_rows
from opsicm.instruments.clock import WallClock, pause
from tests.fixtures.foreign_data import DATA
from tests.fixtures.one_instrument import (
    EXPERIMENT,
    RESTS_AT,
    OnTheWire,
    on_the_wire,
    role_setup,
    wait_for,
    world_behind,
)

pytestmark = pytest.mark.real_time

ENTRY: Final = (
    "{driver: followed_cell, settings: {rest_V: 0.4, states_program: true, stale_after_s: 0.5, lost_after_s: 0.9, "
    "first_row_within_s: 2}}"
)
WRITES_EVERY: Final = 0.1  # [s] of the emulated software


@pytest.fixture(scope="module")
def world() -> Iterator[PacedWorld]:
    with world_behind() as world:
        yield world


@pytest.fixture
def followed(tmp_path: Path, world: PacedWorld) -> Iterator[OnTheWire]:
    with on_the_wire("potentiostat", ENTRY, str(tmp_path / "twin_*.mpt"), world=world) as one:
        yield one
    world.ask(lambda rig: rig.potentiostat.apply(PotentialRamp(RESTS_AT), rig.clock.now_ns()))
    wait_for(lambda: world.ask(lambda rig: rig.potentiostat.read()).control == "potential")
    world.ask(lambda rig: rig.potentiostat.apply(OpenCircuit(), rig.clock.now_ns()))


def test_the_last_row_at_the_time_at_which_it_was_measured(followed: OnTheWire) -> None:
    offset = followed.clock.now_ns() - followed.world.now_ns()  # of the rig's clock against the world's
    wait_for(lambda: followed.device.read().t_ns > 400_000_000)
    for _ in range(20):
        reading = followed.device.read()
        age = followed.clock.now_ns() - reading.t_ns
        assert 0 <= age < 1e9 * (2.0 * WRITES_EVERY + 0.3)
        pause(0.01)
    assert reading.potential == pytest.approx(RESTS_AT, abs=5e-3)
    assert reading.control == "open_circuit"
    settings = followed.device.state().settings
    # The file's clock began with the file: the offset found is late by what the quickest row has waited.
    began = (followed.served._began_ns + offset) * 1e-9
    assert 0.0 <= float(settings["clock_offset_s"]) - began < 0.12
    assert settings["drives"] == "nothing: read only"
    assert followed.device.identity().model == "cell run by other software, followed in twin_01_MB_C01.mpt"


def test_nothing_is_driven_and_what_is_seen_is_compared_with_the_program(
    followed: OnTheWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed_cell, "_DEPARTED_FOR", 0.3)
    device, now = followed.device, followed.clock.now_ns
    device.apply(PotentialRamp(0.3), now())
    wait_for(lambda: device.read().control == "potential")
    assert device.read().set_point == 0.3
    assert followed.true().control == "open_circuit"
    wait_for(lambda: device.state().quality is Quality.SUSPECT, 4.0)
    said = device.state().message
    assert said.startswith("the other software departs from the program: 0.4")
    assert said.endswith("V where the program states 0.3000 V")
    device.safe()
    assert followed.true().control == "open_circuit"
    # The other software does begin.
    followed.world.ask(lambda rig: rig.potentiostat.apply(PotentialRamp(0.3), rig.clock.now_ns()))
    wait_for(lambda: device.state().quality is Quality.GOOD)
    assert device.read().potential == pytest.approx(0.3, abs=1e-3)


def test_a_current_that_ends_there_is_a_cut_off_here(tmp_path: Path) -> None:
    with on_the_wire("potentiostat", ENTRY, str(tmp_path / "twin.mpt")) as followed:
        device = followed.device
        control = ConstantCurrent(-2e-5, lowest=0.365)
        followed.world.ask(lambda rig: rig.potentiostat.apply(control, rig.clock.now_ns()))
        device.apply(control, followed.clock.now_ns())
        wait_for(lambda: device.read().current == pytest.approx(-2e-5, abs=3e-6))
        assert device.read().control == "current"
        wait_for(lambda: device.read().cut_off)
        assert device.read().control == "open_circuit"
        wait_for(lambda: abs(device.read().current) < 3e-6)
        assert device.read().charge == pytest.approx(followed.true().charge, abs=2e-5 * WRITES_EVERY)
        assert device.state().quality is Quality.GOOD


def test_rows_that_stop_are_stale_then_lost_and_come_back(followed: OnTheWire) -> None:
    followed.served.faults.set("silent", times=-1)
    wait_for(lambda: followed.device.state().quality is Quality.STALE)
    followed.device.read()
    with pytest.raises(InstrumentLost, match=r"no longer followed; no row for [01].\d s; .* lost_after_s is 0.9; see"):
        wait_for(lambda: followed.device.read() is None)
    assert followed.device.state().quality is Quality.MISSING
    followed.served.faults.clear()
    wait_for(lambda: followed.device.state().quality is Quality.GOOD)


def test_a_stuck_row_is_none(followed: OnTheWire) -> None:
    followed.served.faults.set("stuck", times=-1)
    wait_for(lambda: followed.device.state().quality is Quality.STALE)


def test_a_file_that_has_ended_is_not_taken_for_one_that_grows(tmp_path: Path) -> None:
    path = tmp_path / "yesterday.csv"
    path.write_text("time/s,Ewe/V,I/mA\n0,0.4,0\n1,0.41,0\n", encoding="utf-8")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    when = datetime.fromtimestamp(1_700_000_000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    entry = ENTRY.replace("first_row_within_s: 2", "first_row_within_s: 0.2")
    with pytest.raises(BadInput) as refused:
        FollowedCell(role_setup("potentiostat", entry, str(path)), WallClock())
    (problem,) = refused.value.problems
    assert problem.limit == f"it has ended: no new row within 0.9 s, and it was written last at {when}"
    assert "write the address of the file that grows" in problem.remedy
    with later(path, "2,0.42,0\n3,0.43,0\n"):  # followed to the letter
        device = FollowedCell(role_setup("potentiostat", entry, str(path)), WallClock())
    assert device.read().potential == pytest.approx(0.43)
    wait_for(lambda: device.state().quality is Quality.MISSING)
    assert device.state().message.partition("; ")[2].startswith("the file was written last at 2")
    device.close()


@contextmanager
def later(path: Path, text: str | bytes) -> Iterator[None]:
    """Append to a file a moment after the block has begun."""

    def append() -> None:
        with path.open("ab") as file:
            file.write(text if isinstance(text, bytes) else text.encode())

    timer = threading.Timer(0.1, append)
    timer.start()
    try:
        yield
    finally:
        timer.join()


@pytest.mark.parametrize("kind", ["garbage", "nan", "partial"])
def test_a_damaged_row_is_named_and_the_others_are_read(followed: OnTheWire, kind: str) -> None:
    before = followed.device.read().t_ns
    followed.served.faults.set(kind)
    wait_for(lambda: float(followed.device.state().settings["damaged_rows"]) >= 1.0)
    wait_for(lambda: followed.device.read().t_ns > before + 200_000_000)
    assert followed.device.read().potential == pytest.approx(RESTS_AT, abs=0.03)


def test_a_file_begun_anew_is_followed(followed: OnTheWire) -> None:
    wait_for(lambda: followed.device.read().t_ns > 200_000_000)
    followed.served.faults.set("reset")
    before = followed.device.read().t_ns
    wait_for(lambda: followed.device.read().t_ns > before + 400_000_000)
    age = followed.clock.now_ns() - followed.device.read().t_ns
    assert age < 1e9 * (2.0 * WRITES_EVERY + 0.3)


def test_a_program_that_is_not_stated_is_refused() -> None:
    asked = EXPERIMENT.replace(
        "  - open_circuit: {for_s: 1}", "  - hold: {potential_V: 0.3, for_s: 5}\n  - open_circuit: {for_s: 1}"
    )
    entry = "{driver: followed_cell, settings: {rest_V: 0.4}}"
    with pytest.raises(BadInput) as refused:
        specify(role_setup("potentiostat", entry, None, asked))
    said = [str(problem) for problem in refused.value.problems]
    assert said[0].endswith("whose newest file is followed")
    assert said[1:] == [
        "cell[0] is hold; the cell is run by other software, which is not driven from here; if this program is the one "
        "started there, write states_program: true in the potentiostat's settings; else write open_circuit: {for_s: …} "
        "for as long as the probe works"
    ]
    assert specify(role_setup("potentiostat", ENTRY, "a.mpt", asked)).rest_potential == 0.4


def test_no_file_is_refused_at_the_beginning(tmp_path: Path) -> None:
    entry = ENTRY.replace("first_row_within_s: 2", "first_row_within_s: 0.2")
    with pytest.raises(BadInput, match=r"no row of a cell's record within 0.2 s; start the measurement in the other"):
        FollowedCell(role_setup("potentiostat", entry, str(tmp_path / "none.mpt")), WallClock())


# -- Real files, as they would grow.


@pytest.mark.skipif(not (DATA / "electrochemistry").is_dir(), reason="not at hand: set OPSICM_DATA")
@pytest.mark.parametrize("name", ["Pt_poly_cv.mpt", "cv_data.dta"])
def test_a_real_file_that_grows_gives_its_own_rows(name: str, tmp_path: Path) -> None:
    data = (DATA / "electrochemistry" / name).read_bytes()
    t, potential, current = cell_rows(data, Path(name))
    lines = (data.rstrip() + b"\r\n").splitlines(keepends=True)
    growing = tmp_path / name
    growing.write_bytes(b"".join(lines[:-9]))
    with later(growing, lines[-9]):
        device = FollowedCell(role_setup("potentiostat", ENTRY, str(growing)), WallClock())
    with growing.open("ab") as file:
        for line in lines[-8:]:
            file.write(line[:-3])  # half a row is none yet
            file.flush()
            file.write(line[-3:])
    wait_for(lambda: device.read().potential == potential[-1] and device.read().current == current[-1])
    charge = np.trapezoid(current[-9:], t[-9:]) if name.endswith("mpt") else device.read().charge
    assert device.read().charge == pytest.approx(charge, rel=1e-6)
    device.close()


# -- The clock alone: no file, no waiting.


def test_what_is_no_regular_file_is_refused_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mpt")
    for address, said in (
        (str(tmp_path / "pipe.mpt"), "it is no regular file"),
        (str(tmp_path / "pipe*"), "it is no regular file"),
        ("/dev/zero", "it is no regular file"),
        (str(tmp_path / "a**"), "no file can be found by it"),
        ("~nobody-of-this-name/day.mpt", "no file can be found by it"),
        (".", "no file can be found by it"),
    ):
        with pytest.raises(BadInput, match=said):
            FollowedCell(role_setup("potentiostat", ENTRY, address), WallClock())


def test_a_file_is_read_in_pieces_and_the_last_row_is_the_present(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed_cell, "_PIECE", 256)
    path = tmp_path / "day.csv"
    path.write_text(
        "time/s,Ewe/V,I/mA\n" + "".join(f"{k},{0.4 + 0.001 * k:.3f},0\n" for k in range(100)), encoding="utf-8"
    )
    with later(path, "".join(f"{k},{0.4 + 0.001 * k:.3f},0\n" for k in range(100, 200))):
        device = FollowedCell(role_setup("potentiostat", ENTRY, str(path)), WallClock())
    assert device.read().potential == pytest.approx(0.599)
    assert device.state().settings["damaged_rows"] == 0.0
    device.close()


@pytest.mark.parametrize("drift", [0.0, 200e-6, -150e-6])
def test_offset_and_drift_are_found_under_delays_that_scatter(drift: float) -> None:
    """Rows each second for half an hour, delayed by 20 ms and an exponential of 0.3 s, as by a busy computer."""
    rng = np.random.default_rng(1)
    clock = ClockOfAnother(least_delay=0.02)
    off = []
    for stamp in range(1800):
        true = 12.5 + stamp * (1.0 + drift)
        clock.add(float(stamp), true + 0.02 + rng.exponential(0.3))
        off.append(clock.time_of(float(stamp)) - true)
    assert clock.drift == pytest.approx(drift, abs=5e-6)
    assert np.max(np.abs(off[600:])) < 0.02
    assert min(off) > -0.02  # a reading that is dated too early would be extrapolated too far


def test_without_a_minute_of_rows_there_is_an_offset_only() -> None:
    clock = ClockOfAnother()
    for stamp in range(50):
        clock.add(float(stamp), 3.0 + stamp * 1.0005 + 0.1)
    assert clock.drift == 0.0
    assert clock.time_of(49.0) == pytest.approx(52.1)
