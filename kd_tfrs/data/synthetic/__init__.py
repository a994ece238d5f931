"""Data sets that are generated: interactions and impressions."""
