"""What `opsicm rig check` tries when the operator has said yes: what moves, switches or drives a current.

Each trial says beforehand what will happen, by how much and which way, and leaves everything as it was, or safer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.cli.check import si_text
from opsicm.cli.rig_bench import Bench
from opsicm.cli.rig_findings import Finding, Outcome, of_error
from opsicm.cli.rig_readings import QUIET_HEIGHT, scatter
from opsicm.core.errors import LimitCrossed, OpsicmError
from opsicm.core.facts import SampleBlock
from opsicm.core.units import to_si
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.experiment.rig_file import RoleName
from opsicm.instruments import wiring_check
from opsicm.instruments.roles import HopPlan
from opsicm.physics.noise import pipette_current_noise

_COARSE_STEP: Final = 10e-6  # [m] up and back
_COARSE_WITHIN: Final = 1e-6  # [m] of its step: coarser motors need a tower's calibration, not this
_SETTLES: Final = 0.2  # [s] that a motor is given after its promised arrival
_PIEZO_STEP: Final = 1e-6  # [m] down and up
_PIEZO_STILL: Final = 0.1e-6  # [m] that its sensor may differ by while it stands
_PIEZO_RATE: Final = 2e-6  # [m/s]: 2 nm/ms, which hopping in software allows
_NEVER_REACHED: Final = 0.05
"""Relative drop of the current at which the fall would turn. There is no surface: only noise could reach it.
Hopping in software refuses a fall that could overshoot to where that drop is: a 50 nm pipette shows 5 % at 14 nm, and
50 % at 0.6 nm, which no loop in software keeps."""
_SAMPLED: Final = 0.2  # [s]
_SHORT: Final = 0.5  # of the samples: a plan begins some milliseconds late on the wire, more on a busy computer


@dataclass(frozen=True, slots=True)
class Sight:
    """What only somebody who looks at the instrument can say after a trial: `question`, and the `remedy` for a no."""

    question: str
    remedy: str
    unseen: str  # where nobody looked


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial: the roles that it needs, what is asked before, what is done, and whether it moves the pipette.

    `needless` says why it is not made of this rig, empty where it is; `sight` what is asked afterwards.
    """

    name: str
    needs: tuple[RoleName, ...]
    question: Callable[[Bench], str]
    run: Callable[[Bench], Iterator[Finding]]
    moves: bool
    needless: Callable[[Bench], str] = lambda _: ""
    sight: Sight | None = None

    @property
    def role(self) -> RoleName:
        """The role that it is about."""
        return self.needs[0]


# -- Coarse stage.


def _ask_coarse(bench: Bench) -> str:
    here = bench.devices["coarse_stage"].position()
    return (
        f"raise the coarse stage by {_COARSE_STEP * 1e6:g} µm, away from the specimen (from {here * 1e6:.1f} to "
        f"{(here + _COARSE_STEP) * 1e6:.1f} µm), and lower it back? If `up` in the rig file has the wrong sign it goes "
        f"DOWN by {_COARSE_STEP * 1e6:g} µm: the tip must stand at least 1 mm above anything. Watch which way it goes"
    )


_ROSE: Final = Sight(
    "did the pipette go UP, and then down again?",
    "turn the sign of up in the rig file; until then nothing of it may be moved near a specimen",
    "nobody saw which way it went: its own counter cannot tell",
)


def _try_coarse(bench: Bench) -> Iterator[Finding]:
    """There and back, by the counter: which way is up the stage itself does not know."""
    stage = bench.touch("coarse_stage")
    here = stage.position()
    _arrive(bench, stage.move_to(here + _COARSE_STEP))
    up = stage.position() - here
    if abs(up - _COARSE_STEP) > _COARSE_WITHIN:  # it stays there: who does not know the way must not go down
        text = f"went {up * 1e6:.2f} µm and was told {_COARSE_STEP * 1e6:g} µm up; it stays where it is"
        remedy = "look at its steps per millimetre, and whether it counts as it moves"
        yield Finding("coarse stage", "coarse_stage", "wrong", text, remedy, up, _COARSE_STEP, "m")
        return
    _arrive(bench, stage.move_to(here))
    back = stage.position() - here
    text = f"went {up * 1e6:.2f} µm up and came back within {abs(back) * 1e9:.0f} nm, by its own counter"
    yield Finding("coarse stage", "coarse_stage", "ok", text, value=up, limit=_COARSE_STEP, unit="m")


def _arrive(bench: Bench, arrival_ns: int) -> None:
    bench.clock.wait_until(arrival_ns)
    bench.wait(_SETTLES)


# -- Scanner.


def _ask_scanner(bench: Bench) -> str:
    low, high = bench.devices["scanner"].z_range
    here = bench.devices["coarse_stage"].position()
    return (
        f"raise the coarse stage by {(high - low) * 1e6:g} µm, the piezo's whole range (from {here * 1e6:.1f} µm; a "
        f"piezo wired the wrong way then meets nothing), let the piezo go down by {_PIEZO_STEP * 1e6:g} µm and up "
        "again, and lower the coarse stage back?"
    )


