"""What a run or file found, in three to six sentences that answer its own question, and the figure that shows it.

A kind of experiment is known by its results, never by its title: images, a line, a point, a tower, pulses, a
voltammogram, the pipette's own voltammogram. Its function returns a `Finding` or None. The sentences of the first kind
that applies come first; another kind in the same run adds its first ones.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.analysis.result import Result
from opsicm.analysis.topography.raster import Frame, areas
from opsicm.core.statistics import robust_sigma, straight_line
from opsicm.results.evidence import Evidence, Finder, Finding, arrays, shown, shown_size
from opsicm.results.number_text import duration, quantity
from opsicm.results.pipette_steps import reading_bias
from opsicm.results.third_party_findings import THIRD_PARTY_FINDERS, state_change_finding

F64 = NDArray[np.float64]
_MOST: Final = 6  # sentences
_OF_ANOTHER_KIND: Final = 2
_AS_STATED: Final = 0.5  # %: a resistance that differs by less is the stated one
_FAR: Final = 6.0  # robust sigmas of what is left: pixels beyond belong to another kind of change
_OF_EXTREME: Final = 0.2  # and this much of the largest mean change
_LEAST_AREA, _MOST_AREA = 0.003, 0.4  # of the image: less is a few wrong pixels, more is no exception
_STEPS_OF_A_COURSE: Final = 6  # of the cell's current: three that begin, three that end
_CERTAIN: Final = 2.0  # times its u: a smaller difference counts as none


def finding_of(evidence: Evidence) -> Finding:
    """The sentences of everything that the run or file shows, at most six, and its figure."""
    kinds = [found for finder in FINDERS if (found := finder(evidence)) is not None and found.sentences]
    sentences: list[str] = []
    for k, found in enumerate(kinds):
        most = _MOST - _OF_ANOTHER_KIND * (len(kinds) > 1) if k == 0 else _OF_ANOTHER_KIND
        sentences += found.sentences[:most]
    if not sentences:
        sentences = [_nothing(evidence)]
    return Finding(tuple(sentences[:_MOST]), tuple(name for found in kinds for name in found.figures))


def _nothing(evidence: Evidence) -> str:
    reasons = [r.reason for r in evidence.results if r.reason and r.name != "hops"]
    return f"No number could be taken from it: {reasons[0]}." if reasons else "Nothing was measured that has a result."


# -- Images.


def image_series_finding(evidence: Evidence) -> Finding | None:
    """How much the surface swelled, where, between which potentials, and what came back."""
    frames = evidence.frames
    members = max(areas(frames), key=len, default=[])  # of several areas, the one with most images
    numbers = [k + 1 for k in members]
    changes = list(arrays([r for r in evidence.all("height_change") if r.of.image in numbers]))
    if not changes:
        return None
    extreme, change = max(changes, key=lambda one: abs(one[0].value or 0.0))
    last = changes[-1][0]
    number = extreme.of.image or 0
    first_at, extreme_at, last_at = frames[members[0]], frames[number - 1], frames[members[-1]]
    verb = "rose" if (extreme.value or 0.0) > 0.0 else "fell"
    if abs(extreme.value or 0.0) <= _CERTAIN * (extreme.u or 0.0):
        return Finding(
            (
                f"None of the {len(members)} images differs in mean height from the first by more than its uncertainty "
                f"({shown(extreme)} at most).",
                *_roughness_change(evidence, numbers, number),
            ),
            ("image_changes", "image_series", "image"),
        )
    expansion = next((r for r in evidence.all("expansion") if r.of.image == number), None)
    percent = (
        ""
        if expansion is None
        else f", {shown_size(expansion)} of the {1e6 * evidence.thickness:.3g} µm of the specimen"
    )
    sentences = [
        f"The surface {verb} by {shown_size(extreme)} on average{percent}, from image {numbers[0]} (at "
        f"{_at(evidence, first_at.time)}) "
        f"to image {number} (at {_at(evidence, extreme_at.time)})."
    ]
    sentences += _where(first_at, change.values)
    if number < numbers[-1]:
        back = 100.0 * (1.0 - (last.value or 0.0) / (extreme.value or 1.0))
        u_back = 100.0 * (last.u or 0.0) / abs(extreme.value or 1.0)
        sentences.append(
            f"{quantity(back, u_back, '%')} of it came back: image {numbers[-1]} (at "
            f"{_at(evidence, last_at.time)}) lies "
            f"{shown(last)} from the first{_spread_left(changes[-1][1].values)}."
        )
        sentences += _stayed(first_at, changes[-1][1].values, abs(1e-9 * (extreme.value or 0.0)))
    sentences += _most_between(evidence, [r for r, _ in changes], numbers[0])
    sentences += _roughness_change(evidence, numbers, number)
    sentences += _drift(evidence)
    return Finding(tuple(sentences), ("image_changes", "image_summary", "image_series", "image"))


def _at(evidence: Evidence, t: float) -> str:
    """The potential and the state of charge at a time."""
    potential = float(evidence.cell_at("potential", t))
    text = f"{potential:.2f} V"
    known = evidence.has_state_of_charge
    share = float((evidence.state_of_charge if known else evidence.lithiation)(np.array([t]))[0])
    if np.isfinite(share) and evidence.charge_moves:
        text += f", {round(share) + 0} % {'SOC' if known else 'lithiated'}"
    return text.replace("-", "−")


def _where(frame: Frame, change: F64) -> list[str]:
    """How unevenly the area moved, and where it moved most, in the coordinates of the experiment file."""
    known = change[np.isfinite(change)]
    if known.size < 20:
        return []
    low, high = np.percentile(known, [10.0, 90.0])
    # A mean over 3 x 3 pixels: one pixel with a wrong contact is no place.
    padded = np.pad(np.where(np.isfinite(change), change, np.nanmedian(change)), 1, mode="edge")
    smooth = sum(
        padded[r : r + change.shape[0], c : c + change.shape[1]] for r in range(3) for c in range(3)
    ) / np.float64(9.0)
    row, column = np.unravel_index(int(np.argmax(np.abs(smooth))), change.shape)
    place = _position(frame, int(row), int(column))
    scale, unit = (1e6, "µm") if max(abs(low), abs(high)) >= 2e-6 else (1e9, "nm")
    most = f"; most of all at {place}" if place else ""
    even = (high - low) <= 0.2 * abs(float(np.mean(known)))
    start = "Evenly" if even else "Not evenly"
    return [
        f"{start}: between the tenth of the area that moved least and the tenth that moved most the height changed by "
        f"{_two_digits(scale * low)} to {_two_digits(scale * high)} {unit}{most}."
    ]


def _two_digits(value: float) -> str:
    return f"{float(f'{value:.3g}'):g}".replace("-", "−")


def _position(frame: Frame, row: int, column: int) -> str:
    """(x, y) of a pixel of an image, as the experiment file has them."""
    if frame.rotation:
        return ""
    return f"x = {1e6 * frame.x[column]:.1f}, y = {1e6 * frame.y[row]:.1f} µm".replace("-", "−")


def _spread_left(left: F64) -> str:
    known = 1e9 * left[np.isfinite(left)]
    if known.size < 20:
        return ""
    low, high = np.percentile(known, [10.0, 90.0])
    return f" (pixels: {_two_digits(low)} to {_two_digits(high)} nm for the middle 80 %)"


def _stayed(frame: Frame, left: F64, extreme: float) -> list[str]:
    """Where the last image lies far from the first while the rest has come back: a plate that slid or broke away."""
    known = np.isfinite(left)
    middle = float(np.median(left[known]))
    far = known & (np.abs(left - middle) > max(_FAR * robust_sigma(left[known]), _OF_EXTREME * extreme))
    share = float(far.sum() / known.sum())
    if not _LEAST_AREA <= share <= _MOST_AREA:
        return []
    rows, columns = np.nonzero(far)
    place = _position(frame, round(float(np.median(rows))), round(float(np.median(columns))))
    at = f", about {place}," if place else ""
    there, rest = (_above(float(np.median(left[of]))) for of in (far, known & ~far))
    return [f"Not everywhere: {100.0 * share:.2g} % of the area{at} now lies {there} than at first, the rest {rest}."]


def _above(height: float) -> str:
    return f"{quantity(1e9 * abs(height), None, 'nm')} {'higher' if height > 0.0 else 'lower'}"


def _most_between(evidence: Evidence, changes: list[Result], first: int) -> list[str]:
    """Between which two successive images most of the change came."""
    if len(changes) < 4:
        return []
    heights = np.array([0.0, *(r.value or 0.0 for r in changes)])
    numbers = [first, *(r.of.image or 0 for r in changes)]
    extreme = int(np.argmax(np.abs(heights)))
    if extreme < 2:
        return []
    steps = np.diff(heights[: extreme + 1]) * np.sign(heights[extreme])
    k = int(np.argmax(steps))
    share = 100.0 * steps[k] / abs(heights[extreme])
    a, b = (evidence.frames[numbers[j] - 1].potential for j in (k, k + 1))
    return [
        f"The largest part of it, {share:.0f} %, came between {a:.2f} and {b:.2f} V (images {numbers[k]} and "
        f"{numbers[k + 1]})."
    ]


def _roughness_change(evidence: Evidence, numbers: list[int], number: int) -> list[str]:
    sq = {r.of.image: r.value or 0.0 for r in evidence.all("Sq") if r.of.part == "after plane"}
    chosen = [k for k in dict.fromkeys((numbers[0], number, numbers[-1])) if k in sq]
    if len(chosen) < 2:
        return []
    unit, scale = ("µm", 1e-3) if max(sq[k] for k in chosen) >= 1e3 else ("nm", 1.0)
    values = " → ".join(f"{scale * sq[k]:.3g}" for k in chosen)
    return [f"The roughness Sq (after a plane) went {values} {unit} in images {', '.join(map(str, chosen))}."]


def _drift(evidence: Evidence) -> list[str]:
    shifts = [abs(r.value or 0.0) for name in ("shift_x", "shift_y") for r in evidence.all(name)]
    frame = evidence.frames[0]
    if not shifts or frame.x.size < 2:
        return []
    pixel = 1e9 * float(frame.x[1] - frame.x[0])
    worst = max(shifts)
    if worst < 0.1 * pixel:
        return [f"The images lie on one another within {worst:.2g} nm, a small part of a pixel ({pixel:.0f} nm)."]
    return [f"The images were shifted by up to {worst:.3g} nm ({worst / pixel:.2g} pixels), which has been corrected."]


def single_image_finding(evidence: Evidence) -> Finding | None:
    """Size, roughness and a step, where the run has one image."""
    if len(evidence.frames) != 1:
        return None
    frame = evidence.frames[0]
    rows, columns = frame.heights.shape
    sentences = []
    step, rim = evidence.first("step_height"), evidence.first("step_edge_rise")
    if rim is not None and step is not None:
        sentences.append(
            f"A straight edge stands {shown(rim)} above the terraces on either side of it; the terraces themselves "
            f"differ "
            f"by {shown_size(step)}."
        )
    elif step is not None:
        sentences.append(f"Two terraces differ in height by {shown_size(step)}.")
    sq = evidence.first("Sq", "after plane")
    bad = f"{frame.bad} of its hops found no surface" if frame.bad else "every hop found the surface"
    width, height = (1e6 * float(axis[-1] - axis[0]) for axis in (frame.x, frame.y))
    rough = "" if sq is None else f" Its roughness is Sq = {shown(sq)} after a plane."
    sentences.append(
        f"The image shows {width:.3g} × {height:.3g} µm in {columns} × {rows} pixels, at "
        f"{_at(evidence, frame.time)}; {bad}.{rough}"
    )
    sentences += _height_error(evidence)
    return Finding(tuple(sentences), ("step_edge", "image_profiles", "image_series", "image"))


def _height_error(evidence: Evidence) -> list[str]:
    """How far a height can be believed: scatter, cross-talk, and the ten-hop check."""
    scatter = max(evidence.all("height_scatter"), key=lambda r: r.value or 0.0, default=None)
    talk = max(evidence.all("height_cross_talk"), key=lambda r: r.value or 0.0, default=None)
    change = max(evidence.all("ten_hop_bulk_change"), key=lambda r: r.value or 0.0, default=None)
    parts = []
    if scatter is not None:
        parts.append(f"heights scatter by {quantity(scatter.value, scatter.u, 'nm')} from hop to hop")
    if talk is not None and change is not None:
        parts.append(
            f"the moving ion current (at most {quantity(change.value, change.u, '%')} over ten hops) makes an error of "
            f"{quantity(talk.value, talk.u, 'nm')} at most"
        )
    if not parts:
        return []
    text = ", and ".join(parts)
    return [f"How far to believe it: {text}."]


# -- One point, one line.


def line_finding(evidence: Evidence) -> Finding | None:
    """How a line moved: its mean, the differences along it, what was left."""
    largest = next(arrays(evidence.all("kymograph_largest_change")), None)
    if largest is None:
        return None
    result, trace = largest
    at = float(trace["t"].values[int(np.argmax(np.abs(np.nanmean(trace.values, axis=1))))])
    verb = "rose" if (result.value or 0.0) > 0.0 else "fell"
    percent = 1e-7 * abs(result.value or 0.0) / evidence.thickness
    share = f" {percent:.3g} % of the specimen's {1e6 * evidence.thickness:.3g} µm," if np.isfinite(percent) else ""
    sentences = [
        f"The line as a whole {verb} by at most {shown_size(result)},{share} at {duration(at)} ({_at(evidence, at)})."
    ]
    per_pixel = next(arrays(evidence.all("height_change_over_pixels")), None)
    if per_pixel is not None:
        change = 1e9 * per_pixel[1].values
        x = 1e6 * trace["x"].values
        least, most = int(np.nanargmin(change)), int(np.nanargmax(change))
        sentences.append(
            f"Not alike everywhere: from {_two_digits(change[least])} nm at {x[least]:.1f} µm along the line to "
            f"{_two_digits(change[most])} nm at {x[most]:.1f} µm, median {shown(per_pixel[0])}."
        )
    left = evidence.first("height_left_over_pixels")
    if left is not None:
        sentences.append(f"At the end {shown(left)} of it were left (median over the pixels).")
    sentences += _height_error(evidence)
    sentences += _swing(evidence)
    return Finding(tuple(sentences), ("kymograph",))


def point_finding(evidence: Evidence) -> Finding | None:
    """How much the surface rose and fell at a point, how the rise went with the charge, what came back."""
    rises = [r for r in evidence.all("height_change") if r.of.image is None]
    if not rises or evidence.all("kymograph_largest_change"):
        return None
    percent = {(r.of.step, r.of.part, r.of.number): r for r in evidence.all("expansion")}
    sentences = []
    for change in rises[:2]:
        verb = "rose" if (change.value or 0.0) > 0.0 else "fell"
        branch = change.of.part if change.of.number is None else f"{change.of.part} {change.of.number}"
        share = percent.get((change.of.step, change.of.part, change.of.number))
        of = "" if share is None else f", {shown_size(share)} of the specimen's {1e6 * evidence.thickness:.3g} µm"
        sentences.append(f"During {branch} the surface {verb} by {shown_size(change)}{of}.")
    if len(rises) > 1:
        sentences.append(_came_back(rises))
    sentences += _halves(evidence)
    sentences += _height_error(evidence)
    sentences += _swing(evidence)
    return Finding(tuple(sentences), ("potential", "time"))


def _came_back(rises: list[Result]) -> str:
    up, down = rises[0], rises[1]
    left = (up.value or 0.0) + (down.value or 0.0)
    u = float(np.hypot(up.u or 0.0, down.u or 0.0))
    share = 100.0 * abs((down.value or 0.0) / (up.value or 1.0))
    if len(rises) > 2:
        values = ", ".join(shown(r) for r in rises)
        return f"Over the {len(rises)} branches the changes were {values}."
    if abs(left) <= _CERTAIN * u:
        return f"All of it came back: {quantity(left, u, 'nm')} are left."
    return f"{min(share, 999.0):.1f} % of it came back; {quantity(left, u, 'nm')} are left."


def _halves(evidence: Evidence) -> list[str]:
    first, second = evidence.first("expansion_first_half"), evidence.first("expansion_second_half")
    if first is None or second is None:
        return []
    text = (
        f"The first half of the {first.of.part}'s charge changed the height by {shown(first)}, the second by "
        f"{shown(second)}"
    )
    kinks = [r for r in evidence.all("transition_from_height") if r.of.part == first.of.part]
    if kinks:
        where = " and ".join(shown(r) for r in kinks[:2])
        text += f"; the slope breaks at {where} of the charge"
    return [f"{text}."]


def _swing(evidence: Evidence) -> list[str]:
    """The pipette current at the peaks of the cell current."""
    swings = evidence.all("pipette_change_at_peak")
    if not swings:
        return []
    text = " and ".join(
        f"{shown(r)} at the {'cathodic' if r.of.part == 'lithiation' else 'anodic'} peak" for r in swings[:2]
    )
    return [f"Far from the surface the pipette current changed by {text} of the cell current."]


# -- Towers.


def tower_finding(evidence: Evidence) -> Finding | None:
    """Near minus far at the peaks of the cell current, its reach, and what remained."""
    ways = next(arrays(evidence.all("tower_ways")), None)
    if ways is None:
        return None
    result, trace = ways
    low, high = (1e6 * float(f(trace["height"].values)) for f in (np.min, np.max))
    times = trace["time"].values
    sentences = []
    for part, words, pick in (
        ("lithiation_peak", "At the peak of lithiation", np.argmin),
        ("delithiation_peak", "At the peak of delithiation", np.argmax),
    ):
        near = evidence.first("near_less_far_current", part)
        if near is None:
            continue
        k = int(pick(evidence.cell_at("current", times)))
        cell_mA = 1e3 * float(evidence.cell_at("current", times[k]))
        more = "more" if (near.value or 0.0) > 0.0 else "less"
        sentences.append(
            f"{words} ({float(evidence.cell_at('potential', times[k])):.2f} V, {_two_digits(cell_mA)} mA) "
            f"{shown_size(near)} {more} "
            f"current flows near the surface than {high / 1000.0:.2g} mm above it{_reach(evidence, part, high)}."
        )
    last = evidence.first("near_less_far_current", "last")
    if last is not None and sentences:
        largest = max(abs(r.value or 0.0) for r in evidence.all("near_less_far_current") if r.of.part != "first")
        share = 100.0 * abs(last.value or 0.0) / largest if largest else 0.0
        sentences.append(f"At the end the difference is {shown(last)}, {share:.2g} % of the largest.")
    sentences.append(
        f"{int(result.value or 0)} traverses between {_two_digits(low)} and {_two_digits(high)} µm, one every "
        f"{duration(float(np.median(np.diff(times))))}: a change faster than that shears a profile."
    )
    return Finding(tuple(sentences), ("tower", "towers"))


def _reach(evidence: Evidence, part: str, high_um: float) -> str:
    extent = evidence.first("gradient_extent", part)
    if extent is not None:
        return f"; the difference decays over {shown(extent)}"
    failed = next((r for r in evidence.results if r.name == "gradient_extent" and r.of.part == part), None)
    if failed is None:
        return ""
    if "beyond" in failed.reason:
        return f"; the gradient reaches beyond the {high_um / 1000.0:.2g} mm measured, its length is not determined"
    return f"; {failed.reason}"


# -- Constant current: pulses with rests, or whole half-cycles.


def pulses_finding(evidence: Evidence) -> Finding | None:
    """The step of the pipette current with the cell current, its dependence on the state of charge, and the rests."""
    step = next(arrays(evidence.all("pipette_step_ohmic")), None)
    if step is None:
        return None
    result, trace = step
    t, values = trace["t"].values, 1e12 * trace.values
    cell_mA = _cell_steps(evidence, t)
    usual = float(np.median(np.abs(cell_mA)))
    per = f" ({abs(result.value or 0.0) / usual:.3g} pA per mA)" if usual else ""
    direction = "rises" if (result.value or 0.0) > 0.0 else "falls"
    sentences = [
        f"When a lithiating current of {usual:.3g} mA begins, the pipette current {direction} at once by "
        f"{shown_size(result)}{per}, "
        f"and returns when it ends (median of {t.size} steps)."
    ]
    sentences += _soc_dependence(evidence, t, values, cell_mA, usual)
    slow = evidence.first("pipette_step_diffusive")
    if slow is not None and result.value:
        share = 100.0 * abs((slow.value or 0.0) / result.value)
        small = abs(slow.value or 0.0) <= _CERTAIN * (slow.u or 0.0)
        sentences.append(
            f"The slow part that grows as √t, salt by diffusion, is {shown(slow)} at the end of a step: "
            f"{'not distinguishable from zero' if small else f'{share:.2g} % of the immediate one'}."
        )
    sentences += _rests(evidence, result)
    sentences += _capacities(evidence)
    # Two steps of a kind are two points and no dependence: the record itself shows them.
    course = ("pipette_steps", "titration") if t.size >= _STEPS_OF_A_COURSE else ("time",)
    return Finding(tuple(sentences), (*course, "time"))


def _cell_steps(evidence: Evidence, t: F64) -> F64:
    """The step of the cell current [mA] at each time, from a second before to a second after."""
    return np.asarray(1e3 * (evidence.cell_at("current", t + 1.0) - evidence.cell_at("current", t - 1.0)))


def _soc_dependence(evidence: Evidence, t: F64, values: F64, cell_mA: F64, usual: float) -> list[str]:
    alike = np.abs(np.abs(cell_mA) - usual) <= 0.1 * usual
    soc, what = evidence.state_of_charge(t), "SOC"
    if not np.isfinite(soc).all():
        soc, what = evidence.lithiation(t), "the capacity"
    alike &= np.isfinite(soc)
    x, y = soc[alike], values[alike]
    if x.size < 4 or np.ptp(x) < 0.5:
        return []
    line = straight_line(x, y)
    span = float(np.ptp(x))
    change, u = line.slope * span, line.u_slope * span
    share = 100.0 * abs(change) / abs(float(np.median(y)))
    over = f"over {span:.3g} % of {what}"
    if abs(change) <= _CERTAIN * u:
        return [f"The step does not depend on the state of charge: {over} it changes by {quantity(change, u, 'pA')}."]
    much = "hardly depends" if share < 5.0 else "depends"
    return [
        f"The step {much} on the state of charge: {over} it changes by {quantity(change, u, 'pA')}, {share:.2g} % of "
        f"itself."
    ]


def _rests(evidence: Evidence, step: Result) -> list[str]:
    change = evidence.first("pipette_change_over_rests")
    relaxed = evidence.all("relaxed_potential")
    if change is None:
        return []
    share = 100.0 * abs((change.value or 0.0) / step.value) if step.value else 0.0
    text = f"During the rests the pipette current stays: it changes by {shown(change)}, {share:.2g} % of a step"
    if share > 20.0:
        text = f"During the rests the pipette current changes by {shown(change)}, {share:.2g} % of a step"
    if len(relaxed) > 1:
        text += f", while the relaxed potential goes from {relaxed[0].value:.3f} to {relaxed[-1].value:.3f} V"
    return [f"{text}."]


def _capacities(evidence: Evidence) -> list[str]:
    capacity = evidence.all("capacity")
    if not 2 <= len(capacity) <= 4 or {r.of.part for r in capacity} != {"lithiation", "delithiation"}:
        return []
    last = [next(r for r in reversed(capacity) if r.of.part == part) for part in ("lithiation", "delithiation")]
    share = 100.0 * abs((last[1].value or 0.0) / (last[0].value or 1.0))
    return [f"{shown_size(last[0])} were taken up and {shown_size(last[1])} came back, {share:.1f} %."]


# -- A parked pipette beside a voltammogram.


def voltammogram_finding(evidence: Evidence) -> Finding | None:
    """How the pipette current follows the cell current, its size at the peaks, and where the peaks lie."""
    peaks = evidence.all("peak_current")
    # Beside hops, a tower or pulses the voltammogram is what happened to the specimen, not the question.
    if evidence.run is None or not peaks or evidence.run.hops.sizes["hop"] or evidence.all("tower_ways"):
        return None
    swings = {r.of.part: r for r in evidence.all("pipette_change_at_peak")}
    sentences = []
    for peak in peaks:
        swing = swings.get(peak.of.part)
        if swing is None:
            continue
        name = "cathodic" if peak.of.part == "lithiation" else "anodic"
        verb = "rose" if (swing.value or 0.0) > 0.0 else "fell"
        sentences.append(f"At the {name} peak of {shown(peak)} the pipette current {verb} by {shown_size(swing)}.")
    sentences += _mirror(evidence)
    charge = {r.of.part: r for r in evidence.all("charge")}
    if {"lithiation", "delithiation"} <= set(charge):
        share = 100.0 * abs((charge["delithiation"].value or 0.0) / (charge["lithiation"].value or 1.0))
        sentences.append(f"{shown_size(charge['lithiation'])} went in and {share:.1f} % of it came out again.")
    sentences += _peak_places(evidence)
    return Finding(tuple(sentences), ("parked", "time", "voltammogram"))


def _mirror(evidence: Evidence) -> list[str]:
    """Correlation of pipette and cell current, and the first per the second."""
    run = evidence.run
    if run is None or run.slow.sizes["row"] != run.cell.sizes["row"] or run.slow.sizes["row"] < 20:
        return []
    pipette, cell, z = run.slow["pipette_current"].values, run.cell["current"].values, run.slow["coarse_z"].values
    at_height = np.isfinite(pipette) & np.isfinite(cell) & (np.abs(z - np.median(z)) < 1e-6)
    if at_height.sum() < 20 or np.ptp(cell[at_height]) == 0.0 or np.ptp(pipette[at_height]) == 0.0:
        return []
    r = float(np.corrcoef(cell[at_height], pipette[at_height])[0, 1])
    slope = straight_line(cell[at_height], pipette[at_height]).slope * 1e9
    follows = "mirrors" if r < -0.9 else "follows" if r > 0.9 else "does not simply follow"
    return [
        f"The pipette current {follows} the cell current: {_two_digits(slope)} pA per mA, correlation {r:.2f}".replace(
            "-", "−"
        )
        + (", with a share of its own that lags behind." if abs(r) < 0.98 else ".")
    ]


def _peak_places(evidence: Evidence) -> list[str]:
    peaks = evidence.all("peak_potential")
    if not 1 <= len(peaks) <= 6:
        return []
    sides = {
        name: [shown(r) for r in peaks if r.of.part in parts]
        for name, parts in (("cathodic", ("lithiation", "cathodic")), ("anodic", ("delithiation", "anodic")))
    }
    text = "; ".join(f"{name} at {', '.join(at)}" for name, at in sides.items() if at)
    return [f"Peaks of the voltammogram: {text}."]


# -- The pipette itself.


def pipette_finding(evidence: Evidence) -> Finding | None:
    """Resistance, rectification and current of a pipette's own voltammogram."""
    resistance = evidence.first("pipette_resistance")
    if resistance is None:
        return None
    expected = 1e-6 * evidence.parameter("pipette", "resistance_Ohm")
    compare = ""
    if np.isfinite(expected) and resistance.value:
        away = 100.0 * (resistance.value / expected - 1.0)
        compare = f", {away:+.1f} % from the {expected:.4g} MΩ of its stated geometry".replace("-", "−")
        if abs(away) < _AS_STATED:
            compare = ", as its stated geometry gives"
    sentences = [f"The pipette's resistance is {shown(resistance)}{compare}."]
    current = evidence.first("current_at_bias")
    if current is not None and evidence.run is not None:
        sentences.append(f"At {reading_bias(evidence.run):g} V it carries {shown(current)}.")
    ratio = evidence.first("rectification")
    if ratio is not None:
        bent = abs((ratio.value or 1.0) - 1.0)
        sentences.append(
            f"It {'does not rectify' if bent < 0.02 else 'rectifies'}: |I(+)/I(−)| = {shown(ratio)}; "
            + "the current at zero bias is "
            + (shown(offset) if (offset := evidence.first("current_offset")) is not None else "not known")
            + "."
        )
    return Finding(tuple(sentences), ("current_voltage",))


def modulation_finding(evidence: Evidence) -> Finding | None:
    """Conductance, and concentration where it is calibrated, of a modulated bias."""
    conductance = evidence.first("conductance")
    if conductance is None:
        return None
    sentences = [f"The pipette's conductance was {shown(conductance)}."]
    salt, change = evidence.first("concentration"), evidence.first("concentration_change")
    if salt is not None:
        sentences.append(f"The salt at its tip was {shown(salt)}.")
    elif evidence.why_not("concentration"):
        sentences.append(f"No concentration: {evidence.why_not('concentration')}.")
    if change is not None:
        sentences.append(f"It changed by {shown(change)} from beginning to end.")
    return Finding(tuple(sentences), ("concentration", "modulation"))


# Kinds in the order of their importance in a run. A new kind needs a line here.
FINDERS: Final[tuple[Finder, ...]] = (
    state_change_finding,
    image_series_finding,
    single_image_finding,
    line_finding,
    point_finding,
    tower_finding,
    pulses_finding,
    voltammogram_finding,
    modulation_finding,
    pipette_finding,
    *THIRD_PARTY_FINDERS,
)
