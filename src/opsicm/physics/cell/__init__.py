"""The electrochemical cell: a graphite electrode and the bath above it, solved together."""
