"""Defaults are part of what a user calls: no change of one goes unnoticed.

The numbers are those of the papers that the docstrings name, or ours where
they say so.
"""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation import losses

WITHOUT_ARGUMENTS = {
    "AdversarialSoftTargets": {"temperature": 1.0, "epsilon": 0.1},
    "AttentionTransfer": {"kind": "activations", "power": 2.0},
    "BinarySoftTargets": {"temperature": 1.0},
    "ContrastiveRepresentation": {"width": 128, "temperature": 0.07},
    "CorrelationCongruence": {"gamma": 0.4, "order": 2},
    "CorrelationLoss": {"temperature": 1.0, "beta": 1.0, "gamma": 1.0},
    "CurriculumTemperature": {
        "curriculum_steps": 1000,
        "t_start": 1.0,
        "t_range": 20.0,
        "layer_optimizer": tf.keras.optimizers.serialize(
            tf.keras.optimizers.legacy.SGD(0.05)
        ),
    },
    "DecoupledSoftTargets": {"temperature": 4.0, "alpha": 1.0, "beta": 8.0},
    "DistillationExperts": {
        "num_experts": 30,
        "annealing_steps": 10000,
        "initial_temperature": 1.0,
        "final_temperature": 1e-10,
        "seed": 0,
    },
    "EasyToHard": {"hard_from_step": 2000},
    "FeatureDiscriminator": {"hidden_units": [64], "projection_units": []},
    "FrequencyHint": {
        "hidden_units": [],
        "normalize": True,
        "neighbours": None,
        "alpha": 0.2,
    },
    "HierarchicalTopology": {
        "num_groups": 30,
        "level": "entities",
        "assignment_weight": 1.0,
        "assignment_rows": 512,
        "annealing_steps": 10000,
        "initial_temperature": 1.0,
        "final_temperature": 1e-10,
        "seed": 0,
    },
    "Hint": {"hidden_units": [], "normalize": False},
    "JensenShannon": {"temperature": 1.0, "beta": 0.5},
    "NeuronSelectivity": {"power": 2, "constant": 0.0},
    "PreferenceConsistentHint": {
        "alpha": 0.1,
        "kind": "list",
        "temperature": 0.1,
        "hidden_units": None,
    },
    "RankNetDistillation": {"temperature": 1.0, "num_partners": 4, "seed": 0},
    "RejuvenatedCrossEntropy": {
        "temperature": 1.0,
        "num_closing": 50,
        "decay": 10.0,
        "max_count": 50,
        "beta": 3.0,
    },
    "RelationalAngle": {"num_anchors": 64},
    "RelationalDistance": {"num_anchors": 1024},
    "SoftTargets": {"temperature": 1.0},
    "VariationalInformation": {"hidden_units": [], "initial_variance": 5.0},
}


@pytest.mark.parametrize("name", WITHOUT_ARGUMENTS)
def test_of_a_loss_without_arguments(name):
    config = getattr(losses, name)().get_config()
    for rest in ("name", "reduction", "adversary_optimizer"):
        config.pop(rest, None)
    assert config == WITHOUT_ARGUMENTS[name]


def test_of_a_loss_with_some():
    soft = losses.SoftTargets()
    for loss, expected in (
        (
            losses.DualCorrection(10),
            {"num_corrected": 40, "sharpness": 0.1},
        ),
        (losses.GapWeighted(soft), {"temperature": 1.0, "focus": 1.0}),
        (losses.ConfidenceWeighted(soft), {"temperature": 1.0}),
        (
            losses.ImportanceWeightedRanking(10),
            {
                "position_weight": 0.3,
                "confidence_weight": 0.5,
                "consistency_weight": 0.1,
                "rank_decay": 1.0,
            },
        ),
        (losses.GatedSoftTargets(2), {"temperature": 1.0, "evenness": 0.1}),
        (
            losses.RankingDistillation(10),
            {
                "rank_decay": 1.0,
                "sharpness": 0.1,
                "warm_up_steps": 1000,
                "renormalize": True,
            },
        ),
        (
            losses.UnbiasedPairs(np.zeros(3, int)),
            {"pairs_per_group": 8, "rank_decay": 20.0},
        ),
    ):
        assert expected.items() <= loss.get_config().items()


def test_every_loss_without_arguments_is_here():
    # Those that are left have no option, or are a base of others.
    found = {
        name
        for name, loss in vars(losses).items()
        if isinstance(loss, type) and issubclass(loss, tf.keras.losses.Loss)
    }
    plain = {"name", "reduction"}
    for name in found - set(WITHOUT_ARGUMENTS) - {"DistillationLoss"}:
        try:
            loss = getattr(losses, name)()
        except TypeError:  # It has arguments: above.
            continue
        assert set(loss.get_config()) == plain, name
