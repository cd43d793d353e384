"""`opsicm parameters list | show`: the twin's parameter sets with the source of every number."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import typer

from opsicm.cli.terminal import JsonFlag, out, print_json
from opsicm.experiment.parameter_file import DEFAULT_SET, parameter_set, parameter_set_names
from opsicm.physics.cell.electrolyte import TABLE_END, TABLE_STEP, Electrolyte
from opsicm.physics.materials.material import Material
from opsicm.physics.parameters import Curve, Leaf, ParameterSet

app = typer.Typer(no_args_is_help=True)


def leaf_record(name: str, leaf: Leaf) -> dict[str, Any]:
    """A leaf as a record with the keys of a parameter file: name, value, unit, u, status, source, and its interval."""
    value: Any = leaf.value
    if isinstance(value, Curve):
        value = {"curve": value.label, "points": len(value.columns[0])}
    elif isinstance(value, tuple):
        value = dict(value)
    interval = {} if leaf.interval is None else {"interval": list(leaf.interval)}
    stated = {"name": name, "value": value, "unit": leaf.unit, "u": leaf.u, **interval}
    return {**stated, "status": leaf.status, "source": leaf.source}


def set_text(chosen: ParameterSet) -> str:
    """The set as a table in plain text, with the status of every number: assumed ones must not pass for measured."""
    lines = [f"{chosen.name}: {chosen.title}", ""]
    for name, leaf in sorted(chosen.leaves.items()):
        unit = "" if leaf.unit in {"1", "word", "curve", "stages"} else leaf.unit
        lines.append(f"{name:<26} {_shown(leaf):>26} {unit:<8} {leaf.status:<10} {leaf.source}")
    p = chosen.values
    statuses = [leaf.status for leaf in chosen.leaves.values()]
    calibrated = sorted(name for name, leaf in chosen.leaves.items() if leaf.status == "calibrated")
    lines += [
        "",
        *material_lines(p.material),
        f"capacity {p.areal_capacity / 3.6e4:.3g} mAh/cm2, {p.areal_capacity * p.area / 3.6:.3g} mAh; "
        f"particle surface {p.internal_area:.3g} per specimen area",
        *electrolyte_lines(p.electrolyte),
        f"{statuses.count('assumed')} of {len(statuses)} numbers are assumed: nobody has measured them for this "
        "electrode",
    ]
    if calibrated:
        lines.append(f"calibrated by results of the paper, which this set cannot predict: {', '.join(calibrated)}")
    return "\n".join(lines)


def _shown(leaf: Leaf) -> str:
    match leaf.value:
        case Curve():
            return leaf.value.label
        case tuple():
            return ", ".join(name for name, _ in leaf.value)
        case str():
            return leaf.value
        case _:
            if leaf.interval is not None:
                return "{:g} ({:g} … {:g})".format(leaf.value, *leaf.interval)
            return f"{leaf.value:g}" + ("" if leaf.u is None else f" ± {leaf.u:g}")


def electrolyte_lines(electrolyte: Electrolyte) -> list[str]:
    """The conductivity at rest and what the pipette's current feels of the salt there."""
    c = electrolyte.concentration
    kappa, slope = float(electrolyte.conductivity(c)), electrolyte.conductivity_sensitivity(c)
    highest = float(np.argmax(electrolyte.kappa_table)) * TABLE_STEP
    where = f"greatest at {1e-3 * highest:.3g} M" if 0.0 < highest < TABLE_END else "without a maximum"
    return [
        f"conductivity {10.0 * kappa:.3g} mS/cm at {1e-3 * c:g} M, {where}; dlnκ/dlnc there {slope:+.2f}: 1 % of salt "
        f"outside the pipette changes its current by {0.5 * slope:+.2f} %"
    ]


def material_lines(material: Material) -> list[str]:
    """The material in sentences: range of its open-circuit curve, change of volume with lithiation, stages."""
    low, high = material.stoichiometry_range
    first, last = material.ocp[0], material.ocp[-1]
    formula = f", {material.formula}" if material.formula else ""
    lines = [
        f"material {material.name}{formula} for x = {low:g} … {high:g}; open-circuit table from {first[1]:.3g} V at "
        f"x = {first[0]:.3g} to {last[1]:.3g} V at x = {last[0]:.3g}"
    ]
    if material.swelling is None:
        lines.append("swelling not stated: no run finds heights with this set (swelling_factor 0 leaves swelling out)")
    else:
        empty, full = material.volume_change([low, high])
        lines.append(f"lithiation of {material.name} changes its volume by {100 * (full - empty):+.3g} %")
    if material.stages:
        lines.append("stages " + ", ".join(f"{name} at x = {x:g}" for name, x in material.stages))
    return lines


@app.command("list", epilog="Example: opsicm parameters list")
def list_sets(as_json: JsonFlag = False) -> None:
    """List the parameter sets that come with the program."""
    sets = [parameter_set(name) for name in parameter_set_names()]
    if as_json:
        print_json([{"name": each.name, "title": each.title, "default": each.name == DEFAULT_SET} for each in sets])
        return
    for each in sets:
        out.print(f"{each.name:<38} {each.title}{' (default)' if each.name == DEFAULT_SET else ''}")


@app.command(epilog="Example: opsicm parameters show my-electrode.yaml --json")
def show(
    name: Annotated[str, typer.Argument(help="A set's name, or a YAML file.")] = DEFAULT_SET, as_json: JsonFlag = False
) -> None:
    """Show every number of a set with unit, status and source."""
    chosen = parameter_set(name)
    text = set_text(chosen)
    if as_json:
        print_json([leaf_record(key, leaf) for key, leaf in sorted(chosen.leaves.items())])
        return
    out.print(text)
