"""What tests of evaluations share."""

import pytest

from kd_tfrs.evaluation import plots


@pytest.fixture
def figures(monkeypatch):
    """The figures that are drawn, to be looked at."""
    drawn = []

    class Kept(plots.Figure):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            drawn.append(self)

    monkeypatch.setattr(plots, "Figure", Kept)
    return drawn
