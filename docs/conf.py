"""The documentation site: `make docs` builds it into build/docs, warnings are errors, nothing is
fetched.

The pages are the Markdown files of this folder, as they are read in the repository. What would
drift is generated when it is built: the reference (from the docstrings, equations included), the
page of the command line (from its parser), and the picture of the package's floors (from the import
contract in pyproject.toml).
"""

from __future__ import annotations

import argparse
import ast
import html
import importlib
import inspect
import os
import pkgutil
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "src"))
os.environ["COLUMNS"] = "92"  # of the help texts

import srnn  # noqa: E402
from srnn.cli import main as cli  # noqa: E402

project, author, version = "srnn", "the developers of srnn", srnn.__version__
copyright = "the developers of srnn"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["README.md"]
html_theme, html_title, html_static_path = "furo", "srnn", ["_static"]
html_css_files = ["srnn.css"]
html_show_sourcelink = False
highlight_language = "text"
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
toc_object_entries = False
python_use_unqualified_type_names = True
suppress_warnings = ["myst.header", "ref.python"]  # the latter: two classes may have one name

GENERATED = HERE / "generated"

REFERENCE = {
    "Networks": (
        "networks",
        "Layers, networks, state and lengths; what runs them over time.",
        ("nn", "kernels.scan"),
    ),
    "Neurons": ("neurons", "Every neuron beside its equation.", ("neuron", "neurons")),
    "Cells": ("cells", "Artificial recurrent units under the same contract.", ("cells",)),
    "Constants, surrogates, activations": (
        "init",
        "How constants start, how a spike is differentiated.",
        ("init", "surrogates", "activations"),
    ),
    "Signals in, scores out": (
        "encode",
        "Encoders, decoders, metrics.",
        ("encode", "decode", "metrics"),
    ),
    "Data sets": (
        "datasets",
        "One module for each data set, in its original format.",
        ("datasets",),
    ),
    "Cost": ("energy", "Operations and energy.", ("energy",)),
    "Streams": ("stream", "A trained network on live samples.", ("stream",)),
    "Compression and export": (
        "export",
        "Smaller networks; C, ONNX, NIR, torch.export.",
        ("compress", "export"),
    ),
    "Analysis and reports": (
        "analysis",
        "Figures that return their numbers; the report of a run.",
        ("analysis", "report"),
    ),
    "Tasks and training": (
        "tasks",
        "Tasks as rows of a table, the training loop, run folders.",
        ("tasks", "training", "search", "kernels.lockstep", "processes", "locks"),
    ),
}
"""The reference: title of a page → its name, what it says, the modules and packages
that are on it.
"""


def modules(name: str) -> list[str]:
    """Return a module, or a package with all its public modules."""
    module = importlib.import_module(f"srnn.{name}")
    inner = sorted(
        m.name
        for m in pkgutil.iter_modules(getattr(module, "__path__", []))
        if not m.name.startswith("_")
    )
    return [f"srnn.{name}", *(f"srnn.{name}.{m}" for m in inner)]


