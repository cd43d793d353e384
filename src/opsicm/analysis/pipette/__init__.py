"""The pipette's own steps: calibration, current-voltage curves, modulation, towers."""
