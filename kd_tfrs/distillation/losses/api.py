"""All names of `kd_tfrs.distillation.losses`."""

from kd_tfrs.distillation.losses.adversarial_soft_targets import (
    AdversarialSoftTargets,
)
from kd_tfrs.distillation.losses.attention_transfer import AttentionTransfer
from kd_tfrs.distillation.losses.base import (
    DistillationLoss,
    Untempered,
    masked_log_softmax,
    masked_mean,
)
from kd_tfrs.distillation.losses.binary_soft_targets import BinarySoftTargets
from kd_tfrs.distillation.losses.contrastive import ContrastiveRepresentation
from kd_tfrs.distillation.losses.correlation_congruence import (
    CorrelationCongruence,
)
from kd_tfrs.distillation.losses.curriculum_temperature import (
    CurriculumTemperature,
)
from kd_tfrs.distillation.losses.decoupled import DecoupledSoftTargets
from kd_tfrs.distillation.losses.discriminator import FeatureDiscriminator
from kd_tfrs.distillation.losses.dist import CorrelationLoss
from kd_tfrs.distillation.losses.dual_correction import DualCorrection
from kd_tfrs.distillation.losses.easy_to_hard import EasyToHard
from kd_tfrs.distillation.losses.experts import DistillationExperts
from kd_tfrs.distillation.losses.feature_base import FeatureLoss
from kd_tfrs.distillation.losses.frequency import FrequencyHint
from kd_tfrs.distillation.losses.gated import GatedSoftTargets
from kd_tfrs.distillation.losses.hint import Hint
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.distillation.losses.jensen_shannon import JensenShannon
from kd_tfrs.distillation.losses.lambda_distill import LambdaDistill
from kd_tfrs.distillation.losses.margin_mse import MarginMSE
from kd_tfrs.distillation.losses.neuron_selectivity import NeuronSelectivity
from kd_tfrs.distillation.losses.probabilistic import ProbabilisticTransfer
from kd_tfrs.distillation.losses.ranking_distillation import RankingDistillation
from kd_tfrs.distillation.losses.ranknet import RankNetDistillation
from kd_tfrs.distillation.losses.rejuvenated import RejuvenatedCrossEntropy
from kd_tfrs.distillation.losses.relational import (
    RelationalAngle,
    RelationalDistance,
)
from kd_tfrs.distillation.losses.relaxed_ranking import RelaxedRanking
from kd_tfrs.distillation.losses.response import (
    ScoreRegression,
    SoftLabelLikelihood,
    SoftTargets,
    TeacherHardLabel,
)
from kd_tfrs.distillation.losses.similarity_preserving import (
    SimilarityPreserving,
)
from kd_tfrs.distillation.losses.topology import (
    FullTopology,
    HierarchicalTopology,
)
from kd_tfrs.distillation.losses.unbiased import (
    UnbiasedPairs,
    popularity_groups,
)
from kd_tfrs.distillation.losses.variational import VariationalInformation
from kd_tfrs.distillation.losses.weighting import (
    ConfidenceWeighted,
    GapWeighted,
)

__all__ = [name for name in dir() if not name.startswith("_")]
