"""An instrument whose driver was never tried on hardware says so: at the start, in the run file, in the report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import opsicm
from docs.examples.dummy_cell import DRIVER, DummyCell
from opsicm.cli.main import main
from opsicm.cli.rigs import load_rig
from opsicm.cli.verification import instrument_lines, unverified, verified_on_hardware
from opsicm.experiment.rig_file import LoadedRig, rig_from_text
from opsicm.instruments.roles import Identity
from opsicm.record.reader import Run
from tests.fixtures.laboratory import RIG, TEXT, Laboratory
from tests.instruments.test_registry import offer

TRIED = "through acme-cell 2.1 against an emulator only, never on hardware"
SENTENCE = f"NOT VERIFIED ON HARDWARE: potentiostat (acme_cell): {TRIED}"


class AcmeCell(DummyCell):
    """A potentiostat that says who it is."""

    def identity(self) -> Identity:
        return Identity("ACME 9000", "42", "1.7", "acme-cell 2.1")


UNVERIFIED = replace(DRIVER, name="acme_cell", connect=AcmeCell, real_time=True, verified=TRIED)
VERIFIED = replace(UNVERIFIED, verified="on hardware: an ACME 9000 with firmware 1.7, by the authors, 2026")
TWIN_CELL = RIG[RIG.index("  potentiostat:") : RIG.index("  scanner:")]
MIXED = RIG.replace(TWIN_CELL, "  potentiostat: {driver: acme_cell}\n")
QUICK = TEXT[: TEXT.index("cell:")] + "cell: [open_circuit: {for_s: 0.2}]\n"
EMULATED = f"{MIXED}emulation: {{rig: twin/graphite}}\n"


@pytest.fixture(autouse=True)
def acme(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, acme_cell="tests.cli.test_verification:UNVERIFIED")


def rig(verified: str = "false") -> LoadedRig:
    return rig_from_text(f"{MIXED}verified: {verified}\n")


def test_a_twin_has_nothing_to_verify() -> None:
    assert unverified(rig_from_text(RIG)) == []
    assert list(instrument_lines(rig_from_text(RIG))) == []


def test_the_word_of_a_rig_file_changes_the_sentence_and_silences_nothing() -> None:
    assert unverified(rig()) == [SENTENCE]
    assert unverified(rig("true")) == [f"{SENTENCE}; its rig file: verified"]
    assert unverified(rig("'M. Curie, 2026-11-30, signs with a dummy cell'")) == [
        f"{SENTENCE}; its rig file: verified, M. Curie, 2026-11-30, signs with a dummy cell"
    ]


def test_a_driver_that_was_tried_on_hardware_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, acme_cell="tests.cli.test_verification:VERIFIED")
    assert unverified(rig()) == []


def test_nothing_but_hardware_counts_as_hardware() -> None:
    for tried in ("", "never on hardware", "against an emulator on hardware of ours"):
        assert not verified_on_hardware(replace(UNVERIFIED, verified=tried))
    assert verified_on_hardware(VERIFIED)


def test_a_run_says_it_at_its_start_in_its_file_and_in_its_report(
    laboratory: Laboratory, capsys: pytest.CaptureFixture[str]
) -> None:
    laboratory.experiment(QUICK, MIXED)
    out = laboratory.folder / "out"
    assert main(["run", str(laboratory.folder / "experiment.yaml"), "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert said.err.splitlines()[0] == SENTENCE
    path = Path(said.out.splitlines()[-1])
    with Run(path) as run:
        assert run.provenance["not_verified"] == SENTENCE
        assert json.loads(run.provenance["instruments"]) == {
            "potentiostat": {
                "driver": "acme_cell",
                "model": "ACME 9000",
                "serial": "42",
                "firmware": "1.7",
                "client": "acme-cell 2.1",
                "verified": TRIED,
            }
        }
    assert main(["report", str(path), "-o", str(laboratory.folder / "r.html")]) == 0
    page = (laboratory.folder / "r.html").read_text(encoding="utf-8")
    first_screen = page.partition("<dl class=setup>")[0]
    assert f"<p class='warn'>{SENTENCE}</p>" in first_screen
    methods = page.partition("Methods: how each quantity was made")[2]
    assert f"ACME 9000, serial 42, 1.7, through acme-cell 2.1; driver acme_cell, {TRIED}" in methods


def test_a_run_from_python_says_the_same_at_its_start(
    laboratory: Laboratory, capsys: pytest.CaptureFixture[str]
) -> None:
    laboratory.experiment(QUICK, MIXED)
    with opsicm.run(laboratory.folder / "experiment.yaml", out=laboratory.folder / "out") as run:
        assert run.provenance["not_verified"] == SENTENCE
    assert capsys.readouterr().err.splitlines().count(SENTENCE) == 1


def test_check_says_which_roles_are_instruments_and_that_they_are_emulated(
    laboratory: Laboratory, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = laboratory.experiment(QUICK, EMULATED)
    assert main(["check", str(laboratory.folder / "experiment.yaml")]) == 0
    said = capsys.readouterr().out
    assert "  instruments      potentiostat (acme_cell)\n" in said
    assert "emulated, with twin/graphite behind them: start opsicm emulate" in said
    assert SENTENCE in said
    assert main(["check", str(laboratory.folder / "experiment.yaml"), "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["instruments"] == {"potentiostat": "acme_cell"}
    assert record["emulated"] is True
    assert load_rig(experiment, None).rig.emulation is not None
