"""Faults, one file per row of the table: each is injected many times at random moments and what is lost is counted.

python -m faults [--only f03] [--seed N] [--short]
"""
