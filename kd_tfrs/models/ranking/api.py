"""All names of `kd_tfrs.models.ranking`."""

from kd_tfrs.models.ranking.activations import Dice
from kd_tfrs.models.ranking.build import build_ranker
from kd_tfrs.models.ranking.config import (
    ARCHITECTURES,
    EDGE,
    STUDENT,
    TEACHER,
    RankerConfig,
)
from kd_tfrs.models.ranking.heads import ExpertMixture
from kd_tfrs.models.ranking.model import RankingModel
from kd_tfrs.models.ranking.networks.autoint import FieldAttention
from kd_tfrs.models.ranking.networks.deepfm import PairwiseProducts
from kd_tfrs.models.ranking.networks.din import TargetPairs, WeightedHistory
from kd_tfrs.models.ranking.networks.dlrm import FieldDots
from kd_tfrs.models.ranking.task import RankingTask

__all__ = [name for name in dir() if not name.startswith("_")]
