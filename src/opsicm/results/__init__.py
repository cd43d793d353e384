"""From a run, or a third-party file, to results and views: the only room that opens files for analysis."""
