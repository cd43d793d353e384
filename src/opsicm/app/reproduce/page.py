"""The documentation's page of the reproduction, from the table's records and the figures; and its check for drift."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from opsicm.app.reproduce.declared import CALIBRATED, COMPENSATION_PCT, PROPORTIONAL, REPEATS
from opsicm.app.reproduce.paper import IDS
from opsicm.app.reproduce.reasons import REASONS
from opsicm.physics.parameters import DEFAULT_SET
from opsicm.report.document import number

Record = Mapping[str, Any]
TITLES: Final = {
    "E1": "Current against the salt outside (Figure 2)",
    "E2": "Voltammograms at four distances (Figure 3a, b)",
    "E3": "Scan rates (Figure S4)",
    "E4": "Constant current (Figure 3c, d)",
    "E5": "Pulses and rests (Figure 3e)",
    "E6": "Images at held potentials (Figure 4a, b)",
    "E7": "Images at open circuit (Figure 4c, d)",
    "E8": "Step edge of HOPG (Figure S6)",
    "E9": "Height at one point (Figure 5a, b)",
    "E10": "Height along one line (Figure 5c–e)",
    "E11": "Millimetres (Figure 6)",
    "E12": "Pipettes (Figures S2, S3)",
}
FIGURES: Final = {
    "E1": ("figure_2",),
    "E2": ("figure_3ab", "made_of_E2"),
    "E3": ("figure_s4",),
    "E4": ("figure_3cd", "made_of_E4"),
    "E5": ("figure_3e", "made_of_E5"),
    "E6": ("figure_4a", "figure_4b"),
    "E7": ("figure_4c", "figure_4d"),
    "E8": ("figure_s6",),
    "E9": ("figure_5b", "figure_5b_ten_hops"),
    "E10": ("figure_5d", "figure_5e", "figure_5_movie"),
    "E11": ("figure_6ab", "figure_6c", "made_of_E11"),
    "E12": ("figures_s2_s3",),
}
_MADE_BY: Final = "<!-- Made by scripts/reproduction_page.py from the table of `opsicm reproduce`. Do not edit. -->"


def page(records: Sequence[Record], pictures: Mapping[str, str], form: str = "long") -> str:
    """The page in Markdown: how to read it, counts, and per experiment its rows, its misses explained, its figures.

    `records` as `reproduce --json` writes them; `pictures` figure name → path as the page should cite it;
    `form` of the experiments, long or short.
    """
    parts = [_MADE_BY, "", "# The paper's experiments on the twin", "", *_preface(records, form)]
    for experiment in IDS:
        rows = [record for record in records if record["id"].partition(".")[0] == experiment]
        if rows:
            parts += ["", f"## {experiment}: {TITLES[experiment]}", "", *_rows(rows), *_misses(rows), *_without(rows)]
            shown = [name for name in FIGURES[experiment] if name in pictures]
            parts += [line for name in shown for line in ("", f"![{experiment}, {name}]({pictures[name]})")]
    return "\n".join(parts) + "\n"


def _preface(records: Sequence[Record], form: str) -> list[str]:
    judged = [record["verdict"] for record in records if record["verdict"] is not None]
    counts = ", ".join(
        f"{judged.count(word)} {word}" for word in ("agrees", "same trend", "disagrees", "not stated") if word in judged
    )
    without = len(records) - len(judged)
    cone = CALIBRATED["pipette.cone_deg"]
    return [
        "Takahashi, Takamatsu, Korchev, Fukuma, JACS Au 2023, 3, 1089, doi 10.1021/jacsau.2c00677, run on the digital "
        "twin and analysed by the code that analyses a laboratory's run. "
        f"This page shows the **{form} forms** of the experiments (each file says what a short form leaves out).",
        "",
        f"Of {len(records)} rows: {counts}"
        + (f"; {without} without a number, each with its reason." if without else "."),
        "",
        f"- **One parameter set**, `{DEFAULT_SET}`, for all twelve; E1, E2 and E5 also with the other conductivity, "
        f"`{PROPORTIONAL['specimen.parameters']}`. Most of it is assumed: `opsicm parameters show` lists every number "
        "with its status.",
        f"- **One calibration**: the pipette's half-cone angle, {cone:g}°, was chosen after a hand calculation had hit "
        "the step of E5. At 3° the step is a quarter smaller. The paper states no angle.",
        "- **Kinds**. *input*: the twin was told it (thickness, first roughness, flakes, step edge, volume curve, "
        "SEI), so that finding it again through hops, noise and analysis tests the instrument and not nature. "
        "*calibrated*: see above. *predicted*: what physics and the measuring chain made of it.",
        "- **Twin and analysis share the pipette's approach curve**: their agreement proves consistency, not truth.",
        "- **Verdicts**. *agrees*: within the paper's printed precision or 15 %. *same trend*: the sign, or a "
        "statement in words, holds. *disagrees*. *not stated*: the paper says nothing to compare with.",
        f"- **iR compensation** of {COMPENSATION_PCT:g} % in E9.total_compensated is a choice which the total follows: "
        "80 and 90 % are in [decision 0109](explanations/decisions/0109-compensate-85-percent.md).",
        f"- E9 is run {REPEATS['E9']} times in the long form, and E10 {REPEATS['E10']} times; u is a standard "
        "uncertainty, k = 1, of the measurement, without what is assumed of the twin.",
    ]


def _rows(rows: Iterable[Record]) -> list[str]:
    lines = [
        "| row | quantity | paper | here | unit | kind | verdict |",
        "|---|---|---:|---:|---|---|---|",
    ]
    for row in rows:
        paper = f"{row['paper']:g}" if isinstance(row["paper"], int | float) else row["said"]
        verdict = row["verdict"] or "no number"
        cells = (row["id"], row["quantity"], paper, number(row["here"], row["u"]), row["unit"], row["kind"], verdict)
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    return lines


def _misses(rows: Iterable[Record]) -> list[str]:
    lines = []
    for row in rows:
        if row["verdict"] is None:
            why = f"{row['outcome'][0].upper()}{row['outcome'][1:]}."
            lines.append(f"- **{row['id']}** has no number. {why} {REASONS.get(row['id'], '')}".rstrip())
        elif row["verdict"] == "disagrees" or (row["verdict"] == "same trend" and row["expected"] == "value"):
            lines.append(f"- **{row['id']}**. {REASONS.get(row['id'], 'Not explained yet.')} Method: {row['method']}.")
    return ["", *lines] if lines else []


def _without(rows: Iterable[Record]) -> list[str]:
    """The same rows with one term of the physics switched off at a time, so that one sees what makes each sign."""
    known = [row for row in rows if row["without"]]
    if not known:
        return []
    terms = list(known[0]["without"])
    lines = ["", "With one term of the physics switched off:", ""]
    lines += ["| row | all terms | " + " | ".join(terms) + " | unit |", "|---|" + "---:|" * (1 + len(terms)) + "---|"]
    for row in known:
        cells = [_judged(row), *(_judged(row["without"].get(term)) for term in terms)]
        lines.append(f"| {row['id']} | " + " | ".join(cells) + f" | {row['unit']} |")
    return lines


def _judged(one: Record | None) -> str:
    return "–" if one is None or one["here"] is None else f"{number(one['here'], one['u'])}, {one['verdict']}"


def drift(now: Sequence[Record], kept: Sequence[Record]) -> list[str]:
    """What differs between two tables in structure or verdicts; last digits may. One line each, none if nothing."""
    keys = ("quantity", "unit", "kind", "paper", "expected", "verdict")
    before, after = ({record["id"]: record for record in table} for table in (kept, now))
    lines = [f"{name}: gone" for name in before if name not in after]
    lines += [f"{name}: new" for name in after if name not in before]
    for name in before.keys() & after.keys():
        for key in keys:
            if before[name][key] != after[name][key]:
                lines.append(f"{name}: {key} was {before[name][key]!r} and is {after[name][key]!r}")
    return sorted(lines)
