"""`opsicm parameters list | show`: what the twin computes with, and where every number comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from opsicm.cli.terminal import JsonFlag
from opsicm.core.errors import OpsicmError
from opsicm.physics.parameters import DEFAULT_SET, Curve, Leaf, ParameterSet, parameter_set, parameter_set_names

app = typer.Typer(no_args_is_help=True, help="List and show parameter sets, with units and sources.")


def leaf_record(name: str, leaf: Leaf) -> dict[str, Any]:
    """A leaf as a record with the keys of a parameter file: name, value, unit, u, status, source."""
    value: Any = leaf.value
    if isinstance(value, Curve):
        value = {"curve": value.label, "points": int(value.x.size)}
    elif value == float("inf"):
        value = "inf"  # JSON knows no infinity
    return {"name": name, "value": value, "unit": leaf.unit, "u": leaf.u, "status": leaf.status, "source": leaf.source}


def named_or_read(name_or_file: str) -> ParameterSet:
    """The set of this name, or of this YAML file; raises with what is wrong in it."""
    if name_or_file.endswith((".yaml", ".yml")):
        from opsicm.experiment.parameter_file import read_parameter_set

        return read_parameter_set(Path(name_or_file))
    return parameter_set(name_or_file)


def set_text(chosen: ParameterSet) -> str:
    """The set as a table in plain text, assumed numbers marked, so that nobody mistakes them for measured ones."""
    lines = [f"{chosen.name}: {chosen.title}", ""]
    for name, leaf in sorted(chosen.leaves.items()):
        record = leaf_record(name, leaf)
        shown = f"{record['value']:g}" if isinstance(record["value"], float) else str(record["value"])
        if leaf.u is not None:
            shown += f" ± {leaf.u:g}"
        unit = "" if leaf.unit in {"1", "word", "curve"} else leaf.unit
        lines.append(f"{name:<26} {shown:>18} {unit:<8} {leaf.status:<10} {leaf.source}")
    p = chosen.values
    assumed = sum(leaf.status == "assumed" for leaf in chosen.leaves.values())
    lines += [
        "",
        f"capacity {p.areal_capacity / 3.6e4:.3g} mAh/cm2, {p.areal_capacity * p.area / 3.6:.3g} mAh; "
        f"particle surface {p.internal_area:.3g} per specimen area",
        f"{assumed} of {len(chosen.leaves)} numbers are assumed: nobody has measured them for this electrode",
    ]
    return "\n".join(lines)


@app.command("list", epilog="Example: opsicm parameters list")
def list_sets(as_json: JsonFlag = False) -> None:
    """List the parameter sets that come with the program."""
    sets = [parameter_set(name) for name in parameter_set_names()]
    if as_json:
        records = [{"name": each.name, "title": each.title, "default": each.name == DEFAULT_SET} for each in sets]
        typer.echo(json.dumps(records, indent=2, ensure_ascii=False))
        return
    for each in sets:
        typer.echo(f"{each.name:<38} {each.title}{' (default)' if each.name == DEFAULT_SET else ''}")


@app.command(epilog="Example: opsicm parameters show my-electrode.yaml --json")
def show(
    name: Annotated[str, typer.Argument(help="A set's name, or a YAML file.")] = DEFAULT_SET, as_json: JsonFlag = False
) -> None:
    """Show every number of a set with unit, status and source."""
    try:
        chosen = named_or_read(name)
        text = set_text(chosen)
    except OpsicmError as problem:
        typer.echo(str(problem), err=True)
        raise typer.Exit(2) from problem
    if as_json:
        records = [leaf_record(key, leaf) for key, leaf in sorted(chosen.leaves.items())]
        typer.echo(json.dumps(records, indent=2, ensure_ascii=False, allow_nan=False))
        return
    typer.echo(text)
