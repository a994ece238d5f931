"""Pairs in the teacher's order, weighted by the change of NDCG."""

from __future__ import annotations

import tensorflow as tf

from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.distillation.losses.list_base import ListLoss
from kd_tfrs.distillation.losses.ranks import list_ranks


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class LambdaDistill(ListLoss):
    r"""Logistic loss of the list's pairs, weighted by the change of NDCG.

    $$l = \frac{1}{Z} \sum_{i < j} |g_i - g_j| \left|
    \frac{1}{\log_2(1 + r_i)} - \frac{1}{\log_2(1 + r_j)} \right|
    \log(1 + e^{s_j - s_i})$$

    over the pairs of the teacher's list, $i$ above $j$. The gain of an item
    falls with its rank in the list, $g_k = (K + 1 - k) / K$, so that only
    the teacher's order counts; $r$ is the student's rank of an item among
    the listed, taken anew at every step and without gradient; $Z$ is the
    largest discounted gain of the list. A pair counts by what the student
    loses when it has it wrong, most of all at its own top.

    LambdaRank takes graded labels for gains. Ranks in their place are ours:
    a teacher's scores may have any size, and its list need not begin at its
    best item.

    Args:
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: it is called on candidates without lists.

    Example:
    ```python
    candidates = RankSampled(num_interesting=40, num_random=0)
    DistillationTerm(LambdaDistill(), candidates)
    ```

    References:
        Burges, Ragno and Le 2006, "Learning to Rank with Nonsmooth Cost
        Functions"; Wang et al. 2018, "The LambdaLoss Framework for Ranking
        Metric Optimization", section on LambdaRank.
    """

    def per_list(self, inputs: LossInputs) -> tf.Tensor:
        """See `ListLoss.per_list`."""
        k = inputs.listed
        scores, mask = inputs.student[:, :k], inputs.mask[:, :k]
        counts = tf.cast(mask, tf.float32)
        gains = counts * (1.0 - tf.range(k, dtype=tf.float32) / k)
        ranks = 1.0 + list_ranks(tf.stop_gradient(scores), mask)
        discounts = _discount(tf.stop_gradient(ranks))
        weights = tf.abs(_differences(gains) * _differences(discounts))
        # Of two listed items the first is the teacher's better one.
        pairs = counts[:, :, tf.newaxis] * counts[:, tf.newaxis, :]
        weights *= tf.linalg.band_part(pairs, 0, -1)
        losses = weights * tf.nn.softplus(-_differences(scores))
        places = tf.cumsum(counts, axis=1)
        best = tf.reduce_sum(gains * _discount(places), axis=1)
        return tf.math.divide_no_nan(tf.reduce_sum(losses, axis=[1, 2]), best)


def _discount(ranks: tf.Tensor) -> tf.Tensor:
    # A masked candidate's rank may be 0, and its discount is multiplied by 0.
    return tf.math.log(2.0) / tf.math.log(1.0 + tf.maximum(ranks, 1.0))


def _differences(values: tf.Tensor) -> tf.Tensor:
    return values[:, :, tf.newaxis] - values[:, tf.newaxis, :]
