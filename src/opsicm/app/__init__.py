"""The command line, and the only place that says real or twin."""
