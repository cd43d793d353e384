"""`opsicm rig check` of an emulated bench: every driver's real client, its instrument on loopback, the twin behind."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from opsicm.cli.emulated_rig import emulated
from opsicm.cli.main import main
from opsicm.emulators.registry import Served, entries_of
from opsicm.experiment.file import EXPERIMENTS
from opsicm.experiment.rig_file import RoleName, read_rig

pytestmark = pytest.mark.real_time

PORTS = re.compile(r"(?<=127\.0\.0\.1)(:+)(\d+)")


def free_port() -> int:
    """A port of loopback that nobody serves now: a rig file says its ports before anybody serves them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[RoleName, Served]]]:
    """The rig file of the emulated bench on ports of its own, and what serves each of its roles."""
    text = (EXPERIMENTS / "rigs/emulated.yaml").read_text(encoding="utf-8")
    ports = {port: str(free_port()) for _, port in PORTS.findall(text)}
    text = PORTS.sub(lambda found: found[1] + ports[found[2]], text).replace("../short", str(EXPERIMENTS / "short"))
    path = tmp_path_factory.mktemp("bench") / "rig.yaml"
    path.write_text(text, encoding="utf-8")
    loaded = read_rig(path)
    with emulated(loaded) as (_, served):
        by_role = {role: one for one, entry in zip(served, entries_of(loaded), strict=True) for role in entry.roles}
        yield path, by_role


def checked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[dict[str, str]]]:
    code = main(["rig", "check", *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_the_bench_is_ready_through_every_client(
    bench: tuple[Path, dict[RoleName, Served]], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):  # half a second without an answer is a lost instrument, on a computer with other work as well
        code, found = checked(capsys, str(bench[0]), "--yes")
        if code == 0:
            break
    assert [each for each in found if each["outcome"] in ("missing", "wrong", "fault", "not tried")] == []
    assert code == 0
    identities = {each["role"]: each["text"] for each in found if each["step"] == "identity"}
    for role, client in {"amplifier": "nidaqmx", "scanner": "pipython", "coarse_stage": "zaber-motion"}.items():
        assert f"through {client} " in identities[role]
    settings = [each["text"] for each in found if (each["step"], each["role"]) == ("settings", "amplifier")]
    assert settings[:2] == ["gain 1e+09 V/A, as stated", "filter 5.00 kHz, as stated"]
    (piezo,) = (each for each in found if each["step"] == "piezo")
    assert piezo["value"] == pytest.approx(1e-6, rel=0.02)


def test_an_instrument_that_falls_silent_hides_none_of_the_others(
    bench: tuple[Path, dict[RoleName, Served]], capsys: pytest.CaptureFixture[str]
) -> None:
    path, served = bench
    served["coarse_stage"].faults.set("silent", times=-1)
    try:
        code, found = checked(capsys, str(path))
    finally:
        served["coarse_stage"].faults.clear()
    assert code == 2
    missing = [each for each in found if each["outcome"] == "missing"]
    assert {(each["step"], each["role"]) for each in missing} == {("connection", "coarse_stage")}
    assert "nobody answers there" in missing[0]["text"]
    answered = {each["role"] for each in found if each["step"] == "identity"}
    assert answered == {"amplifier", "potentiostat", "scanner", "hop_controller"}
