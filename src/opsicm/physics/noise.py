"""Noise of the pipette's current: where it comes from, and its rms behind a filter and a converter."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import signal

from opsicm.core.constants import BOLTZMANN, ELEMENTARY_CHARGE
from opsicm.core.errors import OutsideDomain, Problem
from opsicm.physics.gaussian import gaussian, gaussian_block

__all__ = [
    "AmplifierNoise",
    "adc_noise",
    "bessel_sections",
    "gaussian",
    "gaussian_block",
    "noise_bandwidth",
    "pipette_current_noise",
    "predicted_rms",
    "thermal_current_density",
]

F64 = NDArray[np.float64]
_PER_DECADE: Final = 400


def thermal_current_density(R: float, T: float) -> float:
    """Thermal (Johnson) current noise sqrt(4 k T / R) [A/√Hz] of a resistance `R` [Ohm] at `T` [K].

    Assumes equilibrium; a biased pipette adds shot and 1/f noise. Source: Nyquist, Phys. Rev. 1928, 32, 110.
    """
    if not (R > 0.0 and T > 0.0):
        raise OutsideDomain(
            Problem("resistance and temperature", f"{R:g} Ohm, {T:g} K", "both must be above 0", "use Ohm and kelvin")
        )
    return math.sqrt(4.0 * BOLTZMANN * T / R)


def pipette_current_noise(density: float, R: float, T: float, filter_Hz: float) -> float:
    """rms current noise [A] of a pipette of `R` [Ohm] at `T` [K] behind a one-pole low-pass of `filter_Hz`.

        rms² = (density² + 4 k T / R) · (pi/2) filter_Hz

    `density` [A/√Hz] is that of the amplifier without a pipette. Assumes white, independent sources. Fails where 1/f
    noise or the f² noise of the input capacitance counts.
    """
    return math.hypot(thermal_current_density(R, T), density) * math.sqrt(math.pi / 2.0 * filter_Hz)


@dataclass(frozen=True, slots=True)
class AmplifierNoise:
    """What makes the current of a pipette noisy, beyond its resistance.

    `fano` [1]: share of full shot noise, 0 for ions in an open pipette (they do not cross singly). `flicker` [1]:
    relative 1/f power at 1 Hz, S = flicker I²/f. `capacitance` [F]: all of it at the amplifier's input, pipette
    included. `voltage_density` [V/√Hz]: the input stage's. `temperature` [K]. Defaults are [assumed] but for the
    Fano factor; 5 pF and 3 nV/√Hz are a good patch-clamp headstage with its holder.
    """

    fano: float = 0.0
    flicker: float = 1e-9
    capacitance: float = 5e-12
    voltage_density: float = 3e-9
    temperature: float = 298.15

    def __post_init__(self) -> None:
        for name in ("fano", "flicker", "capacitance", "voltage_density", "temperature"):
            value = getattr(self, name)
            if not 0.0 <= value < math.inf:
                raise OutsideDomain(Problem(f"noise {name}", f"{value:g}", "it must be 0 or more", "give SI units"))

    def density(self, frequency: ArrayLike, R: float, current: float) -> F64:
        """One-sided current noise [A²/Hz] at `frequency` [Hz], any shape, for `R` [Ohm] carrying `current` [A].

            S = 4kT/R + 2 e F |I| + flicker I²/f + (2 pi f C e_n)²

        Assumes independent sources. Fails above the headstage's own bandwidth and for a pipette whose capacitance
        is distributed along its shank. Source: Sakmann & Neher, Single-Channel Recording, 2nd ed., chapter 4.
        """
        f = np.asarray(frequency, dtype=np.float64)
        white = thermal_current_density(R, self.temperature) ** 2 + 2.0 * ELEMENTARY_CHARGE * self.fano * abs(current)
        return np.asarray(
            white + self.flicker * current**2 / f + (2.0 * math.pi * f * self.capacitance * self.voltage_density) ** 2
        )


def _bessel(poles: int, cutoff: float) -> tuple[NDArray[np.complex128], float]:
    if not (1 <= poles <= 10 and 0.0 < cutoff < math.inf):
        raise OutsideDomain(
            Problem(
                "Bessel filter", f"{poles} poles, {cutoff:g} Hz", "1 to 10 poles, above 0 Hz", "amplifiers have 4 or 8"
            )
        )
    _, roots, gain = signal.bessel(poles, 2.0 * math.pi * cutoff, analog=True, norm="mag", output="zpk")
    return np.asarray(roots, dtype=np.complex128), float(gain)


def _gain_squared(frequency: F64, poles: int, cutoff: float) -> F64:
    roots, gain = _bessel(poles, cutoff)
    distance = np.abs(2j * math.pi * frequency[:, None] - roots)
    return np.asarray(gain**2 / np.prod(distance**2, axis=1))


def noise_bandwidth(cutoff: float, poles: int = 4) -> float:
    """Bandwidth [Hz] of the ideal filter that passes the same white noise: int |H|² df, H(`cutoff`) at -3 dB."""
    f = np.geomspace(1e-5 * cutoff, 1e3 * cutoff, 8 * _PER_DECADE)
    return float(np.trapezoid(_gain_squared(f, poles, cutoff) * f, np.log(f)))


def predicted_rms(
    noise: AmplifierNoise,
    R: float,
    current: float,
    cutoff: float,
    poles: int = 4,
    slowest: float = 0.1,
    adc: float = 0.0,
) -> float:
    """rms current noise [A] behind a Bessel low-pass of `cutoff` [Hz] (-3 dB) and `poles`.

        rms² = int_slowest^inf S(f) |H(f)|² df + adc²

    `slowest` [Hz]: one over the time the record lasts, where 1/f noise stops counting as noise; `adc` [A] from
    `adc_noise`. A Bessel filter with 3 or more poles is needed: with fewer the f² term has no finite integral and
    is cut at 1000 times the cutoff. Source: Wiener–Khinchin; see `AmplifierNoise.density`.
    """
    f = np.geomspace(min(slowest, 1e-3 * cutoff), 1e3 * cutoff, 12 * _PER_DECADE)
    power = noise.density(f, R, current) * _gain_squared(f, poles, cutoff) * f
    power[f < slowest] = 0.0
    return math.sqrt(float(np.trapezoid(power, np.log(f))) + adc**2)


def adc_noise(full_scale: float, bits: int) -> float:
    """rms [A] of rounding to `bits` over ±`full_scale` [A]: LSB/√12, LSB = 2 full_scale / 2^bits.

    Assumes noise above half an LSB in front of the converter; below, the error is not noise but distortion.
    Source: Bennett, Bell Syst. Tech. J. 1948, 27, 446.
    """
    if not (full_scale > 0.0 and 1 <= bits <= 32):
        raise OutsideDomain(
            Problem("converter", f"±{full_scale:g} A, {bits} bits", "range above 0, 1 to 32 bits", "try ±10 nA and 16")
        )
    return float(2.0 * full_scale / 2**bits / math.sqrt(12.0))


def bessel_sections(cutoff: float, rate: float, poles: int = 4) -> F64:
    """Second-order sections [(n, 6)] of the same filter for samples at `rate` [Hz] (scipy.signal.sosfilt).

    Bilinear transform, matched at `cutoff` [Hz]. Fails as `cutoff` nears rate/2 (refused above 0.4 rate).
    """
    _bessel(poles, cutoff)
    if not cutoff < 0.4 * rate:
        raise OutsideDomain(
            Problem("filter cutoff", f"{cutoff:g} Hz", f"below 0.4 of {rate:g} S/s", "sample faster or filter lower")
        )
    return np.asarray(signal.bessel(poles, cutoff, fs=rate, norm="mag", output="sos"), dtype=np.float64)
