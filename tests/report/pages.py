"""What the tests of reports share: small runs to train, a reader of HTML, and what every page must
be.
"""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser

from srnn import report, tasks
from srnn.tasks.settings import override
from srnn.training.train import fit

TINY = [
    "data.train=8",
    "data.validation=4",
    "data.test=6",
    "data.steps=60",
    "batch=4",
    "epochs=3",
    "network.hidden=[6]",
]
LSTM = [
    *TINY[:5],
    "epochs=2",
    "network=CellNetwork",
    "network.hidden=[4]",
    "network.bidirectional=true",
    "optimiser=Optimiser",
]
HOSTILE = (
    "<script>alert(1)</script>",
    "]]> & $x_",
    '"><img src=//evil.example/x onerror=alert(1)>',
)


def train(out, settings=TINY, task="ecg_sim", seed=0, **kwargs):
    """Train a task into a folder; return it."""
    fit(override(tasks.load(task), settings), out, seed=seed, **kwargs)
    return out


class Seen(HTMLParser):
    """What an HTML parser makes of a page: tags with their attributes, ids, and the text in each
    kind of element.
    """

    VOID = frozenset({"meta", "link", "br", "img", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.problems: list[str] = []
        self.feed(text)
        self.close()
        self.problems += [f"<{tag}> is never closed" for tag in self.open]

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> closes something else")

    def handle_data(self, data):
        if data.strip() and self.open:
            self.texts.setdefault(self.open[-1], []).append(data.strip())

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def words(self):
        return " ".join(t for name, texts in self.texts.items() if name != "style" for t in texts)


def check_structure(seen):
    """Assert what every page must be; return how many ids, tables and figures it has."""
    assert seen.problems == []
    ids = [attrs["id"] for _, attrs in seen.tags if "id" in attrs]
    assert len(set(ids)) == len(ids)
    levels = [int(tag[1]) for tag, _ in seen.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))
    assert not {"script", "iframe", "object", "embed", "form", "base"} & {
        tag for tag, _ in seen.tags
    }
    assert [key for _, attrs in seen.tags for key in attrs if key.startswith("on")] == []
    for _, attrs in seen.tags:  # nothing is fetched from anywhere
        for key in ("src", "href", "xlink:href"):
            assert re.fullmatch(
                r"#.*|data:.*|(?:[^:/]+/)*report\.html", attrs.get(key) or "#", re.S
            ), attrs
    referred = [
        ref
        for _, attrs in seen.tags
        for v in attrs.values()
        for ref in re.findall(r"url\(#([^)]+)\)", v or "")
    ]
    referred += [
        attrs["href"][1:] for tag, attrs in seen.tags if (attrs.get("href") or "").startswith("#")
    ]
    referred += [i for _, attrs in seen.tags for i in (attrs.get("aria-labelledby") or "").split()]
    assert set(referred) <= set(ids)
    tables, drawings = seen.all("table"), seen.all("svg")
    assert len(seen.all("caption")) == len(tables) == len(seen.all("thead"))
    assert all(attrs["scope"] in ("col", "row") for attrs in seen.all("th"))
    assert len(seen.all("title")) == len(drawings) + 1
    assert len(seen.all("desc")) == len(drawings)
    assert all(
        attrs["role"] == "img" and len(attrs["aria-labelledby"].split()) == 2 for attrs in drawings
    )
    assert len(seen.texts.get("desc", [])) == len(drawings)  # none is empty
    assert any(
        attrs.get("http-equiv") == "Content-Security-Policy"
        and "default-src 'none'" in attrs["content"]
        for attrs in seen.all("meta")
    )
    return len(ids), len(tables), len(drawings)


def page(path, **kwargs):
    """Return the report of one run, and what a parser makes of its page."""
    made = report.compose([path], **kwargs)
    return made, Seen(made.page.html())
