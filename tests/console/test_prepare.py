"""The prepare page's server: files that may be read and written, checks that are `opsicm check`'s, what is started."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from opsicm.cli.check import checked_run, plan_of
from opsicm.cli.console import preparing
from opsicm.cli.main import main
from opsicm.console.checking import Checker
from opsicm.console.experiment_files import LONGEST_TEXT
from opsicm.console.on_show import OnShow
from opsicm.console.prepare_page import LONGEST_EXPERIMENT, Preparing
from opsicm.console.starting import Starter
from opsicm.console.wire import decoded
from opsicm.experiment.file import EXPERIMENTS, experiment_from_text
from opsicm.experiment.schema import json_schema
from opsicm.figures.time_line import time_line_view
from opsicm.figures.view import CurvePanel
from tests.fixtures.laboratory import TEXT
from tests.fixtures.running import running
from tests.fixtures.served import Page, Served, served_on, wait_for

MARKUP = "<img src=x onerror=alert(1)>"
MISTAKES = TEXT.replace("setpoint_pct: 2.0", "setpoint_pct: 200").replace("rate_mV_s: 8", "rate_mV_s: fast")


def refuses(words: str) -> list[str]:
    """A command that says `words` and starts nothing, in place of `opsicm run`."""
    return [sys.executable, "-c", f"import sys; sys.exit({words!r})"]


@contextmanager
def served_in(folder: Path, **parts: Any) -> Iterator[Served]:
    """A console in `folder` with nothing on show; `parts` in place of those of the prepare page."""
    out = folder / "out"
    prepared: Preparing = replace(preparing(folder, out), **parts)
    with served_on(OnShow(out, lambda _: lambda: None), prepared) as console:
        yield console


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an experiment, a rig file, a run, and what may not be read."""
    made = tmp_path_factory.mktemp("folder")
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.yaml").write_text("opsicm: 1\ntitle: secret\n", encoding="utf-8")
    (made / "sub" / ".hidden").mkdir(parents=True)
    (made / "mine.yaml").write_text(TEXT, encoding="utf-8")
    (made / "sub" / "rig.yaml").write_text("opsicm_rig: 1\n", encoding="utf-8")
    (made / "sub" / "other.yml").write_text("opsicm: 1\n", encoding="utf-8")
    (made / "sub" / ".hidden" / "no.yaml").write_text("opsicm: 1\n", encoding="utf-8")
    (made / "notes.txt").write_text("no experiment", encoding="utf-8")
    (made / "large.yaml").write_text("#" * (LONGEST_TEXT + 1), encoding="utf-8")
    (made / "binary.yaml").write_bytes(b"opsicm: 1\n\0")
    (made / "20261130T080000Z_run").mkdir()
    for name in ("journal.jsonl", "experiment.yaml"):
        (made / "20261130T080000Z_run" / name).write_text("", encoding="utf-8")
    os.symlink(outside / "secret.yaml", made / "link.yaml")
    os.symlink(outside, made / "elsewhere")
    return made


@pytest.fixture(scope="module")
def console(folder: Path) -> Iterator[Served]:
    """A console whose checks are real and whose starts are refused by what is started."""
    out = folder / "out"
    with served_in(folder, starter=Starter(refuses("no <b>rig</b> here"), dict(os.environ), folder, out)) as made:
        yield made


@pytest.fixture
def visitor(console: Served) -> Iterator[httpx.Client]:
    with console.visitor() as client:
        yield client
        client.post("/api/operator", json={"take": False})


def check(visitor: httpx.Client, text: str, **more: str) -> dict[str, Any]:
    answer = visitor.post("/api/check", json={"text": text, **more}, timeout=60.0)
    assert answer.status_code == 200, answer.text
    report: dict[str, Any] = answer.json()
    return report


# -- files


