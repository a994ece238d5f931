"""The plain network: embeddings and hidden layers."""

from __future__ import annotations

from kd_tfrs.models.ranking.body import Body, field_vectors, stack
from kd_tfrs.models.ranking.config import RankerConfig
from kd_tfrs.models.ranking.fields import Fields


def dnn(fields: Fields, config: RankerConfig, num_tasks: int) -> Body:
    r"""A perceptron over the concatenated fields; see `Architecture`.

    $$a_0 = [e_1, \ldots, e_F], \quad a_{l+1} = f(W_l a_l + b_l), \quad
    z = w^\top a_L + b$$

    References:
        Covington, Adams and Sargin 2016, "Deep Neural Networks for YouTube
        Recommendations", section 4; Cheng et al. 2016, "Wide & Deep Learning
        for Recommender Systems", eq. 2.
    """
    flat, embeddings = stack(field_vectors(fields), config.l2)
    return Body(embeddings, flat)
