"""What `opsicm rig check` reads of a rig: identities, settings, round trips, noise, the command range. Nothing moves.

Each step looks at one role, so that a role that fails hides none of the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.cli.check import si_text
from opsicm.cli.rig_bench import Bench
from opsicm.cli.rig_findings import RIG, Finding, Outcome, of_error
from opsicm.cli.rigs import rig_numbers
from opsicm.core.errors import BadInput, OutsideDomain
from opsicm.core.facts import Quality
from opsicm.core.statistics import noise_from_differences
from opsicm.core.units import KEY_SUFFIX, si_unit, suffix_of, to_si
from opsicm.experiment.rig_file import RoleName
from opsicm.forecast.prediction import predict
from opsicm.forecast.problems import problems
from opsicm.instruments.clock import stopwatch
from opsicm.instruments.link import TIMEOUT
from opsicm.instruments.wiring_check import bias_reach
from opsicm.physics.noise import pipette_current_noise, thermal_current_density

_ROUND_TRIPS: Final = 200
_LONGEST_TIMING: Final = 0.5  # [s] of wall time for the round trips of one role
_READINGS: Final = 40  # from which a noise is known within 15 %
_READING_GAP: Final = 0.01  # [s] between two readings of potentiostat and scanner
_NOISY, _TOO_NOISY = 3.0, 10.0  # times the noise that is expected
_SAME: Final = 0.01  # relative difference within which a setting read back is that of the file
_USUAL_CELL: Final = (0.0, 1.7)  # [V] a voltammogram of graphite, where no experiment is given
_USUAL_TIP: Final = 0.7  # [V]
_QUIET_POTENTIAL: Final = 1e-3  # [V] rms: it goes into the bias, where 1 mV is 0.1 % of the current
QUIET_HEIGHT: Final = 1e-9  # [m] rms
_RESTS_WITHIN: Final = 0.2  # [V] of the rest potential that the file states
_LOOSE_REFERENCE: Final = "look at the reference electrode and its lead: this noise goes into the bias"


def identity(bench: Bench, role: RoleName) -> Iterator[Finding]:
    """Who answers, with serial number, firmware and the client that asked."""
    who = bench.devices[role].identity()
    words = [who.model, who.serial and f"serial {who.serial}", who.firmware and f"firmware {who.firmware}"]
    text = ", ".join(word for word in words if word) + (f" (through {who.client})" if who.client else "")
    yield Finding("identity", role, "ok", text)


# -- Settings.


def settings(bench: Bench, role: RoleName) -> Iterator[Finding]:
    """What the instrument is set to, beside what the rig file and the driver's specification say."""
    state = bench.devices[role].state()
    if state.quality is not Quality.GOOD:
        text = f"says {state.quality.name.lower()}: {state.message or 'no reason given'}"
        outcome: Outcome = "missing" if state.quality is Quality.MISSING else "wrong"
        yield Finding("settings", role, outcome, text, "set the instrument as the file says, or correct the file")
        return
    if state.message:
        yield Finding("settings", role, "remark", state.message)
    stated = _stated(bench, role)
    if not state.settings:
        yield Finding("settings", role, "ok", "well; it tells none of its settings")
    for key, value in state.settings.items():
        yield _compared(role, key, value, stated)


def _stated(bench: Bench, role: RoleName) -> dict[str, tuple[str, float | str]]:
    """Setting without its unit → (key, value in SI or text), of the rig file before the specification."""
    stated: dict[str, tuple[str, float | str]] = {}
    specification = getattr(bench.specification, role)
    for key in specification.__slots__:
        if isinstance(value := getattr(specification, key), float):
            stated[_stem(key)] = (key, value)
    for key, setting in bench.loaded.role(role).settings.items():
        stated[_stem(key)] = (key, _in_si(key, setting))
    return stated


def _stem(key: str) -> str:
    suffix = suffix_of(key)
    return key if suffix is None else key.removesuffix(f"_{suffix}")


def _in_si(key: str, value: float | str) -> float | str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return to_si(key, float(value)) if number and suffix_of(key) else value


def _compared(role: RoleName, key: str, value: float | str, stated: Mapping[str, tuple[str, float | str]]) -> Finding:
    """One setting as it was read back against the one of the same name that was stated, if any."""
    name, expected = stated.get(_stem(key), ("", ""))
    number = _in_si(key, value)
    measured = number if isinstance(number, float) else None
    what, shown, unit = _stem(key).replace("_", " "), _with_unit(key, number), _si_unit(key)
    if not name:
        return Finding("settings", role, "ok", f"{what} {shown}", value=measured, unit=unit)
    if measured is not None and isinstance(expected, int | float):
        same, limit = math.isclose(measured, expected, rel_tol=_SAME), float(expected)
        times = f": that is {measured / expected:.3g} times as much" if expected else ""
        expectation = _with_unit(key, float(expected)) + times
    else:
        same, limit, expectation = str(number).lower() == str(expected).lower(), None, str(expected)
    if same:
        return Finding("settings", role, "ok", f"{what} {shown}, as stated", value=measured, limit=limit, unit=unit)
    text, remedy = f"{what} is {shown}, and {name} of the file says {expectation}", "set it so, or correct the file"
    return Finding("settings", role, "wrong", text, remedy, measured, limit, unit)


