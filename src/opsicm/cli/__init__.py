"""The command line: one module a command; rigs.py is the only place that says real or twin."""