def test_the_files_of_the_package_and_of_the_folder_are_offered(visitor: httpx.Client) -> None:
    assert "<h1>prepare and start</h1>" in visitor.get("/").text, "where nothing is on show"
    offered = visitor.get("/api/files").json()
    names = [file["name"] for file in offered["files"]]
    assert [name for name in names if name.startswith("here:")] == [
        "here:binary.yaml",
        "here:large.yaml",
        "here:mine.yaml",
        "here:sub/other.yml",
    ], "not those of runs, of hidden folders, of links"
    shipped = {
        f"shipped:{path.relative_to(EXPERIMENTS)}"
        for inside in ("", "short/")
        for path in EXPERIMENTS.glob(f"{inside}*.yaml")
    }
    assert {name for name in names if name.startswith("shipped:")} == shipped
    assert len(shipped) == 24
    assert {"twin/graphite", "twin/hopg", "sub/rig.yaml"} <= set(offered["rigs"])
    assert "mine.yaml" not in offered["rigs"]
    text = (EXPERIMENTS / "short/e09_height_during_voltammogram.yaml").read_text(encoding="utf-8")
    given = visitor.get("/api/file", params={"name": "shipped:short/e09_height_during_voltammogram.yaml"}).json()
    assert given["text"] == text
    assert visitor.get("/api/file", params={"name": "here:mine.yaml"}).json()["text"] == TEXT
    assert names[:2] == ["program:first.yaml", "program:demo.yaml"]
    tutorial = (Path(__file__).parents[2] / "docs/tutorials/first-experiment.md").read_text(encoding="utf-8")
    assert (
        visitor.get("/api/file", params={"name": names[0]}).json()["text"]
        == re.findall(r"```yaml\n(.*?)```", tutorial, re.DOTALL)[0]
    )
    assert "title: console demo" in visitor.get("/api/file", params={"name": names[1]}).json()["text"]
    assert visitor.get("/api/schema").json() == json.loads(json.dumps(json_schema()))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("here:../outside/secret.yaml", "is none of the list"),
        ("here:/etc/passwd", "is none of the list"),
        ("here:sub/../../secret.yaml", "is none of the list"),
        ("here:sub//other.yml", "is none of the list"),
        ("here:notes.txt", "is none of the list"),
        ("here:sub/.hidden/no.yaml", "is none of the list"),
        ("here:mine.yaml\0.yaml", "is none of the list"),
        ("shipped:../presets/twin-hopg.yaml", "is none of the list"),
        ("nowhere:mine.yaml", "is none of the list"),
        ("mine.yaml", "is none of the list"),
        ("here:link.yaml", "leads elsewhere by a symbolic link"),
        ("here:elsewhere/secret.yaml", "leads elsewhere by a symbolic link"),
        ("here:vanished.yaml", "cannot be read (No such file or directory)"),
        ("here:large.yaml", f"a file has at most {LONGEST_TEXT} bytes in the page"),
        ("here:binary.yaml", "it is binary, not text"),
    ],
)
def test_no_other_file_is_read(visitor: httpx.Client, name: str, words: str) -> None:
    answer = visitor.get("/api/file", params={"name": name})
    assert answer.status_code == 404
    assert words in answer.json()["detail"]
    assert "secret" not in answer.json()["detail"].replace(name, "")


# -- checks


