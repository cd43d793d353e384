"""Options that would have no effect on what is named are refused: passed over they would seem to have acted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from opsicm.cli.main import main
from opsicm.record.reader import Run

TABLES = {
    "trace.csv": "t/s,I/nA,z/um\n" + "\n".join(f"{0.01 * k:.2f},{1.0 - 0.02 * (k % 9):.3f},{k % 9}" for k in range(90)),
    "cell.csv": "t/s,I/mA,E/V\n" + "\n".join(f"{k},1.0,{0.5 + 0.001 * k:.4f}" for k in range(90)),
}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, text in TABLES.items():
        (tmp_path / name).write_text(text + "\n", encoding="utf-8")
    np.save(tmp_path / "image.npy", np.random.default_rng(1).normal(0.0, 1e-9, (16, 16)))
    return tmp_path


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("analyse {}/image.npy --columns t=s,E=V", "image.npy: --columns is 't=s,E=V'; the file's own format"),
        ("identify {}/image.npy --columns t=s,E=V", "image.npy: --columns is 't=s,E=V'; the file's own format"),
        ("analyse {}/cell.csv --setpoint 2", "cell.csv: --setpoint is 2; is for a trace of hops"),
        ("report {}/cell.csv --setpoint 2 -o {}/x.html", "cell.csv: --setpoint is 2; is for a trace of hops"),
        ("analyse {}/trace.csv --particle-radius-um 5", "trace.csv: --particle-radius-um is 5; is for the titration"),
        ("analyse {}/cell.csv --levelling plane", "--levelling is plane; is for the images of a run, and cell.csv is"),
        ("report {}/cell.csv --profile 0,0,1,1 -o {}/x.html", "--profile is 0,0,1,1; is for the images of a run"),
    ],
)
def test_an_option_without_effect_on_a_file_is_refused(
    files: Path, line: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.replace("{}", str(files)).split()) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert not (files / "x.html").exists()


@pytest.mark.parametrize("option", ["--columns t=s", "--setpoint 2", "--unit nm", "--particle-radius-um 5"])
@pytest.mark.parametrize("command", ["analyse", "report"])
def test_an_option_about_measured_files_is_refused_for_a_run(
    short_run: Run, command: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, str(short_run.path.parent), *option.split()]) == 2
    assert "is a run, which states it itself; leave it out" in " ".join(capsys.readouterr().err.split())


def test_options_that_act_are_taken(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyse", str(files / "trace.csv"), "--setpoint", "2"]) == 0
    assert main(["analyse", str(files / "image.npy"), "--size-um", "2"]) == 0
    assert main(["analyse", str(files / "cell.csv"), "--particle-radius-um", "5", "--columns", "t=s,I=mA,E=V"]) == 0
    assert "Sq" in capsys.readouterr().out
