"""Readers of files that other people's instruments wrote."""
