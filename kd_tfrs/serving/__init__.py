"""Serving of exported models."""

from kd_tfrs.serving.recommender import (
    Candidates,
    Ranker,
    Recommender,
    Retriever,
)

__all__ = ["Candidates", "Ranker", "Recommender", "Retriever"]
