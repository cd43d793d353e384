"""`python -m opsicm` is `opsicm`."""

from opsicm.cli.main import entry

entry()
