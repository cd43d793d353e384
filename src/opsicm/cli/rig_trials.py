"""What `opsicm rig check` tries when the operator has said yes: what moves, switches or drives a current.

Each trial says beforehand what will happen, by how much and which way, and leaves everything as it was, or safer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from opsicm.cli.check import si_text
from opsicm.cli.rig_bench import Bench
from opsicm.cli.rig_findings import Finding
from opsicm.cli.rig_readings import QUIET_HEIGHT, scatter
from opsicm.core.facts import SampleBlock
from opsicm.experiment.controls import OpenCircuit, PotentialRamp
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.experiment.rig_file import RoleName
from opsicm.instruments.roles import HopPlan
from opsicm.physics.noise import pipette_current_noise

_COARSE_STEP: Final = 10e-6  # [m] up and back
_COARSE_WITHIN: Final = 1e-6  # [m] of its step: coarser motors need a tower's calibration, not this
_SLACK: Final = 0.02  # of the piezo's range
_BIAS_STEP: Final = 0.010  # [V] to either side: lithium neither plates nor dissolves to speak of
_BIAS_SECONDS: Final = 0.2
_SAME_RESISTANCE: Final = 3.0  # a pipette's radius is known to tens of percent, a gain is wrong by ten
_HOLD_SECONDS: Final = 1.0
_HELD_WITHIN: Final = 0.005  # [V]
_NO_CURRENT: Final = 1e-5  # [A]
_SAMPLED: Final = 0.2  # [s]


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial: the roles that it needs, what is asked before, and what is done."""

    name: str
    needs: tuple[RoleName, ...]
    question: Callable[[Bench], str]
    run: Callable[[Bench], Iterator[Finding]]

    @property
    def role(self) -> RoleName:
        """The role that it is about."""
        return self.needs[0]


# -- Coarse stage.


def _ask_coarse(bench: Bench) -> str:
    here = bench.devices["coarse_stage"].position()
    return (
        f"raise the coarse stage by {_COARSE_STEP * 1e6:g} µm, away from the specimen (from {here * 1e6:.1f} to "
        f"{(here + _COARSE_STEP) * 1e6:.1f} µm), and lower it back?"
    )


def _try_coarse(bench: Bench) -> Iterator[Finding]:
    stage = bench.touch("coarse_stage")
    here = stage.position()
    bench.clock.wait_until(stage.move_to(here + _COARSE_STEP))
    up = stage.position() - here
    if abs(up - _COARSE_STEP) > _COARSE_WITHIN:  # it stays there: who does not know the way must not go down
        text = f"went {up * 1e6:.2f} µm and was told {_COARSE_STEP * 1e6:g} µm up; it stays where it is"
        remedy = "look at its steps per millimetre and which way it counts"
        yield Finding("coarse stage", "coarse_stage", "missing", text, remedy, up, _COARSE_STEP, "m")
        return
    bench.clock.wait_until(stage.move_to(here))
    back = stage.position() - here
    text = f"went {up * 1e6:.2f} µm up and came back within {abs(back) * 1e9:.0f} nm, by its own counter"
    yield Finding("coarse stage", "coarse_stage", "ok", text, value=up, limit=_COARSE_STEP, unit="m")


# -- Scanner.


def _ask_scanner(bench: Bench) -> str:
    scanner, stage = bench.devices["scanner"], bench.devices["coarse_stage"]
    low, high = scanner.z_range
    return (
        f"raise the coarse stage by {(high - low) * 1e6:g} µm first (a piezo wired the wrong way then meets nothing; "
        f"from {stage.position() * 1e6:.1f} µm), withdraw the piezo to the top of its range (z from "
        f"{scanner.read_z() * 1e6:.2f} to {high * 1e6:g} µm, up), leave it there and lower the coarse stage back?"
    )


def _try_scanner(bench: Bench) -> Iterator[Finding]:
    scanner, stage = bench.touch("scanner"), bench.touch("coarse_stage")
    (low, high), here = scanner.z_range, stage.position()
    bench.clock.wait_until(stage.move_to(here + (high - low)))
    before = scanner.read_z()
    scanner.safe()
    bench.wait(0.1 + 10.0 * bench.specification.scanner.lag)
    after = scanner.read_z()
    if abs(after - high) > _SLACK * (high - low):
        text = f"z went from {before * 1e6:.2f} to {after * 1e6:.2f} µm and was told {high * 1e6:g} µm"
        remedy = "look at gain and sign of z, command and sensor; the coarse stage stays up meanwhile"
        yield Finding("scanner up", "scanner", "missing", text, remedy, after, high, "m")
        return
    bench.clock.wait_until(stage.move_to(here))
    text = f"z went from {before * 1e6:.2f} to {after * 1e6:.2f} µm, up, as told"
    yield Finding("scanner up", "scanner", "ok", text, value=after, limit=high, unit="m")


