"""From run folders to a page: of one run everything, of several a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srnn.report import figures, several, single
from srnn.report.page import Page
from srnn.report.pictures import Shown, draw
from srnn.report.read import Read, read_run
from srnn.report.svg import drawing
from srnn.report.watch import look
from srnn.training.runs import write_atomically


@dataclass(frozen=True)
class Report:
    """A report: its page, its numbers as plain JSON, and its figures by name."""

    page: Page
    numbers: dict[str, Any]
    figures: dict[str, Any]

    def write(self, path: Path) -> Path:
        """Write the page as one HTML file, whole or not at all. Raises `SrnnError`."""
        html = self.page.html()
        figures.make_folder(path)
        write_atomically(path, html.encode())
        return path

    def write_figures(self, folder: Path) -> list[Path]:
        """Write every figure as an SVG file of its own. Raises `SrnnError`."""
        return [
            figures.save(figure, folder / f"{name}.svg") for name, figure in self.figures.items()
        ]


def compose(
    paths: Sequence[Path], data_dir: str | Path | None = None, out: Path | None = None
) -> Report:
    """Return the report of one run, or of several. out: where it will be written, for links to the
    reports of single runs.

    Raises `RunError` for a folder that is no run or is damaged, `SrnnError` without matplotlib.
    """
    runs = [read_run(path, data_dir) for path in paths]
    with drawing():
        return _one(runs[0]) if len(runs) == 1 else _many(runs, out)


def of_run(path: Path, data_dir: str | Path | None = None) -> Path:
    """Write the report of a run into its folder; return the file. Raises `SrnnError`."""
    return compose([path], data_dir).write(path / "report.html")


def _one(r: Read) -> Report:
    seen = look(r) if r.net is not None and r.parts is not None else None
    drawn = draw(r, seen)
    sections, numbers = single.sections(r, drawn)
    page = Page(r.name, single.lead(r), single.marks(r), sections)
    pictures = {name: s.figure for name, s in drawn.items() if isinstance(s, Shown)}
    if r.metrics is not None:
        matrix = r.metrics[f"{r.part}_confusion"]
        pictures["confusion"] = figures.confusion(
            matrix, r.task.classes, simulated=r.simulated, title=r.name
        )
    return Report(page, {"runs": [numbers]}, pictures)


def _many(runs: Sequence[Read], out: Path | None) -> Report:
    sections, numbers, drawn = several.sections(runs, out)
    tasks = ", ".join(dict.fromkeys(r.task.name for r in runs))
    marks = list(dict.fromkeys(m for r in runs for m in single.marks(r)))
    lead = (
        f"{len(runs)} runs in {len(numbers['groups'])} groups; runs of a group have the same "
        "settings but the seed."
    )
    page = Page(f"{len(runs)} runs: {tasks}", lead, marks, sections)
    return Report(page, numbers, drawn)
