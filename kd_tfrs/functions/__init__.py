"""Functions of a Python program, with the same names for both tasks."""

from kd_tfrs.functions.distilling import Distilled, distill
from kd_tfrs.functions.preparing import build_model, build_teacher, split
from kd_tfrs.functions.shipping import export, quantize, recommend
from kd_tfrs.functions.training import evaluate, fit, prune

__all__ = [
    "Distilled",
    "build_model",
    "build_teacher",
    "distill",
    "evaluate",
    "export",
    "fit",
    "prune",
    "quantize",
    "recommend",
    "split",
]
