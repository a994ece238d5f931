"""Tests of the warnings of a run."""

from kd_tfrs.workflow.cautions import (
    Cautions,
    cautions_markdown,
    nothing_significant,
    teacher_behind,
)

_BOTH = {"auc": False, "log_loss": True}


def test_that_a_warning_is_printed_once_and_kept():
    printed = []
    cautions = Cautions(printed.append)
    for line in ("one", None, "two", "one"):
        cautions.add(line)
    assert cautions.lines == ["one", "two"]
    assert printed == ["warning: one", "warning: two"]
    assert cautions_markdown(cautions.lines) == (
        "* **Warning:** one.\n* **Warning:** two.\n"
    )
    assert cautions_markdown([]) == ""


def test_that_a_teacher_behind_in_one_metric_is_told():
    # Ahead in AUC, of which more is better; behind in log loss, an error.
    teacher = {"auc": 0.96, "log_loss": 0.475}
    text = teacher_behind(
        "LightGBM",
        teacher,
        {"auc": 0.958, "log_loss": 0.245},
        is_error=_BOTH,
        events="validation",
        remedy="--teacher_l2=1e-4",
    )
    assert "(auc 0.960, log_loss 0.475) is behind LightGBM" in text
    assert "(0.958, 0.245) on validation events" in text
    assert text.endswith("try --teacher_l2=1e-4")


def test_that_a_teacher_ahead_or_as_good_is_no_matter():
    same = {"auc": 0.9, "log_loss": 0.3}
    assert teacher_behind("x", same, same, is_error=_BOTH) is None
    better = {"auc": 0.91, "log_loss": 0.29}
    assert teacher_behind("x", better, same, is_error=_BOTH) is None
    # A metric that only one of them has cannot be compared.
    assert teacher_behind("x", {"auc": 1.0}, same, is_error=_BOTH) is None


def test_that_the_tolerance_is_relative():
    # .198 of .2 is 1 % less.
    asked = {"is_error": {"ndcg": False}}
    one, other = {"ndcg": 0.198}, {"ndcg": 0.2}
    assert teacher_behind("x", one, other, tolerance=0.009, **asked)
    assert teacher_behind("x", one, other, tolerance=0.011, **asked) is None


def test_that_a_p_value_below_the_level_is_no_matter():
    assert nothing_significant("auc", 0.049) is None
    assert nothing_significant("auc", None) is None
    assert "p = 0.051" in nothing_significant("auc", 0.051)
