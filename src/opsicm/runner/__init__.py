"""The one loop that turns an experiment into facts."""
