"""A self-contained HTML page of a run, of several runs or of a third-party file: the answer first."""
