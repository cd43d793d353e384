"""docs/reference/rig-file.md from the models: every key of a rig file, and what a twin's settings may say.

python -m scripts.rig_reference writes it; tests/house/test_rig_reference.py says when it is out of date.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from opsicm.cli.rigs import REGISTRY
from opsicm.experiment.rig_file import (
    PRESETS,
    TWIN,
    CalibrationSettings,
    Emulation,
    RigChannel,
    RigFile,
    RigLimits,
    Role,
    SampleClock,
    Wiring,
    WorldSettings,
)
from opsicm.experiment.rig_file import read_rig as read
from opsicm.experiment.setup import PipetteShape
from opsicm.experiment.step_model import FileModel
from opsicm.instruments.registry import ROLES, Driver
from opsicm.instruments.wiring import GROUNDINGS, SIGNS
from opsicm.twin.settings import SURFACES, TipSettings, WorldNoise
from scripts.experiment_reference import section as table_of

PAGE: Final = Path(__file__).parents[1] / "docs/reference/rig-file.md"
_INTRODUCTION: Final = """\
# The rig file

The instruments of one laboratory: which driver plays which role, how they are wired, how fast they sample. An
experiment names it, `rig: ours.yaml` (the path is seen from the experiment file) or a preset, `rig: twin/graphite`;
`opsicm run FILE --rig ours.yaml` takes another. This page is made from the models by `scripts/rig_reference.py`, so it
is what the program reads.

    opsicm check FILE       checks the rig with the experiment: ranges, bias command, noise, timing
    opsicm rig list         the drivers that a role may name, with their settings under --json
    opsicm rig check RIG    a rig step by step: clients, identities, settings, latency, noise, wiring, ranges
    opsicm rig draw RIG     the wiring that the file states, as a picture

A role with the driver `twin` is simulated in the file's `world`; roles of instruments and of the twin may be mixed
while instruments are brought up one at a time ([drivers](../explanations/drivers.md)). A unit stands at the end of a
key's name. To begin, copy a preset from `src/opsicm/presets`, or the bench in `experiments/rigs` that is nearest to
yours, and follow [the guide](../tutorials/bring-up.md).
"""
_EXAMPLE: Final = """\
opsicm_rig: 1
title: the twin with our slow amplifier, over a rough specimen
roles:
  amplifier: {driver: twin, settings: {filter_kHz: 1, range_nA: 20}}
  potentiostat: {driver: twin, settings: {initial_V: 1.2}}
  scanner: {driver: twin, settings: {z_range_um: 12, lag_us: 500}}
  hop_controller: {driver: twin, settings: {settle_ms: 8, reference_ms: 8}}
clock: {master: hop_controller, rate_kS_s: 50}
channels:
  - {name: pipette_current, role: amplifier}
  - {name: z, role: scanner}
wiring: {grounding: common, external_bias_mV_per_V: 200}
limits: {pipette_overload_nA: 19}
latency_us: 300
world:
  parameters: graphite-li-ec-dec
  surface: {kind: rough, rq_nm: 200, correlation_nm: 1000}
