"""What must hold of the built site: every public name has its place, every link inside leads
somewhere, nothing is loaded from elsewhere.
"""

from __future__ import annotations

import inspect
import pkgutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

from sphinx.util.inventory import InventoryFile

import srnn

SITE = Path(__file__).parent.parent / "build" / "docs"
TOOLS = {"cli", "kernels", "papers", "tables", "doctor", "serve"}
"""Modules that are no library for others: the command line, and what the layers stand on."""


class Page(HTMLParser):
    """The names and links of a page, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names, self.links, self.loads = set[str](), list[str](), list[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of a tag."""
        found = {k: v or "" for k, v in attrs}
        self.names |= {found[k] for k in ("id", "name") if k in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        elif tag == "link" and found.get("rel") in ("stylesheet", "icon", "preload", "search"):
            self.loads.append(found.get("href", ""))
        elif "src" in found:
            self.loads.append(found["src"])


def public(module: ModuleType) -> list[str]:
    """Return the full names of what a module defines for others, and of the modules inside it."""
    own = [
        f"{module.__name__}.{n}"
        for n, v in vars(module).items()
        if not n.startswith("_") and _described(v) and v.__module__ == module.__name__
    ]
    for found in pkgutil.iter_modules(getattr(module, "__path__", [])):
        if not found.name.startswith("_") and not (module is srnn and found.name in TOOLS):
            own += public(__import__(f"{module.__name__}.{found.name}", fromlist=["_"]))
    return own


def _described(value: Any) -> bool:
    return (inspect.isclass(value) or inspect.isfunction(value)) and bool(value.__doc__)


def main() -> int:
    """Check, and print what was counted; 1 where something is missing."""
    with (SITE / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", lambda base, target: target)
    known = {name for kind, names in inventory.items() if kind.startswith("py:") for name in names}
    names = public(srnn)
    wrong = [f"{name} is not in the reference" for name in names if name not in known]
    pages = {path: Page(path.read_text()) for path in sorted(SITE.rglob("*.html"))}
    links = 0
    for path, page in pages.items():
        wrong += [f"{path.name} loads {load}" for load in page.loads if urlsplit(load).netloc]
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
            links += 1
            if not target.exists():
                wrong.append(f"{path.name} links to {link}, which is not there")
            elif (
                parts.fragment
                and target in pages
                and unquote(parts.fragment) not in pages[target].names
            ):
                wrong.append(f"{path.name} links to {link}: no such place on that page")
    print(
        f"{len(pages)} pages, {links} links inside, {len(names)} public names in the "
        f"reference; {len(wrong)} faults"
    )
    if len(pages) < 30 or links < 1000 or len(names) < 300:
        wrong.append("far fewer than there were: is the site whole?")
    print("\n".join(wrong[:40]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
