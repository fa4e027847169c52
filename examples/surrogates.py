"""What stands in for the derivative of a spike: every surrogate of the package, and the smooth
spike whose derivative it is.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from srnn import surrogates
from srnn.analysis.style import DASHES, LINES, new_figure, tidy

SHOWN = (
    surrogates.MultiGaussian(),
    surrogates.Gaussian(),
    surrogates.Triangular(),
    surrogates.SLayer(),
    surrogates.Boxcar(),
    surrogates.FastSigmoid(),
)


def draw() -> Any:
    """Return a figure: the gradient each surrogate gives, and its primitive, over x = potential -
    threshold.
    """
    x = torch.linspace(-2.5, 2.5, 501)
    figure = new_figure(figsize=(8, 3))
    gradient, primitive = figure.subplots(1, 2)
    for k, surrogate in enumerate(SHOWN):
        how = {
            "color": LINES[k % len(LINES)],
            "linestyle": DASHES[k // 2 % len(DASHES)],
            "label": type(surrogate).__name__,
        }
        gradient.plot(x, surrogate.grad(x), **how)
        primitive.plot(x, surrogate.primitive(x), **how)
    primitive.plot(x, (x > 0).float(), color="black", linewidth=0.8)
    tidy(gradient, "x: potential above threshold", "what the backward pass uses")
    tidy(primitive, "x: potential above threshold", "the spike it is the derivative of")
    gradient.legend(fontsize=7, frameon=False)
    return figure


def main(path: Path) -> Path:
    """Write the figure."""
    draw().savefig(path)
    return path


if __name__ == "__main__":
    print(main(Path(sys.argv[1] if len(sys.argv) > 1 else "surrogates.svg")))
