"""One file per row of the performance table."""
