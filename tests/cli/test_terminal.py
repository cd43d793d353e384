"""Output of the command line on every terminal: what users have written is text, what cannot be shown is no error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from opsicm.analysis.result import Result
from opsicm.cli.main import main
from opsicm.cli.terminal import print_problems, print_results, printable
from opsicm.core.errors import BadInput, Problem
from tests.fixtures.laboratory import TEXT, Laboratory

TITLE = "[/x] [bold]µ :smile: \x9b31m \u202egnp.exe"  # as an experiment file may have it
HOSTILE = f"{TITLE} \x1b]0;owned\x07"


def opsicm(*words: str, stdout: int | None = subprocess.PIPE, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "opsicm", *words],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.fixture(scope="module")
def runs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one run of a hostile title."""
    laboratory = Laboratory(tmp_path_factory.mktemp("terminal"))
    text = TEXT.replace("rate_mV_s: 8", "rate_mV_s: 100")
    laboratory.run(text.replace("title: short operando run", f"title: {json.dumps(TITLE)}")).close()
    return laboratory.folder / "out"


def test_what_steers_a_terminal_is_shown_and_not_sent(capsys: pytest.CaptureFixture[str]) -> None:
    assert printable("µ\tA\n") == "µ\tA\n"
    assert printable(HOSTILE) == r"[/x] [bold]µ :smile: \x9b31m \u202egnp.exe \x1b]0;owned\x07"
    print_problems(BadInput(Problem("title", HOSTILE, "[/y] is a limit", "mend it")))
    assert printable(HOSTILE) + "; [/y] is a limit; mend it" in capsys.readouterr().err


def test_results_and_their_title_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    result = Result("height", None, None, "[m]", "[/m]", outcome="not_covered", reason=f"{HOSTILE} reason")
    print_results([result], HOSTILE)
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.count("[/x] [bold]µ :smile:") == 2
    assert "\x1b" not in printed


def test_a_title_with_markup_hides_no_run(runs_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(runs_folder)]) == 0
    printed = capsys.readouterr().out
    assert "[/x]" in printed
    assert "\x9b" not in printed


def test_a_terminal_without_utf_8_gets_ascii(runs_folder: Path) -> None:
    (run,) = runs_folder.glob("*/run.nxs")
    shown = opsicm("identify", str(run), PYTHONIOENCODING="ascii")
    assert shown.returncode == 0
    assert b"[bold]u :smile:" in shown.stdout
    exact = opsicm("identify", str(run), "--json", PYTHONIOENCODING="ascii")
    assert exact.stdout.isascii()
    assert TITLE in {row["value"] for row in json.loads(exact.stdout)}


def test_a_finished_run_is_finished_on_every_terminal(runs_folder: Path, tmp_path: Path) -> None:
    (folder,) = (path.parent for path in runs_folder.glob("*/run.nxs"))
    out = tmp_path / "µ"
    done = opsicm(
        "run", str(folder / "experiment.yaml"), "--rig", str(folder), "--out", str(out), PYTHONIOENCODING="ascii"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    with open("/dev/full", "wb") as full:
        words = ("run", str(folder / "experiment.yaml"), "--rig", str(folder), "--out", str(out))
        done = opsicm(*words, stdout=full.fileno())
    assert done.returncode == 0  # the run is not what failed
    assert b"standard output; cannot be written (No space left on device)" in done.stderr
    paths = sorted(out.glob("*/run.nxs"))
    assert len(paths) == 2
    assert str(paths[-1]).encode() in done.stderr


@pytest.mark.parametrize("words", [("schema",), ("runs", ".")])
def test_output_that_reaches_no_device_is_a_named_failure(words: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        failed = opsicm(*words, stdout=full.fileno())
    assert failed.returncode == 2
    assert b"No space left on device" in failed.stderr
    assert b"Traceback" not in failed.stderr
    assert b"internal error" not in failed.stderr


def test_standard_error_that_is_full_changes_nothing(tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "opsicm", "check", str(tmp_path / "none.yaml")], stderr=full, check=False
        )
    assert done.returncode == 2


def test_a_closed_pipe_is_enough(runs_folder: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = opsicm("runs", str(runs_folder), stdout=writing)
    os.close(writing)
    assert done.returncode == 0
    assert done.stderr == b""


def test_a_path_too_long_is_named_and_shortened(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("check", "run", "report", "analyse", "runs", "validate", "identify"):
        assert main([command, "a" * 5000]) == 2
        said = capsys.readouterr().err
        assert "File name too long" in said or "does not exist" in said
        assert "internal error" not in said


def test_an_inherited_backend_of_matplotlib_has_no_say(runs_folder: Path, tmp_path: Path) -> None:
    (run,) = runs_folder.glob("*/run.nxs")
    drawn = opsicm("report", str(run), "-o", str(tmp_path / "report.html"), MPLBACKEND="no_such_backend")
    assert drawn.returncode == 0, drawn.stderr


def test_a_file_size_limit_is_named_before_anything_moves(runs_folder: Path, tmp_path: Path) -> None:
    (experiment,) = runs_folder.glob("*/experiment.yaml")
    words = f'ulimit -f 100; exec "{sys.executable}" -m opsicm run "{experiment}" --rig "{experiment.parent}"'
    refused = subprocess.run(["bash", "-c", f'{words} --out "{tmp_path}/out"'], capture_output=True, check=False)
    assert refused.returncode == 2
    assert b"file-size limit is 0.1 MB" in refused.stderr
    assert b"ulimit -f unlimited" in refused.stderr
    assert not (tmp_path / "out").exists()
