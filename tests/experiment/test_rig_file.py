"""Rig files: what is read, what is refused, and how a rig is found by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsicm.core.errors import BadInput
from opsicm.experiment import rig_file
from opsicm.experiment.rig_file import RigFile, read_rig, rig_path

TWIN = """\
opsicm_rig: 1
title: a twin of graphite
pipette: {radius_nm: 60}
roles:
  amplifier: {driver: twin, settings: {range_nA: 20, filter_kHz: 5.0, invert: false, mode: vc}}
  potentiostat: {driver: twin}
  scanner: {driver: twin}
  hop_controller: {driver: twin}
clock: {master: amplifier, rate_kS_s: 100}
channels:
  - {name: pipette_current, role: amplifier, input: ai0, gain: 1.0e-9, sign: -1}
  - {name: z, role: scanner}
wiring: {grounding: common, external_bias_mV_per_V: 100}
limits: {pipette_overload_nA: 9.5, ai0_V: [-1, 1]}
latency_us: 20
world:
  parameters: graphite-li-ec-dec
  surface: {kind: rough, rms_nm: 300, seed: 3}
  noise: {temperature_K: 298.15}
  seed: 1
"""

SPOILED: dict[str, tuple[str, str, int, tuple[str, ...]]] = {
    "version": ("opsicm_rig: 1", "opsicm_rig: 3", 1, ("opsicm_rig is 3", "write opsicm_rig: 1")),
    "unknown role": ("scanner: {", "scaner: {", 7, ("roles.scaner", "did you mean scanner?")),
    "missing role": ("  scanner: {driver: twin}\n", "", 4, ("roles.scanner", "is missing")),
    "setting a list": (
        "mode: vc",
        "mode: [vc]",
        5,
        ("roles.amplifier.settings.mode is [vc]", "must be a number, a text"),
    ),
    "setting infinite": ("filter_kHz: 5.0", "filter_kHz: .inf", 5, ("settings.filter_kHz is inf", "must be a number")),
    "driver missing": ("potentiostat: {driver: twin}", "potentiostat: {}", 6, ("potentiostat.driver", "is missing")),
    "channel": ("name: z,", "name: height,", 12, ("channels[1].name is 'height'", "must be pipette_current")),
    "channel twice": ("name: z,", "name: pipette_current,", 12, ("channels[1].name", "stands in the list already")),
    "sign": ("sign: -1", "sign: 0", 11, ("channels[0].sign is 0", "must be 1 or -1")),
    "gain": ("gain: 1.0e-9", "gain: 0", 11, ("channels[0].gain is 0", "must not be zero")),
    "rate": ("rate_kS_s: 100", "rate_Hz: 100000", 9, ("clock.rate_Hz", "write rate_kS_s: 100")),
    "limit": ("[-1, 1]", "[1, -1]", 14, ("limits.ai0_V is [1, -1]", "the lowest and the highest")),
    "limit misspelt": (
        "pipette_overload_nA: 9.5",
        "pipette_overlaod_nA: 9.5",
        14,
        ("limits.pipette_overlaod_nA is 9.5", "limits has no such key", "did you mean pipette_overload_nA?"),
    ),
    "limit in another unit": (
        "pipette_overload_nA: 9.5",
        "pipette_overload_pA: 9500",
        14,
        ("limits has no such key", "write pipette_overload_nA: 9.5"),
    ),
    "limit of nothing known": (
        "ai0_V",
        "cell_mA",
        14,
        ("limits.cell_mA", "its keys are pipette_overload_nA, and terminals as ao0_V"),
    ),
    "limit of a terminal that nothing is wired to": (
        "ai0_V",
        "ai1_V",
        14,
        ("limits.ai1_V", "no role and no channel of this file names ai1", "write one of ai0, or delete it"),
    ),
    "limit of no current": ("_nA: 9.5", "_nA: -9.5", 14, ("pipette_overload_nA is -9.5", "must be above 0 nA")),
    "limit of no voltage": ("[-1, 1]", "0", 14, ("limits.ai0_V is 0", "leaves no voltage to the terminal")),
    "latency": ("latency_us: 20", "latency_us: -1", 15, ("latency_us is -1", "at least 0 us")),
    "no world": (TWIN[TWIN.index("world:") :], "", 1, ("world", "is missing", "add world")),
    "no kind": ("kind: rough, ", "", 18, ("world.surface.kind", "is missing")),
    "nested too far": ("{temperature_K: 298.15}", "{a: {b: 1}}", 19, ("world.noise.a", "must be a number, a text")),
    "verified": (
        "latency_us: 20",
        "latency_us: 20\nverified: 3",
        16,
        ("verified is 3", "must be true, false or a text"),
    ),
}


def write(folder: Path, text: str, name: str = "rig.yaml") -> Path:
    """A file with this text."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_twin_is_read(tmp_path: Path) -> None:
    rig = read_rig(write(tmp_path, TWIN)).rig
    assert rig.roles.amplifier.settings == {"range_nA": 20, "filter_kHz": 5.0, "invert": False, "mode": "vc"}
    assert isinstance(rig.roles.amplifier.settings["range_nA"], int)
    assert rig.roles.amplifier.settings["invert"] is False
    assert rig.clock.rate == pytest.approx(1e5)
    assert rig.latency == pytest.approx(2e-5)
    assert rig.limits.overload == pytest.approx(9.5e-9)
    assert rig.limits.terminals == {"ai0": (-1.0, 1.0)}
    assert rig.world is not None
    assert rig.world.surface == {"kind": "rough", "rms_nm": 300, "seed": 3}
    assert rig.pipette is not None
    assert (rig.pipette.radius_nm, rig.pipette.wall) == (60, 1.5)