"""


_MEANINGS: Final = {
    "opsicm_rig": "Version of the file format.",
    "title": "What the rig is called, in every run's provenance.",
    "pipette": "The pipette's shape, where the rig has one kind; keys that an experiment gives go before it.",
    "roles": "Who plays which role: one entry for each.",
    "clock": "Who gives the sample clock, and its rate.",
    "channels": "The sampled quantities.",
    "wiring": "How grounds and electrodes are connected.",
    "limits": "What the instruments may not exceed.",
    "pipette_overload_nA": "Magnitude above which a sample ends a hop as an overload (outcome 3).",
    "calibration": "How well the instruments are calibrated: the second uncertainty of every result.",
    "z_pct": "Standard uncertainty of the scale of z, in percent.",
    "xy_pct": "The same of x and y.",
    "current_pct": "The same of the pipette current.",
    "cell_current_pct": "The same of the cell current.",
    "potential_mV": "Standard uncertainty of the zero of the cell's potential.",
    "latency_us": "From the sample that crosses the threshold to the turn of the pipette.",
    "verified": "Who checked the signs and when, or false.",
    "world": "The simulated world; needed where a twin plays a role, refused elsewhere.",
    "emulation": "What stands behind the wires of an emulated rig; read by `opsicm emulate` only.",
    "rig": "Preset or file of the twin's rig that stands there.",
    "experiment": "Whose specimen, electrolyte and pipette stand there.",
    "driver": "Name of a registered driver, or `twin`.",
    "address": "Where the device answers, as its driver wants it.",
    "settings": "The driver's own settings; those of a twin stand below.",
    "master": "The role that gives the sample clock.",
    "rate_kS_s": "Samples a second of every channel.",
    "name": "The quantity.",
    "role": "The role that measures it.",
    "input": "The instrument's own name of the input.",
    "gain": "SI value of one unit of the reading.",
    "offset": "SI value at a reading of zero.",
    "sign": "-1 where the wire inverts.",
    "grounding": "Whether a potentiostat holds the specimen at ground (`common`) or the reference is the ground.",
    "electrodes": "Kind of the pipette's electrode and of the reference.",
    "open_cell_grounded": "Whether the specimen stays at ground while its cell is off; false where the potentiostat "
    "disconnects it.",
    "external_bias_mV_per_V": "Bias for one volt at the amplifier's input; with its output it bounds the bias command.",
    "radius_nm": "Inner radius of the opening.",
    "wall": "Outer over inner radius.",
    "cone_deg": "Inner half-cone angle.",
    "length_um": "Length of the cone; the approach curve depends on it.",
    "range_nA": "Current at which it clips.",
    "filter_kHz": "Corner of its one-pole low-pass.",
    "output_V": "Voltage that drives the bias input, to either side.",
    "command_step_uV": "Step of the bias command.",
    "headstage_MOhm": "Feedback resistor; adds its thermal noise.",
    "offset_pA": "Current that it shows without a pipette.",
    "stray_pF": "Capacitance at its input.",
    "initial_V": "Where the specimen rests before the run.",
    "current_range_mA": "Largest cell current that it measures.",
    "potential_range_V": "Largest potential that it measures.",
    "potential_noise_uV": "Noise of a potential reading, rms.",
    "current_noise_nA": "Noise of a current reading, rms.",
    "potential_step_uV": "Step of its converter for potentials.",
    "current_step_nA": "Step of its converter for currents.",
    "latency_ms": "From the question to its answer.",
    "z_range_um": "Reach in z, end to end.",
    "xy_range_um": "Reach in x and in y, end to end.",
    "lag_us": "First-order lag of the z piezo behind its command.",
    "resonance_kHz": "Resonance of the z piezo, in place of the lag where above 0.",
    "damping": "Damping ratio of that resonance.",
    "hysteresis_pct": "Hysteresis of the piezos.",
    "creep_pct": "Creep of the piezos.",
    "drift_x_nm_min": "Drift of the specimen under the pipette along x.",
    "drift_y_nm_min": "The same along y.",
    "drift_z_nm_min": "The same along z.",
    "speed_mm_s": "Speed of the motor.",
    "backlash_um": "Play of its thread.",
    "step_um": "Its smallest step.",
    "settle_ms": "Wait at the top of a hop before the reference current is measured.",
    "reference_ms": "Time over which the reference current is averaged.",
    "withdraw_nm_per_ms": "Speed of the withdrawal.",
    "start_height_um": "Height above the specimen at which the operator has left the pipette.",
    "parameters": "Parameter set of cell and specimen, by name or file.",
    "surface": "The specimen's surface; its `kind` says which keys it has.",
    "noise": "Noise of the instruments.",
    "seed": "Seed of every random number; `--seed` goes before it.",
    "tip": "What the pipette's tip does beside conducting.",
    "memory": "Whether the tip shows the salt outside it as late as that diffuses into its mouth.",
    "zeta_mV": "Zeta potential of the glass, which drives a flow through the tip; positive draws the bath in at a "
    "positive bias.",
    "charge_mC_m2": "Surface charge of the glass inside, which rectifies the current.",
    "relative_permittivity": "Of the solvent, for the flow.",
    "amplifier_fA_rtHz": "White current noise of the amplifier.",
    "pipette_flicker_ppm": "Flicker (1/f) of the pipette's current at 1 Hz, relative, per √Hz.",
    "amplifier_flicker_fA_rtHz": "Flicker of the amplifier's offset at 1 Hz.",
    "pipette_wander_ppm": "Random walk of the pipette's current, relative: rms change within a minute.",
    "reference_wander_uV": "Random walk of what the reference electrode shows too much: rms change within a minute.",
    "reference_drift_mV_h": "Steady drift of the same.",
    "height_wander_nm": "Random walk of the height of what holds the pipette: rms change within a minute.",
    "height_nm": "Noise of the measured z, rms.",
    "kind": "The kind of surface.",
    "rq_nm": "Root-mean-square roughness.",
    "correlation_nm": "Correlation length of the roughness.",
    "size_um": "Side of the surface, which repeats beyond it.",
    "pixels": "Points along a side.",
    "step_nm": "Height of the step between the terraces.",
    "swollen_nm": "Additional height at the edge of the upper terrace.",
    "swollen_width_nm": "Width of that rim.",
    "flake_um": "Diameter of a plate.",
    "share_spread": "How unequally the columns under the plates would expand alone, with no neighbour to share with: "
    "spread of the logarithm.",
    "binder_um": "How far binder shares the columns' swelling with their neighbours; 0 lets each rise alone.",
    "lag_s": "How late the columns would follow alone: median. The coating's mean is 1.65 times that.",
    "slide_nm": "How far one of them slides.",
    "detach_below_V": "Potential below which one of them comes off.",
    "file": "Image of a microscope with the heights.",
}


_UNITS_AND_ADDRESSES: Final = """\
The unit column says what a number is in; a scale is read off the instrument, its panel or its manual:

