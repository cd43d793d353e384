"""`python -m opsicm` is `opsicm`."""

from opsicm.app.cli import entry

entry()
