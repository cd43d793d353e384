"""The run file: written append-only, read lazily."""
