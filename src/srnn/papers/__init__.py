"""Every published table and figure as rows of (task, settings, published numbers);
`srnn reproduce NAME` fills them in.

A paper is a module with TABLES; a table is called PAPER-table2 or PAPER-fig4a.
"""

from __future__ import annotations

from srnn._check import ConfigError, check_instance, suggest
from srnn.papers.table import Row as Row
from srnn.papers.table import Table as Table


def tables() -> tuple[Table, ...]:
    """Return all tables, in the order of the papers."""
    from srnn.papers import bittar2022, yin2020, yin2021

    return (*yin2020.TABLES, *yin2021.TABLES, *bittar2022.TABLES)


def load(name: str) -> Table:
    """Return the table called `name`, capitals aside. Raises `ConfigError` with the known names."""
    check_instance("papers.load", "name", name, str, "the name of a table")
    known = {table.name: table for table in tables()}
    by_name = {n.lower(): table for n, table in known.items()}
    if name.lower() not in by_name:
        raise ConfigError(f"There is no table {name!r}.{suggest(name, known)}")
    return by_name[name.lower()]
