"""Workflow: the rooms wired together, from data to an exported model.

`config` is light; the other modules import TensorFlow.
"""
