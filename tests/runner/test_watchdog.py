"""The watchdog's process: what makes it act, and that losing it is noticed, told, mended and never waited for."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from opsicm.core.errors import LimitCrossed
from opsicm.instruments.clock import pause, stopwatch
from opsicm.runner.watchdog import Channel, Watchdog, _why_safe

ROLES = ("hop_controller", "potentiostat")
PATIENCE = 60.0  # [s] of a busy machine


class SafeChannel:
    """The safe channel of a rig: notes who is made safe and confirms it, or does not answer."""

    def __init__(self, folder: Path, answers: Mapping[str, bytes]) -> None:
        self.made_safe: list[str] = []
        self._answers = answers
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(folder / "safe.sock"))
        self._server.listen(16)
        self.addresses = [f"{folder}/safe.sock#{role}" for role in ROLES]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        clients: list[socket.socket] = []
        while True:
            for each in select.select([self._server, *clients], [], [])[0]:
                if each is not self._server:
                    self._receive(each, clients)
                elif (client := self._accepted()) is not None:
                    clients.append(client)
                else:
                    for left in (*clients, self._server):
                        left.close()
                    return

    def _accepted(self) -> socket.socket | None:
        try:
            return self._server.accept()[0]
        except OSError:  # shut down
            return None

    def _receive(self, client: socket.socket, clients: list[socket.socket]) -> None:
        role = client.recv(64).decode().strip()
        if role:
            self.made_safe.append(role)
            client.sendall(self._answers.get(role, b"safe\n"))
        else:
            client.close()
            clients.remove(client)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join()


@contextmanager
def watched(
    folder: Path, silence: float = PATIENCE, answers: Mapping[str, bytes] | None = None
) -> Iterator[tuple[Watchdog, SafeChannel]]:
    channel = SafeChannel(folder, answers or {})
    watchdog = Watchdog(channel.addresses, folder, silence)
    try:
        yield watchdog, channel
    finally:
        watchdog.close()
        channel.close()


def until(watchdog: Watchdog, ready: Callable[[], bool] = lambda: False) -> list[str]:
    """Beat like a run until something has happened to the watchdog, or until `ready`."""
    events: list[str] = []
    waited = stopwatch()
    while not (events or ready()):
        assert waited() < PATIENCE
        events += watchdog.beat()
        threading.Event().wait(0.01)
    return events


@pytest.mark.parametrize(
    ("number", "told"), [(signal.SIGKILL, "ended (signal 9)"), (signal.SIGSTOP, "gave no sign for 0.8 s")]
)
def test_a_lost_watchdog_is_told_and_replaced_by_one_that_watches(
    tmp_path: Path, number: signal.Signals, told: str
) -> None:
    with watched(tmp_path) as (watchdog, channel):
        first = watchdog.pid
        os.kill(first, number)
        (event,) = until(watchdog)
        assert told in event
        assert "was replaced" in event
        assert watchdog.pid != first
        with pytest.raises(ProcessLookupError):
            os.kill(first, 0)
        assert watchdog.make_safe() == dict.fromkeys(ROLES, True)
        assert channel.made_safe == list(ROLES)


def test_a_run_whose_watchdogs_are_all_lost_stops(tmp_path: Path) -> None:
    with watched(tmp_path) as (watchdog, channel):
        for _ in range(5):
            os.kill(watchdog.pid, signal.SIGKILL)
            until(watchdog)
        os.kill(watchdog.pid, signal.SIGKILL)
        with pytest.raises(LimitCrossed, match="may not go on without one; find what ends it"):
            until(watchdog)
        assert channel.made_safe == []


def test_the_end_of_a_run_does_not_wait_for_a_stopped_watchdog(tmp_path: Path) -> None:
    with watched(tmp_path) as (watchdog, channel):
        first = watchdog.pid
        os.kill(first, signal.SIGSTOP)
        for _ in range(100_000):  # more than the link holds
            watchdog.beat()
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    assert channel.made_safe == []


def test_without_heartbeats_it_makes_the_rig_safe_and_the_run_is_told(tmp_path: Path) -> None:
    with watched(tmp_path, silence=0.3) as (watchdog, channel):
        waited = stopwatch()
        while len(channel.made_safe) < len(ROLES):
            assert waited() < PATIENCE
        with pytest.raises(LimitCrossed, match="rig is made safe by the watchdog"):
            until(watchdog)
    assert channel.made_safe == list(ROLES)
    assert '"why": "no beat"' in (tmp_path / "watchdog.json").read_text()


def test_one_that_acts_is_neither_disturbed_nor_replaced(tmp_path: Path) -> None:
    """A role that does not answer takes two seconds, without a pulse meanwhile."""
    with watched(tmp_path, silence=0.3, answers={"hop_controller": b""}) as (watchdog, channel):
        waited = stopwatch()
        while len(channel.made_safe) < len(ROLES):
            assert waited() < PATIENCE
        with pytest.raises(LimitCrossed, match="rig is made safe by the watchdog"):
            until(watchdog)
        assert watchdog.make_safe() == {"hop_controller": False, "potentiostat": True}
    assert channel.made_safe == list(ROLES)


def test_what_a_role_answers_is_not_taken_for_safety(tmp_path: Path) -> None:
    with watched(tmp_path, answers={"potentiostat": b"not safe\n"}) as (watchdog, _):
        assert watchdog.make_safe() == {"hop_controller": True, "potentiostat": False}


def test_a_role_that_does_not_answer_keeps_no_other_from_being_made_safe(tmp_path: Path) -> None:
    with watched(tmp_path, answers={"hop_controller": b""}) as (watchdog, channel):
        assert watchdog.make_safe() == {"hop_controller": False, "potentiostat": True}
        assert channel.made_safe == list(ROLES)


def test_a_watchdog_that_is_lost_at_the_end_is_begun_again_where_the_rig_needs_it(tmp_path: Path) -> None:
    with watched(tmp_path) as (watchdog, channel):
        os.kill(watchdog.pid, signal.SIGKILL)
        assert watchdog.make_safe() == dict.fromkeys(ROLES, True)
        assert channel.made_safe == list(ROLES)


def test_a_farewell_leaves_the_rig_alone(tmp_path: Path) -> None:
    with watched(tmp_path) as (watchdog, channel):
        watchdog.beat()
    assert channel.made_safe == []
    assert not (tmp_path / "watchdog.json").exists()


def test_a_report_does_not_follow_a_link_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "diary").write_text("mine")
    run = tmp_path / "run"
    run.mkdir()
    (run / "watchdog.json").symlink_to(tmp_path / "diary")
    with watched(run) as (watchdog, _):
        watchdog.make_safe()
    assert (tmp_path / "diary").read_text() == "mine"
    assert not (run / "watchdog.json").is_symlink()


def test_a_rig_whose_safe_channel_cannot_be_reached_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LimitCrossed, match="must reach every safe channel"):
        Watchdog([f"{tmp_path}/none.sock#scanner"], tmp_path)


# -- channels that a driver opens


DRIVER = """\
import json, pathlib, time

