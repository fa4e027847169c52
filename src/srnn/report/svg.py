"""A matplotlib figure as SVG inside a page: its text stays text, its black and white and its
palette follow the page's theme.
"""

from __future__ import annotations

import base64
import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from srnn._check import SrnnError

_SVG, _LINK = "http://www.w3.org/2000/svg", "{http://www.w3.org/1999/xlink}href"
_PALETTE = ("4477aa", "66ccee", "228833", "ccbb44", "ee6677", "aa3377", "bbbbbb")
_ROLES = {
    "#000000": "var(--ink)",
    "#ffffff": "var(--paper)",
    "#777777": "var(--muted)",
    "#999999": "var(--muted)",
    "#dddddd": "var(--rule)",
    "#e4e4e4": "var(--rule)",
    "#cc3311": "var(--mark)",
}
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_LONG = re.compile(r"\d+\.\d{3,}")


@contextmanager
def drawing() -> Iterator[None]:
    """Draw so that names are not read as formulas ("$x"), text stays text, and the same figure
    gives the same SVG.
    """
    try:
        import matplotlib
    except ImportError:
        raise SrnnError(
            'A report needs matplotlib. Install it with: pip install "srnn[report]"'
        ) from None
    with matplotlib.rc_context(
        {"svg.fonttype": "none", "text.parse_math": False, "svg.hashsalt": "srnn"}
    ):
        yield


def inline(figure: Any, key: str, title: str, description: str) -> str:
    """Return the figure as an <svg> element that a page may hold beside others. key: begins all of
    its ids; title, description: what is read out.
    """
    drawn = io.BytesIO()
    figure.savefig(drawn, format="svg", transparent=True, dpi=144)
    root = ET.fromstring(drawn.getvalue())
    width, height = (float(v) for v in root.get("viewBox", "0 0 1 1").split()[2:])
    referred = {
        m for node in root.iter() for v in node.attrib.values() for m in _REFERENCE.findall(v)
    }
    referred |= {
        node.get(_LINK, "")[1:] for node in root.iter() if node.get(_LINK, "").startswith("#")
    }
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    for node in root.iter():
        _mend(node, key, referred)
    root.attrib.clear()
    root.attrib |= {
        "viewBox": f"0 0 {width:g} {height:g}",
        "role": "img",
        "aria-labelledby": f"{key}-title {key}-desc",
        "style": f"--wide: {width * 4 / 3:.0f}px",
    }
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        node = ET.Element(f"{{{_SVG}}}{tag}", {"id": f"{key}-{tag}"})
        node.text = text
        root.insert(place, node)
    ET.register_namespace("", _SVG)
    # a path has a line a point
    return re.sub(r"\n\s*", "\n", ET.tostring(root, encoding="unicode"))


def _mend(node: Any, key: str, referred: set[str]) -> None:
    """Make ids unique in the page, drop those that nothing needs, and let colours
    follow the theme.
    """
    if (name := node.attrib.pop("id", None)) in referred:
        node.set("id", f"{key}-{name}")
    if link := node.attrib.pop(_LINK, None):
        node.set("href", f"#{key}-{link[1:]}" if link.startswith("#") else re.sub(r"\s", "", link))
        if link.startswith("data:") and _grey(link):
            node.set("class", "ink")
    for attribute, value in list(node.attrib.items()):
        value = (
            _LONG.sub(lambda m: f"{float(m[0]):.2f}", value)
            if attribute in ("d", "x", "y", "transform")
            else value
        )
        node.set(attribute, _REFERENCE.sub(lambda m: f"url(#{key}-{m[1]})", value))
    if style := node.get("style"):
        kept = [
            part.strip()
            for part in style.split(";")
            if part.strip() and not part.strip().startswith("font-family")
        ]
        node.set("style", "; ".join(_themed(*part.split(": ", 1)) for part in kept))
    if node.tag == f"{{{_SVG}}}text" and node.get("style") and "fill" in node.get("style", ""):
        # letters need the contrast of lines
        node.set("style", node.get("style").replace("--fill-", "--line-"))


def _themed(name: str, value: str) -> str:
    value = _ROLES.get(value, value)
    if name in ("fill", "stroke") and value[1:] in _PALETTE:
        value = f"var(--{'fill' if name == 'fill' else 'line'}-{value[1:]})"
    return f"{name}: {value}"


def _grey(link: str) -> bool:
    """Whether a picture is black on white, or on nothing: what may be turned round on
    a dark page.
    """
    from matplotlib.image import imread

    pixels = np.atleast_3d(
        imread(io.BytesIO(base64.b64decode(link.partition(",")[2])), format="png")
    )
    return pixels.shape[2] < 3 or bool((np.ptp(pixels[..., :3], axis=2) < 0.01).all())
