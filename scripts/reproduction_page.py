"""The documentation's page of the reproduction, and its check for drift.

python -m scripts.reproduction_page write TABLE.json FIGURES long|short [SENSITIVITIES.json]
                                                                writes the page, its pictures, the findings
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

import opsicm
from opsicm.experiment.parameter_file import DEFAULT_SET
from opsicm.reproduction.cases import sources_hash
from opsicm.reproduction.findings import findings
from opsicm.reproduction.paper import FACTOR, IDS
from opsicm.reproduction.table import NO_NUMBER, NO_VERDICT, summary
from opsicm.reproduction.variants import CALIBRATED, COMPENSATION_PCT, PROPORTIONAL, REPEATS, TAKAHASHI
from opsicm.results.number_text import number

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "reproduction.md"
FINDINGS = DOCS / "reproduction-findings.md"
PICTURES = DOCS / "images" / "reproduction"
KEPT = DOCS / "reproduction-short.json"

_RQ: Final = (
    "The twin was given 1.3 µm for its whole square of 20 µm. The same plates stand for E6 and E7, whereas the "
    "paper's images are of two places; another area of this size would differ by u. What a place cannot hide is the "
    "change from image to image: E6.Rq_back_change, E7.Rq_charge and E7.Rq_discharge."
)
_HALVES: Final = (
    "How far the second half goes depends on how far the electrode is lithiated when the sweep turns round. A fully "
    "compensated thin electrode (short form) goes to the end; one that keeps the whole ohmic drop of 4 mm of "
    "electrolyte (long form) turns round at a third. The text states neither the compensation nor the place of the "
    "reference. Given the volumes of the stages, the ratio of the halves fixes where it turned: see the findings."
)
_AMOUNT: Final = (
    "The authors give the amounts little weight: 'grains of graphite point in different directions. Therefore, the "
    "rate of volume change itself is not important. However, the potential at which this volume change occurs was the "
    "same even when we performed similar measurements (n = 3).' Fair tests are the potentials and the ratio of the "
    "halves."
)

_REFERENCE: Final = (
    "Most of the twin's drift on delithiation is not the salt at the pipette but that at the reference: the counter "
    "plates lithium, its liquid is depleted, and this vessel is assumed to have it 1 mm from the reference. With the "
    "counter 46 mm away the slope of the long form falls from −0.21 to −0.06 pA/min, and the level at the end from "
    "1.29 to 1.04 of the initial step (measured once, on a twin whose "
    "pipette did not drift; how much of one run's slope is the pipette's own is in its u)."
)

# Why a number misses the paper's: shown beside a row only where its verdict is no agreement.
REASONS: Final[dict[str, str]] = {
    "E1.linearity": (
        "This range straddles the maximum of the default conductivity, where the current rises and then falls. Over "
        "0.25–1.0 M the same twin gives a line (E1.linearity_low), and the text prints no concentrations: the axis of "
        "Figure 2d decides between them. So does a calibration over 0.3 to 2 M at both signs of the bias "
        "(electro-osmosis follows the bias, conductivity does not), with a conductivity cell beside it."
    ),
    "E1.slope": "See E1.linearity.",
    "E4.slope_lithiation": (
        "One of two readings: 'increased or decreased at an almost constant rate' as a drift. The next sentence of the "
        "text, that the profile 'had to be in a steady state', is a constant level, and the twin holds one (E4.level). "
        "At constant current the ohmic part is constant, so that only salt and convection can drift. Figure 3c decides."
    ),
    **{
        f"E4.level_{share}_lithiation": (
            "A pipette that wanders by 0.4 % within an hour carries the level away, more slowly than salt and as far: "
            "see u. Without its drift the twin holds 0.95 of the initial step to the end."
        )
        for share in (10, 50, 100)
    },
    **{row: _REFERENCE for row in ("E4.slope_delithiation", "E4.level_50_delithiation", "E4.level_100_delithiation")},
    "E4.constancy": (
        "A level that is held has no rate whose constancy could be judged: the ratio of two slopes within their noise "
        "is noise over noise."
    ),
    **{f"E6.Rq_{name}": _RQ for name in ("0.7", "0.5", "0.3", "0.1", "back_0.2", "back_0.4")},
    "E6.Rq_back_change": (
        "On the way back the paper's surface becomes smoother by a sixth between two images; the twin's plates swell "
        "nearly alike, so that shrinking hardly changes their roughness. What was smoothed is not in the text."
    ),
    **{f"E7.Rq_{name}": _RQ for name in ("before", "charged", "after")},
    "E7.Rq_charge": (
        "The paper's surface becomes rougher on charge. Plates of the twin share their swelling with their neighbours, "
        "so that an image rises nearly as a whole; what changes its roughness most is the plate that comes off. How "
        "far binder reaches is assumed; without it Rq grew by 0.25 µm (short form)."
    ),
    "E7.Rq_discharge": (
        "The paper's surface ends smoother than it began (1.40, 1.55, 1.12 µm). The twin's shrinks as evenly as it "
        "swelled; without plates that break or turn over nothing smooths it."
    ),
    "E6.event": (
        "The ladder has 0.2 V only on the way back, so the paper's event is the first image after the turn. The "
        "twin's plate comes off on the way down, at the image of 0.1 V: it was given a potential below which it does, "
        "where the paper's needs the turn."
    ),
    "E9.ratio": _HALVES,
    **{f"E9.{row}": "See E9.ratio." for row in ("ratio_compensated", "stage_1", "stage_2", "total")},
    "E9.total_compensated": "The total follows the compensation, which the text does not state.",
    "E9.onset": (
        "Where the twin's height begins to rise is a property of the open-circuit curve that it was given: above "
        "0.28 V that is one branch in ln x, fitted to the dilute points of a digitised table. It marks no "
        "potential: the height reaches 2 % where so much has filled. It is not the film: without one the third cycle "
        "rises at the same potentials. So the row tests nothing about the onset at 0.8 V, which the authors ascribe "
        "to the film. And 2 % of the rise are some 20 nm: where the height wanders by 5 nm within a minute, as this "
        "rig is assumed to, the onset of one sweep is what the drift makes of it (u)."
    ),
    "E9.ten_hops": (
        "The worst ten hops of the sweep. The bulk current follows the cell current through the ohmic drop: at a "
        "faster sweep (short form) it moves faster, and it falls fastest at the end of delithiation, where the "
        "particles run empty, the small ones first. With particles of one size they would do so together, and the "
        "worst ten hops change a fifth more without compensation and half again as much with 66 %."
    ),
    "E9.ten_hops_compensated": (
        "With 85 % of the drop compensated the total comes out right while this and the ratio of the halves do not: "
        "it is the right total of a wrong state."
    ),
    "E9.knee": "The paper reads it by eye; the other readings are in the table below.",
    "E10.net": (
        "What geometry alone does to the current near the surface explains what the twin shows; after it is taken away "
        "nothing is left. The paper does not compare with geometry."
    ),
    "E10.hollows": (
        "The twin's pipette meets every place with the approach curve of a flat surface: what the walls beside a "
        "hollow take of the current is in the apparent height, not in the shape of the curve. And no salt is kept "
        "apart in a hollow. A finite-element field over a real hollow would have to say how much of the paper's "
        "contrast is geometry."
    ),
    "E11.C": (
        "The paper sees a gradient within 0.4 mm. In the twin it is salt that delithiation has enriched near the "
        "sample, beyond the straight ohmic drop; where the conductivity hardly follows the salt, it is not visible. "
        "See the findings."
    ),
    **{
        f"E11.reversal_{which}": (
            "The first change of sign is the cell current's own zero, just after the turn; a later one needs enriched "
            "salt to overtake the ohmic drop, which a conductivity that hardly follows the salt does not allow."
        )
        for which in ("first", "last")
    },
    "E11.order": (
        "In reverse the delithiating current is largest below 0.5 V, before the sweep gets to C; the text describes D "
        "after C."
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
# What the authors say matters, where a reader of the table has to know it whatever the verdicts are.
QUOTES: Final[dict[str, str]] = {
    "E4": (
        "'Notably, unlike the case of CV, the ion current increased or decreased at an almost constant rate "
        "regardless of the change in the potential on the graphite anode. In charging/discharging at a low rate, the "
        "ion-concentration profile had to be in a steady state because of the balance of ion migration and "
        "diffusion.' The first sentence is a ramp, the second a level; there are rows for both."
    ),
    "E7": (
        "'Some structural changes returned to their original state because of the phase transition, but a part of "
        "the structure did not.'"
    ),
    "E9": _AMOUNT,
    "E10": "'We performed the same experiment three times and observed similar volume changes.'",
    "E11": (
        "'This trend was changed at +0.5 V of the reverse scan (Figure 6c, point C). The polarized counter ion "
        "distribution was observed only within 0.4 mm from the sample surface.' The trend is the higher current near "
        "the sample. Whether C is its end, the first change of sign in reverse, or a later one is not said; there are "
        "rows for both."
    ),
}
_MADE_BY: Final = "<!-- Made by scripts/reproduction_page.py from the table of `opsicm reproduce`. Do not edit. -->"


def page(
    records: Sequence[Record], pictures: Mapping[str, str], form: str = "long", sensitivities: Sequence[Record] = ()
) -> str:
    """The page in Markdown: how to read it, counts, and per experiment its rows, its misses explained, its figures.

    `records` as `reproduce --json` writes them; `pictures` figure name → path as the page should cite it;
    `form` of the experiments, long or short; `sensitivities` as `reproduce --sensitivity` writes them.
    """
    parts = [_MADE_BY, "", "# The paper's experiments on the twin", "", *_preface(records, form)]
    for experiment in IDS:
        rows = [record for record in records if record["id"].partition(".")[0] == experiment]
        if rows:
            parts += ["", f"## {experiment}: {TITLES[experiment]}", ""]
            if experiment in QUOTES:
                parts += [QUOTES[experiment], ""]
            parts += [*_rows(rows), *_misses(rows)]
            parts += [*_otherwise(rows), *_without(rows)]
            shown = [name for name in FIGURES[experiment] if name in pictures]
            parts += [line for name in shown for line in ("", f"![{experiment}, {name}]({pictures[name]})")]
            followed = [one for one in sensitivities if one["id"].partition(".")[0] == experiment]
            parts += _followed(experiment, followed, pictures)
    return "\n".join(parts) + "\n"


def _made_with() -> str:
    """By which version, so that a page that was left behind by the code can be known."""
    return f"made with opsicm {opsicm.__version__}, sources of the runs {sources_hash()[:8]}"


def _preface(records: Sequence[Record], form: str) -> list[str]:
    cone = CALIBRATED["pipette.cone_deg"]
    return [
        "Takahashi, Takamatsu, Korchev, Fukuma, JACS Au 2023, 3, 1089, doi 10.1021/jacsau.2c00677, run on the digital "
        "twin and analysed by the code that analyses a laboratory's run. "
        f"This page shows the **{form} forms** of the experiments (each file says what a short form leaves out), "
        f"{_made_with()}.",
        "",
        "Only what is *predicted* can speak for the model; recovering an input or meeting a calibration cannot. So "
        "there is no sum over kinds:",
        "",
        *_counts(records),
        "",
        "What follows from the table as a whole is on the page of [findings](reproduction-findings.md).",
        "",
        f"- **Three parameter sets**, each for all twelve, side by side: `{DEFAULT_SET}`, the default, whose reasons "
        f"stand below; `{TAKAHASHI.name}`, calibrated by E1, E5, E9 and E11's last reversal, with "
        f"{TAKAHASHI.compensation_pct:g} % of the ohmic drop compensated in every step that controls a potential "
        "(decisions [0285](explanations/decisions/0285-what-calibrated-the-calibrated-set.md) and "
        "[0298](explanations/decisions/0298-calibrated-again.md)); and "
        f"`{PROPORTIONAL.name}`, κ ∝ c, as a line through E1's points implies. Most of them is assumed: `opsicm "
        "parameters show` lists every number with its status. A kind in brackets is that under the set of its column.",
        f"- **One calibration of all three**: the pipette's half-cone angle, {cone:g}°, was chosen after a hand "
        "calculation had hit the step of E5. At 3° the step is a quarter smaller. The paper states no angle.",
        "- **Kinds**. *input*: the twin was given it (thickness, flakes, roughness before anything has moved, step "
        "edge, volume curve, SEI), so that finding it again through hops, noise and analysis tests the instrument and "
        "not nature. *calibrated*: see above. *predicted*: what physics and the measuring chain made of it. *by "
        "construction*: the twin could give nothing else (a mirror image, repeats on one specimen, the spread of a "
        "cell that does not vary), or the row repeats another; no verdict.",
        "- **Twin and analysis share the pipette's approach curve**: their agreement proves consistency, not truth.",
        "- **Verdicts**. *agrees*: within the paper's printed precision or 15 %, whichever is larger; for a prediction "
        "at most a quarter of the paper's own variation, so that no constant agrees with all of a series, and the "
        "printed precision alone where the paper shows no variation; and only where u is smaller than that. *same "
        "trend*: within a factor of "
        f"{FACTOR:g} of a number, or a statement in words holds. *disagrees*: otherwise. *not modelled*: the twin "
        "cannot show it. Words such as 'opposite' hold for a plain resistor in place of the bath too: such rows are "
        "counted apart, for they test the sign of Ohm's drop and no salt. *not stated*: the paper says nothing to "
        "compare with.",
        "- **Definitions** are what a reader of the figure would take, fixed before these runs but not blindly "
        "([decision 0280](explanations/decisions/0280-definitions-before-results.md)); each is followed by what other "
        "readings would have given.",
        f"- **iR compensation** of {COMPENSATION_PCT:g} % in E9.total_compensated is a choice which the total follows: "
        "80 and 90 % are in [decision 0109](explanations/decisions/0109-compensate-85-percent.md).",
        f"- E9 is run at {REPEATS['E9']} places in the long form, and E10 {REPEATS['E10']} times along one line; how "
        "much a place swells is its own, so that the sizes of E9 are means over the places with their standard error, "
        "and have no u where one place was run: such a number cannot agree "
        "([0311](explanations/decisions/0311-three-places-and-their-standard-error.md)). Else u is a standard "
        "uncertainty, k = 1, of the measurement, with what the rig's drift makes of numbers that are far apart in time "
        "([0315](explanations/decisions/0315-every-rig-has-slow-noise.md)) and without what is assumed of the twin: "
        "that its tip has neither zeta nor charge "
        "([0290](explanations/decisions/0290-the-tip-remembers-and-its-glass-is-uncharged.md)).",
    ]


def _counts(records: Sequence[Record]) -> list[str]:
    """The verdicts by kind, for each set."""
    lines = []
    for name, one in records[0]["sets"].items():
        lines.append(f"- {one['label']} (`{name}`)")
        lines += [f"  - {line}" for line in summary([record["sets"][name] for record in records])]
    return lines


def _rows(rows: Iterable[Record]) -> list[str]:
    rows = list(rows)
    beside = list(rows[0]["sets"].values())[1:]
    lines = [
        "| row | quantity | paper | here | unit | ratio | kind | verdict |"
        + "".join(f" {one['label']} |" for one in beside),
        "|---|---|---:|---:|---|---:|---|---|" + "---:|" * len(beside),
    ]
    for row in rows:
        paper = f"{row['paper']:.4g}" if isinstance(row["paper"], int | float) else row["said"]
        here, ratio = number(row["here"], row["u"]), "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        verdict = row["verdict"] or (NO_NUMBER if row["here"] is None else NO_VERDICT)
        others = [_beside(one, row["kind"]) for one in list(row["sets"].values())[1:]]
        cells = (row["id"], row["quantity"], paper, here, row["unit"], ratio, row["kind"], verdict, *others)
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    return lines


def _beside(one: Record, kind: str) -> str:
    """What another set gives of a row, with the row's kind under it where that is another."""
    shown = _judged(one)
    return shown if one["kind"] == kind else f"{shown} ({one['kind']})"


