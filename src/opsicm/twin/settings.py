"""What a rig file may say of a twin: of each instrument, of its noise and of its specimen's surface.

Numbers carry their unit in the key; `in_si` gives them in SI without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field

from opsicm.core.errors import BadInput
from opsicm.core.units import suffix_of, to_si
from opsicm.experiment.refusal import Refusal
from opsicm.experiment.rig_file import LoadedRig
from opsicm.experiment.step_model import FileModel, Flag, Number, Text
from opsicm.experiment.validation import validated

_DriftRate = Annotated[Number, Field(ge=-1000, le=1000)]
_Size = Annotated[Number, Field(ge=0.02, le=20_000)]
_Pixels = Annotated[Number, Field(ge=16, le=2048)]


class AmplifierSettings(FileModel):
    """Range, low-pass and output; converter step, feedback resistor, offset and input capacitance, 0 for none."""

    display_name = "the amplifier of a twin"
    range_nA: Annotated[Number, Field(ge=0.01, le=10_000)] = 10.0
    filter_kHz: Annotated[Number, Field(ge=0.005, le=5000)] = 5.0
    output_V: Annotated[Number, Field(ge=0.01, le=10_000)] = 10.0
    command_step_uV: Annotated[Number, Field(ge=0, le=1e5)] = 0.0
    headstage_MOhm: Annotated[Number, Field(ge=0, le=1e6)] = 0.0
    offset_pA: Annotated[Number, Field(ge=-1e4, le=1e4)] = 0.0
    stray_pF: Annotated[Number, Field(ge=0, le=100)] = 0.0


class PotentiostatSettings(FileModel):
    """Where the specimen rests before the run, ranges, latency of an answer; noise and converter steps, 0 for none.

    The noise is that of a research potentiostat. Potential: 11 µV rms is how a BioLogic SP-200 (its filter at 50 kHz)
    departs from its control in the file of platinum that real-data.md names. Current: 1 µA rms is 1e-4 of the 10 mA
    range that currents of 0.1 to 10 mA ask for, and 1e-5, a third of a 16-bit converter's step, of the range here; the
    SP-200 shows 6 to 14 nA in its ranges of 10 to 100 µA.
    """

    display_name = "the potentiostat of a twin"
    initial_V: Annotated[Number, Field(ge=-1, le=5)] = 1.2
    current_range_mA: Annotated[Number, Field(ge=0.1, le=1e5)] = 100.0
    potential_range_V: Annotated[Number, Field(ge=0.005, le=5000)] = 5.0
    potential_noise_uV: Annotated[Number, Field(ge=0, le=1e5)] = 11.0
    current_noise_nA: Annotated[Number, Field(ge=0, le=1e6)] = 1000.0
    potential_step_uV: Annotated[Number, Field(ge=0, le=1e5)] = 0.0
    current_step_nA: Annotated[Number, Field(ge=0, le=1e6)] = 0.0
    latency_ms: Annotated[Number, Field(ge=0, le=1000)] = 0.0


class ScannerSettings(FileModel):
    """Ranges; a first-order `lag_us` or, where `resonance_kHz` is above 0, that resonance; the faults of its piezos."""

    display_name = "the scanner of a twin"
    z_range_um: Annotated[Number, Field(ge=0.02, le=20_000)] = 20.0
    xy_range_um: Annotated[Number, Field(ge=0.08, le=80_000)] = 80.0
    lag_us: Annotated[Number, Field(ge=0, le=2e5)] = 200.0
    resonance_kHz: Annotated[Number, Field(ge=0, le=40)] = 0.0
    damping: Annotated[Number, Field(ge=0.01, le=10)] = 0.7
    hysteresis_pct: Annotated[Number, Field(ge=0, le=30)] = 0.0
    creep_pct: Annotated[Number, Field(ge=0, le=10)] = 0.0
    drift_x_nm_min: _DriftRate = 0.0
    drift_y_nm_min: _DriftRate = 0.0
    drift_z_nm_min: _DriftRate = 0.0


class CoarseStageSettings(FileModel):
    """Speed of the motor, play of its thread, its step (0: none)."""

    display_name = "the coarse stage of a twin"
    speed_mm_s: Annotated[Number, Field(ge=1e-4, le=20)] = 0.5
    backlash_um: Annotated[Number, Field(ge=0, le=100)] = 0.0
    step_um: Annotated[Number, Field(ge=0, le=10)] = 0.0


class HopControllerSettings(FileModel):
    """Times at the top of a hop, speed of the withdrawal, where the operator has left the pipette."""

    display_name = "the hop controller of a twin"
    settle_ms: Annotated[Number, Field(ge=0.004, le=4000)] = 4.0
    reference_ms: Annotated[Number, Field(ge=0.004, le=4000)] = 4.0
    withdraw_nm_per_ms: Annotated[Number, Field(ge=0.4, le=4e5)] = 400.0
    start_height_um: Annotated[Number, Field(ge=0.003, le=3000)] = 3.0


class WorldNoise(FileModel):
    """White noise that the instruments would have without a pipette; below it, slow noise, 0 for none.

    Flicker (S = level²/f, given at 1 Hz) of the pipette's current, relative, and of the amplifier's offset. Random
    walks, by how much they go within a minute, rms: of the pipette's current, relative, of the height of what holds
    the pipette, and of the reference electrode, which may drift steadily as well: what it shows is then too high.

    Flicker and walk of the pipette have a measurement: 30 approach curves, in 207 s, of a 106 MΩ pipette in water (in
    real-data.md). Far from the surface their currents have an Allan deviation of 0.035 % over 2 to 6 s, that of 300 ppm
    of flicker, and fall by 0.093 ± 0.026 % in all, as a walk of 500 ppm in a minute does. Where the lines of that scan
    begin, contacts 97 s apart differ by 17 and 43 nm: an upper bound for the height, for relief is in them.
    """

    display_name = "the noise of a twin"
    amplifier_fA_rtHz: Annotated[Number, Field(ge=0, le=15_000)] = 15.0
    height_nm: Annotated[Number, Field(ge=0, le=300)] = 0.3
    pipette_flicker_ppm: Annotated[Number, Field(ge=0, le=1e5)] = 0.0
    pipette_wander_ppm: Annotated[Number, Field(ge=0, le=1e5)] = 0.0
    amplifier_flicker_fA_rtHz: Annotated[Number, Field(ge=0, le=1e6)] = 0.0
    height_wander_nm: Annotated[Number, Field(ge=0, le=1000)] = 0.0
    reference_wander_uV: Annotated[Number, Field(ge=0, le=1e5)] = 0.0
    reference_drift_mV_h: Annotated[Number, Field(ge=-100, le=100)] = 0.0


class TipSettings(FileModel):
    """What the pipette's tip does beside conducting: memory of the salt outside, flow and charge of its glass.

    The memory has no number of its own: salt has to diffuse into the mouth (half within 1 ms, 90 % within 77 ms at
    50 nm and 3°). Zeta and charge are 0 because nobody has measured glass in 1 M of LiClO4 in EC:DEC, where the double
    layer is thinner than an ion. In dry aprotic electrolytes silica behaves as if positive (Plett et al., Nanoscale
    2015, 7, 19080), and traces of water turn it: between -10 and +40 mV is what one may try, |Pe| up to 10 at 0.7 V.
    One glass has both: a zeta implies at least the charge sqrt(8 eps R T c) sinh(F zeta/2RT) of Grahame's equation, at
    1 M 14 mC/m² for 10 mV and 63 mC/m² for 40 mV. They stay two numbers, for ions that do not flow (a Stern layer) may
    carry current; what is not written stays 0.
    """

    display_name = "the tip of a twin's pipette"
    memory: Flag = True
    zeta_mV: Annotated[Number, Field(ge=-150, le=150)] = 0.0
    charge_mC_m2: Annotated[Number, Field(ge=-50, le=50)] = 0.0
    relative_permittivity: Annotated[Number, Field(ge=1, le=200)] = 30.5

    @classmethod
    def refusals(cls, given: Mapping[str, Any]) -> Iterator[Refusal]:
        """The charge of the glass has the sign of its zeta potential."""
        zeta, charge = (given.get(key) or 0.0 for key in ("zeta_mV", "charge_mC_m2"))
        if zeta * charge < 0.0:
            limit = f"has the other sign than zeta_mV, {zeta:g}, and one glass has both"
            yield Refusal(("charge_mC_m2",), charge, limit, f"write charge_mC_m2: {-charge:g}, or turn zeta_mV round")


# -- Surfaces of a twin's specimen, by their kind.


class _Surface(FileModel):
    """A plane at height 0."""

    display_name = "this surface"
    kind: Text


class RoughSurface(_Surface):
    """A random surface: rms roughness and correlation length."""

    rq_nm: Annotated[Number, Field(ge=0, le=3e5)] = 300.0
    correlation_nm: Annotated[Number, Field(ge=1.5, le=1.5e6)] = 1500.0
    size_um: _Size = 20.0
    pixels: _Pixels = 128.0


class SteppedSurface(_Surface):
    """Two terraces whose edges have swollen."""

    step_nm: Annotated[Number, Field(ge=0, le=2000)] = 2.0
    swollen_nm: Annotated[Number, Field(ge=0, le=10_000)] = 10.0
    swollen_width_nm: Annotated[Number, Field(ge=0.4, le=4e5)] = 400.0
    size_um: _Size = 20.0
    pixels: _Pixels = 512.0


class FlakedSurface(_Surface):
    """Stacked plates: how unequally and how late they swell, one that slides, one that comes off.

    A plate rises with the column of coating under it. `share_spread` is of a column that nothing ties to its
    neighbours; `binder_um` is how far the binder shares the columns' swelling sideways, and 0 lets each rise alone.
    `lag_s` is the median over columns alone; some are much later, so that a coating lags by 1.65 times as much.
    All are assumptions. The reach is one plate: a column 28 µm high holds dozens of plates, each lies across several
    columns of its neighbours, and binder holds them where they touch. No measurement of it is known to us.
    """

    rq_nm: Annotated[Number, Field(ge=0, le=1.3e6)] = 1300.0
    flake_um: Annotated[Number, Field(ge=0.0035, le=3500)] = 3.5
    size_um: _Size = 20.0
    pixels: _Pixels = 512.0
    share_spread: Annotated[Number, Field(ge=0, le=2)] = 0.4
    binder_um: Annotated[Number, Field(ge=0, le=20_000)] = 3.5
    lag_s: Annotated[Number, Field(ge=0.02, le=20_000)] = 2.0
    slide_nm: Annotated[Number, Field(ge=0, le=4e5)] = 400.0
    detach_below_V: Annotated[Number, Field(ge=-1, le=5)] = 0.2


class ImagedSurface(_Surface):
    """Heights of a file; `size_um` where it does not say its width."""

    file: Annotated[Text, Field(examples=["surface.gwy"])]
    size_um: _Size = 20.0


SURFACES: Final[dict[str, type[_Surface]]] = {
    "flat": _Surface,
    "rough": RoughSurface,
    "steps": SteppedSurface,
    "flakes": FlakedSurface,
    "image": ImagedSurface,
}


def noise(rig: LoadedRig) -> dict[str, float]:
    """The noise that a twin's file states, in SI."""
    assert rig.rig.world is not None
    if not rig.rig.world.noise:
        return in_si(WorldNoise())
    return in_si(validated(rig.document.below(("world", "noise")), WorldNoise))