# -- Amplifier.


def _ask_bias(bench: Bench) -> str:
    expected = _BIAS_STEP / bench.far_resistance
    return (
        f"step the bias by {_BIAS_STEP * 1e3:+g} mV and by {-_BIAS_STEP * 1e3:+g} mV for {_BIAS_SECONDS:g} s each? The "
        f"pipette's current should follow by ±{si_text(expected, 'A')} ({si_text(bench.far_resistance, 'Ohm')})"
    )


def _try_bias(bench: Bench) -> Iterator[Finding]:
    amplifier = bench.touch("amplifier")
    _, before = amplifier.read()
    currents = {}
    try:
        for step in (_BIAS_STEP, -_BIAS_STEP):
            amplifier.command(before + step)
            bench.wait(_BIAS_SECONDS)
            current, applied = amplifier.read()
            currents[step] = current
            if abs(applied - before - step) > 0.1 * _BIAS_STEP:
                text = f"{(before + step) * 1e3:.1f} mV were asked and {applied * 1e3:.1f} mV are applied"
                remedy = "look at the scale of the external command: wiring.external_bias_mV_per_V"
                yield Finding("bias step", "amplifier", "missing", text, remedy, applied, before + step, "V")
                return
    finally:
        amplifier.command(before)
    yield _judged(bench, currents[_BIAS_STEP] - currents[-_BIAS_STEP])


def _judged(bench: Bench, swing: float) -> Finding:
    """A current's swing [A] on ±`_BIAS_STEP`, judged by the resistance that the pipette should have."""
    expected = bench.far_resistance
    least = 2.0 * _BIAS_STEP / expected / 100.0
    if not math.isfinite(swing) or abs(swing) < least:
        text = f"the current changed by {si_text(swing, 'A')}: no circuit through the pipette"
        remedy = "look whether the pipette is filled and in the bath, its wire and the reference connected"
        return Finding("bias step", "amplifier", "missing", text, remedy, swing, least, "A")
    measured = 2.0 * _BIAS_STEP / swing
    text = f"{si_text(measured, 'Ohm')}; the pipette's shape makes it {si_text(expected, 'Ohm')}"
    if measured < 0.0:
        remedy = "turn the sign of the channel pipette_current, or of the amplifier's output"
        text = f"the current falls when the bias rises ({text})"
        return Finding("bias step", "amplifier", "missing", text, remedy, measured, expected, "Ohm")
    ratio = measured / expected
    if not 1.0 / _SAME_RESISTANCE <= ratio <= _SAME_RESISTANCE:
        remedy = "a factor near 10 or 50 is a wrong gain: read it off the amplifier; else look at pipette.radius_nm"
        return Finding(
            "bias step", "amplifier", "missing", f"{text}, {ratio:.3g} times", remedy, measured, expected, "Ohm"
        )
    return Finding("bias step", "amplifier", "ok", text, value=measured, limit=expected, unit="Ohm")


# -- Potentiostat.


def _ask_cell(bench: Bench) -> str:
    potential = bench.devices["potentiostat"].read().potential
    return (
        f"switch the cell on for {_HOLD_SECONDS:g} s, holding the potential that it has ({potential:.3f} V), and open "
        f"the circuit again? The cell current should stay near zero"
    )


def _try_cell(bench: Bench) -> Iterator[Finding]:
    potentiostat = bench.touch("potentiostat")
    potential = potentiostat.read().potential
    now_ns = bench.clock.now_ns()
    try:
        potentiostat.apply(PotentialRamp(potential), now_ns)
        bench.wait(_HOLD_SECONDS)
        held = potentiostat.read()
    finally:
        potentiostat.apply(OpenCircuit(), bench.clock.now_ns())
        bench.wait(0.2)
    opened = potentiostat.read()
    departs = held.potential - potential
    text = f"held {potential:.4f} V within {si_text(abs(departs), 'V')}, {si_text(held.current, 'A')}"
    if held.control != "potential" or abs(departs) > _HELD_WITHIN:
        text = f"asked to hold {potential:.4f} V it says {held.control.replace('_', ' ')} at {held.potential:.4f} V"
        remedy = "look at its cell switch, its mode, and the signs of its potentials"
        yield Finding("cell on", "potentiostat", "missing", text, remedy, held.potential, potential, "V")
    elif opened.control != "open_circuit" or abs(opened.current) > max(_NO_CURRENT, 0.1 * abs(held.current)):
        text = f"asked to open the circuit it says {opened.control}, {si_text(opened.current, 'A')}"
        remedy = "open the cell by hand, now; look at the line of its cell switch"
        yield Finding("cell on", "potentiostat", "missing", text, remedy, opened.current, _NO_CURRENT, "A")
    else:
        yield Finding(
            "cell on", "potentiostat", "ok", f"{text}; open again", value=departs, limit=_HELD_WITHIN, unit="V"
        )


