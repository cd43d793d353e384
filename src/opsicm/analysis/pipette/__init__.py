"""The pipette's current: calibration, current-voltage curves, modulation, towers."""
