"""The cell's record: voltammograms, half-cycles, titration, transitions."""
