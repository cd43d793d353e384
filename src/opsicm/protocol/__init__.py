"""Words for what should happen: frozen models of an experiment, read from and written to YAML."""
