"""Yin, Corradi & Bohté 2020."""

from __future__ import annotations

from srnn.papers.table import Table

TABLES: tuple[Table, ...] = ()
