"""Comparison of two laws, and of a family of runs with its limit."""
