"""What every key of an experiment file says, in one sentence, with an example: for the schema, editors and the docs.

A key means the same wherever it stands, so most have one entry; `Model.key` is for one that means something else there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from opsicm.experiment.step_model import FileModel


@dataclass(frozen=True, slots=True)
class KeyDescription:
    """A sentence, and a value as the file has it; None where the model's own example or default will do."""

    text: str
    example: Any = None


def description_of(model: type[FileModel], key: str) -> KeyDescription:
    """The description of a key; raises `KeyError` for one that nobody has described."""
    for owner in model.__mro__:
        if f"{owner.__name__}.{key}" in _DESCRIPTIONS:
            return _described(f"{owner.__name__}.{key}")
    return _described(key)


def example_value(model: type[FileModel], key: str) -> Any:
    """A value for a key as the file has it: the model's own example, the described one, or the default.

    None where there is none of them, as for a key of a rig file.
    """
    field = model.model_fields[key]
    if field.examples:
        return field.examples[0]
    try:
        described = description_of(model, key).example
    except KeyError:
        described = None
    if described is not None or field.is_required():
        return described
    default = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(default, FileModel):
        return default.model_dump(mode="json", exclude_none=True)
    return list(default) if isinstance(default, tuple) else default


def _described(name: str) -> KeyDescription:
    entry = _DESCRIPTIONS[name]
    return KeyDescription(entry) if isinstance(entry, str) else KeyDescription(*entry)


