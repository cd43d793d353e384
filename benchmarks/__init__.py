"""The performance table, one file a row: `make bench`, `opsicm bench`, or `python -m benchmarks --only hop`."""
