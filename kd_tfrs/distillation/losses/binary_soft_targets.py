"""Binary soft targets of single candidates, as in click prediction."""

from __future__ import annotations

import tensorflow as tf

from kd_tfrs.distillation.losses.base import DistillationLoss, masked_mean
from kd_tfrs.distillation.losses.inputs import LossInputs


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class BinarySoftTargets(DistillationLoss):
    r"""Cross entropy of the sigmoids of every candidate.

    $$l = -\frac{T^2}{|C|} \sum_{j \in C} p_j \log q_j
    + (1 - p_j) \log (1 - q_j), \quad
    p = \sigma(t / T), \; q = \sigma(s / T)$$

    Unlike `SoftTargets`, it sees how high the scores are and not only how
    they differ, so that both models should speak in logits of the same kind.
    Its least value is the teacher's own entropy, a constant without gradient,
    and not 0.

    Args:
        temperature: $T$, at least 0.001; a number or a Keras schedule.
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: `temperature` is out of range.

    Example:
    >>> loss = BinarySoftTargets()
    >>> round(float(loss([[0.0, 0.0]], [[0.0, 0.0]])), 4)
    0.6931

    References:
        Zhu et al. 2020, "Ensembled CTR Prediction via Knowledge
        Distillation", section 3, the loss on soft labels, written with the
        factor T^2 of Hinton, Vinyals and Dean 2015, section 2.
    """

    uses_single_scores = True

    def per_query(self, inputs: LossInputs) -> tf.Tensor:
        """See `DistillationLoss.per_query`."""
        teacher, student, mask, temperature = inputs[:4]
        entropies = tf.nn.sigmoid_cross_entropy_with_logits(
            labels=tf.sigmoid(teacher / temperature),
            logits=student / temperature,
        )
        return tf.square(temperature) * masked_mean(entropies, mask)