def tip(rig: LoadedRig) -> TipSettings:
    """What the twin's file states of the pipette's tip."""
    assert rig.rig.world is not None
    return validated(rig.document.below(("world", "tip")), TipSettings) if rig.rig.world.tip else TipSettings()


def surface(rig: LoadedRig) -> tuple[str, dict[str, float], Path | None]:
    """(kind, its settings in SI, the file of an image) of the twin's specimen."""
    assert rig.rig.world is not None
    kind = str(rig.rig.world.surface["kind"])
    if kind not in SURFACES:
        limit = f"must be one of {', '.join(SURFACES)}"
        raise BadInput(rig.problem(("world", "surface", "kind"), kind, limit, "write one of these"))
    model = validated(rig.document.below(("world", "surface")), SURFACES[kind])
    return kind, in_si(model), rig.path.parent / model.file if isinstance(model, ImagedSurface) else None


def in_si(settings: FileModel) -> dict[str, float]:
    """The numbers of a model in SI, by their keys without the unit."""
    numbers: dict[str, Any] = {key: value for key, value in settings.model_dump().items() if not isinstance(value, str)}
    return {_stem(key): to_si(key, value) if suffix_of(key) else value for key, value in numbers.items()}


def _stem(key: str) -> str:
    suffix = suffix_of(key)
    return key.removesuffix(f"_{suffix}") if suffix else key
