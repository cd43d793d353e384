"""Output of the command line on every terminal: what users have written is text, what cannot be shown is no error."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from opsicm.analysis.result import Result
from opsicm.cli.main import main
from opsicm.cli.terminal import flush_output, prepare_streams, print_problems, print_results, printable
from opsicm.core.errors import BadInput, Problem
from tests.fixtures.laboratory import TEXT, Laboratory
from tests.fixtures.two_files import two_files

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


# -- every command on every kind of output ----------------------------------------------------------------------------

TINY = """\
opsicm: 1
title: µ ± tiny
rig: twin/graphite
pipette: {bias_V: 0.7}
cell: [open_circuit: {for_s: 0.2}]
probe: [hop: {at_um: [0, 0], amplitude_nm: 2000, fall_nm_per_ms: 30, setpoint_pct: 2.0, hops: 6}]
"""
# Words of every command; {run}, {file}, {out}, {cell} and {probe} are filled in.
COMMANDS = (
    "check {file}",
    "check {file} --json",
    "run {file} --out {out}/runs",
    "analyse {run}",
    "analyse {run} --json",
    "analyse {run} --out {out}/figures",
    "report {run} -o {out}/report.html",
    "identify {run}",
    "identify {run} --json",
    "convert {run} {out}/record.csv",
    "convert {run} {out}/figures",
    "runs {run}/..",
    "runs {run}/.. --json",
    "status {run}",
    "schema",
    "validate {run}",
    "validate {run} --json",
    "replay {run} --out {out}/again",
    "recover {run}",
    "join {cell} {probe} -o {out}/joined",
    "rig list",
    "rig list --json",
    "rig check twin/graphite",
    "rig check twin/graphite --json",
    "rig draw twin/graphite -o {out}/wiring.svg",
    "parameters list",
    "parameters show",
    "parameters show --json",
    "--version",
    "--help",
    "convert --help",
)


@pytest.fixture(scope="module")
def words_for(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[str]]:
    """The words of a command on one tiny run; each time into a new folder."""
    home = tmp_path_factory.mktemp("matrix")
    (home / "tiny.yaml").write_text(TINY, encoding="utf-8")
    assert main(["run", str(home / "tiny.yaml"), "--out", str(home / "runs")]) == 0
    (run,) = (path.parent for path in (home / "runs").glob("*/run.nxs"))
    cell, probe = two_files(home)

    def words(command: str) -> list[str]:
        places = {"run": run, "file": home / "tiny.yaml", "cell": cell, "probe": probe}
        out = tmp_path_factory.mktemp("out")
        return command.format(**places, out=out).split()

    return words


class Terminal:
    """Standard output and error of a process with this encoding, or on this file; `main` runs in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, encoding: str = "utf-8", path: str | None = None) -> None:
        self._output, self._error = io.BytesIO(), io.BytesIO()
        opened = self._output if path is None else open(path, "wb")  # noqa: SIM115 - closed with the process
        self._stdout = io.TextIOWrapper(opened, encoding)
        monkeypatch.setattr(sys, "stdout", self._stdout)
        monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(self._error, encoding, write_through=True))
        prepare_streams()

    def run(self, words: list[str]) -> tuple[int, bytes, bytes]:
        code = flush_output(main(words))
        sys.stderr.flush()
        said = self._output.getvalue(), self._error.getvalue()
        with contextlib.suppress(OSError):
            self._stdout.close()
        return code, *said


