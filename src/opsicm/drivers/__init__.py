"""Drivers of instruments, one file each: a device with the methods of its role, its settings, its `Driver`.

A file here becomes known by one line in `BUILT_IN` of `cli/rigs.py`; docs/explanations/drivers.md shows one.
"""