def test_a_check_says_what_opsicm_check_says(
    visitor: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good.yaml").write_text(TEXT, encoding="utf-8")
    (tmp_path / "bad.yaml").write_text(MISTAKES, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main(["check", "good.yaml", "bad.yaml"]) == 2
    said = capsys.readouterr()

    bad = check(visitor, MISTAKES, name="bad.yaml")
    assert not bad["ok"]
    lines = [
        f"error bad.yaml:{p['line']}: {p['thing']} is {p['value']}; {p['limit']}; {p['remedy']}"
        for p in bad["problems"]
    ]
    assert lines == said.err.splitlines()
    assert [p["line"] for p in bad["problems"]] == [7, 9]
    assert visitor.get("/api/plan", params={"checked": bad["checked"]}).status_code == 404, (
        "what has problems has no time line"
    )

    good = check(visitor, TEXT, name="good.yaml")
    assert good["text"] == said.out.rstrip("\n")
    assert (good["problems"], good["runs"], good["instruments"], good["real_time"]) == ([], 1, [], False)
    prediction = checked_run(loaded := experiment_from_text(TEXT, "good.yaml"), None, None)
    assert (good["duration_s"], good["bytes"]) == (prediction.duration, prediction.file_bytes)
    view = time_line_view(plan_of(loaded, prediction), prediction.cell, loaded.experiment.title)
    _, _, sent = decoded(visitor.get("/api/plan", params={"checked": good["checked"]}).content)
    assert visitor.get("/api/plan", params={"checked": bad["checked"]}).status_code == 404, "of another text"
    assert (sent["slot"], sent["title"]) == ("plan", "Plan of short operando run")
    for shown, panel in zip(sent["panels"], view.panels, strict=True):
        assert isinstance(panel, CurvePanel)
        for series, expected in zip(shown["series"], panel.series, strict=True):
            np.testing.assert_array_equal(series["x"], expected.x)
            np.testing.assert_array_equal(series["y"], expected.y)


def test_what_a_text_names_is_looked_for_where_it_will_be_saved(visitor: httpx.Client) -> None:
    text = TEXT.replace("twin/graphite", "rig.yaml")
    (missing,) = check(visitor, text)["problems"]
    assert (missing["line"], missing["file"], missing["limit"]) == (None, "rig.yaml", "it does not exist")
    problems = check(visitor, text, beside="here:sub/other.yml")["problems"]
    assert {problem["line"] for problem in problems} == {None}, "of another file than the text"
    assert all(problem["file"].startswith("sub/rig.yaml") for problem in problems)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (f"title: {MARKUP}\nopsicm: 1\n{MARKUP}: 1\n", 3, MARKUP),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", 1, "anchors and aliases are not read here"),
        ("a: " + "[" * 2000, 1, "nested"),
        ("title: !!python/object/apply:os.system [id]\n", 1, "YAML tags are not read here"),
        ("opsicm: 1\nx: \t- y\n", 2, "is not YAML"),
        ("", None, "it is empty"),
        ("opsicm: 1\nx: \ud800"[:-1] + "\x07\n", 2, "does not belong in a text file"),
    ],
)
def test_hostile_texts_are_findings(visitor: httpx.Client, text: str, line: int | None, words: str) -> None:
    report = check(visitor, text)
    assert not report["ok"]
    found = [p for p in report["problems"] if words in f"{p['thing']} {p['limit']} {p['remedy']}"]
    assert found, report
    assert found[0]["line"] == line
    assert visitor.get("/api/files").status_code == 200, "the console goes on"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"text": 3}', 400),
        (b'{"text": "x", "more": 1}', 400),
        (b'["text"]', 400),
        (b'{"text": "\\ud800"}', 400),
        (b'{"beside": "here:mine.yaml"}', 400),
        (b"[" * 5000, 400),
        (b'{"text": "x", "name": "../x.yaml"}', 400),
        (b'{"text": "x", "beside": "here:../x.yaml"}', 400),
        (b'{"text": "' + b"x" * LONGEST_EXPERIMENT + b'"}', 413),
    ],
)
def test_malformed_requests(visitor: httpx.Client, body: bytes, status: int) -> None:
    for path in ("/api/check", "/api/start") if status != 400 or b"../" not in body else ("/api/check",):
        answer = visitor.post(path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == status, answer.text
        assert answer.json()["status"] == status


def test_a_text_of_unknown_length_is_cut_off(visitor: httpx.Client) -> None:
    parts = (b"x" * 65536 for _ in range(10))
    answer = visitor.post("/api/check", content=parts, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


def test_a_check_that_does_not_end_is_ended_and_holds_up_nobody_else(tmp_path: Path) -> None:
    endless = Checker(["sleep", "1000"], {}, tmp_path, longest=1.0)
    with served_in(tmp_path, checker=endless) as console, console.visitor() as first, console.visitor() as second:
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(check, first, "x: 1")
            wait_for(lambda: endless._busy)  # it has come, before the other one is sent
            statuses = {wait_for(lambda: first.post("/api/check", json={"text": "y"}).status_code)}
            assert second.get("/api/files").status_code == 200
            (late,) = waiting.result()["problems"]
        assert late["limit"] == "takes longer than 1 s"
        assert statuses == {429}
    dies = Checker([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], {}, tmp_path)
    with served_in(tmp_path, checker=dies) as console, console.visitor() as visitor:
        for _ in range(2):  # another process for the next text
            (ended,) = check(visitor, "x: 1")["problems"]
            assert ended["limit"].startswith("was ended by the operating system (-9)")


# -- starts


def start(visitor: httpx.Client, text: str, **more: Any) -> httpx.Response:
    return visitor.post("/api/start", json={"text": text, "speed": "1", **more}, timeout=60.0)


def refused(answer: httpx.Response, status: int, title: str, words: str) -> None:
    assert (answer.status_code, answer.json()["title"]) == (status, title), answer.text
    assert words in answer.json()["detail"]


def test_only_what_was_just_checked_is_started(console: Served, visitor: httpx.Client, folder: Path) -> None:
    before = sorted(folder.iterdir())
    refused(start(visitor, TEXT), 409, "Not checked", "only what was just checked, without problems, is started")
    check(visitor, MISTAKES)
    refused(start(visitor, MISTAKES), 409, "Not checked", "without problems")
    check(visitor, TEXT)
    refused(start(visitor, TEXT + " "), 409, "Not checked", "check it, and start again")
    refused(start(visitor, TEXT, beside="here:sub/other.yml"), 409, "Not checked", "check it")
    refused(start(visitor, TEXT, speed="0"), 400, "No such speed", "is 1, 10, max")
    for name in (
        "../x.yaml",
        "sub/x.yaml",
        "/x.yaml",
        ".yaml",
        "-x.yaml",
        "x.txt",
        "x\n.yaml",
        "",
        "x" * 200 + ".yaml",
    ):
        refused(start(visitor, TEXT, name=name), 400, "Cannot be saved", "is no plain name of a file")
    with console.visitor() as other:
        check(other, TEXT)
        refused(start(other, TEXT), 409, "Another steers", "visitor")
    assert sorted(folder.iterdir()) == before, "nothing was saved"


def test_no_file_is_overwritten_without_a_word(visitor: httpx.Client, folder: Path) -> None:
    text = TEXT.replace("8,", "9,")
    check(visitor, text)
    refused(start(visitor, text, name="mine.yaml"), 409, "The name is taken", "another text has it")
    assert (folder / "mine.yaml").read_text(encoding="utf-8") == TEXT
    for name in ("link.yaml", "sub.yaml"):
        (folder / "sub.yaml").mkdir(exist_ok=True)
        refused(start(visitor, text, name=name), 409, "The name is taken", "another text has it")
        answer = start(visitor, text, name=name, replace=True)
        refused(answer, 400, "Cannot be saved", "symbolic link" if name == "link.yaml" else "is a folder")
    assert "secret" in (folder / "link.yaml").read_text(encoding="utf-8")
    answer = start(visitor, text, name="fresh.yaml")
    refused(answer, 422, "The run did not start", "did not start: no <b>rig</b> here")
    assert (folder / "fresh.yaml").read_text(encoding="utf-8") == text
    check(visitor, TEXT)
    answer = start(visitor, TEXT, name="fresh.yaml", replace=True)
    refused(answer, 422, "The run did not start", "mend what it says")
    assert (folder / "fresh.yaml").read_text(encoding="utf-8") == TEXT
    refused(start(visitor, TEXT, name="fresh.yaml"), 422, "The run did not start", "no <b>rig</b> here")
    assert visitor.get("/api/runs").json() == {"runs": [], "on_show": None}


def test_instruments_move_after_a_word_only(visitor: httpx.Client, folder: Path) -> None:
    rig = (EXPERIMENTS / "rigs/emulated-smu.yaml").read_text(encoding="utf-8")
    name, end = "bench.yaml", "experiment: ../short/e05_titration.yaml"
    (folder / name).write_text(rig.replace(f", {end}", ""), encoding="utf-8")
    text = TEXT.replace("twin/graphite", name).replace(", ir_compensation_pct: 97", "")
    report = check(visitor, text)
    assert report["ok"], report
    assert report["real_time"]
    assert report["instruments"][0].startswith("instruments      amplifier (patch_clamp), potentiostat (scpi_smu)")
    assert "NOT VERIFIED ON HARDWARE" in report["instruments"][-1]
    refused(start(visitor, text), 409, "Not confirmed", "instruments will move: instruments      amplifier")
    answer = start(visitor, text, confirmed=True, name="on-the-bench.yaml")
    refused(answer, 422, "The run did not start", "no <b>rig</b> here")


def test_a_run_in_progress_is_named_to_who_would_start_another(tmp_path: Path) -> None:
    with running(tmp_path) as run, served_in(tmp_path) as console, console.visitor() as visitor:
        (listed,) = visitor.get("/api/runs").json()["runs"]
        assert (listed["name"], listed["state"]) == (run.folder.name, "running")
        assert listed["title"] == "<b>images</b> & <script>alert(1)</script>"
        refused(start(visitor, TEXT), 409, "A run is in progress", f"{run.folder.name} is in progress; wait until")
        assert visitor.post("/api/show", json={"run": run.folder.name}).json() == {"run": run.folder.name, "live": True}
        with console.socket(visitor) as connection:
            page = Page(connection)
            page.until(lambda: page.status.get("state") == "running" and page.people["run"] == run.folder.name)
        assert visitor.post("/api/command", json={"command": "stop"}).json()["accepted"]
        run.file()
