"""Approach curves: fit, finite-element template, traces with hops found in them."""
