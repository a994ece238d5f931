"""The scripts as modules, and flags small enough for a test."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "experiments"
sys.path.insert(0, str(SCRIPTS))


@pytest.fixture(scope="session")
def scripts():
    """The folder of the scripts."""
    return SCRIPTS


@pytest.fixture(scope="session")
def tiny():
    """Options of a run of seconds, by flag."""
    return json.loads((ROOT / "tests" / "tiny.json").read_text())


@pytest.fixture(scope="session")
def tiny_flags(tiny):
    """The same as flags; `changes` replace or add some."""

    def flags(**changes):
        return [f"--{k}={v}" for k, v in {**tiny, **changes}.items()]

    return flags
