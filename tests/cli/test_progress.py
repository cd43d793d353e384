"""What is seen of a run while it runs: on a terminal of 80 columns, in a log file, and from a second terminal."""

from __future__ import annotations

import io
import re
import threading
from pathlib import Path

import pytest
from rich.console import Console

from opsicm.cli.execute import execute
from opsicm.cli.main import main
from opsicm.cli.progress import Pace, lasting, log_line, run_progress
from opsicm.cli.status import run_lines, status_lines, status_of
from opsicm.core.facts import Fact, Kind, Track
from opsicm.record.recover import CatalogueEntry
from opsicm.runner.control_socket import NAME, ask_status
from opsicm.runner.runner import Progress
from tests.fixtures.laboratory import TEXT, Laboratory

S = 1_000_000_000
LONG_WHERE = "cell[12].3 probe[10].2 (cell and probe paused)"


def paced(expected: float | None, total_ns: int | None, seen: list[tuple[float, float]]) -> Pace:
    """A pace after reports at (wall clock [s], time of the run [s])."""
    walls = iter([round(wall * S) for wall, _ in seen])
    pace = Pace(expected, lambda: next(walls))
    for _, t in seen:
        pace.update(Progress(round(t * S), total_ns, 340, "cell[0] probe[0]"))
    return pace


def test_the_time_left_follows_the_speed_of_the_last_half_minute() -> None:
    pace = paced(None, 1000 * S, [(0, 0), (10, 100), (20, 200), (50, 230)])
    assert pace.speed == pytest.approx(1.0), "30 s for 30 s: the quick beginning is forgotten"
    assert pace.left == pytest.approx(770.0)


def test_a_forecast_says_when_a_cut_off_ends_the_run() -> None:
    assert paced(500.0, None, [(0, 0), (10, 100)]).left == pytest.approx(40.0)
    assert paced(None, None, [(0, 0), (10, 100)]).left is None
    assert paced(500.0, 1000 * S, [(0, 0), (10, 100)]).total == 500.0
    assert paced(50.0, None, [(0, 0), (10, 100)]).left is None, "it has outlasted its forecast"
    assert paced(50.0, 1000 * S, [(0, 0), (10, 100)]).left == pytest.approx(90.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0 s"), (59.6, "1 min"), (725.0, "12 min"), (11_110.0, "3 h 05 min"), (187_200.0, "2 d 4 h")],
)
def test_a_duration_is_said_as_a_person_would(seconds: float, text: str) -> None:
    assert lasting(seconds) == text


@pytest.mark.parametrize("total_ns", [5040 * S, None])
def test_bar_and_time_left_stay_on_a_terminal_of_80_columns(total_ns: int | None) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, color_system=None, legacy_windows=False)
    with run_progress(console, "a title that is much longer than the terminal is wide " * 3, 5000.0) as show:
        for k in range(30):
            show(Progress(k * 40 * S, total_ns, 1000 * k, LONG_WHERE))
    lines = [line for line in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "\n", stream.getvalue()).splitlines() if line.strip()]
    assert max(map(len, lines)) <= 80
    last = [line for line in lines if "━" in line][-1]
    assert re.search(r"━+[╸╺━ ]* +\d+ % .* left +\d+ s, \d+ hops", last), last


def test_a_log_file_gets_a_line_a_minute() -> None:
    wall = [0]
    stream = io.StringIO()
    with run_progress(Console(file=stream, width=80), "title", None, lambda: wall[0]) as show:
        for k in range(300):
            wall[0] = k * S
            show(Progress(2 * k * S, 1000 * S, k, "cell[0] probe[0]"))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 4
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC  ", line) for line in lines)
    assert lines[1].endswith("24 %, 6 min left, 240 s, 120 hops, cell[0] probe[0]")


def test_a_line_without_an_end_says_so() -> None:
    line = log_line(paced(None, None, [(0, 0), (10, 100)]), "2026-11-30 22:14:03")
    assert line == "2026-11-30 22:14:03 UTC  time left unknown, 100 s, 340 hops, cell[0] probe[0]"


# -- From a second terminal.


