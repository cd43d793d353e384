"""What goes wrong on a twin, by script: from when, until when, and what it does to whom.

A fault is a pure function of time, so a run cut into plans in any way meets the same fault at the same sample. What a
fault looks like in a record is drawn in docs/explanations/twin-faults.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, assert_never

from opsicm.experiment.twin_settings import FaultSettings
from opsicm.physics.noise import gaussian
from opsicm.twin.coarse_motion import NEVER

RAIL: Final = 1e-6  # [A] far beyond any range: what a stuck output is worth
_BLOCKED: Final = 1.0  # a bubble blocks while a normal number lies below it: 84 % of the time
_CHANNEL: Final = 13  # noise channel of scripted chance, beside those of segment 0, which no run has


@dataclass(frozen=True, slots=True)
class Fault:
    """From `begins_ns` until `ends_ns`; by itself it changes nothing.

    A new fault is a class below, its line in `_fault` (the type checker asks for it), and its name and parameters in
    `experiment/twin_settings.py`.
    """

    begins_ns: int
    ends_ns: int = NEVER

    def active(self, t_ns: int) -> bool:
        """Whether the fault is on at `t_ns`."""
        return self.begins_ns <= t_ns < self.ends_ns

    def elapsed(self, t_ns: int) -> float:
        """Seconds since the beginning, 0 before it, at most the whole length."""
        return max(0, min(t_ns, self.ends_ns) - self.begins_ns) * 1e-9

    def gain(self, t_ns: int) -> float:  # noqa: ARG002
        """What the conductance of the pipette is multiplied by."""
        return 1.0

    def leak(self, t_ns: int) -> float:  # noqa: ARG002
        """Current [A] that the amplifier shows besides."""
        return 0.0

    def reference_error(self, t_ns: int) -> float:  # noqa: ARG002
        """[V] by which the potential that the potentiostat reads is too high."""
        return 0.0

    def z_step(self, t_ns: int) -> float:  # noqa: ARG002
        """[m] by which the specimen under the tip stands higher."""
        return 0.0

    def latency(self, t_ns: int) -> float:  # noqa: ARG002
        """[s] by which the potentiostat's answers are older than they should be."""
        return 0.0

    def skew(self, t_ns: int) -> float:  # noqa: ARG002
        """[1] by which the potentiostat's clock runs fast."""
        return 0.0

    def radius(self, t_ns: int) -> float | None:  # noqa: ARG002
        """[m] of the aperture if the tip has broken by itself."""
        return None

    def breaks_at_touch(self, t_ns: int) -> float | None:  # noqa: ARG002
        """[m] of the aperture that a touch would leave, if a touch is fatal at `t_ns`."""
        return None

    def silences_potentiostat(self, t_ns: int) -> bool:  # noqa: ARG002
        """Whether the potentiostat does not answer."""
        return False

    def edges(self, t_ns: int) -> Iterator[int]:
        """Instants after `t_ns`, the next one among them, at which something is not smooth."""
        yield from (edge for edge in (self.begins_ns, self.ends_ns) if edge > t_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flickering(Fault):
    """A fault that is drawn anew `rate` [Hz] times a second, by seed."""

    rate: float
    seed: int

    def normal(self, t_ns: int) -> float:
        """A standard normal number for the slot that holds `t_ns`."""
        slot = int(self.elapsed(t_ns) * self.rate + 1e-9)
        return float(gaussian(self.seed, _CHANNEL, slot))

    def edges(self, t_ns: int) -> Iterator[int]:
        yield from (edge for edge in (self.begins_ns, self.ends_ns) if edge > t_ns)
        if self.active(t_ns):
            slot = int(self.elapsed(t_ns) * self.rate + 1e-9) + 1
            yield max(t_ns + 1, self.begins_ns + round(slot / self.rate * 1e9))


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift(Fault):
    """The current creeps up or down in proportion, `rate` [1/s] of what it was, and heights stay right.

    Looks like: the reference current a straight slope over minutes, hop after hop; i_stop/i_ref unchanged; the cell
    knows nothing of it. At its end it stays where it is.
    """

    rate: float

    def gain(self, t_ns: int) -> float:
        return max(0.0, 1.0 + self.rate * self.elapsed(t_ns))


@dataclass(frozen=True, slots=True, kw_only=True)
class Clog(Fault):
    """Something sits in the aperture and takes `share` [1] of the current within `rise` [s]; 1 is all of it.

    Looks like: a fast drop in mid-air that a fall takes for the surface (a false stop high up), then lower reference
    currents; when it clears, the old current at once. A complete clog leaves the noise alone: nothing is met any more.
    """

    share: float
    rise: float

    def gain(self, t_ns: int) -> float:
        if not self.active(t_ns):
            return 1.0
        return 1.0 - self.share * min(1.0, self.elapsed(t_ns) / self.rise)

    def edges(self, t_ns: int) -> Iterator[int]:
        full = self.begins_ns + round(self.rise * 1e9)
        yield from (edge for edge in (self.begins_ns, full, self.ends_ns) if edge > t_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Break(Fault):
    """The end of the tip is lost, and the aperture is `aperture` [m] from then on.

    Looks like: the current up at once and for good, heights higher by the new stopping distance less the old one (the
    wider tip sees the surface from farther away), a flatter approach curve, a blunter image.
    """

    aperture: float

    def radius(self, t_ns: int) -> float | None:
        return self.aperture if t_ns >= self.begins_ns else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash(Fault):
    """The specimen comes up under the tip by `rise` [m], faster than any hop; if the tip touches, it breaks.

    Looks like: no current at all while the glass is pressed on the surface, at which a run stops at its next reading;
    by hand, hops that end below threshold at their start and climb, then the current of a wider tip: `aperture` [m].
    """

    rise: float
    aperture: float

    def z_step(self, t_ns: int) -> float:
        return self.rise if self.active(t_ns) else 0.0

    def breaks_at_touch(self, t_ns: int) -> float | None:
        return self.aperture if self.active(t_ns) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bubble(_Flickering):
    """A gas bubble at the tip: `share` [1] of the current gone, and back for moments, `rate` [Hz] draws a second.

    Looks like: a telegraph signal between almost nothing and the old current, false stops at any height, and all of it
    over at once when the bubble leaves.
    """

    share: float

    def gain(self, t_ns: int) -> float:
        return 1.0 - self.share if self.active(t_ns) and self.normal(t_ns) < _BLOCKED else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fouling(Fault):
    """A deposit grows in the aperture: the current falls by `share` [1] with a time constant `tau` [s] and stays.

    Looks like: a slow exponential fall that no cell current explains and that does not come back; heights are a
    nanometre or two too high while it is fast, and their noise grows.
    """

    share: float
    tau: float

    def gain(self, t_ns: int) -> float:
        return 1.0 + self.share * math.expm1(-self.elapsed(t_ns) / self.tau)


@dataclass(frozen=True, slots=True, kw_only=True)
class LooseReference(_Flickering):
    """The reference's contact jumps by `amplitude` [V rms], `rate` [Hz] times a second.

    Looks like: under potential control the cell current spikes at every jump while the potential on show is perfect;
    under constant current the potential itself jumps. The pipette's bias follows the wrong potential, so its current
    steps by amplitude/R and the recorded residual says nothing of it.
    """

    amplitude: float

    def reference_error(self, t_ns: int) -> float:
        return self.amplitude * self.normal(t_ns) if self.active(t_ns) else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SaturatedAmplifier(Fault):
    """The amplifier's output sticks at its rail.

    Looks like: the largest count, without any noise, the channel marked saturated, the next hop an overload.
    """

    def leak(self, t_ns: int) -> float:
        return RAIL if self.active(t_ns) else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LostPotentiostat(Fault):
    """The potentiostat does not answer; it keeps its last control.

    Looks like: the next question ends in an error, the run stops safely; the cell opens by the safe channel, which is
    another line.
    """

    def silences_potentiostat(self, t_ns: int) -> bool:
        return self.active(t_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class LateAnswers(Fault):
    """The potentiostat's answers are `delay` [s] old, and say so.

    Looks like: in a sweep the bias is wrong by rate × delay, and the pipette current by that over R, with the sign of
    the sweep; the slow rows' residual, made from the same late answers, does not show it; at rest nothing.
    """

    delay: float

    def latency(self, t_ns: int) -> float:
        return self.delay if self.active(t_ns) else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockSkew(Fault):
    """The potentiostat's clock runs fast by `ahead` [1] from then on, for every control that begins later.

    Looks like: its sweeps are too fast by that share and its stamps run away from the sample clock's: after an hour at
    1000 ppm by 3.6 s.
    """

    ahead: float

    def skew(self, t_ns: int) -> float:
        return self.ahead if self.active(t_ns) else 0.0


class Faults:
    """All the faults of one run together."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self.each = tuple(faults)

    def gain(self, t_ns: int) -> float:
        """Product of all gains."""
        return math.prod(fault.gain(t_ns) for fault in self.each)

    def leak(self, t_ns: int) -> float:
        """Sum of all leaks [A]."""
        return sum(fault.leak(t_ns) for fault in self.each)

    def reference_error(self, t_ns: int) -> float:
        """Sum of all errors of the reference [V]."""
        return sum(fault.reference_error(t_ns) for fault in self.each)

    def z_step(self, t_ns: int) -> float:
        """Sum of all z steps [m]."""
        return sum(fault.z_step(t_ns) for fault in self.each)

    def latency(self, t_ns: int) -> float:
        """Sum of all latencies [s]."""
        return sum(fault.latency(t_ns) for fault in self.each)

    def skew(self, t_ns: int) -> float:
        """Sum of all skews [1]."""
        return sum(fault.skew(t_ns) for fault in self.each)

    def stamp(self, t_ns: int) -> int:
        """What the potentiostat's clock shows at `t_ns`."""
        gained = sum(fault.skew(fault.begins_ns) * fault.elapsed(t_ns) for fault in self.each)
        return t_ns + round(gained * 1e9)

    def radius(self, t_ns: int) -> float | None:
        """Largest aperture [m] that a break has left."""
        return max((r for fault in self.each if (r := fault.radius(t_ns)) is not None), default=None)

    def breaks_at_touch(self, t_ns: int) -> float | None:
        """Largest aperture [m] that a touch would leave; None: a touch harms nothing."""
        return max((r for fault in self.each if (r := fault.breaks_at_touch(t_ns)) is not None), default=None)

    def potentiostat_is_lost(self, t_ns: int) -> bool:
        """Whether the potentiostat does not answer."""
        return any(fault.silences_potentiostat(t_ns) for fault in self.each)

    def next_edge(self, t_ns: int) -> int:
        """The first instant after `t_ns` at which something is not smooth [ns]."""
        return min((edge for fault in self.each for edge in fault.edges(t_ns)), default=NEVER)


def scripted(scripts: Iterable[FaultSettings], seed: int) -> Faults:
    """The faults of an experiment file; the seed and the place in the list decide what chance does."""
    return Faults(_fault(script, seed + 1_000_003 * (k + 1)) for k, script in enumerate(scripts))


def _fault(script: FaultSettings, seed: int) -> Fault:
    p = script.parameters()
    begins_ns = round(script.at_s * 1e9)
    ends_ns = NEVER if script.for_s is None else begins_ns + round(script.for_s * 1e9)
    match script.fault:
        case "drift":
            return Drift(begins_ns, ends_ns, rate=p["pct_per_min"] / 6000.0)
        case "clog":
            return Clog(begins_ns, ends_ns, share=p["share"], rise=p["rise_s"])
        case "break":
            return Break(begins_ns, aperture=p["radius_nm"] * 1e-9)
        case "crash":
            return Crash(begins_ns, ends_ns, rise=p["rise_nm"] * 1e-9, aperture=p["radius_nm"] * 1e-9)
        case "bubble":
            return Bubble(begins_ns, ends_ns, rate=p["flicker_Hz"], share=p["share"], seed=seed)
        case "fouling":
            return Fouling(begins_ns, ends_ns, share=p["share"], tau=p["tau_s"])
        case "loose_reference":
            amplitude = p["amplitude_mV"] * 1e-3
            return LooseReference(begins_ns, ends_ns, rate=p["flicker_Hz"], seed=seed, amplitude=amplitude)
        case "saturated_amplifier":
            return SaturatedAmplifier(begins_ns, ends_ns)
        case "lost_potentiostat":
            return LostPotentiostat(begins_ns, ends_ns)
        case "late_answers":
            return LateAnswers(begins_ns, ends_ns, delay=p["latency_ms"] * 1e-3)
        case "clock_skew":
            return ClockSkew(begins_ns, ends_ns, ahead=p["skew_ppm"] * 1e-6)
    assert_never(script.fault)
