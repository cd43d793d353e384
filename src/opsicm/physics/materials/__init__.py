"""Electrode materials: open-circuit curves, stages, swelling."""
