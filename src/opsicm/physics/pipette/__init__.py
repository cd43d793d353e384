"""The nanopipette: geometry, approach curves from finite elements, ion current."""
