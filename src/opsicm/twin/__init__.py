"""A virtual operando SICM: one world behind thin devices."""
