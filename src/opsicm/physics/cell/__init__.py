"""The electrochemical cell: a porous electrode and the bath above it, solved together."""
