"""Jensen-Shannon divergence against its formula, in NumPy float64."""

import numpy as np
import pytest

from kd_tfrs.distillation.losses.jensen_shannon import JensenShannon
from kd_tfrs.distillation.losses.response import SoftTargets
from kd_tfrs.errors import UserError

RNG = np.random.default_rng(3)


def log_softmax(x):
    return x - x.max() - np.log(np.exp(x - x.max()).sum())


def kl(log_p, log_q):
    return (np.exp(log_p) * (log_p - log_q)).sum()


def jensen_shannon(t, s, beta=0.3, temperature=1.5):
    log_p, log_q = log_softmax(t / temperature), log_softmax(s / temperature)
    log_m = np.logaddexp(np.log(beta) + log_p, np.log(1 - beta) + log_q)
    return temperature**2 * (
        beta * kl(log_p, log_m) + (1 - beta) * kl(log_q, log_m)
    )


def make(**options):
    return JensenShannon(0.3, 1.5, **options)


def test_it_is_sound(check):
    check(make)


def test_it_is_the_formula(against):
    against(make, jensen_shannon)


def test_it_is_zero_on_agreement_and_at_most_log_two():
    t = RNG.normal(size=(4, 5)).astype(np.float32)
    np.testing.assert_allclose(JensenShannon()(t, t), 0.0, atol=1e-7)
    opposite = JensenShannon()([[1e3, -1e3]], [[-1e3, 1e3]])
    np.testing.assert_allclose(opposite, np.log(2), rtol=1e-6)


def test_half_is_symmetric():
    t, s = RNG.normal(size=(2, 4, 5))
    np.testing.assert_allclose(
        JensenShannon()(t, s), JensenShannon()(s, t), rtol=1e-5
    )


def test_close_distributions_are_a_share_of_soft_targets():
    t = RNG.normal(size=(4, 5))
    s = t + 0.05 * RNG.normal(size=t.shape)
    np.testing.assert_allclose(
        JensenShannon(0.3)(t, s) / SoftTargets()(t, s), 0.3 * 0.7, rtol=0.03
    )


@pytest.mark.parametrize("beta", [0.001, 0.999])
def test_its_ends_are_soft_targets_and_their_reverse(beta):
    t, s = RNG.normal(size=(2, 4, 5))
    given = (t, s) if beta < 0.5 else (s, t)
    np.testing.assert_allclose(
        JensenShannon(beta)(t, s) / 0.001, SoftTargets()(*given), rtol=0.02
    )


@pytest.mark.parametrize("beta", [0.0, 1.0, -1.0, None])
def test_a_share_out_of_range_is_refused(beta):
    with pytest.raises(UserError, match=r"between 0.001 and 0.999"):
        JensenShannon(beta)
