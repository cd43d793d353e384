"""The experiment file: frozen models read from and written to YAML, and what each step asks of the instruments."""
