"""The twin's sample loop: the hop step of instruments/hop.py in compiled lanes, equal to it bit for bit."""