def safe_channel(settings):
    if settings.get("away"):
        raise ConnectionRefusedError("nobody answers at 10.0.0.9")
    log = pathlib.Path(settings["log"])
    def make_safe():
        with log.open("a") as file:
            file.write(settings["role"] + "\\n")
        if "raises" in settings:
            raise OSError("broken pipe")
        time.sleep(settings.get("hangs_s", 0.0))
        return settings.get("confirms", True)
    return make_safe
"""


@contextmanager
def watched_drivers(
    folder: Path, monkeypatch: pytest.MonkeyPatch, settings: Mapping[str, Mapping[str, object]], silence: float = 60.0
) -> Iterator[Watchdog]:
    """A watchdog whose channels are opened by a module that it does not know before."""
    (folder / "acme_driver.py").write_text(DRIVER)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    log = str(folder / "log")
    addresses = [
        f"driver:acme_driver:safe_channel {json.dumps({'role': role, 'log': log, **each})}#{role}"
        for role, each in settings.items()
    ]
    watchdog = Watchdog(addresses, folder, silence)
    try:
        yield watchdog
    finally:
        watchdog.close()


def test_a_driver_opens_a_channel_of_its_own_in_the_watchdogs_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with watched_drivers(tmp_path, monkeypatch, {role: {} for role in ROLES}) as watchdog:
        assert watchdog.make_safe() == dict.fromkeys(ROLES, True)
    assert (tmp_path / "log").read_text().split() == list(ROLES)


def test_single_roles_are_made_safe_and_the_watchdog_watches_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"hop_controller": {"confirms": False}, "scanner": {}, "potentiostat": {}}
    with watched_drivers(tmp_path, monkeypatch, settings) as watchdog:
        first = watchdog.pid
        answer = watchdog.make_roles_safe(("hop_controller", "scanner", "coarse_stage"))
        assert answer == {"hop_controller": False, "scanner": True}
        assert (tmp_path / "log").read_text().split() == ["hop_controller", "scanner"]
        assert watchdog.beat() == []
        assert watchdog.pid == first
        assert watchdog.make_safe() == {"hop_controller": False, "scanner": True, "potentiostat": True}


@pytest.mark.parametrize("fault", [{"hangs_s": 60.0}, {"raises": True}])
def test_a_client_that_hangs_or_raises_holds_up_no_other_role(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Mapping[str, object]
) -> None:
    with watched_drivers(tmp_path, monkeypatch, {"hop_controller": fault, "potentiostat": {}}) as watchdog:
        assert watchdog.make_safe() == {"hop_controller": False, "potentiostat": True}
    report = json.loads((tmp_path / "watchdog.json").read_text())
    opened = next(each for each in report["done"] if each["role"] == "potentiostat")
    assert (opened["ns"] - report["noticed_ns"]) * 1e-9 < 1.0


class Hanging:
    """A channel whose client hangs."""

    role = "scanner"

    def begin(self) -> None:
        pass

    def over(self, seconds: float) -> bool:
        pause(seconds)
        return False

    def report(self) -> dict[str, object]:
        return {"role": self.role, "safe": False, "ns": 0}


def test_a_run_that_ends_while_single_roles_are_made_safe_is_noticed_at_once() -> None:
    here, there = socket.socketpair()

    def kill() -> None:
        here.send(b"\1")  # a beat that is still unread
        here.close()

    with there:
        here.sendall(b"^scanner;")
        killed = threading.Timer(0.05, kill)
        killed.start()
        waited = stopwatch()
        assert _why_safe(there, 60.0, [cast(Channel, Hanging())]) == "the controlling process is gone"
        assert waited() < 0.8, "not the 2.5 s for which it would wait for the role"
        killed.join()


def test_why_a_channel_cannot_be_reached_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "scanner: ConnectionRefusedError: nobody answers at 10.0.0.9"
    with pytest.raises(LimitCrossed, match=said), watched_drivers(tmp_path, monkeypatch, {"scanner": {"away": True}}):
        pass