_PREFIXED: Final = ("s", "m", "V", "A", "Hz", "Ohm", "F", "C")  # that are said with a prefix, as 3.2 µm


def _si_unit(key: str) -> str:
    """The SI unit of a setting's value; empty where its key states none."""
    suffix = suffix_of(key)
    return si_unit(KEY_SUFFIX[suffix]) if suffix else ""


def _with_unit(key: str, value: float | str) -> str:
    """A setting in SI as a person says it: `5.00 kHz`, `1 mV/pA`, `on`."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return str(value)
    suffix = suffix_of(key)
    if suffix is None:
        return f"{value:g}"
    if _si_unit(key) in _PREFIXED and suffix != "kS_s":
        return si_text(value, _si_unit(key))
    return f"{value / to_si(key, 1.0):.6g} {KEY_SUFFIX[suffix]}"


# -- Time.


def latency(bench: Bench, role: RoleName) -> Iterator[Finding]:
    """Round trips of the read that a run makes again and again, on the wall clock: median and 99th percentile."""
    reads = {"amplifier": "read", "potentiostat": "read", "scanner": "read_z", "coarse_stage": "position"}
    read: Callable[[], Any] = getattr(bench.devices[role], reads.get(role, "state"))
    read()  # the first one may set the line up, or compile a twin's tables
    times: list[float] = []
    running = stopwatch()
    while len(times) < _ROUND_TRIPS and (running() < _LONGEST_TIMING or not times):
        one = stopwatch()
        read()
        times.append(one())
    half, most = (float(np.percentile(times, share)) for share in (50, 99))
    text = f"median {si_text(half, 's')}, 99 % within {si_text(most, 's')} ({len(times)} round trips)"
    if most > TIMEOUT:
        text = f"{text}; a command is given {si_text(TIMEOUT, 's')}"
        remedy = "shorten its line, or let nothing else talk to it"
        yield Finding("latency", role, "wrong", text, remedy, most, TIMEOUT, "s")
    else:
        yield Finding("latency", role, "ok", text, value=most, limit=TIMEOUT, unit="s")


# -- Noise.


def noise(bench: Bench, role: RoleName) -> Iterator[Finding]:
    """What amplifier, potentiostat and scanner read at rest, and by how much it scatters."""
    looks = {"amplifier": _current_at_rest, "potentiostat": _cell_at_rest, "scanner": _height_at_rest}
    if role in looks:
        yield from looks[role](bench)


def _current_at_rest(bench: Bench) -> Iterator[Finding]:
    own, amplifier = bench.specification.amplifier, bench.devices["amplifier"]
    currents = _readings(bench, lambda: amplifier.read()[0], own.reading_time)
    temperature, far = bench.setup.specimen.electrolyte.temperature, bench.far_resistance
    density = math.hypot(own.noise_density, thermal_current_density(far, temperature))
    # An average over T lets a band of 1/(2T) pass, and is never noisier than the whole band of the filter.
    band = pipette_current_noise(own.noise_density, far, temperature, own.filter_Hz)
    expected = min(band, density * math.sqrt(0.5 / own.reading_time))
    mean = float(currents.mean())
    text = f"{si_text(mean, 'A')} at rest"
    if not math.isfinite(mean):
        yield Finding("noise", "amplifier", "wrong", "reads no number", "look at its input and its range")
    elif abs(mean) >= 0.99 * own.current_range:
        text = f"{text}, at the end of its range of {si_text(own.current_range, 'A')}"
        remedy = "the pipette is broken, or the bias is wrong: look before anything moves"
        yield Finding("noise", "amplifier", "wrong", text, remedy, mean, own.current_range, "A")
    else:
        remedy = "look for a ground loop, mains pick-up or a loose shield"
        yield scatter("noise", "amplifier", text, noise_from_differences(currents), expected, "A", remedy)


def _cell_at_rest(bench: Bench) -> Iterator[Finding]:
    potentiostat = bench.devices["potentiostat"]
    readings = [potentiostat.read() for _ in _ticks(bench, _READING_GAP)]
    potentials = np.array([each.potential for each in readings])
    at_rest, control = float(potentials.mean()), readings[-1].control.replace("_", " ")
    if not math.isfinite(at_rest):
        yield Finding("noise", "potentiostat", "wrong", "reads no number", "look at its leads")
        return
    current = float(np.mean([each.current for each in readings]))
    text = f"{control}, E {at_rest:.4f} V, I {si_text(current, 'A')}"
    yield scatter(
        "noise", "potentiostat", text, noise_from_differences(potentials), _QUIET_POTENTIAL, "V", _LOOSE_REFERENCE
    )
    if readings[-1].control != "open_circuit":
        text = f"the cell is on ({control}), and this check has not switched it on"
        yield Finding("noise", "potentiostat", "remark", text, "open the circuit, unless other software runs the cell")
    stated = bench.specification.potentiostat.rest_potential
    if abs(at_rest - stated) > _RESTS_WITHIN:
        text = f"the specimen is at {at_rest:.3f} V, and the file says that it rests at {stated:.3f} V"
        remedy = "correct the file, or look whether reference and sense leads sit where they should"
        yield Finding("noise", "potentiostat", "remark", text, remedy, at_rest, stated, "V")


def _height_at_rest(bench: Bench) -> Iterator[Finding]:
    scanner = bench.devices["scanner"]
    low, high = scanner.z_range
    heights = _readings(bench, scanner.read_z, _READING_GAP)
    mean, slack = float(heights.mean()), 0.01 * (high - low)
    text = f"z {mean * 1e6:.4g} µm of {low * 1e6:g} … {high * 1e6:g} µm"
    if not low - slack <= mean <= high + slack:  # which a NaN is not either
        remedy = "look at gain, offset and sign of the z channel, and whether the servo is on"
        yield Finding("noise", "scanner", "wrong", f"{text}: outside", remedy, mean, high, "m")
        return
    expected = max(bench.specification.scanner.height_noise, QUIET_HEIGHT)
    remedy = "look for vibration and for a servo that rings"
    yield scatter("noise", "scanner", text, noise_from_differences(heights), expected, "m", remedy)


def _readings(bench: Bench, read: Callable[[], float], gap: float) -> NDArray[np.float64]:
    return np.array([read() for _ in _ticks(bench, gap)])


def _ticks(bench: Bench, gap: float) -> Iterator[int]:
    for k in range(_READINGS):
        yield k
        bench.wait(gap)


def scatter(step: str, role: str, text: str, rms: float, expected: float, unit: str, remedy: str) -> Finding:
    """A noise against the one that is expected: up to three times it is well, up to ten a remark."""
    said = f"{text}; noise {si_text(rms, unit, 2)} rms, expected up to {si_text(expected, unit, 2)}"
    outcome: Outcome = "ok" if rms <= _NOISY * expected else "remark" if rms <= _TOO_NOISY * expected else "wrong"
    return Finding(step, role, outcome, said, "" if outcome == "ok" else remedy, rms, expected, unit)


# -- The command range, and the experiment.


def command_range(bench: Bench, role: RoleName) -> Iterator[Finding]:
    """The amplifier's command range against the commands that the program needs: V_cmd = V_tip - g E."""
    if role != "amplifier":
        return
    reach, wiring = bench.devices["amplifier"].command_range, bench.loaded.rig.wiring
    if bench.experiment is None:
        seen = bias_reach(reach, wiring.external_bias, _USUAL_TIP, _USUAL_CELL, bench.grounding)
        outcome: Outcome = "ok" if seen.ok else "remark"  # nobody knows yet what the rig must follow
        yield Finding("command range", role, outcome, f"{seen.sentence} (no experiment given)", seen.remedy)
        return
    numbers = rig_numbers(bench.experiment, bench.loaded)
    low, high = predict(bench.experiment.experiment, numbers).command_span
    external = f"{wiring.external_bias_mV_per_V:g} mV/V"
    text = (
        f"the command reaches {reach[0]:g} … {reach[1]:g} V ({external}); the experiment needs {low:.2f} … {high:.2f} V"
    )
    value = max(-low, high)
    if reach[0] <= low and high <= reach[1]:
        yield Finding("command range", role, "ok", text, value=value, limit=reach[1], unit="V")
        return
    remedy = "use a wider external command input, another bias, or a narrower program"
    yield Finding("command range", role, "wrong", f"{text}: it cannot follow", remedy, value, reach[1], "V")


def experiment_on_it(bench: Bench) -> Iterator[Finding]:
    """What `opsicm check` says of the experiment on this rig."""
    if bench.experiment is None:
        return
    try:
        numbers = rig_numbers(bench.experiment, bench.loaded)
        refused = problems(bench.experiment, numbers, predict(bench.experiment.experiment, numbers))
    except OutsideDomain as error:
        refused = list(error.problems)
    if refused:
        yield from of_error("experiment", RIG, BadInput(refused))
    else:
        yield Finding("experiment", RIG, "ok", f"{bench.experiment.experiment.title}: no problems")
