"""Hypothesis strategies: any experiment that the vocabulary allows, built as Python objects."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from opsicm.protocol.cell_program import (
    CellStep,
    Conditioning,
    ConstantCurrent,
    CutOff,
    FallenCurrent,
    Gitt,
    Hold,
    Ladder,
    OpenCircuit,
    Repeat,
    Rest,
    Sweep,
    Until,
)  # fmt: skip
from opsicm.protocol.envelope import Envelope
from opsicm.protocol.experiment import Experiment
from opsicm.protocol.pipette import Pipette
from opsicm.protocol.probe_program import (
    At,
    Engage,
    ExchangeTip,
    Hop,
    Landmark,
    Line,
    Modulate,
    Modulation,
    Park,
    PipetteSweep,
    ProbeRepeat,
    ProbeStep,
    Raster,
    Tilt,
    Tower,
    Zero,
)  # fmt: skip
from opsicm.protocol.record_policy import Record
from opsicm.protocol.specimen import Electrolyte, Specimen
from opsicm.protocol.twin_settings import Terms, Twin

# No surrogates: they are no characters. No control characters but these: a title may hold them, in quotes.
TITLES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40) | st.sampled_from(
    [
        "off",
        "1e-3",
        "012",
        "0x1f",
        "null",
        "~",
        "cell[0]",
        "- a: b",
        "# no comment",
        "1:30",
        ".5",
        "+.inf",
        "12e03",
        " ",
    ]
)
POTENTIALS = st.floats(-1, 4, allow_nan=False)
SECONDS = st.floats(1e-3, 1e4)
AMPERES = st.floats(0.001, 10) | st.floats(-10, -0.001)
PERCENT = st.floats(0, 99)


def _sweeps() -> st.SearchStrategy[Sweep]:
    ends = st.tuples(POTENTIALS, POTENTIALS).filter(lambda pair: pair[0] != pair[1])
    return st.builds(
        lambda model, pair, rate, cycles, ir, began: model(
            from_V=pair[0],
            to_V=pair[1],
            rate_mV_s=rate,
            cycles=cycles,
            ir_compensation_pct=ir,
            start_V=(pair[0] + pair[1]) / 2 if began else None,
        ),
        st.sampled_from([Sweep, Conditioning]),
        ends,
        st.floats(1, 1000),
        st.integers(1, 5),
        PERCENT,
        st.booleans(),
    )


def _ladders() -> st.SearchStrategy[Ladder]:
    return st.builds(
        lambda start, steps, step_mV, rest, hold: Ladder(
            from_V=start, to_V=start - steps * step_mV / 1000, step_mV=step_mV, rest_s=rest, hold_s=hold
        ),
        st.floats(0, 4),
        st.integers(1, 9),
        st.integers(10, 100),
        SECONDS,
        st.floats(1e-3, 1000),
    )


def _titrations() -> st.SearchStrategy[Gitt]:
    return st.builds(
        lambda mA, pulse, rest, pulses, until: Gitt(
            current_mA=mA, pulse_s=pulse, rest_s=rest, pulses=pulses, until=until
        ),
        AMPERES,
        st.floats(1e-3, 300),
        st.floats(1e-3, 300),
        st.integers(1, 100),
        st.none() | st.builds(CutOff, potential_V=POTENTIALS),
    )


def _constant_currents() -> st.SearchStrategy[ConstantCurrent]:
    untils = st.builds(
        Until,
        potential_V=st.none() | POTENTIALS,
        for_s=SECONDS,
        charge_mAh=st.none() | st.floats(1e-3, 10),
    )
    currents = st.tuples(st.sampled_from(["current_mA", "current_mA_cm2", "c_rate"]), AMPERES)
    return st.builds(lambda current, until: ConstantCurrent(until=until, **dict([current])), currents, untils)


PLAIN: st.SearchStrategy[CellStep] = st.one_of(
    _sweeps(),
    _ladders(),
    _titrations(),
    st.builds(
        Hold,
        potential_V=POTENTIALS,
        for_s=SECONDS,
        until=st.none() | st.builds(FallenCurrent, current_mA_cm2=st.floats(1e-3, 10)),
        ir_compensation_pct=PERCENT,
        record_every_s=st.none() | st.floats(1e-3, 10),
    ),
    _constant_currents(),
    st.builds(OpenCircuit, for_s=SECONDS),
    st.builds(Rest, for_s=SECONDS),
)
REPEATS: st.SearchStrategy[Repeat] = st.builds(
    lambda times, steps: Repeat(times=times, steps=tuple(steps)),
    st.integers(1, 3),
    st.lists(
        PLAIN | st.builds(lambda steps: Repeat(times=2, steps=tuple(steps)), st.lists(PLAIN, min_size=1, max_size=2)),
        min_size=1,
        max_size=2,
    ),
)
CELL_PROGRAMS: st.SearchStrategy[list[CellStep]] = st.lists(PLAIN | REPEATS, min_size=1, max_size=4)
MODULATIONS = st.builds(
    lambda levels, dwell, share: Modulation(levels_V=tuple(levels), dwell_ms=dwell, blanking_ms=share * dwell),
    st.lists(st.floats(-2, 2), min_size=2, max_size=4, unique=True),
    st.floats(0.1, 100),
    st.floats(0, 0.9),
)
PAIRS = st.tuples(st.floats(-100, 100), st.floats(-100, 100))
SIZES = st.tuples(st.floats(0.1, 100), st.floats(0.1, 100))
NAMES = st.uuids().map(str)
PIXELS = st.tuples(st.integers(2, 512), st.integers(2, 512))


@st.composite
def _probe_steps(draw: st.DrawFn, during: str | None) -> ProbeStep:
    bound: dict[str, Any] = {"for_s": draw(SECONDS)} if during is None else {"during": during}
    point = st.tuples(st.floats(-100, 0), st.floats(-100, 100))
    hopping: dict[str, Any] = {
        "amplitude_nm": draw(st.floats(1, 5000)),
        "fall_nm_per_ms": draw(st.floats(0.1, 1000)),
        "setpoint_pct": draw(st.floats(0.01, 50)),
    }
    counted = bound if during is not None else {"hops": draw(st.integers(1, 1000))}
    modulate = draw(st.none() | MODULATIONS)
    match draw(st.sampled_from(["park", "hop", "line", "modulate", "tower"])):
        case "park":
            return Park(height_um=draw(st.floats(0.1, 3000)), **bound)
        case "hop":
            return Hop(at_um=draw(point), modulate=modulate, **hopping, **counted)
        case "modulate":
            levels = draw(MODULATIONS).model_dump()
            return Modulate(at_um=draw(point), **levels, **hopping, **counted)
        case "tower":
            low = draw(st.floats(1, 100))
            return Tower(low_um=low, high_um=low + 10, speed_mm_s=draw(st.floats(0.1, 2)), **bound)
        case _:
            ends = {"from_um": draw(point), "to_um": (1.0, 1.0), "pixels": draw(st.integers(2, 512))}
            return Line(modulate=modulate, **ends, **hopping, **bound)


@st.composite
def _ending_steps(draw: st.DrawFn, during: str | None, at: At | None) -> ProbeStep:
    """A step that ends by itself; at an event, beside a cell step, or neither."""
    when: dict[str, Any] = {"during": during, "at": at}
    falling: dict[str, Any] = {"fall_nm_per_ms": draw(st.floats(0.1, 1000)), "setpoint_pct": draw(st.floats(0.01, 50))}
    area = {"center_um": draw(PAIRS), "size_um": draw(SIZES), "amplitude_nm": draw(st.floats(1, 5000)), **falling}
    match draw(st.sampled_from(["raster", "tilt", "landmark", "engage", "zero", "exchange_tip", "pipette_sweep"])):
        case "raster":
            order = draw(st.sampled_from(["serpentine", "forward"]))
            modulate = draw(st.none() | MODULATIONS)
            turned = draw(st.floats(-180, 180))
            return Raster(pixels=draw(PIXELS), order=order, rotation_deg=turned, modulate=modulate, **area, **when)
        case "tilt":
            return Tilt(points=draw(st.integers(2, 9)), **area, **when)
        case "landmark":
            return Landmark(name=draw(NAMES), pixels=(4, 4), **area, **when)
        case "engage":
            return Engage(step_um=draw(st.floats(0.1, 100)), **falling, **when)
        case "zero":
            return Zero(for_s=draw(SECONDS), **when)
        case "exchange_tip":
            return ExchangeTip(note=draw(TITLES), **when)
        case _:
            rate = draw(st.floats(1, 1000))
            return PipetteSweep(
                from_V=-0.7, to_V=0.7, rate_mV_s=rate, cycles=2, height_um=draw(st.floats(1, 100)), **when
            )


def _repeats() -> st.SearchStrategy[ProbeRepeat]:
    inner = st.lists(_ending_steps(None, None) | _probe_steps(None), min_size=1, max_size=2)
    return st.builds(lambda times, steps: ProbeRepeat(times=times, steps=tuple(steps)), st.integers(1, 3), inner)


@st.composite
def experiments(draw: st.DrawFn) -> Experiment:
    """One valid experiment."""
    cell = draw(CELL_PROGRAMS)
    accompanied = sorted(draw(st.sets(st.integers(0, len(cell) - 1))))
    probe = [draw(_probe_steps(f"cell[{index}]")) for index in accompanied]
    if any(isinstance(step, OpenCircuit) for step in cell) and draw(st.booleans()):
        probe.append(Zero(for_s=1e-3, at=At(after_each="rest")))
    probe += draw(st.lists(_probe_steps(None) | _ending_steps(None, None) | _repeats(), max_size=2))
    policies = st.sampled_from(["full", "decimated", "off"])
    return Experiment(
        opsicm=1,
        title=draw(TITLES),
        rig=draw(st.sampled_from(["twin/graphite", "rigs/ours.yaml"])),
        pipette=Pipette(bias_V=draw(st.floats(-2, 2)), radius_nm=draw(st.floats(10, 500))),
        specimen=Specimen(loading_mg_cm2=draw(st.floats(0.1, 20))),
        electrolyte=Electrolyte(salt_M=draw(st.floats(0.01, 3))),
        cell=tuple(cell),
        probe=tuple(probe),
        envelope=Envelope(cell_V=(-1.5, 4.5), cell_mA=1000, run_h=10_000),
        record=Record(z=draw(policies), x=draw(policies)),
        vary=draw(st.just({}) | st.builds(lambda radii: {"pipette.radius_nm": radii}, st.tuples(st.floats(10, 500)))),
        twin=Twin(seed=draw(st.integers(0, 2**40)), terms=Terms(salt=draw(st.booleans()))),
    )
