"""Ranking networks: each module has a function of its name."""