def _misses(rows: Iterable[Record]) -> list[str]:
    lines = []
    for row in rows:
        if row["here"] is None:
            why = f"{row['outcome'][0].upper()}{row['outcome'][1:]}."
            lines.append(f"- **{row['id']}** has no number. {why} {REASONS.get(row['id'], '')}".rstrip())
        elif row["verdict"] == "not modelled":
            lines.append(
                f"- **{row['id']}** is not modelled: {row['not_modelled']}. {REASONS.get(row['id'], '')}".rstrip()
            )
        elif row["verdict"] == "disagrees" or (row["verdict"] == "same trend" and row["expected"] == "value"):
            lines.append(
                f"- **{row['id']}**. {REASONS.get(row['id'], 'The cause is not known.')} Method: {row['method']}."
            )
    return ["", *lines] if lines else []


def _otherwise(rows: Iterable[Record]) -> list[str]:
    """What other readings would have given: the choice and its sensitivity."""
    known = [row for row in rows if row["otherwise"]]
    if not known:
        return []
    lines = ["", "Read otherwise:", "", "| row | as declared | here | otherwise | unit |", "|---|---|---:|---|---|"]
    for row in known:
        others = "; ".join(f"{label}: {_judged(other)}" for label, other in row["otherwise"].items())
        here = _judged(row)
        declared = row["definition"] or row["quantity"]
        lines.append(f"| {row['id']} | {declared} | {here} | {others} | {row['unit']} |")
    return lines