def journal(folder: Path, *facts: tuple[float, Kind, Track, str, dict[str, object]]) -> Path:
    folder.mkdir()
    lines = [
        Fact(k, round(t * S), kind, track, step, data).line() for k, (t, kind, track, step, data) in enumerate(facts)
    ]
    (folder / "journal.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "experiment.yaml").write_text(TEXT, encoding="utf-8")
    return folder


SET = {"command": "set", "key": "probe.setpoint_pct", "value": 80, "accepted": False, "answer": "too much"}
BEGUN: list[tuple[float, Kind, Track, str, dict[str, object]]] = [
    (0, "run_started", "run", "run", {"title": "height [/x] of graphite"}),
    (0, "step_started", "cell", "cell[0]", {}),
    (1, "step_started", "probe", "probe[0]", {"number": 0, "done": 0}),
    (2, "hops", "probe", "probe[0]", {"range": [0, 33]}),
    (3, "command", "probe", "probe[0]", SET),
    (4, "alarm", "run", "probe[0]", {"message": "no contact"}),
]


def test_a_run_that_was_interrupted_says_so_and_what_to_do(tmp_path: Path) -> None:
    folder = journal(tmp_path / "run", *BEGUN)
    text = "\n".join(status_lines(status_of(folder)))
    assert "height [/x] of graphite" in text
    assert "state     no process runs it: interrupted, or about to begin or end; cell[0] sweep, probe[0] hop" in text
    assert "hops      34" in text
    assert "at 3      command set probe.setpoint_pct=80 refused: too much" in text
    assert "at 4      alarm: no contact" in text
    assert f"opsicm recover {folder}" in text


def test_a_run_that_has_ended_says_how(tmp_path: Path) -> None:
    folder = journal(tmp_path / "run", *BEGUN, (5, "run_ended", "run", "run", {"outcome": "completed", "hops": 34}))
    assert status_of(folder).state == "completed, its run file is being made"
    (folder / "run.nxs").touch()
    assert status_of(folder).state == "completed"
    assert status_of(folder / "run.nxs").folder == folder


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(tmp_path)]) == 2
    assert "name a folder that `opsicm run` has made" in capsys.readouterr().err


def test_a_live_run_answers_without_a_trace(laboratory: Laboratory, capsys: pytest.CaptureFixture[str]) -> None:
    out = laboratory.folder / "out"
    said: list[str] = []
    codes: list[int] = []

    def look() -> None:
        while not (found := list(out.glob(f"*/{NAME}"))):
            pass
        folder = found[0].parent
        while not (ask_status(folder) or {}).get("hops"):
            pass
        codes.append(main(["status", str(folder)]))
        said.append(capsys.readouterr().out)
        codes.append(main(["runs", str(out)]))
        said.append(capsys.readouterr().out)
        main(["command", str(folder), "stop"])

    thread = threading.Thread(target=look)
    thread.start()
    execution = execute(laboratory.experiment(TEXT), out, seed=1, speed=2.0, expected=100.0)
    thread.join()
    assert codes == [0, 0]
    status, listed = said
    assert "state     running; cell[0] sweep, probe[0] hop" in status
    assert re.search(r"time +\d+ of about 100 s, \d+ %; .* left", status)
    assert re.search(r"tip +3\.\d+ nA far from the surface, \d+ % of its first", status)
    assert re.search(r"disk +.* so far, .* free", status)
    assert re.search(r"running, \d+ %, .* left", listed)
    kinds = [line for line in (execution.path.parent / "journal.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sum('"kind": "command"' in line for line in kinds) == 1, "the stop alone"


def test_the_list_of_runs_can_be_copied() -> None:
    title = "a long title " * 12
    entries = [
        CatalogueEntry(
            "20261130T105441Z_images", title, "2026-11-30T10:54:41.123", "completed", 300.0, 320, 5_730_000, 0
        ),
        CatalogueEntry("20261130T115441Z_x", "[bold]", "2026-11-30T11:54:41.123", "fault", 4000.0, 0, 900, 0),
    ]
    lines = run_lines(Path("out"), entries)
    assert len(lines) == 3, "one line a run, however long its title"
    assert lines[1].startswith("out/20261130T105441Z_images  2026-11-30T10:54:41  completed  5 min")
    assert lines[1].endswith(title)
    assert lines[2].startswith("out/20261130T115441Z_x ")
    assert lines[2].endswith("[bold]")


def test_watching_ends_when_no_run_is_in_progress(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal(tmp_path / "20261130T105441Z_x", *BEGUN)
    assert main(["runs", str(tmp_path), "--watch"]) == 0
    assert "20261130T105441Z_x" in capsys.readouterr().out


def test_the_version_is_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"opsicm \d+\.\d+\.\d+\n", capsys.readouterr().out)
