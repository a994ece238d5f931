"""Every method that `--distillation=name[@teacher][:weight]` can name."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from kd_tfrs import distillation as kd
from kd_tfrs.workflow import methods
from kd_tfrs.workflow.methods import Build, Method, of_kind
from kd_tfrs.workflow.naming import Named, parse_method
from kd_tfrs.workflow.retrieval.config import DistillationOptions
from kd_tfrs.workflow.retrieval.method_setting import Setting

if TYPE_CHECKING:
    from kd_tfrs.distillation import (
        DistillationLoss,
        DistillationTerm,
        FeatureLoss,
    )
    from kd_tfrs.distillation.retrieval import Teacher
    from kd_tfrs.distillation.schedules import Scheduled

SIDES = ("query", "candidate")
# Sizes where neither the options nor the method have others.
_SIZES = {"top_k": 200, "num_random": 512, "num_queries": 256}
_TEMPERATURES = {"temperature": (0.3, 0.5, 1.0)}
_SHARP_TEMPERATURES = {"temperature": (0.3, 0.4, 0.5)}
# A sample of the list and of the rest beyond it, as in the authors' code.
_RANKED = {"top_k": 500, "num_random": 40}
# The draw by rank alone.
_DRAWN = {"top_k": 100, "num_random": 0}
# Few queries a step: each one compares every item.
_ALL = {"num_queries": 128}
_NUM_GROUPS = 4
_NUM_PAIRS = 30
# Items of a user whose order a projection has to keep.
_NUM_PREFERRED = 5


def _over(own: str, make: Callable[[Setting], DistillationLoss]) -> Build:
    """A loss over candidates."""
    return lambda s: [kd.DistillationTerm(make(s), s.candidates(own))]


def _soft(
    own: str,
    make: Callable[[Scheduled], DistillationLoss],
    temperature: float = 1.0,
) -> Build:
    """A loss with a temperature over candidates."""
    return _over(own, lambda s: make(s.temperature(temperature)))


def _both(make: Callable[[Setting, str], FeatureLoss]) -> Build:
    """A loss of its own for users and for items."""
    return lambda s: [
        kd.DistillationTerm(make(s, side), s.features(side)) for side in SIDES
    ]


def _features(make: Callable[[], FeatureLoss]) -> Build:
    return _both(lambda s, side: make())


def _combined(*builds: Build) -> Build:
    return lambda s: [term for build in builds for term in build(s)]


_rrd = _over("ranked", lambda s: kd.RelaxedRanking())
_experts = _both(
    # Users and items draw apart.
    lambda s, side: kd.DistillationExperts(
        annealing_steps=max(1, s.num_steps), seed=SIDES.index(side)
    )
)


def _preference_consistent(setting: Setting) -> list[DistillationTerm]:
    return [
        kd.DistillationTerm(
            kd.PreferenceConsistentHint(),
            setting.list_features(_NUM_PREFERRED),
        )
    ]


def _item_side(setting: Setting) -> list[DistillationTerm]:
    return [kd.DistillationTerm(kd.RelaxedRanking(), setting.item_side())]


def _unbiased(setting: Setting) -> kd.UnbiasedPairs:
    groups = min(_NUM_GROUPS, setting.num_items)
    return kd.UnbiasedPairs(
        kd.popularity_groups(setting.item_events, groups),
        pairs_per_group=-(-_NUM_PAIRS // groups),
    )


_RESPONSE = {
    "soft_targets": Method(
        "KL between the softmaxes over the teacher's list and random items",
        "Hinton, Vinyals and Dean 2015",
        _soft("top_k", lambda t: kd.SoftTargets(t)),
        "the default choice: most of the gain at a small cost",
        tunes=_TEMPERATURES,
    ),
    "soft_targets_all": Method(
        "KL between the softmaxes over the whole catalogue, at a low T",
        "Hinton, Vinyals and Dean 2015; T is ours",
        _soft("all", lambda t: kd.SoftTargets(t), 0.4),
        "the best result, where a step may cost three times as much",
        _ALL,
        _SHARP_TEMPERATURES,
    ),
    "soft_targets_in_batch": Method(
        "KL between the softmaxes over the candidates of the batch",
        "Hinton, Vinyals and Dean 2015",
        _soft("in_batch", lambda t: kd.SoftTargets(t)),
        "without lists of the teacher; learns more slowly than with them",
        tunes=_TEMPERATURES,
    ),
    "soft_label_likelihood": Method(
        "log likelihood of the teacher's soft labels",
        "Hinton, Vinyals and Dean 2015, T = 1",
        _over("top_k", lambda s: kd.SoftLabelLikelihood()),
        "the gradient of soft_targets at T = 1",
    ),
    "teacher_hard_label": Method(
        "cross entropy with the teacher's best candidate",
        "Hinton, Vinyals and Dean 2015, T -> 0",
        _over("top_k", lambda s: kd.TeacherHardLabel()),
        "as a baseline; one item a user carries little information",
    ),
    "score_regression": Method(
        "squared difference of the scores",
        "Ba and Caruana 2014",
        _over("top_k", lambda s: kd.ScoreRegression()),
        "scores themselves have to agree, as for a threshold",
    ),
    "margin_mse": Method(
        "squared difference of the margins to the target",
        "Hofstaetter et al. 2020",
        _over("in_batch", lambda s: kd.MarginMSE()),
        "teachers that score pairs of the batch alone",
    ),
    "binary_soft_targets": Method(
        "binary cross entropy of each candidate's sigmoid",
        "Zhu et al. 2020",
        _soft("top_k", lambda t: kd.BinarySoftTargets(t)),
        "each score has to be a probability of its own",
    ),
    "decoupled": Method(
        "KL of the target's probability and KL of the others, weighted apart",
        "Zhao et al. 2022 (DKD)",
        _soft(
            "in_batch", lambda t: kd.DecoupledSoftTargets(temperature=t), 4.0
        ),
        "as a baseline; made for a few classes, not for a catalogue",
        tunes={"temperature": (1.0, 4.0)},
    ),
    "dist": Method(
        "correlation of the probabilities, by row and by column",
        "Huang et al. 2022 (DIST)",
        _soft("top_k", lambda t: kd.CorrelationLoss(temperature=t)),
        "equal to soft_targets here; made for far stronger teachers",
        tunes=_TEMPERATURES,
    ),
    "jensen_shannon": Method(
        "bounded divergence, from both sides",
        "Lin 1991; Agarwal et al. 2024 (GKD)",
        _soft("top_k", lambda t: kd.JensenShannon(temperature=t)),
        "the first choice: the best of the methods on lists",
        tunes=_TEMPERATURES,
    ),
    "jensen_shannon_all": Method(
        "bounded divergence over the whole catalogue, at a low T",
        "Lin 1991; Agarwal et al. 2024 (GKD); T is ours",
        _soft("all", lambda t: kd.JensenShannon(temperature=t), 0.4),
        "as a baseline; soft_targets_all is better at a lower cost",
        _ALL,
        _SHARP_TEMPERATURES,
    ),
}

_LIST_WISE = {
    "rd": Method(
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
        "as a baseline; a longer list is better",
        {"top_k": 10, "num_random": 100},
    ),
    "cd": Method(
        "binary soft targets on items drawn by rank",
        "Lee et al. 2019 (CD)",
        _soft("ranked", lambda t: kd.BinarySoftTargets(t)),
        "as a baseline; rrd is better at the same cost",
        _DRAWN,
    ),
    "rrd": Method(
        "likelihood of the teacher's order of drawn items, above random ones",
        "Kang et al. 2020 (DE-RRD)",
        _rrd,
        "steps have to be cheap, or only the teacher's order is meaningful",
        _RANKED,
        {"rank_decay": (10.0, 40.0), "num_random": (40, 512)},
    ),
    "rrd_top_k": Method(
        "rrd on the teacher's whole list",
        "Kang et al. 2020, without the draw",
        _over("top_k", lambda s: kd.RelaxedRanking()),
        "Recall of long lists matters more than NDCG",
    ),
    "rrd_item_side": Method(
        "rrd on the teacher's order of users for an item, half as many",
        "Kang et al. 2022 (IR-RRD)",
        _item_side,
        "beside a method on the user side, for items with few events",
        _RANKED,
    ),
    "rrd_both_sides": Method(
        "rrd, and rrd_item_side at half the weight",
        "Kang et al. 2022 (IR-RRD)",
        _combined(_rrd, _item_side),
        "Recall matters most: higher than that of rrd",
        _RANKED,
        shares=(2 / 3, 1 / 3),
    ),
    "dcd": Method(
        "items that the student ranks too high or too low, by discrepancy",
        "Lee and Kim 2021 (DCD)",
        _over("top_k", lambda s: kd.DualCorrection(s.num_items)),
        "as a baseline; learns little early in training",
    ),
    "unkd": Method(
        "pairs in the teacher's order among equally popular items",
        "Chen et al. 2023 (UnKD)",
        _over("top_k", _unbiased),
        "the teacher has a popularity bias; a small gain here",
    ),
    "rce": Method(
        "cross entropy on sets that close the student's top",
        "Zhu and Zhang 2025 (RCE-KD)",
        _soft("top_k", lambda t: kd.RejuvenatedCrossEntropy(t)),
        "short lists: 50 items give what soft_targets gives with 200",
        {"top_k": 50},
        _TEMPERATURES,
    ),
    "dllm2rec": Method(
        "log loss on the teacher's top, weighted by rank, confidence, "
        "consistency",
        "Cui et al. 2024 (DLLM2Rec)",
        _over("top_k", lambda s: kd.ImportanceWeightedRanking(s.num_items)),
        "as a baseline; made for a language model's few best items",
        {"top_k": 10, "num_random": 100},
    ),
    "easy_to_hard": Method(
        "the list above the rest first, its order later",
        "Kang et al. 2023 (HetComp)",
        _over("top_k", lambda s: kd.EasyToHard(s.num_steps // 2)),
        "a little more Recall than rrd, and a little less NDCG",
        {"top_k": 100},
    ),
    "lambda": Method(
        "pairs in the teacher's order, weighted by a swap's change of NDCG",
        "Burges et al. 2006 (LambdaRank), gains by the teacher's rank",
        _over("ranked", lambda s: kd.LambdaDistill()),
        "as a baseline; low Recall, since only the top ranks have weight",
        _DRAWN,
    ),
    "list_mle": Method(
        "likelihood of the teacher's order of a short list",
        "Xia et al. 2008 (ListMLE), top k",
        _over("top_k", lambda s: kd.RelaxedRanking(name="list_mle")),
        "only the order is known; rrd adds random items to it",
        {"top_k": 50, "num_random": 0},
    ),
    "ranknet": Method(
        "the teacher's preference in pairs of candidates",
        "Burges et al. 2005, with soft labels",
        _soft("top_k", lambda t: kd.RankNetDistillation(temperature=t)),
        "the teacher gives preferences between pairs instead of scores",
    ),
}

_FEATURES = {
    "hint": Method(
        "squared distance after a learned projection",
        "Romero et al. 2015 (FitNets)",
        _features(lambda: kd.Hint()),
        "beside a loss on scores; alone it learns slowly",
    ),
    "normalized_hint": Method(
        "squared distance of unit vectors after a learned projection",
        "Romero et al. 2015, on unit vectors",
        _features(lambda: kd.Hint(normalize=True)),
        "as hint, where the lengths of embeddings differ",
    ),
    "vkd": Method(
        "smooth L1 distance after a learned orthogonal projection",
        "Miles et al. 2024 (VkD)",
        _features(lambda: kd.OrthogonalHint()),
        "beside a loss on scores; alone the fastest of the features",
    ),
    "pckd": Method(
        "a hint whose projections keep the student's order of items",
        "Zhu and Zhang 2025 (PCKD)",
        _preference_consistent,
        "beside a loss on scores; alone it learns slowly",
        {"top_k": 100},
    ),
    "de": Method(
        "a hint through experts, one chosen for each user or item",
        "Kang et al. 2020 (DE)",
        _experts,
        "beside rrd; alone it needs many epochs",
    ),
    "de_rrd": Method(
        "distillation experts and relaxed ranking together",
        "Kang et al. 2020 (DE-RRD)",
        _combined(_rrd, _experts),
        "as a baseline; rrd alone is better at a lower cost",
        _RANKED,
    ),
    "freqd": Method(
        "a hint with more weight on what neighbours share",
        "Zhu and Zhang 2025 (FreqD)",
        _both(lambda s, side: kd.FrequencyHint(s.neighbours(side))),
        "beside a loss on scores, as hint, at a higher cost",
    ),
    "crd": Method(
        "both models' embedding of one entity close, of others far",
        "Tian et al. 2020 (CRD), negatives of the batch",
        _features(lambda: kd.ContrastiveRepresentation()),
        "beside a loss on scores; alone slightly better than hints",
    ),
    "vid": Method(
        "a hint with a learned variance for each unit",
        "Ahn et al. 2019 (VID)",
        _features(lambda: kd.VariationalInformation()),
        "beside a loss on scores, as hint",
    ),
    "binary_hint": Method(
        "binary soft targets on items drawn by rank, and a hint",
        "Zhu et al. 2020; Romero et al. 2015",
        _combined(
            _soft("ranked", lambda t: kd.BinarySoftTargets(t)),
            _features(lambda: kd.Hint()),
        ),
        "CTR models, where both are usual",
        _DRAWN,
    ),
}

_RELATIONS = {
    "rkd_distance": Method(
        "distances between pairs",
        "Park et al. 2019 (RKD-D)",
        _features(lambda: kd.RelationalDistance()),
        "beside a loss on scores; alone it learns little",
    ),
    "rkd_angle": Method(
        "angles in triples",
        "Park et al. 2019 (RKD-A)",
        _features(lambda: kd.RelationalAngle()),
        "beside a loss on scores; alone it learns next to nothing",
    ),
    "ftd": Method(
        "all cosine similarities of a batch",
        "Kang et al. 2021 (FTD)",
        _features(lambda: kd.FullTopology()),
        "beside a loss on scores",
    ),
    "htd": Method(
        "similarities between groups and within them",
        "Kang et al. 2021 (HTD)",
        _both(
            lambda s, side: kd.HierarchicalTopology(
                annealing_steps=max(1, s.num_steps), seed=SIDES.index(side)
            )
        ),
        "beside a loss on scores, for large batches",
    ),
    "sp": Method(
        "similarities, each row of unit length",
        "Tung and Mori 2019 (SP)",
        _features(lambda: kd.SimilarityPreserving()),
        "beside a loss on scores, without a learned projection",
    ),
    "cckd": Method(
        "values of a Gaussian kernel between pairs",
        "Peng et al. 2019 (CCKD)",
        _features(lambda: kd.CorrelationCongruence()),
        "beside a loss on scores, without a learned projection",
    ),
    "pkt": Method(
        "similarities to the rows of the batch as probabilities",
        "Passalis and Tefas 2018 (PKT)",
        _features(lambda: kd.ProbabilisticTransfer()),
        "beside a loss on scores, without a learned projection",
    ),
    "nst": Method(
        "distributions of the units' activations",
        "Huang and Wang 2017 (NST)",
        _features(lambda: kd.NeuronSelectivity()),
        "beside a loss on scores, layers of any width",
    ),
}

_ADVERSARIAL = {
    "discriminator": Method(
        "a discriminator between teacher and student embeddings (GAN)",
        "Wang et al. 2018",
        _features(lambda: kd.FeatureDiscriminator()),
        "as a baseline; unstable, and it learns little",
    ),
    "soft_targets_discriminator": Method(
        "soft targets and the discriminator together",
        "the form CE(soft labels) + lambda D",
        _combined(
            _soft("top_k", lambda t: kd.SoftTargets(t)),
            _features(lambda: kd.FeatureDiscriminator()),
        ),
        "as a baseline; soft_targets alone is better",
        tunes=_TEMPERATURES,
    ),
    "adversarial_soft_targets": Method(
        "soft targets under the worst small noise on the teacher's scores",
        "after Goodfellow et al. 2015 and Wang et al. 2018",
        _soft("top_k", lambda t: kd.AdversarialSoftTargets(temperature=t)),
        "equal to soft_targets here: no gain from the noise",
    ),
}

_ADAPTIVE = {
    "curriculum_temperature": Method(
        "a temperature that is learned against the student",
        "Li et al. 2023 (CTKD)",
        _over(
            "top_k",
            lambda s: kd.CurriculumTemperature(
                curriculum_steps=max(1, s.num_steps // 3)
            ),
        ),
        "the temperature is not tuned; T = 1 is better here",
    ),
    "confidence_weighted": Method(
        "soft targets with more weight where the teacher is confident",
        "after Zhang et al. 2022 (CA-MKD)",
        _soft("top_k", lambda t: kd.ConfidenceWeighted(kd.SoftTargets(t))),
        "equal to soft_targets here; for users with uncertain scores",
        tunes=_TEMPERATURES,
    ),
    "gap_weighted": Method(
        "soft targets with more weight where the student differs more",
        "after Lin et al. 2017 (focal loss)",
        _soft("top_k", lambda t: kd.GapWeighted(kd.SoftTargets(t))),
        "some users have a high loss; equal to soft_targets here",
        tunes=_TEMPERATURES,
    ),
    "gated": Method(
        "a learned gate weights the teachers of an ensemble for each user",
        "Zhu et al. 2020",
        _over(
            "in_batch",
            lambda s: kd.GatedSoftTargets(
                s.num_teachers, temperature=s.temperature(1.0)
            ),
        ),
        "teachers of unequal quality; it needs events, as in_batch does",
        teacher="ensemble",
    ),
}

METHODS: dict[str, Method] = {
    **of_kind("response", _RESPONSE),
    **of_kind("list-wise", _LIST_WISE),
    **of_kind("features", _FEATURES),
    **of_kind("relations", _RELATIONS),
    **of_kind("adversarial", _ADVERSARIAL),
    **of_kind("adaptive", _ADAPTIVE),
}
parse_retrieval_method = functools.partial(parse_method, known=METHODS)


def build_terms(
    names: Sequence[str],
    setting: Setting,
    teacher: Callable[[str], Teacher | None] = lambda name: None,
) -> tuple[list[DistillationTerm], list[float]]:
    """Terms and weights for the `Distiller`.

    Args:
        names: as on the command line, `name[@teacher][:weight]`.
        setting: see `Setting`.
        teacher: the teacher of a name; `None` for the run's own.

    Returns:
        Terms and weights. A method of several terms shares its weight.

    Raises:
        UserError: a method is unknown, or its weight is no number.

    Example:
    ```python
    terms, weights = build_terms(["soft_targets:0.8", "hint:0.1"], setting)
    ```
    """

    def make(named: Named) -> list[DistillationTerm]:
        method = METHODS[named.method]
        own = teacher(named.teacher or method.teacher)
        its_setting = dataclasses.replace(
            setting,
            options=_with_sizes(method, setting.options),
            num_teachers=len(getattr(own, "teachers", ())) or 1,
        )
        return [
            dataclasses.replace(term, teacher=own)
            for term in method.terms(its_setting)
        ]

    return methods.build_terms(names, parse_retrieval_method, METHODS, make)


def longest_list(options: DistillationOptions) -> int:
    """How long the teacher's lists have to be for all methods at once.

    Raises:
        UserError: a method is unknown.
    """
    chosen = (METHODS[parse_retrieval_method(x).method] for x in options.losses)
    return max(_with_sizes(method, options).top_k for method in chosen)


def documented_terms(name: str) -> list[DistillationTerm]:
    """The terms of a method with its own defaults, for a table of them."""
    rows, method = np.arange(1, 1001, dtype=np.int32), METHODS[name]
    options = _with_sizes(method, DistillationOptions())
    sizes = rows, rows - 1, 1001, 1000
    return method.terms(Setting(options, 1000, *sizes, num_teachers=2))


def _with_sizes(
    method: Method, options: DistillationOptions
) -> DistillationOptions:
    """Sets sizes that are not given to those of the method."""
    own = {**_SIZES, **method.defaults}
    unset = {n: own[n] for n in _SIZES if getattr(options, n) is None}
    return dataclasses.replace(options, **unset)