def test_a_rig_may_mix_twin_and_instruments(tmp_path: Path) -> None:
    mixed = TWIN.replace("potentiostat: {driver: twin}", "potentiostat: {driver: ec301, address: gpib0}")
    loaded = read_rig(write(tmp_path, mixed))
    assert (loaded.role("potentiostat").driver, loaded.role("scanner").driver) == ("ec301", "twin")
    assert loaded.role("coarse_stage").driver == "twin"  # not in the file: the world has one


def test_a_rig_of_instruments_needs_its_coarse_stage(tmp_path: Path) -> None:
    loaded = read_rig(write(tmp_path, TWIN[: TWIN.index("world:")].replace("driver: twin", "driver: maker")))
    with pytest.raises(BadInput, match=r":4: roles.coarse_stage; is missing; add coarse_stage"):
        loaded.role("coarse_stage")


def test_a_real_rig_has_no_world(tmp_path: Path) -> None:
    real = TWIN.replace("driver: twin", "driver: maker, address: usb0")
    with pytest.raises(BadInput, match=r":16: world; is that of a twin, and no role is played by one"):
        read_rig(write(tmp_path, real))
    rig = read_rig(write(tmp_path, real[: real.index("world:")] + "verified: by hand, 2026-01-01\n")).rig
    assert rig.world is None
    assert rig.verified == "by hand, 2026-01-01"
    assert rig.roles.scanner.address == "usb0"


@pytest.mark.parametrize("name", SPOILED)
def test_bad_rig(name: str, tmp_path: Path) -> None:
    old, new, line, words = SPOILED[name]
    assert TWIN.count(old) == 1
    path = write(tmp_path, TWIN.replace(old, new))
    with pytest.raises(BadInput) as refused:
        read_rig(path)
    (problem,) = refused.value.problems
    assert problem.line == line, str(problem)
    for word in words:
        assert word in str(problem)


def test_a_rig_reads_back_what_it_dumps(tmp_path: Path) -> None:
    rig = read_rig(write(tmp_path, TWIN)).rig
    assert RigFile.model_validate(rig.model_dump(mode="json", exclude_none=True)) == rig


def test_presets_by_name_and_files_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig_file, "PRESETS", tmp_path / "presets")
    preset = write(tmp_path, TWIN, "presets/twin-graphite.yaml")
    assert rig_path("twin/graphite", tmp_path / "elsewhere") == preset
    assert rig_path("rigs/ours.yaml", tmp_path) == tmp_path / "rigs/ours.yaml"
    with pytest.raises(BadInput, match=r"rig is 'twin/copper'; is no preset; presets are twin/graphite; write one"):
        rig_path("twin/copper", tmp_path)
    with pytest.raises(BadInput, match="is no preset"):
        rig_path("../presets/twin-graphite", tmp_path)
