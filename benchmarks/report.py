"""Tables and the JSON file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.timing import Times


def heading(about: Mapping[str, Any]) -> str:
    """Return the machine in one line."""
    cores = f"{about['threads']} of {about['cores']} cores"
    return (
        f"{about['processor']}, {cores}, torch {about['torch']}; median of {about['rounds']} rounds"
    )


def seconds(value: float) -> str:
    """Return a time with three digits: 93 ms, 2.53 s."""
    if math.isnan(value):
        return "-"
    return f"{value:.3g} s" if value >= 0.9995 else f"{value * 1e3:.3g} ms"


def time_cell(times: Times | None) -> str:
    """Return the median, or why there is none."""
    if times is None:
        return "-"
    return "failed" if times.failed else seconds(times.median)


def ratio_cell(slow: Times | None, fast: Times | None, refused: str) -> str:
    """Return by which factor `fast` is faster, or why nothing is said."""
    if slow is None or fast is None or math.isnan(slow.median) or math.isnan(fast.median):
        return "-"
    return "refused" if refused else f"{slow.median / fast.median:.1f}×"


def rates_cell(rates: Sequence[float]) -> str:
    """Return firing rates in percent."""
    return " / ".join(f"{100 * rate:.1f}" for rate in rates) + " %" if rates else "-"


def parity_cell(parity: Mapping[str, Any] | None) -> str:
    """Return the figures of a comparison with the reference."""
    if parity is None:
        return "not run"
    if "failed" in parity:
        return "failed"
    figures = (
        f"{parity['unflipped']:.0%} equal\nu {parity['potential']:.0e}\n"
        f"grad {parity['gradient']:.0e}"
    )
    return figures if parity["holds"] else f"FAILS: {figures}"


def table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int = 1
) -> Table:
    """Return a table; the first `text_columns` columns are text, the others numbers."""
    made = Table(title=title, title_justify="left", pad_edge=False)
    for k, column in enumerate(columns):
        made.add_column(column, justify="left" if k < text_columns else "right", overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def console() -> Console:
    """Return the console; tables need some width even where the output is a file."""
    plain = Console()
    return plain if plain.is_terminal and plain.width >= 120 else Console(width=150)


def write_json(path: Path | None, content: Mapping[str, Any]) -> None:
    """Write all raw numbers; NaN becomes null."""
    if path is not None:
        path.write_text(
            json.dumps(_clean(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n",
            encoding="utf-8",
        )


def _clean(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _clean(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