def _try_scanner(bench: Bench) -> Iterator[Finding]:
    """One hop without a surface, by the way that the run's hops take: the scanner's role itself moves nothing.

    A controller may refuse the hop; the coarse stage is lowered back where the piezo has not moved.
    """
    scanner, stage, controller = (bench.touch(role) for role in ("scanner", "coarse_stage", "hop_controller"))
    (low, high), here, before = scanner.z_range, stage.position(), scanner.read_z()
    _arrive(bench, stage.move_to(here + (high - low)))
    one, number = np.zeros(1), np.zeros(1, np.int32)
    down = HopParameters(_PIEZO_STEP, _PIEZO_RATE, _NEVER_REACHED, _PIEZO_STEP)
    until_ns = bench.clock.now_ns() + round(10.0 * _PIEZO_STEP / _PIEZO_RATE * 1e9)
    tip = bench.setup.experiment.pipette.bias
    top = np.full(1, _PIEZO_STEP)
    plan = HopPlan("check", 1, 0, one, one, number, number, top, down, tip, until_ns)
    try:
        blocks = controller.run(plan, _never).blocks
    except LimitCrossed:
        raise
    except OpsicmError as error:
        still = abs(scanner.read_z() - before) < _PIEZO_STILL
        if still:
            _arrive(bench, stage.move_to(here))
        yield from _refusal(error, still)
        return
    heights = _channel(controller, blocks, "z")
    went = float(heights[0] - heights.min()) if heights.size else 0.0
    if not _PIEZO_STEP * 0.9 < went < _PIEZO_STEP * 1.1:
        rose = f", and up by {(heights.max() - heights[0]) * 1e6:.2f} µm" if heights.size else ""
        text = f"z went down by {went * 1e6:.2f} µm{rose}; it was told {_PIEZO_STEP * 1e6:g} µm down"
        remedy = "look at gain and sign of z, of its output and of its sensor; the coarse stage stays up meanwhile"
        yield Finding("piezo", "scanner", "wrong", text, remedy, went, _PIEZO_STEP, "m")
        return
    _arrive(bench, stage.move_to(here))
    text = f"z went down by {went * 1e6:.3f} µm and is back within {abs(scanner.read_z() - before) * 1e9:.0f} nm"
    yield Finding("piezo", "scanner", "ok", text, value=went, limit=_PIEZO_STEP, unit="m")


def _refusal(error: OpsicmError, still: bool) -> Iterator[Finding]:
    stage = "is back" if still else "stays up: the piezo has moved"
    for each in of_error("piezo", "scanner", error, "not tried"):
        why = f"the hop controller refuses it: {each.text}; {each.remedy}; the coarse stage {stage}"
        yield replace(each, text=each.step, remedy=why)


def _never() -> bool:
    return False


def _channel(controller: Any, blocks: Sequence[SampleBlock], name: str) -> NDArray[np.float64]:
    """The samples [SI] of a channel; none where it is not sampled."""
    for k, channel in enumerate(controller.channels):
        if channel.name == name:
            counts = [block.counts[:, k].astype(float) for block in blocks]
            return np.asarray(channel.scale * np.concatenate(counts or [np.zeros(0)]) + channel.offset)
    return np.zeros(0)


# -- Amplifier and potentiostat: the wiring.


def _ask_bias(bench: Bench) -> str:
    expected = wiring_check.STEP / bench.far_resistance
    return (
        f"step the bias by {wiring_check.STEP * 1e3:+g} mV and by {-wiring_check.STEP * 1e3:+g} mV about 0 V, for a "
        f"tenth of a second each? The pipette's current should follow by ±{si_text(expected, 'A')}; it must stand in "
        "the bath, away from the specimen"
    )


def _try_bias(bench: Bench) -> Iterator[Finding]:
    amplifier, potentiostat = bench.touch("amplifier"), bench.devices["potentiostat"]
    seen = wiring_check.bias_steps(
        amplifier,
        potentiostat,
        bench.clock,
        bench.grounding,
        bench.far_resistance,
        bench.reversal,
        bench.open_cell_grounded,
    )
    yield from _of_wiring("bias step", "amplifier", seen)


def _ask_cell(bench: Bench) -> str:
    potential = bench.devices["potentiostat"].read().potential
    return (
        f"switch the cell on for {2 * wiring_check.CELL_HELD:g} s, holding the potential that it has "
        f"({potential:.3f} V) and then {wiring_check.CELL_STEP * 1e3:g} mV more, and open the circuit again?"
    )


