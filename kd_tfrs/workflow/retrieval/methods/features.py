"""Methods that compare embeddings and hidden outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from kd_tfrs import distillation as kd
from kd_tfrs.workflow.retrieval.methods.base import (
    SIDES,
    Build,
    Method,
    Setting,
)

if TYPE_CHECKING:
    from kd_tfrs.distillation import DistillationTerm, FeatureLoss


def _both(make: Callable[[Setting, str], FeatureLoss]) -> Build:
    """A loss of its own for users and for items."""
    return lambda setting: [
        kd.DistillationTerm(make(setting, side), setting.features(side))
        for side in SIDES
    ]


def _combined(
    scores: Callable[[Setting], DistillationTerm], features: Build
) -> Build:
    return lambda setting: [scores(setting), *features(setting)]


def _ranked(setting: Setting) -> DistillationTerm:
    return kd.DistillationTerm(
        kd.RelaxedRanking(), setting.candidates("ranked")
    )


_experts = _both(
    # Users and items draw apart.
    lambda s, side: kd.DistillationExperts(
        annealing_steps=max(1, s.num_steps), seed=SIDES.index(side)
    )
)
_discriminator = _both(lambda s, side: kd.FeatureDiscriminator())
_RANKED = {"top_k": 100, "num_random": 40}

FEATURES = {
    "hint": Method(
        "features",
        "squared distance after a learned projection",
        "Romero et al. 2015 (FitNets)",
        _both(lambda s, side: kd.Hint()),
        use="beside a loss on scores; alone it teaches slowly",
    ),
    "normalized_hint": Method(
        "features",
        "the same between directions",
        "Romero et al. 2015, on unit vectors",
        _both(lambda s, side: kd.Hint(normalize=True)),
        use="as hint, where the lengths of embeddings differ",
    ),
    "de": Method(
        "features",
        "a hint through experts, one chosen for each user or item",
        "Kang et al. 2020 (DE)",
        _experts,
        use="beside rrd; alone it needs many epochs",
    ),
    "de_rrd": Method(
        "features",
        "distillation experts and relaxed ranking together",
        "Kang et al. 2020 (DE-RRD)",
        _combined(_ranked, _experts),
        _RANKED,
        use="to compare with; rrd alone did better for less",
    ),
    "freqd": Method(
        "features",
        "a hint that weighs what neighbours share more",
        "Zhu and Zhang 2025 (FreqD)",
        _both(lambda s, side: kd.FrequencyHint(s.neighbours(side))),
        use="beside a loss on scores, as hint; it costs more",
    ),
    "crd": Method(
        "features",
        "both models' embedding of one entity close, of others far",
        "Tian et al. 2020 (CRD), negatives of the batch",
        _both(lambda s, side: kd.ContrastiveRepresentation()),
        use="beside a loss on scores; alone a little more than hints",
    ),
    "rkd_distance": Method(
        "relations",
        "distances between pairs",
        "Park et al. 2019 (RKD-D)",
        _both(lambda s, side: kd.RelationalDistance()),
        use="beside a loss on scores; alone it hardly teaches",
    ),
    "rkd_angle": Method(
        "relations",
        "angles in triples",
        "Park et al. 2019 (RKD-A)",
        _both(lambda s, side: kd.RelationalAngle()),
        use="beside a loss on scores; alone it teaches nothing",
    ),
    "ftd": Method(
        "relations",
        "all cosine similarities of a batch",
        "Kang et al. 2021 (FTD)",
        _both(lambda s, side: kd.FullTopology()),
        use="beside a loss on scores",
    ),
    "htd": Method(
        "relations",
        "similarities between groups and within them",
        "Kang et al. 2021 (HTD)",
        _both(lambda s, side: kd.HierarchicalTopology(seed=SIDES.index(side))),
        use="beside a loss on scores, for large batches",
    ),
    "sp": Method(
        "relations",
        "similarities, each row of unit length",
        "Tung and Mori 2019 (SP)",
        _both(lambda s, side: kd.SimilarityPreserving()),
        use="beside a loss on scores; no projection to learn",
    ),
    "cckd": Method(
        "relations",
        "values of a Gaussian kernel between pairs",
        "Peng et al. 2019 (CCKD)",
        _both(lambda s, side: kd.CorrelationCongruence()),
        use="beside a loss on scores; no projection to learn",
    ),
    "pkt": Method(
        "relations",
        "who is a neighbour of whom, as probabilities",
        "Passalis and Tefas 2018 (PKT)",
        _both(lambda s, side: kd.ProbabilisticTransfer()),
        use="beside a loss on scores; no projection to learn",
    ),
    "vid": Method(
        "features",
        "a hint with a learned variance for each unit",
        "Ahn et al. 2019 (VID)",
        _both(lambda s, side: kd.VariationalInformation()),
        use="beside a loss on scores, as hint",
    ),
    "nst": Method(
        "relations",
        "distributions of the units' activations",
        "Huang and Wang 2017 (NST)",
        _both(lambda s, side: kd.NeuronSelectivity()),
        use="beside a loss on scores, layers of any width",
    ),
    "discriminator": Method(
        "adversarial",
        "a discriminator tells whose embedding it is, and is fooled",
        "Wang et al. 2018",
        _discriminator,
        use="to compare with; unsteady, and it teaches little",
    ),
    "soft_targets_discriminator": Method(
        "adversarial",
        "soft labels and the discriminator together",
        "the form CE(soft labels) + lambda D",
        _combined(
            lambda s: kd.DistillationTerm(
                kd.SoftTargets(s.temperature(1.0)),
                s.candidates("top_k"),
            ),
            _discriminator,
        ),
        tunes={"temperature": (0.3, 0.5, 1.0)},
        use="to compare with; soft_targets alone did better",
    ),
    "binary_hint": Method(
        "features",
        "binary soft targets by rank and a hint, the usual pair for CTR",
        "Zhu et al. 2020; Romero et al. 2015",
        _combined(
            lambda s: kd.DistillationTerm(
                kd.BinarySoftTargets(s.temperature(1.0)),
                s.candidates("ranked"),
            ),
            _both(lambda s, side: kd.Hint()),
        ),
        {"top_k": 100, "num_random": 0},
        use="CTR models, where both are usual",
    ),
}
