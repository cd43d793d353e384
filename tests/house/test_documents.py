"""What the documents show is run: the tutorial's files, the README's example, and every link."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from opsicm.cli.main import main
from opsicm.experiment.file import experiment_from_text
from opsicm.experiment.program import written_steps
from opsicm.record.reader import Run
from opsicm.results.run_results import results_of

ROOT = Path(__file__).parents[2]
TUTORIAL = (ROOT / "docs/tutorials/first-experiment.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", TUTORIAL, flags=re.DOTALL)


def test_the_tutorial_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    first, half = BLOCKS
    Path("first.yaml").write_text(first, encoding="utf-8")
    Path("half.yaml").write_text(half, encoding="utf-8")
    Path("wrong.yaml").write_text(first.replace("setpoint_pct: 2.0", "setpoint_pct: 98"), encoding="utf-8")
    Path("second.yaml").write_text(first.replace("specimen: {", "specimen: {parameters: half.yaml, "), encoding="utf-8")
    assert main(["check", "first.yaml"]) == 0
    assert main(["check", "wrong.yaml"]) == 2
    capsys.readouterr()
    expansions = []
    for name in ("first.yaml", "second.yaml"):
        assert main(["run", name, "--out", "runs"]) == 0
        path = capsys.readouterr().out.splitlines()[-1]
        with Run(path) as run:
            # The way back: its ends are smooth, and a polynomial through 15 hops follows them to a thousandth.
            expansions.append(next(r.value for r in results_of(run) if r.label == "expansion_delithiation"))
        assert main(["report", path]) == 0
        assert Path(path).with_name("report.html").is_file()
    whole, halved = expansions
    assert whole is not None
    assert whole < -1.0  # %
    assert halved == pytest.approx(whole / 2, rel=0.01)


def test_the_readmes_example_is_an_experiment() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = text[text.index("    opsicm: 1") :].split("\n\n")[0]
    example = experiment_from_text("\n".join(line[4:] for line in block.splitlines()) + "\n").experiment
    assert next(written_steps("probe", example.probe)).step.during_index == 0


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        *sorted(
            str(p.relative_to(ROOT)) for p in [*ROOT.glob("docs/reference/*.md"), *ROOT.glob("docs/tutorials/*.md")]
        ),
    ],
)
def test_every_command_that_a_page_shows_exists(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = set(re.findall(r"(?m)(?:^ {4}|`)opsicm ([a-z]+)", (ROOT / page).read_text(encoding="utf-8")))
    assert main(["--help"]) == 0
    commands = capsys.readouterr().out.partition("Commands:\n")[2]
    assert {name for name in shown if f"\n  {name} " not in f"\n{commands}"} == set()


@pytest.mark.parametrize(
    "page", sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]), ids=str
)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
