"""Instruments on the wire: what a controller meets is a process of its own, with the twin behind."""
