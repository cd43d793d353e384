"""Is the rig wired as its file says? Small steps of bias and potential, and what the pipette current makes of them.

A wrong sign, a factor of ten or a lost reference electrode looks like a pipette current as any other, and a hop that
trusts it drives the tip into the specimen. So before anything moves, the amplifier's command is stepped by a few tens
of millivolts at a pipette that stands in the bath, far from the specimen: the size of the answer is the pipette's
conductance, its sign that of command and current together, and the command at which the current vanishes is where the
reference electrode stands, which the potentiostat says too. Of four signs that a rig file states, no single wrong one
passes; see the table in docs/explanations/signs.md.

Nothing here moves the pipette. `bias_steps` switches no cell on; `potential_step` does, at the potential that the cell
has by itself, and is for a person to allow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import LimitCrossed, OpsicmError, Problem
from opsicm.experiment.controls import OpenCircuit, PotentialRamp
from opsicm.instruments.clock import Clock
from opsicm.instruments.roles import Amplifier, Potentiostat
from opsicm.instruments.wiring import REFERENCE_FOLLOWS_CELL, command_span

PATIENCE: Final = 5.0  # times as long where the current had not come to rest
STEP: Final = 0.05  # [V]: a few hundred picoamperes through the paper's pipette, and no redox couple's business
SETTLES: Final = 0.08  # [s] after a step: transport of the samples, the filter, the capacitance of the pipette's wall
LIKELY: Final = 3.0  # times the expected conductance: pipettes of one pull differ by two, a switch's positions by 5
ZERO_WITHIN: Final = 0.1  # [V] between the bias without current and the reference: junctions and offsets are smaller
TELLING: Final = 0.25  # [V] that the cell must have for a wrong sign of it to show beside `ZERO_WITHIN`
CELL_STEP: Final = 0.005  # [V] of the cell from where it is by itself: some microampere
HELD_WITHIN: Final = 0.05  # [V] of its own potential, at which a cell that is switched on stays
CELL_HELD: Final = 0.3  # [s]
_SURE: Final = 6.0  # times the scatter of repeated readings
_REPEATS: Final = 4
_LOOKS: Final = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `ok` is None where it could not tell; `sentence` says what was seen, for the operator.

    `proves` is what a pass excludes, `moves` what the check does to the rig, `remedy` where to look otherwise.
    """

    name: str
    ok: bool | None
    sentence: str
    remedy: str = ""
    proves: str = ""
    moves: str = ""


def bias_steps(
    amplifier: Amplifier,
    potentiostat: Potentiostat,
    clock: Clock,
    grounding: str,
    resistance: float,
    reversal: float = 0.0,
    open_cell_grounded: bool = True,
) -> list[Finding]:
    """Step the command by ±`STEP` about 0 V and judge the pipette current; the command is 0 V afterwards.

    `resistance` [Ohm] is the pipette's, from its geometry; `reversal` [V] the potential of pipette electrode against
    reference at which no current flows, of two solutions. Assumes that the pipette stands in the bath and away from the
    specimen, and that the cell is open or steady. With `open_cell_grounded` False the potentiostat disconnects the
    specimen from ground while its cell is off: the reference then floats, and its place proves nothing.
    """
    moves = f"bias by ±{STEP * 1e3:g} mV for {6 * SETTLES:.2g} s; no motion, no cell switched on"
    low, high = amplifier.command_range
    if not low <= -STEP < STEP <= high:
        limit = f"the command reaches {low:g} … {high:g} V only, and the check needs ±{STEP:g} V"
        return [Finding("bias", None, limit, "use a wider external-bias input", "", moves)]

    try:
        # A current that is still on its way, through a filter or a slow line, is given more time before it is judged.
        for settles in (SETTLES, PATIENCE * SETTLES):
            (zero_current, noise), (above, noise_above), (below, noise_below) = (
                _current_at(command, amplifier, clock, settles) for command in (0.0, STEP, -STEP)
            )
            change, scatter = above - below, math.hypot(noise, noise_above, noise_below)
            if abs(change) > _SURE * scatter:
                break
    finally:
        amplifier.command(0.0)
    conductance = change / (2.0 * STEP)
    findings = [_answers(change, scatter, conductance, resistance, moves)]
    if findings[0].ok is None or abs(change) <= _SURE * scatter or conductance == 0.0:
        return findings
    findings += [_sign(conductance, moves), _size(conductance, resistance, moves)]
    cell = potentiostat.read()
    zero = -zero_current / conductance - reversal
    findings.append(_reference(zero, cell.potential, grounding, open_cell_grounded, moves))
    return findings


