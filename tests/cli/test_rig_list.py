"""`opsicm rig list`: which drivers there are, what they need, and how far they were tried."""

from __future__ import annotations

import json

import pytest

from opsicm.cli.main import main
from opsicm.cli.rig import driver_lines, driver_records
from opsicm.instruments.registry import ROLES, Driver, Registration, Registry

KEYS = {"name", "role", "summary", "package", "client", "client_version", "install", "instrument", "verified"}
KEYS |= {"verified_on_hardware", "settings"}
ACME = Driver(
    "acme_stage",
    "scanner",
    "the piezo of a maker whose client is called by a long name that does not fit beside it",
    lambda *_: None,
    client="acme-motion-control",
    extra="acme",
    verified="through acme-motion-control against an emulator only, never on hardware",
)


def test_json_has_stable_keys_and_every_role_has_its_twin(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rig", "list", "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert all(set(record) == KEYS for record in records)
    assert [record["role"] for record in records if record["name"] == "twin"] == list(ROLES)
    assert {record["verified"] for record in records if not record["instrument"]} == {
        "no instrument: simulated, or recorded"
    }
    clients = [record for record in records if record["client"]]
    assert all(record["install"].startswith("pip install ") for record in clients)


def test_the_table_fits_80_columns_and_says_client_and_trials(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    registrations = (
        Registration("acme_stage", "acme-opsicm", (ACME,)),
        Registration("broken", "acme-opsicm", (), "the driver cannot be loaded from broken:DRIVER (no module)"),
    )
    monkeypatch.setattr(Registry, "registrations", lambda _: iter(registrations))
    assert main(["rig", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    words = " ".join(" ".join(lines).split())
    assert "client acme-motion-control, not installed install: pip install opsicm[acme]" in words
    assert "verified: through acme-motion-control against an emulator only, never on hardware" in words
    assert "(from acme-opsicm)" in words
    assert "broken cannot be loaded the driver cannot be loaded from broken:DRIVER (no module)" in words


def test_every_registered_driver_stands_in_the_table() -> None:
    records = driver_records()
    text = "\n".join(driver_lines(records))
    assert all(f"\n{record['name']}" in text for record in records)
