"""The evaluation of the runs for each row of the comparison table: one module per kind of experiment."""