def _followed(experiment: str, rows: Sequence[Record], pictures: Mapping[str, str]) -> list[str]:
    """What the predicted rows owe to single assumptions: the verdicts that turn, and the tornado figure."""
    if not rows:
        return []
    turns = [
        f"- **{row['id']}** {row['verdict']} turns {verdict} at `{effect['name']}` {end}."
        for row in rows
        for effect in row["effects"]
        for end, here, verdict in zip(effect["ends"], effect["here"], effect["verdicts"], strict=True)
        if here is not None and verdict != row["verdict"]
    ]
    named = len({effect["name"] for row in rows for effect in row["effects"]})
    lines = [
        "",
        f"Each of {named} assumed numbers alone, at the ends of what is known of it (short forms, default set): "
        + ("these verdicts turn." if turns else "no verdict turns."),
        *(["", *turns] if turns else []),
    ]
    unreached = {effect["name"] for row in rows for effect in row["effects"] if not effect["applies"]}
    if unreached:
        names = ", ".join(f"`{name}`" for name in sorted(unreached))
        lines += ["", f"No number for {names}: this short form states its own, which no set changes."]
    picture = pictures.get(f"sensitivity_{experiment}")
    return lines if picture is None else [*lines, "", f"![{experiment}, what its predictions follow]({picture})"]


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
    """A number with its verdict, if it has one."""
    if one is None or one["here"] is None:
        return "–" if one is None or "outcome" not in one else one["outcome"].partition(":")[0]
    shown = number(one["here"], one["u"])
    return shown if one["verdict"] is None else f"{shown}, {one['verdict']}"


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
        for chosen, one in before[name].get("sets", {}).items():
            other = after[name]["sets"].get(chosen)
            if chosen != before[name]["set"] and (other is None or other["verdict"] != one["verdict"]):
                verdict = None if other is None else other["verdict"]
                lines.append(f"{name} under {chosen}: verdict was {one['verdict']!r} and is {verdict!r}")
    return sorted(lines)