def _current_at(command: float, amplifier: Amplifier, clock: Clock, settles: float) -> tuple[float, float]:
    """(median, scatter) of the pipette current [A] at a command [V]; readings apart by a quarter of `settles` [s]."""
    amplifier.command(command)
    clock.wait_until(clock.now_ns() + round(settles * 1e9))
    readings: list[float] = []
    for _ in range(_REPEATS):
        clock.wait_until(clock.now_ns() + round(settles * 1e9 / _REPEATS))
        readings.append(amplifier.read()[0])
    return float(np.median(readings)), float(np.std(readings))


def _answers(change: float, scatter: float, conductance: float, resistance: float, moves: str) -> Finding:
    proves = "the command reaches the pipette, and its current comes back"
    expected = 2.0 * STEP / resistance
    seen = (
        f"a step of {2e3 * STEP:g} mV changed the pipette current by {_current(change)} (expected {_current(expected)})"
    )
    if abs(change) <= _SURE * scatter or abs(conductance) * resistance < 1.0 / 30.0:
        remedy = (
            "is the pipette in the bath and open, the external command switched on at the amplifier, the mode voltage "
            "clamp, the wire at the output of command_output?"
        )
        return Finding("bias", False, f"{seen}: it does not answer", remedy, proves, moves)
    return Finding("bias", True, seen, "", proves, moves)


def _sign(conductance: float, moves: str) -> Finding:
    proves = "the signs of command and current agree"
    if conductance > 0.0:
        return Finding("bias sign", True, "a more positive command makes a more positive current", "", proves, moves)
    remedy = "correct command_sign of the amplifier, or the sign of the channel pipette_current"
    seen = "a more positive command made a more NEGATIVE current: one of the two is inverted"
    return Finding("bias sign", False, seen, remedy, proves, moves)


def _size(conductance: float, resistance: float, moves: str) -> Finding:
    proves = "gain and command scale have no factor of five or ten"
    ratio = abs(conductance) * resistance
    seen = f"the pipette shows {_ohms(1.0 / abs(conductance))}, {_ohms(resistance)} by its geometry"
    if 1.0 / LIKELY <= ratio <= LIKELY:
        return Finding("bias size", True, seen, "", proves, moves)
    by = f"{ratio:.2g} times too large" if ratio > 1.0 else f"{1.0 / ratio:.2g} times too small"
    remedy = (
        "compare gain_mV_per_pA and external_bias_mV_per_V with the amplifier's switches; if they are right, the tip "
        "is " + ("broken, or its radius_nm is wrong" if ratio > 1.0 else "clogged, or its radius_nm is wrong")
    )
    return Finding("bias size", False, f"{seen}: currents or commands are {by}", remedy, proves, moves)


