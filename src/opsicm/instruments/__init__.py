"""What an instrument must be able to do, how it is wired, and the pure step that judges a hop."""
