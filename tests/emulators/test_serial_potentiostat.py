"""The emulated Rodeostat answers as its published documentation prints it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from opsicm.core.errors import BadInput
from opsicm.emulators.paced_world import PacedWorld
from opsicm.emulators.registry import Entry
from opsicm.emulators.serial_potentiostat import SerialPotentiostat, converted
from tests.fixtures.one_instrument import role_setup, world_behind

pytestmark = pytest.mark.real_time

ENTRY = "{driver: serial_potentiostat, settings: {rest_V: 0.4}}"


@pytest.fixture(scope="module")
def served() -> Iterator[SerialPotentiostat]:
    role = role_setup("potentiostat", ENTRY, "").rig.rig
    with world_behind() as world:
        one = SerialPotentiostat(
            world, Entry("serial_potentiostat", "", {"potentiostat": role.role("potentiostat")}, role)
        )
        yield one
        one.close()


# Commands and answers as `docs/json.rst` of the maker's client prints them.
DOCUMENTED: tuple[tuple[str, dict[str, Any]], ...] = (
    ('{"command":"stopTest"}', {"success": True, "response": {"command": "stopTest"}}),
    ('{"command":"setVolt", "v": 0.5}', {"success": True, "response": {"command": "setVolt", "v": 0.499878}}),
    (
        '{"command":"setVoltRange", "voltRange": "2V"}',
        {"success": True, "response": {"command": "setVoltRange", "voltRange": "2V"}},
    ),
    ('{"command":"getVoltRange"}', {"success": True, "response": {"command": "getVoltRange", "voltRange": "2V"}}),
    (
        '{"command":"setCurrRange", "currRange": "100uA"}',
        {"success": True, "response": {"command": "setCurrRange", "currRange": "100uA"}},
    ),
    (
        '{"command":"getHardwareVersion"}',
        {"success": True, "response": {"command": "getHardwareVersion", "version": "V0.2"}},
    ),
    (
        '{"command": "setRefElectConnected", "connected": true}',
        {"success": True, "response": {"command": "setRefElectConnected", "connected": True}},
    ),
    (
        '{"command":"nonsense"}',
        {"success": False, "message": "command, nonsense, not found", "response": {"command": "nonsense"}},
    ),
    ("nonsense", {"success": False, "message": "unable to parse json", "response": {}}),
)


def test_the_documented_answers(served: SerialPotentiostat) -> None:
    for line, answer in DOCUMENTED:
        assert json.loads(json.dumps(served.firmware.answer(line))) == answer


def test_what_does_not_fit_the_converter_is_clipped_without_a_word() -> None:
    assert converted(0.0, 1.0) == pytest.approx(0.000244, abs=1e-6)  # getVolt of 0 V is -0.000244 in the documentation
    assert converted(3.0, 2.0) == 2.0
    assert converted(-3.0, 2.0) == -2.0


def test_it_replaces_a_link_to_a_pseudo_terminal_and_nothing_else(tmp_path: Path) -> None:
    port, world = tmp_path / "rodeostat", cast(PacedWorld, SimpleNamespace(ask=lambda _: None))
    role = role_setup("potentiostat", ENTRY, str(port)).rig.rig
    entry = Entry("serial_potentiostat", str(port), {"potentiostat": role.role("potentiostat")}, role)
    port.write_text("notes", encoding="utf-8")
    with pytest.raises(BadInput, match="is no link to a pseudo-terminal"):
        SerialPotentiostat(world, entry)
    assert port.read_text(encoding="utf-8") == "notes"
    port.unlink()
    port.symlink_to("/dev/null")
    with pytest.raises(BadInput, match="is no link to a pseudo-terminal"):
        SerialPotentiostat(world, entry)
    port.unlink()
    port.symlink_to("/dev/pts/999")  # one that was killed has left it
    served = SerialPotentiostat(world, entry)
    assert port.readlink() != Path("/dev/pts/999")
    served.close()
    assert not port.is_symlink()