def _reference(zero: float, cell: float, grounding: str, grounded: bool, moves: str) -> Finding:
    """Where the reference stands: the command without current is -g E."""
    name, proves = "reference", "grounding, polarity of the cell's potential, and a reference electrode that is there"
    follows = REFERENCE_FOLLOWS_CELL[grounding]
    seen = f"no current flows at a bias of {zero * 1e3:.0f} mV, and the cell reads {cell * 1e3:.0f} mV"
    if follows and not grounded:
        why = "the potentiostat disconnects the open cell, so that tells nothing; the potential step does"
        return Finding(name, None, f"{seen}: {why}", "", proves, moves)
    if follows and not abs(cell) >= TELLING:  # also where an open cell reads no number
        return Finding(name, None, f"{seen}: too little to tell the signs apart", "", proves, moves)
    if abs(zero + follows * cell) <= ZERO_WITHIN:
        where = f"{-follows * cell * 1e3:.0f} mV, as the wiring says" if follows else "0 mV: it is the ground"
        return Finding(name, True, f"{seen}: the reference stands at {where}", "", proves, moves)
    if follows and abs(zero - cell) <= ZERO_WITHIN:
        remedy = (
            "the sign of the channel cell_potential, or those of command and pipette_current together, are wrong in "
            "the rig file"
        )
        return Finding(name, False, f"{seen}: the polarity of one of them is inverted", remedy, proves, moves)
    if follows and abs(zero) <= ZERO_WITHIN:
        remedy = (
            "the reference is at the amplifier's ground: is the grounding two_electrode, or does the potentiostat "
            "disconnect the specimen while its cell is off (wiring: {open_cell_grounded: false})?"
        )
        return Finding(name, False, f"{seen}: the reference does not follow the cell", remedy, proves, moves)
    remedy = "look at the reference electrode and its wire, and at the grounds of amplifier and potentiostat"
    return Finding(name, False, f"{seen}: the reference is not where either of them says", remedy, proves, moves)


def potential_step(
    amplifier: Amplifier, potentiostat: Potentiostat, clock: Clock, grounding: str, ir_compensation: float = 0.0
) -> list[Finding]:
    """Hold the cell where it is by itself, then `CELL_STEP` higher, and let it go: what cell and pipette make of it.

    It switches the cell on for `2 CELL_HELD` seconds, at its own potential; whoever calls this has asked first. The
    cell is open again when it returns, whatever happens. `ir_compensation` [1] is what is dialled on the panel, if any.
    """
    moves = f"switches the cell on for {2 * CELL_HELD:g} s at its own potential, then {CELL_STEP * 1e3:g} mV above it"
    proves = "the polarity of set point, potential and cell current, and that the pipette sees the reference move"
    start = potentiostat.read().potential

    def held(potential: float) -> tuple[float, NDArray[np.float64]]:
        """(cell potential [V], cell and pipette current [A] [2, repeats])."""
        at_ns = clock.now_ns() + round(0.1e9)
        potentiostat.apply(PotentialRamp(potential, 0.0, ir_compensation), at_ns)
        for _ in range(_LOOKS):  # until it is seen to have begun
            clock.wait_until(clock.now_ns() + round(0.1e9))
            reading = potentiostat.read()
            if reading.set_point is not None and reading.t_ns >= at_ns:
                break
        clock.wait_until(clock.now_ns() + round(CELL_HELD * 1e9))
        reading = potentiostat.read()
        currents = []
        for _ in range(_REPEATS):  # apart, so that each is of samples of its own
            clock.wait_until(clock.now_ns() + round(SETTLES * 1e9 / _REPEATS))
            currents.append((potentiostat.read().current, amplifier.read()[0]))
        return reading.potential, np.array(currents).T

    try:
        before, currents_before = held(start)
        if abs(before - start) > HELD_WITHIN:
            seen = f"asked to stay at {start:.3f} V, the cell went to {before:.3f} V and was opened again"
            remedy = "the sign of the potentiostat's input or of its potential is inverted, or its reference is off"
            return [Finding("potential", False, seen, remedy, proves, moves)]
        after, currents_after = held(start + CELL_STEP)
    except LimitCrossed as error:
        return [Finding("potential", False, str(error.problems[0]), error.problems[0].remedy, proves, moves)]
    finally:
        potentiostat.apply(OpenCircuit(), clock.now_ns())
        potentiostat.safe()
    rose = after - before
    flowed, pipette = (currents_after - currents_before).mean(axis=1).tolist()
    # Of two means of four readings each: four times their scatter, beside which a sign is not seen.
    least = (4.0 * np.hypot(currents_before.std(axis=1), currents_after.std(axis=1)) / math.sqrt(_REPEATS)).tolist()
    seen = f"a set point {CELL_STEP * 1e3:g} mV higher moved the potential by {rose * 1e3:.1f} mV"
    findings = [
        Finding(
            "potential",
            abs(rose - CELL_STEP) < 0.4 * CELL_STEP,
            seen,
            "look at input_V_per_V and its sign, and at potential_V_per_V",
            proves,
            moves,
        )
    ]
    answer = f"it changed the cell current by {_current(flowed)}"
    remedy = "the sign of the channel cell_current is wrong"
    findings.append(_step("cell current", flowed, least[0], answer, remedy, proves, moves))
    if REFERENCE_FOLLOWS_CELL[grounding]:
        answer = f"it changed the pipette current by {_current(pipette)}: the reference has gone down by as much"
        remedy = "grounding or the reference electrode is not as the rig file says"
        findings.append(_step("reference step", pipette, least[1], answer, remedy, proves, moves))
    return findings


