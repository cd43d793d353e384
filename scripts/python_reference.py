"""docs/reference/python.md from the docstrings of `import opsicm`: its functions, and what they return.

python -m scripts.python_reference writes it; tests/house/test_python_reference.py says when it is out of date.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import opsicm
from opsicm.analysis.result import Result, Subject
from opsicm.cli.python_api import CheckedExperiment
from opsicm.cli.python_plots import RunPlots
from opsicm.cli.python_run import StoredRun
from opsicm.cli.python_tables import FigureDict, ResultList
from opsicm.core.errors import BadInput, LimitCrossed, OpsicmError, Problem, UnreadableRun

PAGE: Final = Path(__file__).parents[1] / "docs/reference/python.md"
_ORDER: Final = ("check", "run", "open", "analyse", "plot", "report")
_INTRODUCTION: Final = """\
# Python

    import opsicm

Six functions do what the commands of the same names do; [the notebook](../tutorials/python.ipynb) shows them at work.
This page is made from their docstrings by `scripts/python_reference.py`: `help(opsicm.run)` prints the same.

- Numbers are in SI, with the unit in the array's attributes (`run.hops["height"].attrs["units"]`); `t` is in hours.
- Negative cell current lithiates; potentials are against Li/Li⁺; z and heights are up
  ([signs](../explanations/signs.md)).
- Arrays are [xarray](https://docs.xarray.dev): `run.cell["current"].plot()`, `run.images()["height"].sel(image=2)`,
  `run.hops.to_dataframe()`.
- A mistake raises `BadInput`, whose text names the thing, its value, what is allowed, and the remedy; in a notebook
  without the traceback.
- `import opsicm` takes 20 ms; NumPy, HDF5 and matplotlib are loaded by the first function that needs them.

For hours on instruments use `opsicm run` in a terminal: a notebook whose kernel is restarted takes its run along. What
was recorded until then opens after `opsicm recover`. While a run goes on, `opsicm command RUN …` steers it from
anywhere.
"""
_CLASSES: Final[tuple[tuple[str, type, str], ...]] = (
    ("A run", StoredRun, "what `opsicm.run` and `opsicm.open` return"),
    ("Its figures", RunPlots, "`run.plot`"),
    ("Results", ResultList, "what `opsicm.analyse` and `run.results` give"),
    ("One result", Result, "a member of the list"),
    ("What a result is of", Subject, "`result.of`"),
    ("Figures", FigureDict, "what `opsicm.plot` and `run.plot()` give"),
    ("A check", CheckedExperiment, "what `opsicm.check` returns"),
    ("A problem", Problem, "a member of `checked.problems` and of `error.problems`"),
)
_ERRORS: Final = (OpsicmError, BadInput, UnreadableRun, LimitCrossed)


def page() -> str:
    """The whole page."""
    parts = [_INTRODUCTION, "## Functions\n"]
    for name in _ORDER:
        function = getattr(opsicm, name)
        parts.append(f"### opsicm.{name}\n\n    opsicm.{name}{_signature(function)}\n\n{_text(function)}\n")
    for title, of, where in _CLASSES:
        parts.append(f"## {title}\n\n`{of.__name__}`: {where}.\n\n{_text(of)}\n")
        if rows := [*_fields(of), *_members(of)]:
            parts.append("\n".join(rows) + "\n")
    parts.append("## Errors\n\nIn `opsicm.core.errors`; `error.problems` holds every problem as an object.\n")
    parts.append("\n".join(f"- `{error.__name__}`: {_line(error)}" for error in _ERRORS) + "\n")
    return "\n".join(parts)


def _signature(function: Callable[..., Any]) -> str:
    """Parameters and what is returned, without self and without the quotes of postponed annotations."""
    signature = inspect.signature(function)
    parameters = [p for p in signature.parameters.values() if p.name != "self"]
    return re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(signature.replace(parameters=parameters)))


def _fields(of: type) -> Iterator[str]:
    """The fields of a dataclass, as one line; its docstring says what they are."""
    if dataclasses.is_dataclass(of):
        yield "- " + ", ".join(f"`.{field.name}`" for field in dataclasses.fields(of))


def _members(of: type) -> Iterator[str]:
    """A line for every public member, in the order of the source."""
    for name, member in vars(of).items():
        if name.startswith("_") and name != "__call__":
            continue
        if isinstance(member, property | cached_property):
            yield f"- `.{name}`: {_line(member)}"
        elif inspect.isfunction(member):
            called = "" if name == "__call__" else f".{name}"
            yield f"- `{called}{_signature(member)}`: {_line(member)}"


def _text(documented: Any) -> str:
    text = inspect.getdoc(documented) or ""
    assert text, f"{documented} has no docstring"
    return text


def _line(documented: Any) -> str:
    return " ".join(_text(documented).split())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
