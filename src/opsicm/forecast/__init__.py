"""The forecast of a run that `check` prints: duration, file size, signals, noise and problems."""
