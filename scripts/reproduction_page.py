"""The documentation's page of the reproduction, and its check for drift.

python -m scripts.reproduction_page write TABLE.json FIGURES long|short    writes docs/reproduction.md and its pictures
python -m scripts.reproduction_page keep TABLE.json             keeps a short table as what the check compares with
python -m scripts.reproduction_page check TABLE.json            fails where structure or verdicts differ from it
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from opsicm.experiment.parameter_file import DEFAULT_SET
from opsicm.reproduction.paper import IDS
from opsicm.reproduction.variants import CALIBRATED, COMPENSATION_PCT, PROPORTIONAL, REPEATS
from opsicm.results.number_text import number

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "reproduction.md"
PICTURES = DOCS / "images" / "reproduction"
KEPT = DOCS / "reproduction-short.json"

_RQ: Final = (
    "The twin was given 1.3 µm for its whole square of 20 µm; along single rows, each about its own mean, less is "
    "left. The paper does not say how its images were levelled, nor whether its Rq is of rows or of the area. The "
    "same plates stand for E6 and E7, whereas the paper's images are of two places."
)

# Why a number misses the paper's: shown beside a row only where its verdict is no agreement.
REASONS: Final[dict[str, str]] = {
    "E1.linearity": (
        "The default conductivity has its maximum near 1 M, where the current hardly knows the salt: with it the "
        "paper's line cannot be. Either this electrolyte's conductivity is steeper, or electro-osmosis carries "
        "outside liquid into the tip. A laboratory decides it with the calibration itself, over 0.3 to 2 M, at both "
        "signs of the bias (electro-osmosis follows the bias, conductivity does not) and with a conductivity cell "
        "beside it."
    ),
    "E1.slope": "See E1.linearity: near the maximum of the conductivity the current does not follow the salt.",
    "E4.slope_lithiation": (
        "At constant current the ohmic part is constant, so that only salt and convection can drift. Near the "
        "maximum of the conductivity a change of salt hardly shows, and natural convection ends the depletion within "
        "minutes. A steady rise through the whole charge needs a steeper conductivity or a drift of the pipette "
        "itself, which a rest of the same length would show."
    ),
    "E4.slope_delithiation": "As E4.slope_lithiation; delithiation does not convect, so that diffusion goes on longer.",
    "E4.constancy": "As E4.slope_lithiation: what drifts follows the square root of time, and then convection ends it.",
    "E6.Rq_first": _RQ,
    "E6.Rq_0.5": _RQ,
    "E6.Rq_0.3": _RQ,
    "E6.Rq_0.1": _RQ,
    "E6.Rq_back_0.2": _RQ,
    "E6.Rq_back_0.4": _RQ,
    "E7.Rq_before": _RQ,
    "E7.Rq_charged": _RQ,
    "E7.Rq_after": _RQ,
    "E6.event": (
        "The twin's plate comes off below the potential it was given, so that the first image without it is the next "
        "lower one of the ladder."
    ),
    "E9.stage_1": (
        "How far the second half goes depends on how far the electrode is lithiated when the sweep turns round. The "
        "paper's total fits an electrode that stops near two thirds. A fully compensated thin electrode (short form) "
        "goes to the end; one that keeps the whole ohmic drop of 4 mm of electrolyte (long form) turns round at a "
        "third. With 85 % of the drop compensated it reaches three quarters (E9.total_compensated), but then the bulk "
        "current changes by 1.6 % over ten hops, three times what the paper reports. The text states neither the "
        "compensation nor the place of the reference."
    ),
    "E9.stage_1_height": "See E9.stage_1.",
    "E9.stage_2": "See E9.stage_1: halves are halves of the charge that was passed.",
    "E9.stage_2_height": "See E9.stage_1.",
    "E9.total": "See E9.stage_1.",
    "E9.total_compensated": "See E9.stage_1: the total follows the compensation, which the text does not state.",
    "E9.onset": (
        "Half a percent of the whole change, which is what the row asks for, is a few nanometres: so much the graphite "
        "swells already between 1.7 and 1.2 V, where microamperes lithiate it. It rises steeply from 0.9 V on, and on "
        "a scale of micrometres, as the paper draws it, nothing else can be seen."
    ),
    "E9.ten_hops": (
        "The bulk current follows the cell current through the ohmic drop; at a faster sweep (short form) it moves "
        "faster. The number is the worst ten hops of the whole sweep, the paper's procedure is not stated."
    ),
    "E9.knee": "The broken line of the height between its onset and half the charge; the paper reads it by eye.",
    "E10.net": (
        "What geometry alone does to the current near the surface explains what is seen; after it is taken away "
        "nothing of that sign and size remains. The paper does not compare with geometry."
    ),
    "E10.hollows": (
        "The twin's pipette meets every place with the approach curve of a flat surface: what the walls beside a "
        "hollow take of the current is in the apparent height, not in the shape of the curve. And no salt is kept "
        "apart in a hollow, the bath being one layer over the whole specimen. So nothing can be seen here; a "
        "finite-element field over a real hollow would have to say how much of the paper's contrast is geometry."
    ),
    "E10.reach": (
        "How far above the surface the current is visibly lower depends on what counts as visible (here 0.1 % of the "
        "current) and on the cone; geometry alone reaches this far."
    ),
    "E11.C": (
        "The paper sees a change within 0.4 mm. The ohmic part changes the current over all 2.5 mm, and no length fits "
        "that; with it switched off the table below has one. It follows from diffusion since the current turned, and "
        "from where convection ends the layer."
    ),
    "E11.D": (
        "During delithiation the ohmic part lowers the current near the sample, the salt is enriched there: both are "
        "in this number. The text puts D between C and the end; here it is read at the largest cell current after C."
    ),
}


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
        "- **Kinds**. *input*: the twin was given it (thickness, first roughness, flakes, step edge, volume curve, "
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
    lines = ["| row | quantity | paper | here | unit | kind | verdict |", "|---|---|---:|---:|---|---|---|"]
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
            lines.append(
                f"- **{row['id']}**. {REASONS.get(row['id'], 'The cause is not known.')} Method: {row['method']}."
            )
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


def write(table: Path, figures: Path, form: str) -> None:
    """The page from a table and the figures that were drawn with it; pictures of an earlier one go."""
    shutil.rmtree(PICTURES, ignore_errors=True)
    PICTURES.mkdir(parents=True)
    shown = {}
    for name in (name for names in FIGURES.values() for name in names):
        for file in (figures / f"{name}.png", figures / f"{name}.gif"):
            if file.is_file():
                shutil.copyfile(file, PICTURES / file.name)
                shown[name] = f"images/reproduction/{file.name}"
    PAGE.write_text(page(json.loads(table.read_text(encoding="utf-8")), shown, form), encoding="utf-8")


def main(arguments: list[str]) -> int:
    """What the module's docstring says; the exit code."""
    match arguments:
        case ["write", table, figures, "long" | "short" as form]:
            write(Path(table), Path(figures), form)
        case ["keep", table]:
            shutil.copyfile(table, KEPT)
        case ["check", table]:
            now, kept = (json.loads(Path(path).read_text(encoding="utf-8")) for path in (table, KEPT))
            lines = drift(now, kept)
            print("\n".join(lines) or "no drift")
            return 1 if lines else 0
        case _:
            print(__doc__)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
