"""Retrieval and ranking together: what a user gets in the end."""