# -- Hop controller.


def _ask_samples(bench: Bench) -> str:
    rate = 1e9 / bench.devices["hop_controller"].timing.dt_ns
    return (
        f"let the hop controller sample for {_SAMPLED:g} s at {rate * 1e-3:g} kS/s? It takes command of z and "
        "leaves the pipette where it is"
    )


def _try_samples(bench: Bench) -> Iterator[Finding]:
    controller = bench.touch("hop_controller")
    none, numbers = np.zeros(0), np.zeros(0, np.int32)
    until_ns = bench.clock.now_ns() + round(_SAMPLED * 1e9)
    still = HopParameters(1e-6, 1e-6, 0.02, 1e-6)
    tip = bench.setup.experiment.pipette.bias
    plan = HopPlan("check", 1, 0, none, none, numbers, numbers, none, still, tip, until_ns)
    blocks = controller.run(plan, lambda: False).blocks
    count = sum(block.counts.shape[0] for block in blocks)
    wanted = _SAMPLED * 1e9 / controller.timing.dt_ns
    text = f"{count} samples of {', '.join(channel.name for channel in controller.channels)}"
    if abs(count - wanted) > 0.05 * wanted:
        text = f"{text} in {_SAMPLED:g} s, and {wanted:.0f} were due"
        remedy = "look at clock.rate_kS_s, and whether the line takes that many samples"
        yield Finding("samples", "hop_controller", "missing", text, remedy, float(count), wanted)
        return
    yield Finding("samples", "hop_controller", "ok", text, value=float(count), limit=wanted)
    yield from _sample_noise(bench, blocks, [channel.name for channel in controller.channels])
    gaps = [after.first_sample - one.first_sample - one.counts.shape[0] for one, after in pairwise(blocks)]
    if any(gaps):
        text = f"{sum(gaps)} samples are missing between blocks"
        yield Finding("samples", "hop_controller", "missing", text, "lower clock.rate_kS_s, or free the line")


def _sample_noise(bench: Bench, blocks: Sequence[SampleBlock], names: Sequence[str]) -> Iterator[Finding]:
    """The noise of the sampled current and height behind their filters, against the specification."""
    own, scanner = bench.specification.amplifier, bench.specification.scanner
    temperature = bench.setup.specimen.electrolyte.temperature
    current = pipette_current_noise(own.noise_density, bench.far_resistance, temperature, own.filter_Hz)
    expected = {"pipette_current": (current, "A"), "z": (max(scanner.height_noise, QUIET_HEIGHT), "m")}
    counts = np.concatenate([block.counts for block in blocks])
    for k, channel in enumerate(bench.devices["hop_controller"].channels):
        if channel.name in expected:
            usual, unit = expected[channel.name]
            values = channel.scale * counts[:, k].astype(float) + channel.offset
            remedy = "look for mains pick-up, a ground loop, vibration; compare with the driver's noise in the file"
            text = f"{names[k].replace('_', ' ')} {si_text(float(values.mean()), unit)}"
            # The standard deviation, not that of differences: behind a filter neighbours hold each other.
            yield scatter("samples", "hop_controller", text, float(values.std()), usual, unit, remedy)


_TRIALS: Final = (
    Trial("coarse stage", ("coarse_stage",), _ask_coarse, _try_coarse),
    Trial("scanner up", ("scanner", "coarse_stage"), _ask_scanner, _try_scanner),
    Trial("bias step", ("amplifier",), _ask_bias, _try_bias),
    Trial("cell on", ("potentiostat",), _ask_cell, _try_cell),
    Trial("samples", ("hop_controller",), _ask_samples, _try_samples),
)


def trials(bench: Bench) -> Iterator[Trial]:
    """The trials of a rig whose roles answer."""
    return (trial for trial in _TRIALS if all(role in bench.devices for role in trial.needs))


def untried_for_want_of_a_role(bench: Bench) -> Iterator[Finding]:
    """The trials of roles that answer, which need another one that does not."""
    for trial in _TRIALS:
        lacking = [role for role in trial.needs if role not in bench.devices]
        if lacking and trial.role not in lacking:
            yield Finding(trial.name, trial.role, "not tried", trial.name, f"it needs {' and '.join(lacking)}")
