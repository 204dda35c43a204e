"""Campaigns of faults, one module per kind; each campaign is a function ``(size, folder) -> Tally``."""
