"""A stage looks the same in all plots, and like no other."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from kd_tfrs.evaluation.stage_style import stage_style, stage_styles

CHAIN = (
    "teacher",
    "student",
    "distilled",
    "pruned",
    "int8",
    "pruned_int8",
    "saved_model",
)
MEMBERS = ("teacher_dcn", "teacher_deepfm", "teacher_din")
OWN = ("my_model", "rrd", "soft_targets", "hint", "de_rrd")
# Machado, Oliveira and Fernandes (2009), table 1 at severity 1: what somebody
# sees without one kind of cone, of linear RGB.
SEEN = {
    "all cones": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}
# IEC 61966-2-1: linear RGB to XYZ with white D65.
XYZ = np.array(
    [
        [0.4124, 0.3576, 0.1805],
        [0.2126, 0.7152, 0.0722],
        [0.0193, 0.1192, 0.9505],
    ]
)


def lab(colour, seen):
    """CIE L*a*b*, in which a distance of 2.3 is just noticeable."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(
        rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4
    )
    linear = np.clip(np.asarray(seen) @ linear, 0, 1)
    x, y, z = np.cbrt(np.maximum(XYZ @ linear / XYZ.sum(1), 0.008856))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("seen", SEEN)
def test_the_colours_of_a_chain_are_distinguishable(seen):
    drawn = stage_styles(["popularity", "als", *CHAIN]).values()
    values = [lab(style.colour, SEEN[seen]) for style in drawn]
    distances = [
        np.linalg.norm(a - b) for a, b in itertools.combinations(values, 2)
    ]
    assert min(distances) > 4 * 2.3


@pytest.mark.parametrize(
    "baselines", [("popularity", "als"), ("prior", "lightgbm")]
)
def test_no_two_stages_share_a_colour_or_a_marker(baselines):
    styles = stage_styles([*baselines, *CHAIN, *MEMBERS, *OWN]).values()
    count = len(baselines) + len(CHAIN) + len(MEMBERS) + len(OWN)
    assert len(set(styles)) == count
    assert len({style.colour for style in styles}) == count
    known = stage_styles([*baselines, *CHAIN]).values()
    assert len({style.marker for style in known}) == len(known)


def test_a_style_does_not_depend_on_what_else_is_drawn():
    everything = stage_styles(["popularity", *MEMBERS, *CHAIN, *OWN])
    assert list(everything) == ["popularity", *MEMBERS, *CHAIN, *OWN]
    for name in CHAIN:
        assert everything[name] == stage_style(name)
        assert stage_styles([name, "zebra"])[name] == stage_style(name)
    # The order in which they are drawn does not matter either.
    assert stage_styles(reversed(everything)) == everything
    assert stage_styles([*CHAIN, "my_model"])["my_model"] == (
        stage_style("my_model")
    )


def test_names_of_the_same_stage_look_the_same():
    assert stage_style("teachers") == stage_style("teacher")
    assert stage_style("student alone") == stage_style("student")


def test_networks_of_the_teacher_are_shades_of_its_blue():
    # Blue: the blue channel is the largest and the red one the smallest.
    for style in stage_styles(["teacher", *MEMBERS]).values():
        red, green, blue = to_rgb(style.colour)
        assert red < green < blue
    lines = [style.line for style in stage_styles(MEMBERS).values()]
    assert "-" not in lines


def test_many_names_of_ones_own_all_look_different():
    names = [f"method_{i}" for i in range(30)]
    assert len(set(stage_styles(names).values())) == 30
