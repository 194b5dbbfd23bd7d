"""Notebooks: what a clean one is, and how one is run.

``python -m tests.notebooks`` takes the noise of a session out of ``notebooks/*.ipynb``: outputs, counts, kernels.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import nbformat

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def clean(text: str, name: str) -> str:
    """Return a notebook as it is committed: what a person wrote, and nothing else."""
    notebook = nbformat.reads(text, as_version=4)
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat_minor = 5
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"{name}-{number}", {}
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.validate(notebook)
    return str(nbformat.writes(notebook, indent=1)) + "\n"


def execute(path: Path, folder: Path, python: Path | str = sys.executable, **environment: str) -> list[Any]:
    """Run a notebook in a folder by a Python, from its first cell to its last; return its outputs, cell by cell.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell fails.
    """
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    kernel = AsyncKernelManager(kernel_cmd=[])
    kernel._kernel_spec = _kernel_of(python)
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, km=kernel, timeout=240, resources=where)
    client.execute(env={**os.environ, **environment})
    return [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]


def _kernel_of(python: Path | str) -> Any:
    from jupyter_client.kernelspec import KernelSpec

    return KernelSpec(argv=[str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"], language="python")


if __name__ == "__main__":
    for path in NOTEBOOKS:
        path.write_text(clean(path.read_text(encoding="utf-8"), path.stem), encoding="utf-8")
