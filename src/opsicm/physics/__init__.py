"""Pure functions of numbers: the pipette, the electrolyte, the cell, the surface and their noise."""
