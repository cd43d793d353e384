"""A self-contained HTML document made from a run file and nothing else."""
