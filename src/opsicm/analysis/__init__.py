"""From arrays to results with uncertainty: pure functions."""
