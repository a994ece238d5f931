"""Packaging of kd_tfrs. Tool settings stand in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

# The three TensorFlow packages move together: a newer tf-keras or serving API
# beside an older TensorFlow does not import.
TENSORFLOW = "2.21.*"

EXTRAS = {
    "baselines": ["implicit>=0.7.2", "lightgbm>=4.5,<5"],
    "beam": ["apache-beam>=2.77,<3"],
    "edge": ["ai-edge-litert>=2.3,<3"],
    "notebooks": ["nbclient>=0.10", "ipykernel>=6", "jupyterlab>=4"],
    "search": ["optuna>=4,<6"],
    "serving": [f"tensorflow-serving-api=={TENSORFLOW}"],
    "wandb": ["wandb>=0.19"],
}
EXTRAS["tests"] = [
    "pytest>=8",
    "pytest-xdist>=3.8",
    "ranx>=0.3.20",
    "scikit-learn>=1.5",
    "ruff==0.17.*",
    "import-linter>=2",
    "psutil>=6",
    *EXTRAS["baselines"],
    *EXTRAS["edge"],
    *EXTRAS["notebooks"],
    *EXTRAS["search"],
    *EXTRAS["wandb"],
]

setup(
    name="kd_tfrs",
    version="0.1.0",
    description=(
        "Distil large TensorFlow Recommenders models into small ones that "
        "answer in real time."
    ),
    long_description=Path(__file__).with_name("README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=["kd_tfrs", "kd_tfrs.*"]),
    install_requires=[
        f"tensorflow=={TENSORFLOW}",
        f"tf-keras=={TENSORFLOW}",
        "tensorflow-recommenders==0.7.7",
        "tensorflow-model-optimization==0.8.1",
        "absl-py>=1.2,<2",
        "matplotlib>=3.8",
        "numpy>=1.26",
        "pandas>=2.2,<4",
        "pyarrow>=17",
        "requests>=2.31",
        "scipy>=1.12",
        "tensorboard>=2.18",
        "tqdm>=4.66",
    ],
    extras_require=EXTRAS,
    classifiers=[
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
