"""Runs of retrieval models."""
