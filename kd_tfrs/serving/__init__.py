"""Serving: what answers a request."""

from kd_tfrs.serving.recommender import Ranker, Recommender, Retriever

__all__ = ["Ranker", "Recommender", "Retriever"]