def _try_cell(bench: Bench) -> Iterator[Finding]:
    amplifier, potentiostat = bench.touch("amplifier"), bench.touch("potentiostat")
    dialled = potentiostat.state().settings.get("ir_compensation_pct", 0.0)  # on the panel, whatever is held
    compensation = to_si("ir_compensation_pct", float(dialled))
    seen = wiring_check.potential_step(amplifier, potentiostat, bench.clock, bench.grounding, compensation)
    yield from _of_wiring("cell on", "potentiostat", seen)
    bench.wait(_SETTLES)
    opened = potentiostat.read()
    text = f"open again: {opened.control.replace('_', ' ')}, {si_text(opened.current, 'A')}"
    if opened.control == "open_circuit":
        yield Finding("cell on", "potentiostat", "ok", text, value=opened.current, unit="A")
    else:
        remedy = "open the cell by hand, now; look at the line of its cell switch"
        yield Finding("cell on", "potentiostat", "wrong", text, remedy, opened.current, unit="A")


def _only_read(bench: Bench) -> str:
    return "it is read only" if "drives" in bench.devices["potentiostat"].state().settings else ""


def _of_wiring(step: str, role: str, seen: Sequence[wiring_check.Finding]) -> Iterator[Finding]:
    """What the wiring check found, as findings of this check; what it could not tell is a remark."""
    outcomes: dict[bool | None, Outcome] = {True: "ok", False: "wrong", None: "remark"}
    for each in seen:
        yield Finding(step, role, outcomes[each.ok], f"{each.name}: {each.sentence}", each.remedy)


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
    plan = HopPlan("check", 2, 0, none, none, numbers, numbers, none, still, tip, until_ns)
    blocks = controller.run(plan, _never).blocks
    count = sum(block.counts.shape[0] for block in blocks)
    wanted = _SAMPLED * 1e9 / controller.timing.dt_ns
    text = f"{count} samples of {', '.join(channel.name for channel in controller.channels)}"
    if abs(count - wanted) > _SHORT * wanted:
        text = f"{text} in {_SAMPLED:g} s, and {wanted:.0f} were due"
        remedy = "look at clock.rate_kS_s, and whether the line takes that many samples"
        yield Finding("samples", "hop_controller", "wrong", text, remedy, float(count), wanted)
        return
    yield Finding("samples", "hop_controller", "ok", text, value=float(count), limit=wanted)
    yield from _sample_noise(bench, blocks)
    gaps = [after.first_sample - one.first_sample - one.counts.shape[0] for one, after in pairwise(blocks)]
    if any(gaps):
        text = f"{sum(gaps)} samples are missing between blocks"
        yield Finding("samples", "hop_controller", "wrong", text, "lower clock.rate_kS_s, or free the line")


def _sample_noise(bench: Bench, blocks: Sequence[SampleBlock]) -> Iterator[Finding]:
    """The noise of the sampled current and height behind their filters, against the specification."""
    own, scanner = bench.specification.amplifier, bench.specification.scanner
    temperature = bench.setup.specimen.electrolyte.temperature
    current = pipette_current_noise(own.noise_density, bench.far_resistance, temperature, own.filter_Hz)
    expected = {"pipette_current": (current, "A"), "z": (max(scanner.height_noise, QUIET_HEIGHT), "m")}
    for name, (usual, unit) in expected.items():
        values = _channel(bench.devices["hop_controller"], blocks, name)
        if values.size:
            remedy = "look for mains pick-up, a ground loop, vibration; compare with the driver's noise in the file"
            text = f"{name.replace('_', ' ')} {si_text(float(values.mean()), unit)}"
            # The standard deviation, not that of differences: behind a filter neighbours hold each other.
            yield scatter("samples", "hop_controller", text, float(values.std()), usual, unit, remedy)


_TRIALS: Final = (  # the wiring first: before it is known to be right nothing moves, and the first motion is up
    Trial("bias step", ("amplifier", "potentiostat"), _ask_bias, _try_bias, moves=False),
    Trial("cell on", ("potentiostat", "amplifier"), _ask_cell, _try_cell, moves=False, needless=_only_read),
    Trial("coarse stage", ("coarse_stage",), _ask_coarse, _try_coarse, moves=True, sight=_ROSE),
    Trial("piezo", ("scanner", "coarse_stage", "hop_controller"), _ask_scanner, _try_scanner, moves=True),
    Trial("samples", ("hop_controller",), _ask_samples, _try_samples, moves=True),
)


def trial_names() -> list[str]:
    """The trials in order."""
    return [trial.name for trial in _TRIALS]


def trials(bench: Bench) -> Iterator[Trial]:
    """The trials of a rig whose roles answer."""
    return (trial for trial in _TRIALS if all(role in bench.devices for role in trial.needs))


def untried_for_want_of_a_role(bench: Bench) -> Iterator[Finding]:
    """The trials of roles that answer, which need another one that does not."""
    for trial in _TRIALS:
        lacking = [role for role in trial.needs if role not in bench.devices]
        if lacking and trial.role not in lacking:
            yield Finding(trial.name, trial.role, "not tried", trial.name, f"it needs {' and '.join(lacking)}")
