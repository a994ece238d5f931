"""Numbers and Keras schedules behind one face."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation import schedules
from kd_tfrs.errors import UserError

Keras = tf.keras.optimizers.schedules


@pytest.mark.parametrize("step", [0, 5, tf.constant(5, tf.int64)])
def test_a_number_is_the_same_at_every_step(step):
    value = schedules.value_at(0.3, step)
    assert value.dtype == tf.float32
    np.testing.assert_allclose(value, 0.3)


def test_a_schedule_is_evaluated_at_the_step():
    decay = Keras.PolynomialDecay(4.0, 10, 1.0)
    piecewise = Keras.PiecewiseConstantDecay([2, 4], [1.0, 0.5, 0.0])
    for step in (0, 3, 10, 11):
        at = tf.constant(step, tf.int64)
        wanted = 1.0 + 3.0 * (1 - min(step, 10) / 10)
        np.testing.assert_allclose(schedules.value_at(decay, at), wanted)
        wanted = 1.0 if step <= 2 else 0.5 if step <= 4 else 0.0
        np.testing.assert_allclose(schedules.value_at(piecewise, at), wanted)


@pytest.mark.parametrize(
    "value", [0.5, Keras.CosineDecay(2.0, 8, alpha=0.25)], ids=["number", "cos"]
)
def test_serialize_and_deserialize_are_inverse(value):
    twin = schedules.deserialize(schedules.serialize(value))
    for step in (0, 3, 20):
        np.testing.assert_array_equal(
            schedules.value_at(twin, step), schedules.value_at(value, step)
        )


def test_check_names_the_argument_and_the_least_value():
    assert schedules.check_scheduled("x", 0, 0.0) == 0.0
    schedule = Keras.ExponentialDecay(1.0, 1, 0.5)
    assert schedules.check_scheduled("x", schedule, 5.0) is schedule
    for bad in (-0.1, np.nan, "1", None, [1.0]):
        with pytest.raises(UserError, match=r"`x` should be .* at least 0"):
            schedules.check_scheduled("x", bad, 0.0)
