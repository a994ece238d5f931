"""Readers of public data sets, and of your own files."""
