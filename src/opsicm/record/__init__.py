"""The run file: written append-only, read lazily; other people's formats."""