| a key that ends in | is | for example |
|---|---|---|
| `_nA_per_V`, `_mA_per_V` | current for one volt at a monitor output | 1 V of an amplifier at 1 mV/pA is 1 nA: \
`current_nA_per_V: 1` |
| `_V_per_V` | volts there for one volt here, with its sign | an input that inverts: `input_V_per_V: -1` |
| `_mV_per_pA` | gain of a patch clamp's scaled output | its panel says `1` mV/pA: `gain_mV_per_pA: 1` |
| `_mV_per_V` | bias for one volt at the amplifier's command input | 20 or 100 on an Axopatch 200B |
| `_um_per_V` | height or way for one volt at a piezo's amplifier | 100 µm over 10 V: `z_um_per_V: 10` |
| `_nm_per_ms` | a speed: 1 nm/ms is 1 µm/s | `withdraw_nm_per_ms: 400` |
| `approach_rate_unit_m_s` | speed [m/s] of one unit of another program's own rate | OpenSPM's `Approach rate` in \
µm/s: `1e-6` |
| `retract_height_unit_m` | length [m] of one unit of another program's own height | in µm: `1e-6`; in nm: `1e-9` |

An `address` is written as the operating system names the line:

| line | Linux | Windows | macOS |
|---|---|---|---|
| USB serial port | `/dev/ttyUSB0`, `/dev/ttyACM0` | `COM3` (Device Manager, Ports) | `/dev/tty.usbserial-1410` |
| serial port by VISA | `ASRL/dev/ttyUSB0::INSTR` | `ASRL3::INSTR` | `ASRL/dev/tty.usbserial-1410::INSTR` |
| network | `192.168.0.20:55550` | the same | the same |
| a file that grows | `/mnt/eclab/*_C01.mpt` | `D:/Data/*_C01.mpt` | `/Volumes/eclab/*_C01.mpt` |

The program itself needs POSIX and is tried on Linux only: a run's locks and sockets are POSIX's. On a computer with
Windows it runs in WSL 2, which sees a port that `usbipd` hands over as `/dev/ttyUSB0` and a disk as `/mnt/d`; NI cards
and OpenSPM stay on Windows and are reached over the network.

Write a path of Windows with slashes, or in single quotes: in double quotes YAML reads `\\t` as a tab.
"""


_DRIVER_PAGES: Final = Path(__file__).parents[1] / "docs/reference/drivers"
_PAGES: Final = ", ".join(f"[{page.stem}](drivers/{page.name})" for page in sorted(_DRIVER_PAGES.glob("*.md")))


def section(title: str, model: type[FileModel], level: str) -> str:
    """A heading, the model's docstring, and a table of its keys."""
    return table_of(title, model, level, lambda _, key: _MEANINGS[key])


