"""F14 (run files): damaged and truncated run files, sealed and without their seal, and logs and journals of a crash.
Holds when reading one gives a message or the true numbers, never a crash, never a hang, never another number, and when
recovering a log keeps true numbers and names what it does not keep."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from faults.outcome import Outcome
from faults.recover_all import BLOCKS, STREAM
from faults.stream import folder
from opsicm.record.shared_recorder import SharedRecorder

_TIMEOUT = 60.0  # [s] for one file: HDF5 can loop for ever over damaged metadata
READER = str(Path(__file__).with_name("read_all.py"))
RECOVERER = str(Path(__file__).with_name("recover_all.py"))


def small_run(workspace: Path) -> Path:
    """A small run with samples, hops, slow rows and facts."""
    recorder = SharedRecorder(folder(workspace))
    recorder.open(STREAM.header())
    STREAM.record(recorder, BLOCKS)
    return recorder.close()


def interrupted_run(workspace: Path) -> Path:
    """Its folder as left when all processes are killed before the end."""
    run, pool = folder(workspace / "run"), STREAM.pool()
    recorder = SharedRecorder(run)
    recorder.open(STREAM.header())
    recorder.fact(STREAM.begun())
    for k in range(BLOCKS):
        STREAM.feed(recorder, pool, k)
        recorder.wait(STREAM.period)
    while recorder.positions[0] != recorder.positions[1]:
        recorder.wait(0.02)
    left = shutil.copytree(run.path, workspace / "left", ignore=shutil.ignore_patterns("*.part"))
    recorder.close()
    return left


def damage(data: bytes, draw: random.Random) -> tuple[bytes, str]:
    """The bytes with one thing wrong, and what."""
    kind = draw.choice(["cut", "bit", "byte", "zeros", "noise", "shift"])
    at = draw.randrange(len(data))
    n = draw.choice([16, 512, 4096])
    if kind == "cut":
        return data[:at], f"cut at {at}"
    if kind == "bit":
        return data[:at] + bytes([data[at] ^ (1 << draw.randrange(8))]) + data[at + 1 :], f"bit at {at}"
    if kind == "byte":
        return data[:at] + bytes([draw.randrange(256)]) + data[at + 1 :], f"byte at {at}"
    if kind == "zeros":
        return (data[:at] + bytes(n) + data[at + n :])[: len(data)], f"{n} zeros at {at}"
    if kind == "noise":
        return (data[:at] + draw.randbytes(n) + data[at + n :])[: len(data)], f"{n} bytes of noise at {at}"
    return data[:at] + draw.randbytes(1) + data[at:], f"a byte inserted at {at}"


def run(draw: random.Random, short: bool) -> list[Outcome]:
    """Read in another process, so that a crash of the library would be seen."""
    with tempfile.TemporaryDirectory() as workspace:
        intact = small_run(Path(workspace))
        sealed = intact.read_bytes()
        plain = unsealed(sealed)
        unsealed_file = Path(workspace) / "bare.nxs"
        unsealed_file.write_bytes(plain)
        many = 100 if short else 1000
        some = 8 if short else 1000
        damaged_files = [damage(sealed, draw) for _ in range(many)]
        # A file without a seal costs a process, and one over which HDF5 loops the time that it is given.
        loops = [endless_text(plain, draw) for _ in range(1 if short else 10)]
        without = [*loops, *(damage(plain, draw) for _ in range(some))]
        live = live_folders(Path(workspace) / "live", draw, 10 if short else 300)
        return [
            _files("damaged or truncated run files", intact, damaged_files, Path(workspace)),
            _files(
                f"the same without a seal, {len(loops)} of them endless to HDF5",
                unsealed_file,
                without,
                Path(workspace),
            ),
            _folders("damaged or truncated logs and journals, recovered", live),
        ]


def unsealed(data: bytes) -> bytes:
    """A run file without its seal, as another program would write it."""
    places = int.from_bytes(data[-16:-12], "little")
    return data[: len(data) - 16 - 20 * places]


def endless_text(data: bytes, draw: random.Random) -> tuple[bytes, str]:
    """A file with a text length in a heap over which HDF5 loops for ever."""
    heap = data.find(b"GCOL\x01\0\0\0")
    at, ends = heap + 16, heap + int.from_bytes(data[heap + 8 : heap + 16], "little")
    texts = []
    while at + 16 < ends and int.from_bytes(data[at : at + 2], "little"):
        texts.append(at)
        at += 16 + -(-int.from_bytes(data[at + 8 : at + 16], "little") // 8) * 8
    at = draw.choice(texts)
    return data[: at + 8] + (2**64 - 16).to_bytes(8, "little") + data[at + 16 :], f"endless text at {at}"


def live_folders(workspace: Path, draw: random.Random, n: int) -> dict[Path, str]:
    """Interrupted runs, the log or the journal of each damaged, with the damage as a text."""
    interrupted = interrupted_run(workspace)
    folders = {}
    for k in range(n):
        copy = shutil.copytree(interrupted, workspace / str(k))
        file = draw.choice(sorted([*copy.glob("record-*.log"), copy / "journal.jsonl"]))
        damaged, damage_text = damage(file.read_bytes(), draw)
        file.write_bytes(damaged)
        folders[copy] = f"{file.name}: {damage_text}"
    return folders


def _files(fault: str, intact: Path, damaged: list[tuple[bytes, str]], workspace: Path) -> Outcome:
    names = {}
    for k, (data, damage_text) in enumerate(damaged):
        path = workspace / f"{k}.nxs"
        path.write_bytes(data)
        names[path] = damage_text
    return answers("F14", fault, [READER, str(intact)], names, ("message", "same"))


def _folders(fault: str, folders: dict[Path, str]) -> Outcome:
    return answers("F14", fault, [RECOVERER], folders, ("message", "same", "less"))


def answers(row: str, fault: str, command: list[str], names: dict[Path, str], accepted: tuple[str, ...]) -> Outcome:
    """The child's answer for each path; a path without an answer was a crash or a hang."""
    todo, crashes, counts = list(names), [], dict.fromkeys(accepted, 0)
    wrong: list[str] = []
    while todo:
        with subprocess.Popen(
            [sys.executable, "-W", "error", *command, *map(str, todo)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as child:
            lines, end = _answer_lines(child, len(todo))
        for path, answer in zip(todo, lines, strict=False):
            if answer in counts:
                counts[answer] += 1
            else:
                wrong.append(f"{names[path]}: {answer}")
        if len(lines) == len(todo):
            break
        crashes.append(f"{names[todo[len(lines)]]}: {end}")
        todo = todo[len(lines) + 1 :]
    labels = {"message": "a message", "same": "read true", "less": "with a named loss"}
    observed = ", ".join(f"{count} {labels[answer]}" for answer, count in counts.items())
    observed += f", {len(wrong)} another number, {len(crashes)} crashes or hangs"
    observed += "".join(f"; {text}" for text in [*wrong, *crashes][:3])
    return Outcome(row, fault, len(names), observed, not wrong and not crashes)


def _answer_lines(child: subprocess.Popen[str], count: int) -> tuple[list[str], str]:
    """(an answer a line, how it ended); a child that is silent for too long is killed."""
    answers: list[str] = []
    silent = threading.Event()

    def end() -> None:
        silent.set()
        child.kill()

    assert child.stdout is not None
    assert child.stderr is not None
    for _ in range(count):
        alarm = threading.Timer(_TIMEOUT, end)
        alarm.start()
        line = child.stdout.readline()
        alarm.cancel()
        if not line:
            break
        answers.append(json.loads(line))
    error = child.stderr.read()
    code = child.wait()
    return answers, f"hung for {_TIMEOUT:g} s" if silent.is_set() else f"ended with {code} {error[-200:]}"
