"""Methods that compare scores: responses, rankings, and what adapts them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from kd_tfrs import distillation as kd
from kd_tfrs.workflow.retrieval.methods.base import Build, Method, Setting

if TYPE_CHECKING:
    from kd_tfrs.distillation import DistillationLoss, DistillationTerm

_TEMPERATURES = {"temperature": (0.3, 0.5, 1.0)}
# A sample of the list and of the rest, as the ranking papers take it.
_RANKED = {"top_k": 100, "num_random": 40}
# The draw by rank alone.
_DRAWN = {"top_k": 100, "num_random": 0}
# Few queries a step: each one compares every item.
_ALL = {"num_queries": 128}
_NUM_GROUPS = 4


def _over(own: str, make: Callable[[Setting], DistillationLoss]) -> Build:
    return lambda setting: [
        kd.DistillationTerm(make(setting), setting.candidates(own))
    ]


def _item_side(setting: Setting) -> list[DistillationTerm]:
    return [kd.DistillationTerm(kd.RelaxedRanking(), setting.item_side())]


def _both_sides(setting: Setting) -> list[DistillationTerm]:
    users = kd.DistillationTerm(
        kd.RelaxedRanking(), setting.candidates("ranked")
    )
    return [users, *_item_side(setting)]


RESPONSE = {
    "soft_targets": Method(
        "response",
        "KL between the softmaxes over the teacher's list and random items",
        "Hinton, Vinyals and Dean 2015",
        _over("top_k", lambda s: kd.SoftTargets(s.temperature(1.0))),
        tunes=_TEMPERATURES,
        use="the plain choice: most of the gain at a small cost",
    ),
    "soft_targets_all": Method(
        "response",
        "the same over the whole catalogue, with a sharper softmax",
        "Hinton, Vinyals and Dean 2015; T is ours",
        _over("all", lambda s: kd.SoftTargets(s.temperature(0.4))),
        _ALL,
        {"temperature": (0.3, 0.4, 0.5)},
        use="the best result, where a step may cost three times as much",
    ),
    "soft_targets_in_batch": Method(
        "response",
        "the same over the candidates of the batch",
        "Hinton, Vinyals and Dean 2015",
        _over("in_batch", lambda s: kd.SoftTargets(s.temperature(1.0))),
        tunes=_TEMPERATURES,
        use="no lists at hand; slower to teach than with lists",
    ),
    "soft_label_likelihood": Method(
        "response",
        "log likelihood of the teacher's soft labels",
        "Hinton, Vinyals and Dean 2015, T = 1",
        _over("top_k", lambda s: kd.SoftLabelLikelihood()),
        use="the gradient of soft_targets at T = 1",
    ),
    "teacher_hard_label": Method(
        "response",
        "cross entropy with the teacher's best candidate",
        "Hinton, Vinyals and Dean 2015, T -> 0",
        _over("top_k", lambda s: kd.TeacherHardLabel()),
        use="to compare with; one item says too little",
    ),
    "score_regression": Method(
        "response",
        "squared difference of the scores",
        "Ba and Caruana 2014",
        _over("top_k", lambda s: kd.ScoreRegression()),
        use="scores themselves have to agree, as for a threshold",
    ),
    "margin_mse": Method(
        "response",
        "squared difference of the margins to the target",
        "Hofstaetter et al. 2020",
        _over("in_batch", lambda s: kd.MarginMSE()),
        use="for teachers that score pairs of the batch alone",
    ),
    "binary_soft_targets": Method(
        "response",
        "cross entropy of each candidate's own yes or no",
        "Zhu et al. 2020",
        _over(
            "top_k",
            lambda s: kd.BinarySoftTargets(s.temperature(1.0)),
        ),
        use="each score has to be a probability of its own",
    ),
    "decoupled": Method(
        "response",
        "KL of the target's share and of all others, weighted apart",
        "Zhao et al. 2022 (DKD)",
        _over(
            "in_batch",
            lambda s: kd.DecoupledSoftTargets(temperature=s.temperature(4.0)),
        ),
        tunes={"temperature": (1.0, 4.0)},
        use="to compare with; catalogues are not a few classes",
    ),
    "dist": Method(
        "response",
        "correlation of the probabilities, by row and by column",
        "Huang et al. 2022 (DIST)",
        _over(
            "top_k",
            lambda s: kd.CorrelationLoss(temperature=s.temperature(1.0)),
        ),
        tunes=_TEMPERATURES,
        use="as soft_targets here; meant for far stronger teachers",
    ),
    "jensen_shannon": Method(
        "response",
        "bounded divergence, from both sides",
        "Lin 1991; Agarwal et al. 2024 (GKD)",
        _over(
            "top_k",
            lambda s: kd.JensenShannon(temperature=s.temperature(1.0)),
        ),
        tunes=_TEMPERATURES,
        use="the first choice: the best of the methods on lists",
    ),
    "jensen_shannon_all": Method(
        "response",
        "the same over the whole catalogue, with a sharper softmax",
        "Lin 1991; Agarwal et al. 2024 (GKD); T is ours",
        _over(
            "all",
            lambda s: kd.JensenShannon(temperature=s.temperature(0.4)),
        ),
        _ALL,
        {"temperature": (0.3, 0.4, 0.5)},
        use="to compare with; soft_targets_all does better for less",
    ),
}

RANKING = {
    "rd": Method(
        "ranking",
        "log loss on the teacher's top, weighted by rank and discrepancy",
        "Tang and Wang 2018 (RD)",
        _over(
            "top_k",
            lambda s: kd.RankingDistillation(
                # A short run should not end in the warm-up.
                s.num_items,
                warm_up_steps=min(1000, s.num_steps // 4),
            ),
        ),
        {"top_k": 10, "num_random": 100},
        use="to compare with; a short list says less than a long one",
    ),
    "cd": Method(
        "ranking",
        "binary soft targets on items drawn by rank",
        "Lee et al. 2019 (CD)",
        _over(
            "ranked",
            lambda s: kd.BinarySoftTargets(s.temperature(1.0)),
        ),
        _DRAWN,
        use="to compare with; rrd does better for the same cost",
    ),
    "rrd": Method(
        "ranking",
        "the teacher's order of its good items, the others below",
        "Kang et al. 2020 (DE-RRD)",
        _over("ranked", lambda s: kd.RelaxedRanking()),
        _RANKED,
        {"rank_decay": (10.0, 40.0), "num_random": (40, 512)},
        use="a cheap step, or a teacher whose scores mean nothing",
    ),
    "rrd_top_k": Method(
        "ranking",
        "the same on the teacher's whole list",
        "Kang et al. 2020, without the draw",
        _over("top_k", lambda s: kd.RelaxedRanking()),
        use="one wants depth more than the top: Recall before NDCG",
    ),
    "rrd_item_side": Method(
        "ranking",
        "the teacher's order of the good users of an item",
        "Kang et al. 2022 (IR-RRD)",
        _item_side,
        _RANKED,
        use="beside a user side, for items that few know",
    ),
    "rrd_both_sides": Method(
        "ranking",
        "both of them",
        "Kang et al. 2022 (IR-RRD)",
        _both_sides,
        _RANKED,
        use="rrd where Recall counts: higher than by users alone",
    ),
    "dcd": Method(
        "ranking",
        "corrects what the student ranks too high or too low",
        "Lee and Kim 2021 (DCD)",
        _over("top_k", lambda s: kd.DualCorrection(s.num_items)),
        use="to compare with; little from the start of training",
    ),
    "unkd": Method(
        "ranking",
        "pairs in the teacher's order among equally popular items",
        "Chen et al. 2023 (UnKD)",
        _over(
            "top_k",
            lambda s: kd.UnbiasedPairs(
                kd.popularity_groups(
                    s.item_events, min(_NUM_GROUPS, s.num_items)
                )
            ),
        ),
        use="popular items crowd out the others; little here",
    ),
    "rce": Method(
        "ranking",
        "cross entropy on sets that close the student's top",
        "Zhu and Zhang 2025 (RCE-KD)",
        _over(
            "top_k",
            lambda s: kd.RejuvenatedCrossEntropy(s.temperature(1.0)),
        ),
        {"top_k": 50},
        _TEMPERATURES,
        use="short lists: 50 do what soft_targets has 200 for",
    ),
    "easy_to_hard": Method(
        "ranking",
        "the list above the rest first, its order later",
        "Kang et al. 2023 (HetComp)",
        _over("ranked", lambda s: kd.EasyToHard(s.num_steps // 2)),
        _RANKED,
        use="as rrd here; Recall a little before NDCG",
    ),
    "lambda": Method(
        "ranking",
        "pairs in the teacher's order, weighed by a swap's change of NDCG",
        "Burges et al. 2006 (LambdaRank), gains by the teacher's rank",
        _over("ranked", lambda s: kd.LambdaDistill()),
        _DRAWN,
        use="to compare with; it forgets all but the very top",
    ),
    "list_mle": Method(
        "ranking",
        "the order of the teacher's short list, nothing else",
        "Xia et al. 2008 (ListMLE), top k",
        _over("top_k", lambda s: kd.RelaxedRanking(name="list_mle")),
        {"top_k": 50, "num_random": 0},
        use="nothing but the order is known; add random items: rrd",
    ),
    "ranknet": Method(
        "ranking",
        "the teacher's preference in pairs of candidates",
        "Burges et al. 2005, with soft labels",
        _over(
            "top_k",
            lambda s: kd.RankNetDistillation(temperature=s.temperature(1.0)),
        ),
        use="one has preferences between pairs, not scores",
    ),
}

ADAPTIVE = {
    "curriculum_temperature": Method(
        "adaptive",
        "a temperature that is learned against the student",
        "Li et al. 2023 (CTKD)",
        _over(
            "top_k",
            lambda s: kd.CurriculumTemperature(
                curriculum_steps=max(1, s.num_steps // 3)
            ),
        ),
        use="no time to look for a temperature; 1 did better",
    ),
    "confidence_weighted": Method(
        "adaptive",
        "soft targets, weighted higher where the teacher is sure",
        "after Zhang et al. 2022 (CA-MKD)",
        _over(
            "top_k",
            lambda s: kd.ConfidenceWeighted(kd.SoftTargets(s.temperature(1.0))),
        ),
        tunes=_TEMPERATURES,
        use="as soft_targets; for teachers unsure of some users",
    ),
    "gap_weighted": Method(
        "adaptive",
        "soft targets, weighted higher where the student is far off",
        "after Lin et al. 2017 (focal loss)",
        _over(
            "top_k",
            lambda s: kd.GapWeighted(kd.SoftTargets(s.temperature(1.0))),
        ),
        tunes=_TEMPERATURES,
        use="some users lag behind; soft_targets did as well here",
    ),
    "adversarial_soft_targets": Method(
        "adversarial",
        "soft targets under the worst small noise on the teacher's scores",
        "after Goodfellow et al. 2015 and Wang et al. 2018",
        _over(
            "top_k",
            lambda s: kd.AdversarialSoftTargets(temperature=s.temperature(1.0)),
        ),
        use="as soft_targets here; the noise bought nothing",
    ),
    "gated": Method(
        "adaptive",
        "a learned gate picks the teacher of an ensemble for each user",
        "Zhu et al. 2020",
        _over(
            "in_batch",
            lambda s: kd.GatedSoftTargets(
                s.num_teachers, temperature=s.temperature(1.0)
            ),
        ),
        teacher="ensemble",
        use="unequal teachers; it uses events, as in_batch does",
    ),
}
