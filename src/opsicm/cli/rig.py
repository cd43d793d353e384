"""`opsicm rig`: lists the drivers that a rig file may name, checks a rig step by step, draws its wiring."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from opsicm.cli.terminal import JsonFlag

if TYPE_CHECKING:
    from opsicm.instruments.registry import Driver

app = typer.Typer(no_args_is_help=True)


def driver_records() -> list[dict[str, Any]]:
    """Every registered driver with stable keys; one that cannot be loaded has a reason instead of a role."""
    from opsicm.cli.rigs import REGISTRY

    return [
        _record(registration.name, registration.package, driver, registration.failure)
        for registration in REGISTRY.registrations()
        for driver in registration.drivers or (None,)
    ]


def _record(name: str, package: str, driver: Driver | None, failure: str) -> dict[str, Any]:
    from opsicm.cli.verification import how_verified, verified_on_hardware
    from opsicm.instruments.registry import installed

    if driver is None:
        keys = ("client", "client_version", "install", "instrument", "verified", "verified_on_hardware")
        return {
            "name": name,
            "role": None,
            "summary": failure,
            "package": package,
            **dict.fromkeys(keys),
            "settings": [],
        }
    return {
        "name": name,
        "role": driver.role,
        "summary": driver.summary,
        "package": package,
        "client": driver.client or None,
        "client_version": installed(driver.client) if driver.client else None,
        "install": install_command(driver),
        "instrument": driver.real_time,
        "verified": how_verified(driver),
        "verified_on_hardware": verified_on_hardware(driver),
        "settings": list(driver.settings.model_fields),
    }


def install_command(driver: Driver) -> str | None:
    """What installs a driver's client; None where it needs none."""
    if driver.extra:
        return f"pip install opsicm[{driver.extra}]"
    return f"pip install {driver.client}" if driver.client else None


def driver_lines(records: list[dict[str, Any]], width: int = 80) -> Iterator[str]:
    """The drivers as a table of 80 columns, one block for each name and client: roles, client, summary, verified."""
    blocks: dict[tuple[Any, ...], list[str]] = {}
    for record in records:
        keys = ("name", "package", "client", "client_version", "install", "summary", "verified")
        blocks.setdefault(tuple(record[key] for key in keys), []).append(record["role"] or "cannot be loaded")
    yield f"{'driver':<24}role, what it is, its client, how it was verified"
    yield "-" * width
    for (name, package, client, version, install, summary, verified), roles in blocks.items():
        given = "" if package == "opsicm" else f" (from {package})"
        lines = [", ".join(roles), f"{summary}{given}"]
        if client:
            lines.append(f"client {client} {version}" if version else f"client {client}, not installed")
            lines += [] if version else [f"install: {install}"]  # a line of its own, to be copied
        if verified:
            lines.append(f"verified: {verified}")
        for k, line in enumerate(lines):
            head = name if k == 0 else ""
            yield from textwrap.wrap(
                line, width, initial_indent=f"{head:<24}", subsequent_indent=" " * 26, break_on_hyphens=False
            )


@app.command("list", epilog="Example: opsicm rig list")
def list_drivers(as_json: JsonFlag = False) -> None:
    """List the registered drivers.

    Name, role, client and how to install it, and how each was verified.
    """
    from opsicm.cli.terminal import out, print_json

    records = driver_records()
    if as_json:
        print_json(records)
        return
    for line in driver_lines(records):
        out.print(line)


@app.command(epilog="Example: opsicm rig check experiments/rigs/paper.yaml --role amplifier --role scanner")
def check(
    rig: Annotated[str, typer.Argument(help="Rig file or preset.")],
    experiment: Annotated[
        Path | None, typer.Option(help="The experiment that is to run on it: its potentials, pipette and specimen.")
    ] = None,
    role: Annotated[list[str] | None, typer.Option(help="Only this role; may be repeated.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Answer every question with yes: it moves and switches.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Check a rig step by step.

    Clients, connections, identities, settings, latency, noise, ranges.

    Asks before anything moves and before the cell is switched on; where nobody can answer, that is not tried. Ends with
    a table of what is ready and what is missing. Exit code 0 ready, 2 not ready, 3 stopped by a fault.
    """
    from opsicm.cli.rig_check import check_rig

    raise typer.Exit(check_rig(rig, experiment, role or (), yes, as_json))


_PICTURES: Final = (".svg", ".png", ".pdf")


@app.command(epilog="Example: opsicm rig draw experiments/rigs/paper.yaml -o wiring.svg")
def draw(
    rig: Annotated[str, typer.Argument(help="Rig file or preset.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Picture: .svg, .png or .pdf.")] = Path("wiring.svg"),
) -> None:
    """Draw the wiring that a rig file states.

    Instruments, wires with channels and signs, grounds, electrodes.
    """
    import io

    from opsicm.cli.emulated_rig import load_named_rig
    from opsicm.cli.terminal import out as console
    from opsicm.core.errors import BadInput, Problem
    from opsicm.core.output_file import write_output
    from opsicm.figures.draw import svg
    from opsicm.figures.wiring_drawing import draw_wiring, wiring_of

    if out.suffix.lower() not in _PICTURES:
        limit, remedy = f"a picture is {', '.join(_PICTURES)}", f"as -o {out.with_suffix('.svg').name}"
        raise BadInput(Problem("-o", str(out), limit, remedy))
    figure = draw_wiring(wiring_of(load_named_rig(rig)))
    if out.suffix.lower() == ".svg":
        picture = svg(figure)
    else:
        buffer = io.BytesIO()
        figure.savefig(buffer, format=out.suffix[1:].lower(), dpi=150)
        picture = buffer.getvalue()
    write_output(out, picture, "wiring", "-o")
    console.print(str(out))
