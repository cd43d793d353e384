"""From a run or a third-party file to results and views: the only layer that opens files for analysis."""
