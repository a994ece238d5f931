"""What `import kd_tfrs` promises, each promise in a process of its own."""

import os
import subprocess
import sys

import pytest

import kd_tfrs

SWITCH = "TF_USE_LEGACY_KERAS"


def run(program, **environment):
    clean = {k: v for k, v in os.environ.items() if k != SWITCH}
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=300,
        env={**clean, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
    )


def printed(program, **environment):
    done = run(program, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_import_is_light_and_sets_the_switch():
    found = printed(
        "import os, sys, kd_tfrs\n"
        f"print(os.environ['{SWITCH}'], 'tensorflow' in sys.modules,"
        " 'pandas' in sys.modules, kd_tfrs.__version__)"
    )
    assert found == ["1", "False", "False", kd_tfrs.__version__]


def test_data_needs_no_tensorflow():
    found = printed(
        "import sys, kd_tfrs\n"
        "kd_tfrs.Schema\n"
        "print('pandas' in sys.modules, 'tensorflow' in sys.modules)"
    )
    assert found == ["True", "False"]


def test_keras_is_version_2_afterwards_and_tfrs_imports_without_scann():
    found = printed(
        "import sys, kd_tfrs\n"
        "import tensorflow as tf, tensorflow_recommenders as tfrs\n"
        "print(tf.keras.Model.__module__[:8], sys.modules['scann'],"
        " tfrs.layers.factorized_top_k._HAVE_SCANN)"
    )
    assert found == ["tf_keras", "None", "False"]


def test_tensorflow_with_keras_3_is_one_clear_error():
    done = run("import tensorflow, kd_tfrs", **{SWITCH: "0"})
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: kd_tfrs needs `tf.keras` to be Keras")
    for part in ("Keras 3.", "Import kd_tfrs before", f"{SWITCH}=1"):
        assert part in last


def test_tensorflow_with_keras_2_is_welcome():
    found = printed(
        "import tensorflow as tf, kd_tfrs\n"
        "print(tf.keras.Model.__module__[:8])",
        **{SWITCH: "1"},
    )
    assert found == ["tf_keras"]


@pytest.mark.parametrize("name", kd_tfrs.__all__)
def test_every_public_name_is_there(name):
    assert getattr(kd_tfrs, name) is not None
    assert name in dir(kd_tfrs)


def test_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'distil'"):
        kd_tfrs.distil  # noqa: B018  the access is the test


def test_rooms_import_their_names_on_first_use():
    code = (
        "import sys\n"
        "import kd_tfrs.distillation, kd_tfrs.models.ranking\n"
        "import kd_tfrs.workflow.retrieval.methods\n"
        "assert 'tensorflow' not in sys.modules\n"
        "from kd_tfrs.distillation import *\n"
        "assert SoftTargets in vars(kd_tfrs.distillation).values()\n"
        "assert 'DistillationTerm' in kd_tfrs.distillation.__all__\n"
        "assert kd_tfrs.models.ranking.config.RankerConfig\n"
        "assert not hasattr(kd_tfrs.models.ranking, 'no_such_name')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
