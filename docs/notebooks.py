"""Run the pages that are notebooks, as notebooks: `make notebooks`.

Writes build/notebooks/NAME.ipynb, with what each cell printed and drew.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
PAGES = ("tutorial-ecg", "own-neuron")


def run(page: str, out: Path) -> int:
    """Run a page; return how many cells of code it has.

    A cell that fails stops it with its traceback.
    """
    notebook = jupytext.read(HERE / f"{page}.md", fmt="md")
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    out.mkdir(parents=True, exist_ok=True)
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(out)}}
    ).execute()
    nbformat.write(notebook, out / f"{page}.ipynb")
    return sum(cell.cell_type == "code" for cell in notebook.cells)


def main() -> int:
    """Run all pages and say how many cells ran."""
    for page in PAGES:
        began = time.monotonic()
        cells = run(page, HERE.parent / "build" / "notebooks")
        print(f"{page}: {cells} cells run, {time.monotonic() - began:.0f} s")
        if cells < 5:
            raise SystemExit(f"{page} has {cells} cells of code; expected at least 5")
    return 0


if __name__ == "__main__":
    sys.exit(main())