def write(table: Path, figures: Path, form: str, sensitivities: Path | None = None) -> None:
    """The page from a table and the figures that were drawn with it; pictures of an earlier one go."""
    shutil.rmtree(PICTURES, ignore_errors=True)
    PICTURES.mkdir(parents=True)
    shown = {}
    named = [name for names in FIGURES.values() for name in names]
    if sensitivities is not None:
        named += [f"sensitivity_{experiment}" for experiment in IDS]
    for name in named:
        for file in (figures / f"{name}.png", figures / f"{name}.gif"):
            if file.is_file():
                shutil.copyfile(file, PICTURES / file.name)
                shown[name] = f"images/reproduction/{file.name}"
    records = json.loads(table.read_text(encoding="utf-8"))
    followed = [] if sensitivities is None else json.loads(sensitivities.read_text(encoding="utf-8"))
    PAGE.write_text(page(records, shown, form, followed), encoding="utf-8")
    FINDINGS.write_text(f"{_MADE_BY}\n\n{findings(records, form)}\nThis page was {_made_with()}.\n", encoding="utf-8")


def main(arguments: list[str]) -> int:
    """What the module's docstring says; the exit code."""
    match arguments:
        case ["write", table, figures, "long" | "short" as form]:
            write(Path(table), Path(figures), form)
        case ["write", table, figures, "long" | "short" as form, sensitivities]:
            write(Path(table), Path(figures), form, Path(sensitivities))
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
