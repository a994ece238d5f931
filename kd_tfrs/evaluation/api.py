"""All names of `kd_tfrs.evaluation`."""

from kd_tfrs.evaluation.comparison_plot import plot_comparison
from kd_tfrs.evaluation.ids import Exclusions
from kd_tfrs.evaluation.latency import measure_in_turns, measure_latency
from kd_tfrs.evaluation.latency_ratio import times_faster, within_noise
from kd_tfrs.evaluation.lead import format_p_value, lead_kept, quality_kept
from kd_tfrs.evaluation.plots import plot_curves, plot_stages
from kd_tfrs.evaluation.report import format_bytes, stages_markdown, stages_text
from kd_tfrs.evaluation.significance import (
    Interval,
    PairedBootstrap,
    PairedTest,
    holm,
    paired_test,
    paired_test_over_seeds,
)
from kd_tfrs.evaluation.size import size_bytes, size_bytes_gzip

__all__ = [name for name in dir() if not name.startswith("_")]
