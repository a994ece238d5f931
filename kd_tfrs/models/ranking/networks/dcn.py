"""DCN-v2: explicit crosses of bounded degree, by TFRS's own layer."""

from __future__ import annotations

import tensorflow_recommenders as tfrs

from kd_tfrs.models.ranking.body import Body, field_vectors, stack
from kd_tfrs.models.ranking.config import RankerConfig
from kd_tfrs.models.ranking.fields import Fields

_LAYERS = 2


def dcn(fields: Fields, config: RankerConfig, num_tasks: int) -> Body:
    r"""Cross layers before or beside a perceptron; see `Architecture`.

    $$x_{l+1} = x_0 \odot (W_l x_l + b_l) + x_l, \qquad
    W_l = U_l V_l^\top \;\text{(low rank)}$$

    If stacked, the input of the perceptron is the last $x_l$. In parallel, it
    is $x_0$, and the heads have the last layer of the perceptron and $x_l$ as
    inputs.

    References:
        Wang et al. 2021, "DCN V2: Improved Deep & Cross Network and Practical
        Lessons for Web-scale Learning to Rank Systems", eq. 1 and 2.
    """
    flat, embeddings = stack(field_vectors(fields), config.l2)
    x = flat
    for i in range(config.cross_layers or _LAYERS):
        cross = tfrs.layers.dcn.Cross(
            projection_dim=config.projection_dim, name=f"cross_{i}"
        )
        x = cross(flat, x)
    if config.stacked:
        return Body(embeddings, x, interaction=x)
    return Body(embeddings, flat, beside=x, interaction=x)
