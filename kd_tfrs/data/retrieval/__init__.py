"""Batches of events for retrieval models."""
