"""F26: a live run is sent lines that are no commands, commands with hostile values, halves of lines. Holds when every
whole line is answered, nothing ends the run, the journal reads whole, and an honest note is accepted at the end."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import tempfile
import threading
from pathlib import Path
from typing import Any

from faults.outcome import Outcome
from opsicm.cli.execute import execute
from opsicm.experiment.file import experiment_from_text
from opsicm.record.journal import read_lines
from opsicm.record.reader import Run
from opsicm.runner.commands import COMMANDS, SETTABLE, Command
from opsicm.runner.control_socket import NAME, send

# A cell that is paused drifts away from its hold, and comes back to it at once: with the usual limit of the bias that
# would end the run, by what a command is for.
_EXPERIMENT = """\
opsicm: 1
title: to be talked to
rig: twin/graphite
pipette: {bias_V: 0.7}
specimen: {loading_mg_cm2: 0.1}
cell:
  - hold: {potential_V: 0.3, for_s: 100000}
probe:
  - hop: {at_um: [0, 0], amplitude_nm: 1000, fall_nm_per_ms: 30, setpoint_pct: 2.0}
envelope: {run_h: 100, bias_mV: 2000}
"""
# What would end the run is left out: that is what these two are for.
_WORDS = [word for word in COMMANDS if word not in ("stop", "skip")]
_VALUES: list[Any] = [
    *(2.5, 0, -1, 1e300, -1e300, 5e-324, 10**400, True, None, "", "\ud800", "\udcff", "\0", "a" * 5000, [], {}),
    *({"value": [1]}, ["stop"], "[/x]", "\x1b[2J", float("nan"), float("inf")),
]
_PATIENCE = 60.0  # [s] for one answer on a busy machine


def hostile_line(draw: random.Random) -> bytes:
    """One line, without its end."""
    kind = draw.randrange(6)
    if kind == 0:
        return bytes(draw.randrange(256) for _ in range(draw.randrange(1, 200))).replace(b"\n", b"")
    if kind == 1:
        return draw.choice([b"[", b'{"a":']) * draw.randrange(1, 20_000)
    message = {
        "command": draw.choice([*_WORDS, *_VALUES]),
        "text": draw.choice(_VALUES),
        "key": draw.choice([*SETTABLE, *_VALUES]),
        "value": draw.choice(_VALUES),
        "from": draw.choice(_VALUES),
    }
    if kind <= 4:
        message = {"command": draw.choice(_WORDS), **{k: v for k, v in message.items() if k != "command"}}
        message["key"] = draw.choice(SETTABLE)
    line = json.dumps(message).encode()
    if kind == 5:
        position = draw.randrange(len(line))
        line = line[:position] + bytes([draw.randrange(256)]) + line[position + 1 :]
    return line.replace(b"\n", b"")


def talk(folder: Path, draw: random.Random, n: int) -> int:
    """Send `n` hostile lines; how many were answered. Some are sent in halves, some by a client that goes away."""
    answered = 0
    for _ in range(n):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(_PATIENCE)
            descriptor = os.open(folder, os.O_RDONLY)
            client.connect(f"/proc/self/fd/{descriptor}/{NAME}")
            os.close(descriptor)
            if draw.random() < 0.1:
                with contextlib.suppress(OSError):
                    client.sendall(hostile_line(draw)[: draw.randrange(200)])
                answered += 1  # nobody waits for it
                continue
            with contextlib.suppress(OSError):  # refused while it was sent: it was too long
                client.sendall(hostile_line(draw) + b"\n")
            answer = b""
            with contextlib.suppress(OSError):
                while b"\n" not in answer and (data := client.recv(1 << 16)):
                    answer += data
            answered += b'"accepted"' in answer
    return answered


def run(draw: random.Random, short: bool) -> list[Outcome]:
    """100 lines in short, 10 000 in full."""
    n = 100 if short else 10_000
    answered: list[int] = []
    accepted: list[tuple[bool, str]] = []
    with tempfile.TemporaryDirectory() as workspace:
        out = Path(workspace) / "out"
        over = threading.Event()

        def attack() -> None:
            try:
                while not (found := list(out.glob(f"*/{NAME}"))):
                    over.wait(0.01)
                answered.append(talk(found[0].parent, draw, n))
                accepted.append(send(found[0].parent, Command("note", text="µ [/x]"), "faults", _PATIENCE))
                # A pause that it has sent would keep the probe up, not the run.
            finally:
                over.set()

        thread = threading.Thread(target=attack)
        thread.start()
        done = execute(experiment_from_text(_EXPERIMENT, "hostile.yaml"), out, seed=1, speed=1.0, stop=over.is_set)
        thread.join()
        _, torn = read_lines(done.path.parent / "journal.jsonl")
        with Run(done.path) as record:
            alarms = [str(fact.data["message"]) for fact in record.facts if fact.kind == "alarm"]
            outcome = record.outcome
    wrong = [f"outcome {outcome}: {done.ending.error}"] if outcome != "interrupted" else []
    wrong += [f"{torn} torn lines"] if torn else []
    wrong += alarms[:2]
    wrong += [] if accepted and accepted[0][0] else [f"the note was not accepted: {accepted}"]
    observed = "; ".join([f"{answered[0] if answered else 0} of {n} answered, 0 ended the run", *wrong])
    return [Outcome("F26", "hostile commands to a live run", n, observed, answered == [n] and not wrong)]
