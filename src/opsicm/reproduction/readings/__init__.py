"""What a row of the comparison table reads from the runs: one file a kind of experiment."""