_DESCRIPTIONS: Final[dict[str, str | tuple[str, Any]]] = {
    # The file
    "opsicm": "Version of the file format.",
    "title": "What the run is called: in its folder's name, its report and the list of runs.",
    "rig": "The rig: a twin (`twin/graphite`), or the path of a rig file, relative to this file.",
    "Experiment.pipette": "Shape of the pipette and its potential.",
    "Experiment.specimen": ("The electrode under the pipette.", {"area_cm2": 0.5, "loading_mg_cm2": 4.4}),
    "Experiment.electrolyte": ("The bath.", {"salt_M": 1.0}),
    "Experiment.cell": "What the potentiostat does, one step after the other.",
    "Experiment.probe": (
        "What the pipette does meanwhile; without it only the cell is cycled.",
        [{"park": {"height_um": 10}}],
    ),
    "Experiment.envelope": (
        "Limits that neither program may leave: `check` compares the plan with them, the runner the run.",
        {"cell_V": [-0.05, 2.0], "approach_um": 5},
    ),
    "Experiment.record": ("What is kept of each sampled channel.", {"pipette_current": "full", "x": "off"}),
    "Experiment.twin": ("Seed, physics and faults of a twin; a real rig refuses it.", {"seed": 7}),
    "Experiment.vary": (
        "A series of runs: a path to a key, and its values; with several paths, every combination.",
        {"pipette.radius_nm": [50, 100]},
    ),
    # Pipette
    "bias_V": "Potential of the pipette electrode against Li/Li⁺, not the amplifier's command.",
    "PipetteShape.radius_nm": "Inner radius of the aperture.",
    "wall": "Outer over inner radius at the aperture.",
    "cone_deg": "Inner half-cone angle.",
    "length_um": "Length of the cone that counts as resistance.",
    "fill_M": ("Salt in the pipette; that of the bath where it is left out.", 1.0),
    # Specimen and electrolyte
    "area_cm2": "Geometric area of the electrode.",
    "thickness_um": "Thickness of the coating.",
    "loading_mg_cm2": "Mass of the coating per area: with the material it gives the capacity, and so a C-rate.",
    "area_u_pct": "Standard uncertainty of the area, in percent of it.",
    "thickness_u_pct": "Standard uncertainty of the thickness, in percent of it: every expansion is as good.",
    "rest_V": ("Potential at which the specimen rests before the run; the rig file's where it is left out.", 1.7),
    "parameters": "Parameter set of material and cell by its name, or the path of a file of one.",
    "salt_M": "Salt concentration of the bath.",
    # Envelope
    "cell_V": "Lowest and highest potential of the electrode.",
    "cell_mA": "Largest magnitude of the cell current.",
    "approach_um": "Longest approach below the height where it began; then the surface counts as lost.",
    "pipette_nA": "Largest magnitude of the pipette current.",
    "run_h": "Longest duration of the run.",
    "bias_mV": "Largest deviation of the pipette electrode from its potential.",
    # Recording
    "pipette_current": "Samples of the pipette current: every one (`full`), a summary (`decimated`) or none (`off`).",
    "z": "Samples of the measured height of the pipette: `full`, `decimated` or `off`.",
    "z_command": "Samples of the height that was asked of the scanner: `full`, `decimated` or `off`.",
    "pipette_bias": "Samples of the amplifier's command: `full`, `decimated` or `off`.",
    "cell_potential": "Samples of the cell's potential: `full`, `decimated` or `off`; slow rows hold it anyway.",
    "cell_current": "Samples of the cell's current: `full`, `decimated` or `off`; slow rows hold it anyway.",
    "x": "Samples of x: `full`, `decimated` or `off`; every hop's record holds it anyway.",
    "y": "Samples of y: `full`, `decimated` or `off`; every hop's record holds it anyway.",
    # Cell steps
    "Sweep.from_V": "Vertex at which a cycle begins and ends.",
    "Sweep.to_V": "Vertex at which a cycle turns.",
    "Ladder.from_V": "First level.",
    "Ladder.to_V": "Last level.",
    "PipetteSweep.from_V": "Potential of the pipette electrode at which a cycle begins and ends.",
    "PipetteSweep.to_V": "Potential of the pipette electrode at which a cycle turns.",
    "rate_mV_s": "Magnitude of the sweep rate; the direction is from `from_V` to `to_V`.",
    "cycles": ("How many times there and back.", 3),
    "start_V": ("Where a cycle begins, between the vertices; at `from_V` where it is left out.", 1.2),
    "ir_compensation_pct": "Share of the uncompensated resistance that the potentiostat compensates.",
    "record_every_s": ("Time between two slow rows; where it is left out, a millivolt of a sweep or a second.", 10),
    "Tower.record_every_s": "Time between two slow rows.",
    "Hold.potential_V": "Potential that is held.",
    "Hold.for_s": "How long it is held.",
    "Hold.until": (
        "Ends the hold when the current's magnitude has fallen below this: the second half of CC-CV.",
        {"current_mA_cm2": 0.02},
    ),
    "current_mA": ("Current; a negative one lithiates.", -0.2),
    "current_mA_cm2": "Current per geometric area; a negative one lithiates.",
    "c_rate": ("Current in capacities of the specimen per hour; a negative one lithiates.", -0.2),
    "lithiate": ("Current that lithiates, as a magnitude with its unit.", "C/5"),
    "delithiate": ("Current that delithiates, as a magnitude with its unit.", "0.4 mA/cm2"),
    "EndCurrent.current_mA": ("Magnitude of the current below which the hold ends.", 0.01),
    "EndCurrent.current_mA_cm2": "Magnitude of the current per geometric area below which the hold ends.",
    "EndCurrent.c_rate": ("Magnitude of the current, in capacities per hour, below which the hold ends.", 0.02),
    "ConstantCurrentStep.until": "What ends the current, whichever comes first.",
    "Gitt.until": ("Potential that ends the pulse train.", {"potential_V": 0.01}),
    "Until.potential_V": ("Cut-off potential.", 0.01),
    "Until.for_s": ("Longest duration.", 3600),
    "charge_mAh": ("Charge that passes, as a magnitude.", 0.5),
    "Until.soc_pct": ("State of charge, counted from the last delithiated cut-off of the program.", 50),
    "CutOff.potential_V": "Potential that ends the pulse train.",
    "pulse_s": "How long each pulse of current lasts.",
    "Gitt.rest_s": "How long the specimen rests at open circuit after each pulse.",
    "pulses": "How many pulses.",
    "OpenCircuitStep.for_s": "How long the cell stays at open circuit.",
    "step_mV": "Distance of two levels.",
    "Ladder.rest_s": "How long a level is held before the specimen counts as rested.",
    "hold_s": "How long a level is held after that: the time of what waits for the rest.",
    "times": "How many rounds.",
    "CellRepeat.steps": "The steps of a round.",
    "ProbeRepeat.steps": "The steps of a round; each has an end of its own.",
    # When a probe step runs
    "during": (
        "The cell step that it accompanies, counted from 0: it begins and ends with it; in braces, in quotes.",
        "cell[0]",
    ),
    "at": (
        "Events of the cell that it waits for: it runs once, to its own end, at each of them.",
        {"after_each": "rest"},
    ),
    "every_min": (
        "Repeats it at equal intervals from the beginning of its cell step (`during`), or of the run, to its own end "
        "each time; the step that runs then is suspended meanwhile.",
        30,
    ),
    "for_s": ("How long it lasts.", 600),
    "after_each": ("Waits for each rest: of a ladder's level, an open circuit, a pulse train.", "rest"),
    "AwaitedEvents.soc_pct": ("Waits for the cell to cross each of these states of charge.", [0, 50, 100]),
    "AwaitedEvents.potential_V": ("Waits for the cell to cross, or a ladder to hold, each potential.", [0.2, 0.1]),
    # Probe steps
    "height_um": "Height above the specimen.",
    "at_um": "Where it hops: x and y.",
    "hops": ("How many hops; with `every_min`, each time.", 1000),
    "amplitude_nm": "How far the pipette is withdrawn after a contact.",
    "fall_nm_per_ms": "Speed of the approach.",
    "setpoint_pct": "Drop of the current that ends an approach, relative to the current far from the surface.",
    "modulate": (
        "Steps the pipette electrode through levels at the top of every hop.",
        {"levels_V": [0.65, 0.75], "dwell_ms": 5, "blanking_ms": 0.5},
    ),
    "levels_V": "Potentials of the pipette electrode, one after the other.",
    "dwell_ms": "How long each level lasts.",
    "blanking_ms": "Beginning of each dwell that is not analysed: the stray capacitance charges then.",
    "from_um": "Where the line begins: x and y.",
    "to_um": "Where the line ends: x and y.",
    "pixels": "Pixels along x and y.",
    "LineScan.pixels": "Pixels of the line.",
    "passes": ("How many times over; with `every_min`, each time.", 2),
    "center_um": "Middle of the rectangle: x and y.",
    "size_um": "Width and height of the rectangle, from the first pixel to the last.",
    "order": "Whether every second row runs backwards (`serpentine`) or all run forward.",
    "rotation_deg": "Angle from the x axis to the rows, counter-clockwise.",
    "amplitude_map": (
        "A .npy or .csv file of amplitudes in nm, one per pixel, shape (ny, nx), relative to this file.",
        "amplitudes.csv",
    ),
    "low_um": "Lower height.",
    "high_um": "Upper height.",
    "speed_mm_s": "Speed of the coarse stage.",
    "dwell_s": "How long it stays at either end.",
    "trips": ("How many times up and down.", 10),
    "Zero.for_s": "How long the amplifier's offset is measured.",
    "step_um": "Step of the coarse stage between two approaches.",
    "points": "Points along either side of the grid.",
    "Landmark.name": "Name under which the image is kept.",
    "ReturnTo.name": "Name of the landmark.",
    "note": "What is said about the new pipette.",
    # Twin
    "seed": "Seed of every random number.",
    "specimen_seed": ("Seed of the specimen alone, so that repeats differ in their noise only.", 3),
    "terms": ("Which terms of the physics act on the pipette current.", {"convection": False}),
    "faults": ("Faults that happen at their time.", [{"fault": "clog", "at_s": 100}]),
    "ohmic": "Whether the potential drop in the bath acts.",
    "salt": "Whether the salt that the cell takes up and releases acts.",
    "convection": "Whether the bath is stirred by density differences.",
    "fault": "Which fault.",
    "at_s": "When it begins.",
    "FaultSettings.for_s": ("How long it lasts; to the end of the run where it is left out.", 60),
    "pct_per_min": ("Drift of the pipette current, which leaves the heights as they are.", 5),
    "share": ("Share of the pipette current that is lost.", 0.6),
    "rise_s": ("Time in which a clog forms.", 0.05),
    "rise_nm": ("How far the surface jumps up in a crash.", 3000),
    "FaultSettings.radius_nm": ("Radius of the tip after it breaks.", 100),
    "flicker_Hz": ("How often it comes and goes.", 5),
    "tau_s": ("Time constant of the fouling.", 60),
    "amplitude_mV": ("Size of the reference electrode's jumps.", 20),
    "latency_ms": ("Delay of the potentiostat's answers.", 100),
    "skew_ppm": ("By how much the potentiostat's clock runs fast.", 1000),
}
