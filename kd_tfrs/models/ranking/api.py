"""All names of `kd_tfrs.models.ranking`."""

from kd_tfrs.models.ranking.activations import Dice
from kd_tfrs.models.ranking.autoint import FieldAttention
from kd_tfrs.models.ranking.build import build_ranker
from kd_tfrs.models.ranking.config import ARCHITECTURES, RankerConfig
from kd_tfrs.models.ranking.deepfm import PairwiseProducts
from kd_tfrs.models.ranking.din import TargetPairs, WeightedHistory
from kd_tfrs.models.ranking.dlrm import FieldDots
from kd_tfrs.models.ranking.heads import ExpertMixture
from kd_tfrs.models.ranking.model import RankingModel
from kd_tfrs.models.ranking.presets import EDGE, STUDENT, TEACHER
from kd_tfrs.models.ranking.task import RankingTask

__all__ = [
    "ARCHITECTURES",
    "EDGE",
    "STUDENT",
    "TEACHER",
    "Dice",
    "ExpertMixture",
    "FieldAttention",
    "FieldDots",
    "PairwiseProducts",
    "RankerConfig",
    "RankingModel",
    "RankingTask",
    "TargetPairs",
    "WeightedHistory",
    "build_ranker",
]
