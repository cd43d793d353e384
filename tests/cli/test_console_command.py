"""`opsicm console`: what it refuses, and a console as a process of its own from its start to Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.resources import files
from importlib.util import find_spec as find_spec_here
from pathlib import Path
from typing import Any

import httpx
import pytest

from opsicm.cli.check import checked_run
from opsicm.cli.console import place_of
from opsicm.cli.main import main
from opsicm.cli.status import status_of
from opsicm.experiment.file import read_experiment
from opsicm.record.reader import Run
from opsicm.runner.control_socket import ask_status
from tests.fixtures.served import wait_for


def test_without_its_packages_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def find_spec(name: str) -> Any:
        return None if name == "uvicorn" else find_spec_here(name)

    monkeypatch.setattr("importlib.util.find_spec", find_spec)
    assert main(["console"]) == 2
    assert "needs uvicorn, not installed here; pip install 'opsicm[console]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--demo", "somewhere"], "starts a run of its own, beside somewhere; leave out one of them"),
        (["missing"], "does not exist"),
        (["."], "is not a run folder"),
        (["missing.yaml"], "is no file; check the spelling and the folder"),
    ],
)
def test_refusals(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["console", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_an_address_of_everybody_is_refused(short_run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["console", str(short_run.path), "--host", "0.0.0.0"]) == 2
    assert "name the one address under which the page is opened" in capsys.readouterr().err


def test_a_console_from_start_to_interrupt(short_run: Run) -> None:
    arguments = [sys.executable, "-m", "opsicm", "console", str(short_run.path), "--port", "0"]
    # Its streams are pipes: what it prints must come at once all the same.
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().split() == ["replay", "of", str(short_run.path)]
        word, address = process.stdout.readline().split()
        assert word == "console"
        assert httpx.get(address, follow_redirects=True).status_code == 200
        assert httpx.get(address.partition("?")[0]).status_code == 401
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (out, err) == ("", "")
    assert process.returncode in (0, 130)


def test_a_file_is_opened_on_the_prepare_page_without_a_run(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "mine.yaml").write_text("opsicm: 1\n", encoding="utf-8")
    arguments = [sys.executable, "-P", "-m", "opsicm", "console", "sub/mine.yaml", "--port", "0"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdout is not None
        word, address = process.stdout.readline().split()
        assert word == "console"
        with httpx.Client(follow_redirects=True) as client:
            assert client.get(address).url.path == "/prepare"
            base = address.partition("/?")[0]
            assert client.get(f"{base}/api/files").json()["first"] == "here:sub/mine.yaml"
            assert client.get(f"{base}/api/file", params={"name": "here:sub/mine.yaml"}).json()["text"] == "opsicm: 1\n"
            assert client.get(f"{base}/api/runs").json() == {"runs": [], "on_show": None}
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert list(tmp_path.iterdir()) == [tmp_path / "sub"], "it leaves nothing behind"


def test_a_file_elsewhere_is_opened_in_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "mine.yaml").touch()
    monkeypatch.chdir(tmp_path / "here")
    assert place_of(Path("../mine.yaml")) == (tmp_path, "here:mine.yaml")
    assert place_of(tmp_path / "mine.yaml") == (tmp_path, "here:mine.yaml")


def test_the_demo_ends_with_its_console(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise ImportError('a file of the folder')", encoding="utf-8")
    arguments = [sys.executable, "-P", "-m", "opsicm", "console", "--demo", "--port", "0", "--out", str(tmp_path)]
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().split()[-1])
        assert process.stdout.readline().startswith("console ")
        wait_for(lambda: ask_status(folder))
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert (out, err) == ("", "")
    assert process.returncode in (0, 130), "served already, or still about to"
    assert status_of(folder).state == "interrupted", "its file is made as well"


def test_the_demo_is_an_experiment_without_problems() -> None:
    demo = Path(str(files("opsicm.console").joinpath("demo.yaml")))
    prediction = checked_run(read_experiment(demo), None, None)
    assert prediction.duration == pytest.approx(1200.0, abs=1.0)
    assert os.stat(demo).st_size < 2000
