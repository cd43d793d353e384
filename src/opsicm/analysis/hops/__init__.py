"""Hops in time: height, expansion, cross-talk, drift."""