def write(name: str, text: str) -> None:
    """Write a generated page, unless it is there as it should be."""
    path = GENERATED / f"{name}.md"
    path.parent.mkdir(exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def reference() -> None:
    """Write the pages of the reference, and the page that lists them."""
    listed = []
    for title, (name, about, names) in REFERENCE.items():
        parts = [f"# {title}\n\n{about}\n"]
        parts += [
            f"## `{m}`\n\n```{{eval-rst}}\n.. automodule:: {m}\n```\n"
            for n in names
            for m in modules(n)
        ]
        write(name, "\n".join(parts))
        listed.append(name)
    at_top = sorted(
        n for n in dir(srnn) if not n.startswith("_") and inspect.isclass(getattr(srnn, n))
    )
    names = "\n".join(
        f"| `srnn.{n}` | {{py:class}}`~{getattr(srnn, n).__module__}.{n}` |" for n in at_top
    )
    tree = "\n".join(listed)
    top = f"At the top of the package:\n\n| name | where it is described |\n|---|---|\n{names}\n"
    write("reference", f"# Reference\n\n```{{toctree}}\n:maxdepth: 1\n\n{tree}\n```\n\n{top}")


def command_line() -> None:
    """Write the page of the command line from its parser."""
    parser = cli.command_line()
    parts = [
        "# Command line\n\nEvery command takes `--help`. Exit codes: 0 done, 1 a run "
        "diverged or a check failed, 2 bad input, 130 interrupted.\n"
    ]
    parts.append(f"```text\n{parser.format_help().strip()}\n```\n")
    for name, command in parser.commands.items():
        parts.append(f"## `srnn {name}`\n\n```text\n{command.format_help().strip()}\n```\n")
    write("command-line", "\n".join(parts))


def layout() -> None:
    """Draw the floors of the import contract, and list what each room is by its first sentence."""
    settings = tomllib.loads((HERE.parent / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    (contract,) = (c for c in contracts if c["type"] == "layers")
    floors = [[room.strip() for room in floor.split("|")] for floor in contract["layers"]]
    (GENERATED / "layout.svg").write_text(picture(floors))
    rows = [
        f"| {k} | `{room}{'/' if folder(room) else ''}` | {first_sentence(room)} |"
        for k, floor in zip(range(len(floors) - 1, -1, -1), floors, strict=True)
        for room in floor
    ]
    table = "\n".join(("| floor | room | what it is |", "|---|---|---|", *rows))
    (GENERATED / "layout-rooms.txt").write_text(table + "\n")


def folder(room: str) -> bool:
    """Return whether a room is a folder."""
    return (Path(srnn.__file__).parent / room).is_dir()


def first_sentence(room: str) -> str:
    """Return what a room says of itself first, without running it."""
    path = Path(srnn.__file__).parent / (f"{room}/__init__.py" if folder(room) else f"{room}.py")
    said = ast.get_docstring(ast.parse(path.read_text())) or ""
    sentence = re.split(r"(?<=\.)\s", " ".join(said.split("\n\n")[0].split()))[0]
    return sentence.rstrip(".:").replace("|", "\\|")


def picture(floors: list[list[str]]) -> str:
    """Return an SVG of floors, the top one first: folders filled, files not."""
    wide, high, gap, left = 860, 30, 14, 46
    bottom = len(floors) * (high + gap) + gap
    shapes = []
    for k, floor in enumerate(floors):
        y = gap + k * (high + gap)
        sizes = [round(8.2 * len(room)) + 26 for room in floor]
        x = left + (wide - left - sum(sizes) - 10 * (len(floor) - 1)) / 2
        shapes.append(f'<text x="14" y="{y + 20}" class="floor">{len(floors) - 1 - k}</text>')
        line = y + high + gap / 2
        if k < len(floors) - 1:
            shapes.append(f'<path d="M{left} {line}H{wide - 14}" class="line"/>')
        for room, size in zip(floor, sizes, strict=True):
            kind = "folder" if folder(room) else "file"
            place = f'x="{x:g}" y="{y}" width="{size}" height="{high}" rx="5"'
            shapes.append(f'<rect {place} class="{kind}"/>')
            name = html.escape(room + ("/" if kind == "folder" else ""))
            shapes.append(f'<text x="{x + size / 2:g}" y="{y + 20}" class="room">{name}</text>')
            x += size + 10
    style = (
        "text{font:13px ui-monospace,Menlo,Consolas,monospace;fill:#1d2733}"
        ".room{text-anchor:middle}.floor{fill:#68778a}.line{stroke:#d4dbe3;stroke-dasharray:2 4}"
        ".folder{fill:#d8e6f5;stroke:#4a7fb5}.file{fill:#fff;stroke:#9aa8b8}"
    )
    title = "The rooms of the package on their floors; imports lead down only"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {bottom}" role="img">'
        f"<title>{title}</title><style>{style}</style>"
        f'<rect width="{wide}" height="{bottom}" rx="8" fill="#f7f9fb"/>{"".join(shapes)}</svg>\n'
    )


def docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Turn a docstring of plain text into reStructuredText: paragraphs stay paragraphs, blocks of
    equations and lists keep their lines.
    """
    done: list[str] = []
    for block in re.split(r"\n\s*\n", "\n".join(lines)):
        rows = block.split("\n")
        if all(row.startswith("    ") for row in rows):
            done += ["::", "", *rows, ""]
        elif any(row.startswith(" ") for row in rows) or any(
            re.match(r"[\w, .]{1,30}: ", row) for row in rows[1:]
        ):
            done += [*(f"| {plain(row)}" for row in rows), ""]
        else:
            done += [*(plain(row) for row in rows), ""]
    lines[:] = done


def plain(text: str) -> str:
    """Escape what reStructuredText would read as markup; `code` becomes ``code``."""
    pieces = re.split(r"(`[^`]+`)", text)
    escaped = [
        f"``{p[1:-1]}``"
        if p.startswith("`") and len(p) > 2
        else re.sub(r"([\\*_|`<>])", r"\\\1", p)
        for p in pieces
    ]
    if escaped[0].strip().startswith(("- ", "+ ", "# ", ".. ", ">")) or re.match(
        r"\s*(\w|\d+)[.)] ", escaped[0]
    ):
        indent = len(escaped[0]) - len(escaped[0].lstrip())
        escaped[0] = escaped[0][:indent] + "\\" + escaped[0][indent:]
    joined = ""
    for k, piece in enumerate(escaped):  # ``code`` wants a space, or its stand-in, on both sides
        code = piece.startswith("``")
        if code and joined and not joined[-1].isspace():
            joined += "\\ "
        joined += piece
        if code and k + 1 < len(escaped) and escaped[k + 1] and not escaped[k + 1][0].isspace():
            joined += "\\ "
    return joined


def skip(app: Any, what: str, name: str, obj: Any, skipped: bool, options: Any) -> bool | None:
    """Leave out what argparse and other libraries brought along."""
    return True if isinstance(obj, argparse.Namespace) else None


def setup(app: Any) -> None:
    """Generate what is generated, and say how docstrings are read."""
    reference()
    command_line()
    layout()
    app.connect("autodoc-process-docstring", docstring)
    app.connect("autodoc-skip-member", skip)
