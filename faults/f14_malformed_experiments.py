"""F14 (experiment files): malformed and hostile experiment files. Holds when each is read, or refused with its file, a
line and a remedy; never a traceback, never a hang, and nothing in a file is ever executed."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import opsicm
from faults.outcome import Outcome

_EXPERIMENTS = Path(opsicm.__file__).parent / "experiments"
_READER = str(Path(__file__).with_name("read_experiments.py"))
_TIMEOUT = 300.0  # [s] for a whole batch
_BATCH = 500
_CHARACTERS = "\0\t\n\r :-[]{}&*!|>'\"%@`#,?0189.eE+nf\x85\u2028\ufeffµ"
_VALUES = (
    "-1",
    "0",
    "1e308",
    "-1e308",
    ".nan",
    ".inf",
    "9" * 400,
    "0x7fffffffffffffff",
    "1e-320",
    "true",
    "null",
    "~",
    '""',
    "[]",
    "{}",
    "[0, 0]",
    "{a: 1}",
    "off",
    "cell[0]",
    "cell[99]",
    "1_000",
    "0,3",
    "2026-01-01",
    "1:30",
    "-0.0",
)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def hostile(canary: Path) -> list[str]:
    """Texts that would run something, swallow the memory or never end, where a reader allowed it."""
    touch = f"[{canary}]"
    laughs = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    return [
        f"opsicm: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path {touch}]\n",
        f"opsicm: 1\ntitle: !!python/object/apply:os.system ['touch {canary}']\n",
        f"!!python/object/new:os.system ['touch {canary}']\n",
        f"vary: {{\"__import__('os').system('touch {canary}')\": [1]}}\n",
        laughs,
        "a: &a\n  b: *a\n",
        "[" * 100_000,
        "{a: " * 20_000,
        "? " * 5_000,
        "a: " + "'" * 100_001,
        "- " * 50_000,
        "cell:\n" + "- repeat: {times: 10000, steps: [" * 40,
        "a: |\n" + " x\n" * 300_000,
        "opsicm: " + "1" * 900_000,
    ]


def mutated(text: str, draw: random.Random) -> str:
    """The text with one to four accidents, of the keyboard, the editor or the mind."""
    for _ in range(draw.randint(1, 4)):
        lines = text.split("\n")
        first, second, at = draw.randrange(len(lines)), draw.randrange(len(lines)), draw.randrange(len(text) or 1)
        numbers = list(_NUMBER.finditer(text))
        kind = draw.randrange(8)
        if kind == 0:
            text = text[:at] + draw.choice(_CHARACTERS) + text[at:]
        elif kind == 1:
            text = text[:at] + text[at + draw.randint(1, 8) :]
        elif kind == 2:
            text = text[:at] + draw.choice(_CHARACTERS) + text[at + 1 :]
        elif kind == 3:
            lines[first], lines[second] = lines[second], lines[first]
            text = "\n".join(lines)
        elif kind == 4:
            lines.insert(first, lines[second])
            text = "\n".join(lines)
        elif kind == 5 and draw.random() < 0.2:
            text = text[:at]
        elif numbers:
            match = draw.choice(numbers)
            text = text[: match.start()] + draw.choice(_VALUES) + text[match.end() :]
        text = text or "\n"
    return text


def run(draw: random.Random, short: bool) -> list[Outcome]:
    """200 in short, 10 000 in full, from every packaged experiment; read in another process, so that a hang is seen."""
    n = 200 if short else 10_000
    sources = [path.read_text(encoding="utf-8") for path in sorted(_EXPERIMENTS.rglob("e[0-9]*.yaml"))]
    bare = ["\n".join(line for line in text.split("\n") if not line.lstrip().startswith("#")) for text in sources]
    counts: dict[str, int] = {"read": 0, "refused": 0}
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as workspace:
        canary = Path(workspace) / "executed"
        texts = [*hostile(canary)]
        texts += [mutated(draw.choice(bare), draw) for _ in range(n - len(texts))]
        files = []
        for k, text in enumerate(texts):
            path = Path(workspace) / f"{k}.yaml"
            path.write_text(text, encoding="utf-8")
            files.append(str(path))
        for first in range(0, n, _BATCH):
            _read(files[first : first + _BATCH], counts, wrong)
        executed = canary.exists()
    observed = f"{counts['refused']} refused, {counts['read']} read, {len(wrong)} otherwise" + (
        "; EXECUTED" if executed else ""
    )
    observed += "".join(f"; {text}" for text in wrong[:3])
    return [Outcome("F14", "malformed and hostile experiment files", n, observed, not wrong and not executed)]


def _read(files: list[str], counts: dict[str, int], wrong: list[str]) -> None:
    command = [sys.executable, "-W", "error", _READER]
    names = "\n".join(files)
    try:
        done = subprocess.run(command, input=names, capture_output=True, text=True, check=False, timeout=_TIMEOUT)
        text, ended = done.stdout, f"ended with {done.returncode} {done.stderr[-200:]}"
    except subprocess.TimeoutExpired as hung:
        text = hung.stdout.decode() if isinstance(hung.stdout, bytes) else hung.stdout or ""
        ended = f"hung for {_TIMEOUT:g} s"
    answers = [json.loads(line) for line in text.splitlines()]
    for name, answer in zip(files, answers, strict=False):
        if answer in counts:
            counts[answer] += 1
        else:
            wrong.append(f"{Path(name).name}: {answer}")
    if len(answers) < len(files):
        wrong.append(f"{Path(files[len(answers)]).name}: {ended}")
