"""Distillation: teachers, losses, where they listen, and the Distiller."""

from kd_tfrs.distillation.balance import (
    GradientNormBalance,
)
from kd_tfrs.distillation.cache import (
    build_cache,
    load_cache,
)
from kd_tfrs.distillation.cache_manifest import (
    Fingerprint,
)
from kd_tfrs.distillation.curriculum import (
    TrajectoryTeacher,
)
from kd_tfrs.distillation.curriculum_callback import (
    AdvanceCurriculum,
)
from kd_tfrs.distillation.distiller import (
    Distiller,
)
from kd_tfrs.distillation.ensemble import (
    EnsembleTeacher,
)
from kd_tfrs.distillation.initial import (
    project_embeddings,
)
from kd_tfrs.distillation.list_teacher import (
    ListTeacher,
)
from kd_tfrs.distillation.listeners import (
    AllCandidates,
    Features,
    InBatch,
    ItemSide,
    Listener,
    RankSampled,
    Sampled,
    TeacherTopK,
)
from kd_tfrs.distillation.losses import (
    AdversarialSoftTargets,
    AttentionTransfer,
    BinarySoftTargets,
    ConfidenceWeighted,
    ContrastiveRepresentation,
    CorrelationCongruence,
    CorrelationLoss,
    CurriculumTemperature,
    DecoupledSoftTargets,
    DistillationExperts,
    DistillationLoss,
    DualCorrection,
    EasyToHard,
    FeatureDiscriminator,
    FeatureLoss,
    FrequencyHint,
    FullTopology,
    GapWeighted,
    GatedSoftTargets,
    Heard,
    HierarchicalTopology,
    Hint,
    JensenShannon,
    LambdaDistill,
    MarginMSE,
    NeuronSelectivity,
    ProbabilisticTransfer,
    RankingDistillation,
    RankNetDistillation,
    RejuvenatedCrossEntropy,
    RelationalAngle,
    RelationalDistance,
    RelaxedRanking,
    ScoreRegression,
    SimilarityPreserving,
    SoftLabelLikelihood,
    SoftTargets,
    TeacherHardLabel,
    UnbiasedPairs,
    VariationalInformation,
    popularity_groups,
)
from kd_tfrs.distillation.mutual import MutualDistiller
from kd_tfrs.distillation.pair_teacher import (
    PairTeacher,
)
from kd_tfrs.distillation.score_teacher import (
    ScoreTeacher,
)
from kd_tfrs.distillation.teachers import (
    EmbeddingTeacher,
    Teacher,
    TwoTowerTeacher,
)
from kd_tfrs.distillation.terms import (
    Term,
)

__all__ = [
    "AdvanceCurriculum",
    "AdversarialSoftTargets",
    "AllCandidates",
    "AttentionTransfer",
    "BinarySoftTargets",
    "ConfidenceWeighted",
    "ContrastiveRepresentation",
    "CorrelationCongruence",
    "CorrelationLoss",
    "CurriculumTemperature",
    "DecoupledSoftTargets",
    "DistillationExperts",
    "DistillationLoss",
    "Distiller",
    "DualCorrection",
    "EasyToHard",
    "EmbeddingTeacher",
    "EnsembleTeacher",
    "FeatureDiscriminator",
    "FeatureLoss",
    "Features",
    "Fingerprint",
    "FrequencyHint",
    "FullTopology",
    "GapWeighted",
    "GatedSoftTargets",
    "GradientNormBalance",
    "Heard",
    "HierarchicalTopology",
    "Hint",
    "InBatch",
    "ItemSide",
    "JensenShannon",
    "LambdaDistill",
    "ListTeacher",
    "Listener",
    "MarginMSE",
    "MutualDistiller",
    "NeuronSelectivity",
    "PairTeacher",
    "ProbabilisticTransfer",
    "RankNetDistillation",
    "RankSampled",
    "RankingDistillation",
    "RejuvenatedCrossEntropy",
    "RelationalAngle",
    "RelationalDistance",
    "RelaxedRanking",
    "Sampled",
    "ScoreRegression",
    "ScoreTeacher",
    "SimilarityPreserving",
    "SoftLabelLikelihood",
    "SoftTargets",
    "Teacher",
    "TeacherHardLabel",
    "TeacherTopK",
    "Term",
    "TrajectoryTeacher",
    "TwoTowerTeacher",
    "UnbiasedPairs",
    "VariationalInformation",
    "build_cache",
    "load_cache",
    "popularity_groups",
    "project_embeddings",
]
