"""docs/reference/rig-file.md from the models: every key of a rig file, and what a twin's settings may say.

python -m scripts.rig_reference writes it; tests/house/test_rig_reference.py says when it is out of date.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from opsicm.cli.rigs import REGISTRY
from opsicm.experiment.rig_file import PRESETS, TWIN, RigChannel, RigFile, Role, SampleClock, Wiring, WorldSettings
from opsicm.experiment.rig_file import read_rig as read
from opsicm.experiment.setup import PipetteShape
from opsicm.experiment.step_model import FileModel
from opsicm.instruments.registry import ROLES
from opsicm.instruments.wiring import GROUNDINGS, SIGNS
from opsicm.twin.settings import SURFACES, WorldNoise
from scripts.experiment_reference import section

PAGE: Final = Path(__file__).parents[1] / "docs/reference/rig-file.md"
_INTRODUCTION: Final = """\
# The rig file

The instruments of one laboratory: which driver plays which role, how they are wired, how fast they sample. An
experiment names it, `rig: ours.yaml` (the path is seen from the experiment file) or a preset, `rig: twin/graphite`;
`opsicm run FILE --rig ours.yaml` takes another. This page is made from the models by `scripts/rig_reference.py`, so it
is what the program reads.

    opsicm check FILE       checks the rig with the experiment: ranges, bias command, noise, timing
    opsicm rig list         the drivers that a role may name, with their settings under --json

A role with the driver `twin` is simulated in the file's `world`; roles of instruments and of the twin may be mixed
while instruments are brought up one at a time ([drivers](../explanations/drivers.md)). A unit stands at the end of a
key's name. To begin, copy a preset from `src/opsicm/presets` and change it.
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
        section("The file", RigFile, "##", meanings=False),
        "`limits` has one key that the program reads, `pipette_overload_nA`: a sample above it ends a hop as an\n"
        "overload (outcome 3). What a run may do is in the experiment's `envelope`. `verified` is for you: who\n"
        "checked the signs, and when.\n",
        section("One of `roles`", Role, "##", meanings=False),
        "The roles are "
        + ", ".join(f"`{role}`" for role in ROLES)
        + "; a rig with a world may leave out `coarse_stage`.\n",
        section("`clock`", SampleClock, "##", meanings=False),
        section("One of `channels`", RigChannel, "##", meanings=False),
        "| channel | positive is |\n|---|---|",
        "\n".join(f"| `{name}` | {sign} |" for name, sign in SIGNS.items()) + "\n",
        "`pipette_current` and `z` are needed for heights; which of them are kept, and how, says the experiment's\n"
        "[`record`](record-policies.md).\n",
        section("`wiring`", Wiring, "##", meanings=False),
        "`grounding` is one of "
        + ", ".join(f"`{name}`" for name in GROUNDINGS)
        + " ([signs](../explanations/signs.md)).\n",
        section("`pipette`", PipetteShape, "##", meanings=False),
        "Without it the experiment's pipette holds. Give it where a rig has one kind of pipette.\n",
        "## `settings` of a role whose driver is `twin`\n",
        *(section(f"`{role}`", model, "###", meanings=False) for role, model in _twin_settings().items()),
        section("`world`", WorldSettings, "##", meanings=False),
        "`parameters` names a [parameter set](parameter-sets.md) of the program or a file of yours; the experiment's\n"
        "`specimen: {parameters: …}` goes before it.\n",
        section("`noise` of `world`", WorldNoise, "##", meanings=False),
        "## `surface` of `world`, by its `kind`\n",
        *(section(f"`kind: {kind}`", model, "###", meanings=False) for kind, model in SURFACES.items()),
    ]
    return "\n".join(parts)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _twin_settings() -> dict[str, type[FileModel]]:
    twin = next(registration for registration in REGISTRY.registrations() if registration.name == TWIN)
    return {driver.role: driver.settings for driver in twin.drivers}


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
