"""Electrode materials: open-circuit curves, swelling, stages. Which materials there are is data (parameter sets)."""