def quick(command: str) -> bool:
    """Whether a command is left to the conditions that concern it: a run and a report take seconds."""
    return not command.startswith(("run {", "report", "replay", "analyse {run} --out", "convert {run} {out}/figures"))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_speaks_ascii(
    words_for: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    code, out, err = Terminal(monkeypatch, "ascii").run(words_for(command))
    assert code == 0, err
    assert out.isascii()
    assert err.isascii()
    assert b"internal error" not in err
    if "--json" in command:
        assert json.loads(out)


@pytest.mark.parametrize("command", ["analyse {run}", "--help", "parameters show", "join {cell} {probe} -o {out}/j"])
def test_latin_1_keeps_what_it_has(
    words_for: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    code, out, err = Terminal(monkeypatch, "latin-1").run(words_for(command))
    assert code == 0, err
    assert b"internal error" not in err
    if command == "analyse {run}":
        assert "±".encode("latin-1") in out


@pytest.mark.parametrize("command", [command for command in COMMANDS if quick(command)])
def test_every_command_says_that_its_output_is_full(
    words_for: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    code, _, err = Terminal(monkeypatch, path="/dev/full").run(words_for(command))
    assert code == 2
    assert b"cannot be used (No space left on device)" in err or b"cannot be written (No space left on device)" in err
    assert b"internal error" not in err


@pytest.mark.parametrize("command", [command for command in COMMANDS if quick(command)])
def test_every_command_ends_quietly_where_nobody_reads(
    words_for: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    code, _, err = Terminal(monkeypatch, path=f"/dev/fd/{writing}").run(words_for(command))
    os.close(writing)
    assert code == 0
    assert b"error" not in err


LONG, DEEP = "a" * 300, "/tmp/" + "b/" * 2500
PATHS = (
    "check {0}",
    "run {0}",
    "run {file} --out {0}",
    "analyse {0}",
    "analyse {run} --out {0}",
    "report {0}",
    "report {run} -o {0}",
    "report {run} --csv {0}",
    "identify {0}",
    "convert {0} x.csv",
    "convert {run} {0}.csv",
    "convert {run} {0}.nc",
    "convert {run} {0} --to figures",
    "runs {0}",
    "status {0}",
    "validate {0}",
    "replay {0}",
    "replay {run} --out {0}",
    "recover {0}",
    "join {0} {probe} -o {out}/x",
    "join {cell} {0} -o {out}/x",
    "join {cell} {probe} -o {0}",
    "command {0} stop",
    "parameters show {0}",
)


@pytest.mark.parametrize("path", [LONG, DEEP], ids=["name", "path"])
@pytest.mark.parametrize("command", PATHS)
def test_no_path_is_too_long_for_a_refusal(
    words_for: Callable[[str], list[str]], capsys: pytest.CaptureFixture[str], command: str, path: str
) -> None:
    assert main(words_for(command.replace("{0}", path))) == 2
    said = capsys.readouterr().err
    assert "internal error" not in said
    assert "error " in said


@pytest.mark.parametrize(
    "command",
    [
        "run {file} --out {file}",
        "analyse {run} --out {file}",
        "report {run} --csv {file}",
        "convert {run} {file} --to figures",
        "convert {run} {file} --to csv",
        "replay {run} --out {file}",
        "join {cell} {probe} -o {file}",
    ],
)
def test_a_file_where_a_folder_should_be_is_named(
    words_for: Callable[[str], list[str]], capsys: pytest.CaptureFixture[str], command: str
) -> None:
    words = words_for(command)
    before = Path(words[-1] if not words[-1].startswith(("figures", "csv")) else words[2]).read_bytes()
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "tiny.yaml" in said
    assert "internal error" not in said
    assert TINY.encode() == before


@pytest.mark.parametrize("command", ["replay {run} --out {out}/x", "join {cell} {probe} -o {out}/x"])
def test_a_limit_of_file_sizes_leaves_nothing_half_written(words_for: Callable[[str], list[str]], command: str) -> None:
    words = [sys.executable, "-m", "opsicm", *words_for(command)]
    limited = subprocess.run(["bash", "-c", f"ulimit -f 8; exec {shlex.join(words)}"], capture_output=True, check=False)
    assert limited.returncode in (2, 3)
    assert b"File too large" in limited.stderr
    assert b"internal error" not in limited.stderr
    if "join" in command:
        assert not Path(words[-1]).exists()
    else:
        assert b"ulimit -f unlimited" in limited.stderr


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
