"""`opsicm rig list`: lists the drivers that a rig file may name."""

from __future__ import annotations

from typing import Any

import typer

from opsicm.cli.terminal import JsonFlag

app = typer.Typer(no_args_is_help=True)


def driver_records() -> list[dict[str, Any]]:
    """Every registered driver with stable keys; one that cannot be loaded has a reason instead of a role."""
    from opsicm.cli.rigs import REGISTRY
    from opsicm.instruments.registry import installed

    return [
        {
            "name": registration.name,
            "role": None if driver is None else driver.role,
            "summary": registration.failure if driver is None else driver.summary,
            "package": registration.package,
            "client": None if driver is None else driver.client or None,
            "client_version": installed(driver.client) if driver is not None and driver.client else None,
            "settings": [] if driver is None else list(driver.settings.model_fields),
        }
        for registration in REGISTRY.registrations()
        for driver in registration.drivers or (None,)
    ]


@app.command("list", epilog="Example: opsicm rig list")
def list_drivers(as_json: JsonFlag = False) -> None:
    """List the registered drivers: name, role, package and client."""
    from opsicm.cli.terminal import out, print_json

    records = driver_records()
    if as_json:
        print_json(records)
        return
    for record in records:
        client = record["client"] or "none"
        if record["client"] and record["client_version"] is None:
            client += " (not installed)"
        role = record["role"] or "cannot be loaded"
        out.print(f"{record['name']:<16} {role:<16} {record['package']:<12} client {client:<12} {record['summary']}")
