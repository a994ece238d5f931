"""Wide & Deep: a linear model of features and crosses beside a deep one."""

from __future__ import annotations

from kd_tfrs.models.ranking.body import Body, field_vectors, stack
from kd_tfrs.models.ranking.config import RankerConfig
from kd_tfrs.models.ranking.fields import Fields
from kd_tfrs.models.ranking.linear import crossed_terms, linear_terms


def wide_deep(fields: Fields, config: RankerConfig, num_tasks: int) -> Body:
    r"""A wide and a deep part, added; see `Architecture`.

    $$z = w_\text{wide}^\top [x, \phi(x)] + w_\text{deep}^\top a_L + b,
    \qquad \phi_k(x) = \prod_i x_i^{c_{ki}}$$

    with one-hot $x$, the cross products $\phi$ of `config.crosses` and the
    last layer $a_L$ of a perceptron over the embeddings. One optimizer trains
    both parts; the paper uses FTRL for the wide part.

    Raises:
        UserError: when a cross is not a pair of two categories.

    References:
        Cheng et al. 2016, "Wide & Deep Learning for Recommender Systems",
        eq. 1 to 3.
    """
    flat, embeddings = stack(field_vectors(fields), config.l2)
    wide = linear_terms(fields, num_tasks)
    wide += crossed_terms(fields, config.crosses or (), num_tasks)
    return Body(embeddings, flat, additive=tuple(wide))
