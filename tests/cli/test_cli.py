"""The command line as a user meets it: exit codes, words, files, nothing written on bad input."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import opsicm
from opsicm.cli.main import main
from opsicm.core.statistics import noise_from_differences
from opsicm.experiment.file import experiment_path
from opsicm.record.reader import Run
from tests.fixtures.laboratory import RIG, TEXT

QUICK = TEXT.replace("rate_mV_s: 8", "rate_mV_s: 100")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "rig.yaml").write_text(RIG, encoding="utf-8")
    (tmp_path / "quick.yaml").write_text(QUICK.replace("rig: twin/graphite", "rig: rig.yaml"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_run_prints_the_run_file_last_and_leaves_the_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "quick.yaml", "--out", "out", "--seed", "3"]) == 0
    path = Path(capsys.readouterr().out.splitlines()[-1])
    assert path.name == "run.nxs"
    assert path.is_file()
    with Run(folder / path) as run:
        assert run.outcome == "completed"
        assert run.provenance["seed"] == 3


def test_a_series_prints_every_run_file_and_its_folders_say_the_value(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (folder / "quick.yaml").read_text(encoding="utf-8")
    text = text.replace("short operando run", "a title that is so long that no folder could ever hold all of it")
    text += "vary: {probe[0].hop.amplitude_nm: [500, 1500], pipette.radius_nm: [47.5]}\n"
    (folder / "series.yaml").write_text(text, encoding="utf-8")
    assert main(["run", "series.yaml", "--out", "out"]) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    values = [path.parent.name.partition("_")[2] for path in paths]
    assert values == [
        "a-title-that-is-amplitude-nm-500-radius-nm-47-5",
        "a-title-that-is-amplitude-nm-1500-radius-nm-47-5",
    ]
    assert all(path.is_file() for path in paths)


@pytest.mark.parametrize("content", [b"", b"hello\n", bytes(range(256))])
def test_another_file_named_as_a_run_file_is_not_referred_back_to_identify(
    folder: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (folder / "scan.nxs").write_bytes(content)
    assert main(["identify", "scan.nxs"]) == 2
    message = capsys.readouterr().err
    assert f"is no HDF5 file, as run files are; it has {len(content)} bytes; copy it again" in message
    assert "identify" not in message


def test_report_of_a_run_is_self_contained(folder: Path, short_run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(short_run.path.parent), "-o", "r.html"]) == 0
    assert capsys.readouterr().out.strip() == "r.html"
    page = (folder / "r.html").read_text(encoding="utf-8")
    assert page.count("<img alt=") >= 5
    assert set(re.findall(r"<img [^>]*src='([^,']*)", page)) <= {"data:image/png;base64", "data:image/svg+xml;base64"}
    for outside in ("http://", "https://", " src='/", "<script src", "<link"):
        assert outside not in page
    assert "During lithiation the surface rose by" in page


def test_analyse_json_has_stable_keys(short_run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyse", str(short_run.path), "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    keys = {"run", "name", "value", "u", "unit", "method", "outcome", "reason", "flags"}
    keys |= {"quantity", "of", "index", "u_calibration", "calibrations"}
    assert all(set(record) == keys for record in records)
    by_name = {record["name"]: record for record in records}
    assert by_name["expansion_lithiation"]["value"] > 1.0
    assert by_name["expansion_lithiation"]["unit"] == "%"


def test_a_run_without_hops_analyses_to_named_outcomes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (folder / "quick.yaml").read_text(encoding="utf-8")
    (folder / "parked.yaml").write_text(
        text[: text.index("probe:")] + text[text.index("envelope:") :], encoding="utf-8"
    )
    assert main(["run", "parked.yaml", "--out", "out"]) == 0
    run = capsys.readouterr().out.splitlines()[-1]
    assert main(["analyse", run, "--json"]) == 0
    records = {record["name"]: record for record in json.loads(capsys.readouterr().out)}
    assert records["hops"]["outcome"] == "no hops"
    assert records["hops"]["value"] is None
    assert records["peak_lithiation_current"]["value"] < 0.0
    assert main(["report", run]) == 0


BROKEN = {
    "unknown_key": (QUICK.replace("cycles: 1", "cicles: 1"), r":7: .*cicles.*did you mean cycles"),
    "misspelt_unit": (QUICK.replace("rate_mV_s: 100", "rate_V_s: 0.1"), r":7: .*rate_V_s.*rate_mV_s"),
    "limit_crossed": (QUICK.replace("setpoint_pct: 2.0", "setpoint_pct: 98"), r":9: .*setpoint_pct is 98.*a drop of 2"),
    "empty": ("", "is empty"),
    "binary": ("\0\x01\x02", "broken.yaml"),
    "tag": ("title: !!python/object/apply:os.system ['touch hacked']\n", ":1: .*tag"),
    "unknown_rig": (
        QUICK.replace("twin/graphite", "twin/gold"),
        r":3: rig is .*twin/gold.*presets are twin/calibration.*twin/graphite",
    ),
    "crash": (QUICK.replace("fall_nm_per_ms: 30", "fall_nm_per_ms: 300"), r":9: .*fall_nm_per_ms is 300.*would touch"),
    "noise": (QUICK.replace("setpoint_pct: 2.0", "setpoint_pct: 0.05"), r":9: .*setpoint_pct is 0.05.*false stops"),
    "out_of_reach": (QUICK.replace("at_um: [0, 0]", "at_um: [0, 900]"), r":9: .*at_um is .*900.*reaches ±40 µm"),
    "command_range": (
        QUICK.replace("bias_V: 0.7", "bias_V: -1.9"),
        r":4: .*bias_V is -1.9.*amplifier reaches -2 … 2 V",
    ),
    "unknown_set": (QUICK.replace("{area_cm2", "{parameters: gold, area_cm2"), r":5: .*gold.*is no parameter set"),
}


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("command", ["check", "run"])
def test_bad_input_names_file_line_value_limit_and_writes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], case: str, command: str
) -> None:
    text, words = BROKEN[case]
    (folder / "broken.yaml").write_text(text, encoding="utf-8")
    before = sorted(path.name for path in folder.rglob("*"))
    assert main([command, "broken.yaml"]) == 2
    message = capsys.readouterr()
    assert re.search(words, message.err.replace("\n", " ")), message.err
    assert "broken.yaml" in message.err
    assert "Traceback" not in message.err
    assert sorted(path.name for path in folder.rglob("*")) == before


def test_check_reports_every_problem_at_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = QUICK.replace("cycles: 1", "cycles: 0").replace("setpoint_pct: 2.0", "setpoint_pct: 98")
    text = text.replace("bias_V: 0.7", "bias_V: 7").replace("loading_mg_cm2: 0.05", "loading_mg_cm2: -1")
    text = text.replace("title: short operando run", "titel: x")
    (folder / "five.yaml").write_text(text, encoding="utf-8")
    assert main(["check", "five.yaml", "--json"]) == 2
    message = capsys.readouterr()
    problems = json.loads(message.out)[0]["problems"]
    lines = {problem["line"] for problem in problems}
    assert {2, 4, 5, 7, 9} <= lines
    assert all(problem["file"] == "five.yaml" for problem in problems)


def test_check_predicts_what_the_run_then_does(
    folder: Path, capsys: pytest.CaptureFixture[str], short_run: Run
) -> None:
    (folder / "short.yaml").write_text(TEXT.replace("rig: twin/graphite", "rig: rig.yaml"), encoding="utf-8")
    assert main(["check", "short.yaml", "--json"]) == 0
    output = json.loads(capsys.readouterr().out)[0]
    assert output["duration_s"] == pytest.approx(100.0)
    hops = short_run.hops
    assert output["hops"][0]["hops"] == pytest.approx(hops.sizes["hop"], rel=0.02)
    assert output["far_current_A"] == pytest.approx(float(hops["i_ref"].values[:10].mean()), rel=0.01)
    assert output["file_bytes"] == pytest.approx(short_run.path.stat().st_size, rel=0.25)
    # The first crossing of a noisy threshold scatters a little less than sigma_I/(dI/dz) says.
    assert output["hops"][0]["height_noise_m"] == pytest.approx(noise_from_differences(hops["z_stop"].values), rel=0.15)


VERBS = re.compile(
    "Advise|Analyse|Check|Compute|Convert|Draw|Emulate|Identify|Join|List|Measure|Open|Print|Recover|Replay|Report|Reproduce|"
    "Run|Send|Show|Validate|Vary|Write"
)


def commands_below(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    """(words of the command, its help) of every command and group, read from the help as a user would."""
    assert main([*words, "--help"]) == 0
    text = capsys.readouterr().out
    yield words, text
    for line in text.partition("\nCommands:\n")[2].splitlines():
        yield from commands_below((*words, line.split()[0]), capsys)


def test_every_help_begins_with_a_verb_that_users_know_and_ends_with_an_example(
    capsys: pytest.CaptureFixture[str],
) -> None:
    helps = dict(commands_below((), capsys))
    leaves = {words: text for words, text in helps.items() if words and "\nCommands:\n" not in text}
    assert {("demo",), ("check",), ("bench",), ("kernel", "show"), ("parameters", "list")} <= leaves.keys()
    for words, text in leaves.items():
        assert f"Example: opsicm {' '.join(words)}" in " ".join(text.rpartition("\n\n")[2].split()), words
    for words, text in helps.items():
        for line in text.partition("\nCommands:\n")[2].splitlines():
            name, summary = line.split(maxsplit=1)
            assert VERBS.fullmatch(summary.split()[0]), (*words, name)
            assert not summary.endswith("..."), f"the first sentence of {name} is too long for the list of commands"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run"], "FILE"),
        (["run", "nowhere.yaml"], "nowhere.yaml"),
        (["run", "quick.yaml", "--speed", "fast"], "is max, or a number above 0"),
        (["run", "quick.yaml", "--seed", "-1"], "must be 0 or more"),
        (["run", "quick.yaml", "--rig", "nowhere.yaml"], "nowhere.yaml"),
        (["run", "quick.yaml", "--out", "rig.yaml"], "is not a folder that may be written"),
        (["analyse", "nowhere"], "does not exist"),
        (["analyse", "rig.yaml"], "rig.yaml"),
        (["report", "."], "a folder to analyse holds approach curves"),
        (["identify", "nowhere"], "does not exist"),
        (["bench", "--only", "nothing"], "matches none of"),
        (["nonsense"], "nonsense"),
    ],
)
def test_wrong_arguments_exit_2_with_a_message(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert folder.is_dir()
    assert main(arguments) == 2
    message = capsys.readouterr()
    assert words in message.err + message.out
    assert "Traceback" not in message.err


def test_ctrl_c_stops_safely_and_keeps_a_readable_file(folder: Path) -> None:
    # Real time: the run would last 100 s. The signal goes out as soon as the journal shows hops.
    (folder / "slow.yaml").write_text(TEXT.replace("rig: twin/graphite", "rig: rig.yaml"), encoding="utf-8")
    command = [sys.executable, "-m", "opsicm", "run", "slow.yaml", "--out", "out", "--speed", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        journal: list[Path] = []
        while process.poll() is None:
            journal = journal or list(folder.glob("out/*/journal.jsonl"))
            if journal and '"hops"' in journal[0].read_text(encoding="utf-8"):
                os.kill(process.pid, signal.SIGINT)
                break
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "rig safe, file kept" in err
    assert "Traceback" not in err
    with Run(folder / out.splitlines()[-1]) as run:
        assert run.outcome == "interrupted"
        assert run.hops.sizes["hop"] > 0
        assert run.cell["t_ns"].values[-1] < 90e9
        assert run.trace(0).sizes["sample"] > 1000


def test_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert "probe" in schema["properties"]


def test_the_python_api_gives_what_the_command_line_gives(folder: Path) -> None:
    with opsicm.run(folder / "quick.yaml", out=folder / "door", seed=3) as run:
        results = {result.label: result for result in opsicm.analyse(run)}
        assert results["hops"].value == run.hops.sizes["hop"]
        with opsicm.open(run.path.parent) as again:
            assert again.title == run.title
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        opsicm.nonsense  # noqa: B018


HEAVY = {"h5py", "matplotlib", "numba", "pydantic", "scipy", "xarray"}


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        (["--version"], set()),
        (["--help"], set()),
        (["run", "--help"], {"pydantic"}),  # typer's own use of it
        (["check", str(experiment_path("short/e01_current_against_salt.yaml"))], {"numba", "pydantic", "scipy"}),
    ],
)
def test_a_command_imports_what_it_needs_and_no_more(arguments: list[str], needed: set[str]) -> None:
    """Each of these costs a third of a second or more, before anything is answered."""
    code = "import sys; from opsicm.cli.main import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert HEAVY.intersection(done.stderr.split()) <= needed


@pytest.mark.parametrize(("line", "words"), [("opsicm st", ["status"]), ("opsicm check --pl", ["--plot"])])
def test_a_shell_completes_commands_and_options(line: str, words: list[str]) -> None:
    environment = {"_OPSICM_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    code = "import sys; sys.argv[0] = 'opsicm'; from opsicm.cli.main import entry; entry()"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == words
