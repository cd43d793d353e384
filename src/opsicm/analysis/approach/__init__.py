"""Approach curves: fit, finite-element template, hops detected in raw traces."""
