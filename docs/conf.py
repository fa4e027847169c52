"""The documentation site: `make docs` builds it into build/docs, warnings are errors, nothing is
fetched.

The pages are the Markdown files of this folder, as they are read in the repository. Two things are
generated when it is built, so that they cannot
drift: the reference (from the docstrings, equations included) and the page of the command line
(from its parser).
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import pkgutil
import re
import sys
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
    app.connect("autodoc-process-docstring", docstring)
    app.connect("autodoc-skip-member", skip)
