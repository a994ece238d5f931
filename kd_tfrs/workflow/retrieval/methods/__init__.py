"""Every method that `--distillation=name[@teacher][:weight]` can name."""

from kd_tfrs.workflow.naming import Named, parse_method
from kd_tfrs.workflow.retrieval.methods.auto import AUTO, resolve_auto
from kd_tfrs.workflow.retrieval.methods.base import Method, Setting
from kd_tfrs.workflow.retrieval.methods.features import FEATURES
from kd_tfrs.workflow.retrieval.methods.scores import (
    ADAPTIVE,
    RANKING,
    RESPONSE,
)
from kd_tfrs.workflow.retrieval.methods.table import (
    METHODS,
    build_terms,
    documented_terms,
    longest_list,
)

__all__ = [
    "ADAPTIVE",
    "AUTO",
    "FEATURES",
    "METHODS",
    "RANKING",
    "RESPONSE",
    "Method",
    "Named",
    "Setting",
    "build_terms",
    "documented_terms",
    "longest_list",
    "parse_method",
    "resolve_auto",
]
