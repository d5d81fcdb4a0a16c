"""Executes the notebooks in `examples/notebooks` and stores them with what they print and draw.

Run: python scripts/notebooks.py [NAME ...]
Needs: pip install "dualhmr[dev]"
After an edit of a notebook this makes its outputs anew; `train_a_pair` takes about ten minutes.
`tests/test_notebooks.py` executes the same notebooks with small parameters, and checks the stored.
"""

import argparse
import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode

FOLDER = Path(__file__).parents[1] / "examples" / "notebooks"
PARAMETERS = "parameters"
"""The tag of the cell whose names `execute` can give other values."""
_CODE_HASH = "dualhmr_code_sha256"
_SECONDS = 3600
_MACHINE = re.compile(r"/(?:home|root|tmp|work|Users)/|[A-Z]:\\\\|\b20\d\d-\d\d-\d\d\b")
"""Paths of a computer, and dates."""


class _ThisPython(KernelSpecManager):
    """The interpreter that runs this, whichever kernels are installed."""

    def get_kernel_spec(self, _name: str) -> KernelSpec:
        return KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            display_name="Python 3",
            language="python",
        )


def read_notebook(path: Path) -> NotebookNode:
    """A notebook's file; a cell is code, text or raw."""
    return nbformat.read(path, as_version=4)


def execute(notebook: NotebookNode, parameters: Mapping[str, int] | None = None) -> NotebookNode:
    """Executes all cells in a new kernel and in an empty folder; returns the notebook with outputs.

    `parameters` replace values that the cell tagged `PARAMETERS` sets. Kernel and client talk over
    files in a temporary folder (Unix) or the loopback interface, and nothing is written elsewhere.
    Raises ValueError for a name that this cell does not set, CellExecutionError where a cell fails.
    """
    made = nbformat.from_dict(notebook)
    for name, value in (parameters or {}).items():
        _set_parameter(made, name, value)
    with tempfile.TemporaryDirectory(prefix="dualhmr-") as folder:
        manager = AsyncKernelManager(
            kernel_spec_manager=_ThisPython(),
            connection_file=os.path.join(folder, "kernel.json"),  # noqa: PTH118
            **({} if os.name == "nt" else {"transport": "ipc", "ip": f"{folder}/socket"}),
        )
        client = NotebookClient(
            made, km=manager, timeout=_SECONDS, record_timing=False, resources={}
        )
        client.owns_km = True  # so that it ends the kernel
        work = Path(folder) / "work"
        work.mkdir()
        client.execute(cwd=str(work), env={**os.environ, "IPYTHONDIR": folder})
    return made


def _set_parameter(notebook: NotebookNode, name: str, value: int) -> None:
    line = re.compile(rf"^{name} = [\d_]+", re.MULTILINE)
    for cell in notebook.cells:
        if PARAMETERS in cell.metadata.get("tags", ()) and line.search(cell.source):
            cell.source = line.sub(f"{name} = {value}", cell.source)
            return
    raise ValueError(f"no cell tagged {PARAMETERS!r} sets {name} to a whole number")


def store(notebook: NotebookNode, path: Path) -> None:
    """Writes an executed notebook, without progress bars and what is of this computer alone.

    Raises ValueError where `problems` finds any.
    """
    for cell in notebook.cells:
        cell.metadata = {key: cell.metadata[key] for key in ("tags",) if key in cell.metadata}
        if cell.cell_type == "code":
            cell.outputs = [each for each in cell.outputs if each.get("name") != "stderr"]
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        _CODE_HASH: _code_sha256(notebook),
    }
    if found := problems(notebook):
        raise ValueError(f"{path.name} is not stored: {'; '.join(found)}")
    nbformat.write(notebook, path)


def problems(notebook: NotebookNode) -> list[str]:
    """Why stored outputs are not those of the notebook's code, or not for others to read."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    found = []
    if [cell.execution_count for cell in cells] != [*range(1, len(cells) + 1)]:
        found.append("its cells were not executed once each, in order")
    if notebook.metadata.get(_CODE_HASH) != _code_sha256(notebook):
        found.append("its code has changed since: run scripts/notebooks.py")
    for number, cell in enumerate(cells, 1):
        for output in cell.outputs:
            if output.output_type == "error" or output.get("name") == "stderr":
                found.append(f"cell {number} has an error or a warning")
            for text in _texts(output):
                if match := _MACHINE.search(text):
                    found.append(f"cell {number} shows {match.group()}")
    return found


def _texts(output: NotebookNode) -> list[str]:
    """All that an output shows but pictures."""
    data: dict[str, Any] = output.get("data", {})
    texts = [each for kind, each in data.items() if not kind.startswith("image/")]
    return [output.get("text", ""), *map(str, texts)]


def _code_sha256(notebook: NotebookNode) -> str:
    code = "\0".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return hashlib.sha256(code.encode()).hexdigest()


def main() -> None:
    """Executes and stores."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    known = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    for name in parser.parse_args().names or known:
        path = FOLDER / f"{name}.ipynb"
        store(execute(read_notebook(path)), path)
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
