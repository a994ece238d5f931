"""Readers of data sets of impressions."""
