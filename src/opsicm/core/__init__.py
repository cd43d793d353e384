"""What every room stands on: errors, units, constants, statistics, compiled kernels, facts."""