def _step(name: str, change: float, least: float, answer: str, remedy: str, proves: str, moves: str) -> Finding:
    """A current [A] that must rise; one that hardly stands out of its noise tells nothing."""
    if abs(change) <= least:
        why = f"{answer}: too little beside its noise, {_current(least)}, to tell its sign; a dummy cell tells it"
        return Finding(name, None, why, "", proves, moves)
    return Finding(name, change > 0.0, answer, remedy, proves, moves)


def bias_reach(
    command_range: tuple[float, float],
    external_bias: float,
    tip_potential: float,
    cell: tuple[float, float],
    grounding: str,
) -> Finding:
    """Whether the command reaches V_tip - g E over a `cell` [V] from its lowest to its highest potential; in numbers.

    `external_bias` [1] is the scale of the amplifier's command input.
    """
    low, high = command_range
    scale = f"{high / external_bias:g} V times {external_bias * 1e3:g} mV/V" if external_bias else "no command input"
    reaches = f"the command reaches {low:g} … {high:g} V ({scale})"
    needed = command_span(tip_potential, *cell, grounding)
    needs = f"{tip_potential:g} V at the pipette over a cell of {cell[0]:g} … {cell[1]:g} V"
    if low <= needed[0] and needed[1] <= high:
        return Finding("bias range", True, f"{reaches}: enough for {needs}")
    sentence = f"{reaches}, and {needs} needs {needed[0]:.3g} … {needed[1]:.3g} V"
    if REFERENCE_FOLLOWS_CELL[grounding]:
        sentence += f": it follows a cell of {tip_potential - high:.3g} … {tip_potential - low:.3g} V only"
    remedy = "use the wider command input (an Axopatch 200B has one of 100 mV/V at its rear), or another bias"
    return Finding("bias range", False, sentence, remedy)


def refuse_failed(findings: Sequence[Finding], say: Callable[[Finding], None] = lambda _: None) -> None:
    """Tell every finding; raises `LimitCrossed` with those that failed, before anything has moved."""
    for finding in findings:
        say(finding)
    failed = [finding for finding in findings if finding.ok is False]
    if failed:
        raise LimitCrossed(Problem(f"wiring, {each.name}", "", each.sentence, each.remedy) for each in failed)


def checked(what: Callable[[], list[Finding]]) -> list[Finding]:
    """What a check finds; a failure of its instruments is a finding, too."""
    try:
        return what()
    except OpsicmError as error:
        problem = error.problems[0]
        return [Finding("wiring", False, str(problem), problem.remedy)]


def _current(amperes: float) -> str:
    size = abs(amperes)
    unit, factor = ("mA", 1e3) if size >= 1e-4 else ("µA", 1e6) if size >= 1e-7 else ("pA", 1e12)
    return f"{amperes * factor:.3g} {unit}"


def _ohms(ohms: float) -> str:
    return f"{ohms * 1e-6:.3g} MΩ"
