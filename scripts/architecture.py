"""docs/explanations/architecture.md and its picture from the imports as they are.

python scripts/architecture.py writes both; tests/house/test_architecture.py says when the page is out of date.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PACKAGE: Final = ROOT / "src/opsicm"
PAGE: Final = ROOT / "docs/explanations/architecture.md"
PICTURE: Final = ROOT / "docs/images/architecture.png"
# Where a room stands in the picture, from left to right: so that no arrow runs through another room.
_ACROSS: Final = {
    "cli": 0.3,
    "reproduction": 0.75,
    "console": 0.55,
    "emulators": 0.08,
    "report": 0.82,
    "results": 0.7,
    "figures": 0.88,
    "forecast": 0.3,
    "analysis": 0.72,
    "runner": 0.45,
    "formats": 0.6,
    "record": 0.47,
    "twin": 0.2,
    "drivers": 0.05,
    "instruments": 0.32,
    "experiment": 0.5,
    "physics": 0.72,
    "core": 0.72,
}
_BEGIN, _END = "<!-- rooms: written by scripts/architecture.py -->\n", "<!-- end of rooms -->\n"


def layers() -> list[list[str]]:
    """The rooms, from the top layer down, as the import contract in pyproject.toml orders them."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    rows = next(contract for contract in contracts if contract["type"] == "layers")["layers"]
    names = [row.replace("|", " ").replace(":", " ").replace("(", " ").replace(")", " ").split() for row in rows]
    return [[name.removeprefix("opsicm.") for name in row] for row in names]


def imports() -> dict[str, set[str]]:
    """Which rooms the modules of each room import, anywhere in them, types included."""
    found: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).parts
        if len(parts) < 2:
            continue
        room = found.setdefault(parts[0], set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
                if node.module == "opsicm":
                    names = [f"opsicm.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            room |= {name.split(".")[1] for name in names if name.startswith("opsicm.")} - {parts[0]}
    return found


def purpose(room: str) -> str:
    """The first sentence of a room's docstring."""
    text = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


def table() -> str:
    """The rooms from the top down: what each is for, what it imports, how large it is."""
    used = imports()
    lines = ["| room | what it is for | imports |", "|---|---|---|"]
    for room in (room for row in layers() for room in sorted(row)):
        lines += [f"| `{room}/` | {purpose(room)} | {', '.join(sorted(used.get(room, set()))) or '–'} |"]
    return "\n".join(lines) + "\n"


def page() -> str:
    """The whole page, its table of rooms made anew."""
    text = PAGE.read_text(encoding="utf-8")
    head, rest = text.split(_BEGIN)
    return head + _BEGIN + table() + _END + rest.split(_END)[1]


def direct(used: dict[str, set[str]]) -> dict[str, set[str]]:
    """The same without arrows that a longer way between two rooms implies."""

    def reach(room: str) -> set[str]:
        return used.get(room, set()).union(*(reach(other) for other in used.get(room, set())), set())

    return {
        room: {other for other in others if not any(other in reach(third) for third in others - {other})}
        for room, others in used.items()
    }


def draw(target: Path) -> None:
    """Rooms in their layers, and an arrow for each import that no longer way implies."""
    import matplotlib as mpl  # noqa: PLC0415 - the page alone needs no picture

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    rows = layers()
    figure, axes = plt.subplots(figsize=(9, 9))
    places = {}
    for k, row in enumerate(rows):
        for j, room in enumerate(sorted(row)):
            places[room] = (_ACROSS.get(room, (j + 1) / (len(row) + 1)), -float(k))
    # `cli` and `reproduction` stand side by side and know each other: a circle that the contract allows.
    used = {room: {o for o in others if places[o][1] < places[room][1]} for room, others in imports().items()}
    for room, others in direct(used).items():
        for other in sorted(others):
            axes.annotate(
                "",
                xy=(places[other][0], places[other][1] + 0.2),
                xytext=(places[room][0], places[room][1] - 0.2),
                arrowprops={"arrowstyle": "-|>", "color": "#7a8a99", "lw": 1.0, "shrinkA": 0, "shrinkB": 0},
            )
    for room, (x, y) in places.items():
        box = {"boxstyle": "round,pad=0.45", "facecolor": "#eef3f8", "edgecolor": "#35526f"}
        axes.text(x, y, room, ha="center", va="center", fontsize=11, bbox=box)
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(-len(rows) + 0.5, 0.5)
    axes.axis("off")
    figure.savefig(target, dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    draw(PICTURE)
    sys.stdout.write(f"{PAGE}\n{PICTURE}\n")
