"""Drivers of instruments, one file each: a device with the methods of its role, its settings, its `Driver`.

Register a new file here by one line in `BUILT_IN` of `cli/rigs.py`; docs/explanations/drivers.md shows an example.
"""
