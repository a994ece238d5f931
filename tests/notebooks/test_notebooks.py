"""Every notebook runs from top to bottom, and shows what it promises."""

import re
import sys
from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
# nbclient brings both.
nbformat = pytest.importorskip("nbformat")
jupyter_client = pytest.importorskip("jupyter_client")
kernelspec = pytest.importorskip("jupyter_client.kernelspec")

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LARGEST_BYTES = 300_000
MACHINE_PATH = re.compile(
    r"(?<![\w.])/(?:home|Users|root|tmp|work|opt|usr|var|private|mnt)/"
    r"|[A-Z]:\\\\"
)


class ThisInterpreter(kernelspec.KernelSpecManager):
    """Starts kernels with the tests' Python, whatever is registered."""

    def get_kernel_spec(self, kernel_name):
        command = [sys.executable, "-m", "ipykernel_launcher"]
        return kernelspec.KernelSpec(
            argv=[*command, "-f", "{connection_file}"],
            display_name=kernel_name,
            language="python",
        )


def outputs(notebook):
    return [
        output
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    ]


def num_images(notebook):
    return sum("image/png" in o.get("data", {}) for o in outputs(notebook))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.name)
def path(request):
    return request.param


def test_there_are_notebooks():
    assert NOTEBOOKS


def test_runs_in_a_fresh_kernel(path, tmp_path, monkeypatch):
    # The notebook sees the data that the tests see, and a first user's rest.
    monkeypatch.delenv("TF_USE_LEGACY_KERAS", raising=False)
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    manager = jupyter_client.AsyncKernelManager(
        kernel_spec_manager=ThisInterpreter()
    )
    client = nbclient.NotebookClient(
        notebook,
        km=manager,
        timeout=600,
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    assert num_images(notebook) >= 2
    assert not list(tmp_path.iterdir()), "a notebook should clean up"


def test_is_committed_with_its_plots(path):
    notebook = nbformat.read(path, as_version=4)
    counts = [c.execution_count for c in notebook.cells if "outputs" in c]
    assert counts == list(range(1, len(counts) + 1))
    assert not [o for o in outputs(notebook) if o.output_type == "error"]
    assert num_images(notebook) >= 2
    assert path.stat().st_size < LARGEST_BYTES


def test_names_no_machine(path):
    notebook = nbformat.read(path, as_version=4)
    for output in outputs(notebook):
        if "data" in output:
            output.data.pop("image/png", None)
    assert not MACHINE_PATH.findall(nbformat.writes(notebook))
