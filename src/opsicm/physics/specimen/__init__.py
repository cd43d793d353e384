"""What the pipette scans: surfaces, flakes, drift."""
