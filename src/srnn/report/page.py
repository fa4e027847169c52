"""What a page is built of, and how it becomes HTML: a template with autoescape, so that text is
never markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from srnn._check import SrnnError

MISSING = "missing"
"""The tone of words that say what cannot be shown and why."""


@dataclass(frozen=True)
class Words:
    """A paragraph. tone: "" or `MISSING`."""

    text: str
    tone: str = ""
    kind: ClassVar[str] = "words"


@dataclass(frozen=True)
class Facts:
    """The numbers one reads first: (name, value, what it is seen beside)."""

    items: Sequence[tuple[str, str, str]]
    kind: ClassVar[str] = "facts"


@dataclass(frozen=True)
class Grid:
    """A table: the first cell of a row names it. numbers: columns that are set to the right. links:
    of first cells, by their text.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int] = frozenset()
    links: dict[str, str] = field(default_factory=dict)
    kind: ClassVar[str] = "grid"


@dataclass(frozen=True)
class Heat:
    """A confusion matrix: (K, K) counts, row = label."""

    caption: str
    classes: Sequence[str]
    counts: Sequence[Sequence[int]]
    kind: ClassVar[str] = "heat"

    @property
    def rows(self) -> list[tuple[str, list[tuple[int, float]]]]:
        """(class, (count, share of the row) of every cell)."""
        return [
            (name, [(n, n / max(1, sum(row))) for n in row])
            for name, row in zip(self.classes, self.counts, strict=True)
        ]


@dataclass(frozen=True)
class Picture:
    """A figure as SVG, with what stands under it."""

    svg: str
    caption: str
    kind: ClassVar[str] = "picture"


@dataclass(frozen=True)
class Command:
    """What is typed into a shell."""

    text: str
    kind: ClassVar[str] = "command"


@dataclass(frozen=True)
class Fold:
    """What is read by few, behind a line."""

    summary: str
    blocks: Sequence[Any]
    kind: ClassVar[str] = "fold"


@dataclass(frozen=True)
class Section:
    """A part of the page. key: its id."""

    key: str
    title: str
    blocks: Sequence[Any]


@dataclass(frozen=True)
class Page:
    """A whole report. marks: what nobody may overlook (SIMULATED DATA)."""

    title: str
    lead: str
    marks: Sequence[str]
    sections: Sequence[Section]

    def html(self) -> str:
        """Return the file. Raises `SrnnError` without Jinja2."""
        try:
            from jinja2 import Environment, PackageLoader, StrictUndefined
        except ImportError:
            raise SrnnError(
                'A report needs Jinja2. Install it with: pip install "srnn[report]"'
            ) from None
        loader = PackageLoader("srnn.report", "templates")
        environment = Environment(
            loader=loader,
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        css = loader.get_source(environment, "page.css")[0]
        return environment.get_template("page.html").render(page=self, css=css)