def page() -> str:
    """The whole page."""
    presets = [
        f"| `{file.stem.replace('-', '/', 1)}` | {read(file).rig.title} |" for file in sorted(PRESETS.glob("*.yaml"))
    ]
    parts = [
        _INTRODUCTION,
        "| preset | is |\n|---|---|",
        "\n".join(presets) + "\n",
        f"## An example\n\n```yaml\n{_EXAMPLE}```\n",
        section("The file", RigFile, "##"),
        "`verified` says who checked the signs, and when: it stands in run files and reports beside what is said of\n"
        "drivers never tried on hardware.\n",
        section("One of `roles`", Role, "##"),
        "The roles are "
        + ", ".join(f"`{role}`" for role in ROLES)
        + "; a rig with a world may leave out `coarse_stage`.\n",
        section("`clock`", SampleClock, "##"),
        section("One of `channels`", RigChannel, "##"),
        "| channel | positive is |\n|---|---|",
        "\n".join(f"| `{name}` | {sign} |" for name, sign in SIGNS.items()) + "\n",
        "`pipette_current` and `z` are needed for heights; which of them are kept, and how, says the experiment's\n"
        "[`record`](record-policies.md).\n",
        section("`limits`", RigLimits, "##"),
        "A terminal is one of the [card](drivers/nidaqmx.md)'s that a role or a channel of the file names: nothing is\n"
        "written beyond its limits. Other keys are refused. What a run may do is in the experiment's `envelope`.\n",
        section("`wiring`", Wiring, "##"),
        "`grounding` is one of "
        + ", ".join(f"`{name}`" for name in GROUNDINGS)
        + " ([signs](../explanations/signs.md)).\n",
        section("`calibration`", CalibrationSettings, "##"),
        "With the specimen's `thickness_u_pct` and `area_u_pct` it gives every result its `u_calibration`\n"
        "([results](results.md)). The defaults are what makers usually state, not a measurement of your rig.\n",
        section("`pipette`", PipetteShape, "##"),
        "Without it the experiment's pipette holds. Give it where a rig has one kind of pipette.\n",
        "## `settings` of a role whose driver is `twin`\n",
        *(section(f"`{role}`", model, "###") for role, model in _twin_settings().items()),
        "## `settings` of a role that an instrument plays\n",
        "`opsicm rig list` says which client each needs and how it was tried; what its keys mean, with an\n"
        "example, stands on the driver's own page: " + _PAGES + ".\n"
        "Where the default is `none` and the\n"
        "driver cannot do without, `check` asks for the key.\n",
        _UNITS_AND_ADDRESSES,
        *(_instrument(driver) for driver in _instruments()),
        section("`world`", WorldSettings, "##"),
        "`parameters` names a [parameter set](parameter-sets.md) of the program or a file of yours; the experiment's\n"
        "`specimen: {parameters: …}` goes before it.\n",
        section("`emulation`", Emulation, "##"),
        section("`noise` of `world`", WorldNoise, "##"),
        section("`tip` of `world`", TipSettings, "##"),
        "## `surface` of `world`, by its `kind`\n",
        *(section(f"`kind: {kind}`", model, "###") for kind, model in SURFACES.items()),
    ]
    return "\n".join(parts)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _instruments() -> list[Driver]:
    """The drivers of instruments, role by role."""
    drivers = [driver for registration in REGISTRY.registrations() for driver in registration.drivers]
    real = [driver for driver in drivers if driver.real_time and REGISTRY.is_built_in(driver.name)]
    return sorted(real, key=lambda driver: (ROLES.index(driver.role), driver.name))


def _instrument(driver: Driver) -> str:
    """A driver's settings with its own docstring; those without any have no table."""
    title = f"`{driver.name}` as {driver.role.replace('_', ' ')}: {driver.summary}"
    return table_of(title, driver.settings, "###", None)


def _twin_settings() -> dict[str, type[FileModel]]:
    twin = next(registration for registration in REGISTRY.registrations() if registration.name == TWIN)
    return {driver.role: driver.settings for driver in twin.drivers}


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
