"""What the papers claim, as comparisons of rows, and whether our runs bear it out.

A comparison says that one row is above another in some number. It *holds* where the difference of
the means is larger than twice its standard error, √(sd₁²/n₁ + sd₂²/n₂), is *reversed* where it is
so far below, and else *within the spread* of the seeds. Of single runs only the difference is said.
That one is as good as the other holds where the means are no further apart than is claimed, and is
reversed where they are by more than that error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from srnn.papers.results import Measured, Result


@dataclass(frozen=True)
class Compare:
    """Row `above` of a table against row `below`, by a number of theirs. times: the claim is that
    it is at least so many times as much.

    at_most: the claim is that it is no more than so many points above.
    """

    table: str
    above: str
    below: str
    metric: str = "accuracy"
    times: float | None = None
    at_most: float | None = None


@dataclass(frozen=True)
class Claim:
    """A statement of a paper, in our words, and the comparisons that test it on data at hand."""

    text: str
    source: str
    comparisons: tuple[Compare, ...]


@dataclass(frozen=True)
class Verdict:
    """What came of a comparison: "holds", "reversed", "within the spread", "less than that", "one
    run", "not measured"; the numbers in words.
    """

    kind: str
    above: str
    below: str
    said: str = ""


def judge(comparison: Compare, results: Mapping[tuple[str, str], Result]) -> Verdict:
    """Return whether a comparison holds. results: by table and row."""
    upper, lower = (
        results.get((comparison.table, name)) for name in (comparison.above, comparison.below)
    )
    above = comparison.above if upper is None else upper.row.label
    below = comparison.below if lower is None else lower.row.label
    a, b = (None if r is None else r.ours.get(comparison.metric) for r in (upper, lower))
    if a is None or b is None:
        return Verdict("not measured", above, below)
    shown = percent if comparison.metric == "accuracy" else plain
    both = f"{shown(a)} against {shown(b)}"
    if comparison.times is not None:
        ratio = a.mean / b.mean
        kind = "holds" if ratio >= comparison.times else "less than that"
        return Verdict(
            kind,
            above,
            below,
            f"{comparison.metric.replace('_', ', ')}: {ratio:.3g} times ({both})",
        )
    difference = a.mean - b.mean
    said = (
        f"{difference:+.1f} points ({both})"
        if comparison.metric == "accuracy"
        else f"{difference:+.3g} ({both})"
    )
    if a.sd is None or b.sd is None:
        return Verdict("one run", above, below, said)
    error = math.sqrt(a.sd**2 / a.n + b.sd**2 / b.n)
    if comparison.at_most is not None:
        beyond = difference - comparison.at_most
        kind = (
            "holds" if beyond <= 0 else "within the spread" if beyond <= 2 * error else "reversed"
        )
        return Verdict(kind, above, below, f"{said}; claimed: at most {comparison.at_most:g}")
    kind = "holds" if difference > 0 else "reversed"
    if abs(difference) <= 2 * error:
        kind = "within the spread"
    return Verdict(kind, above, below, said)


def percent(m: Measured) -> str:
    """Return an accuracy as text."""
    return f"{m.mean:.1f}" + ("" if m.sd is None else f" ± {m.sd:.1f}") + " %"


def plain(m: Measured) -> str:
    """Return any other number as text."""
    return f"{m.mean:.3g}" + ("" if m.sd is None else f" ± {m.sd:.2g}")


def tally(verdicts: list[Verdict]) -> str:
    """Return the verdict over all comparisons of a claim, in words."""
    kinds = [v.kind for v in verdicts if v.kind != "not measured"]
    if not kinds:
        return "not measured"
    if len(set(kinds)) == 1:
        return kinds[0]
    return ", ".join(
        f"{kinds.count(k)} × {k}"
        for k in ("holds", "within the spread", "less than that", "reversed", "one run")
        if k in kinds
    )
