"""One case's rows kept in memory, as a run is asked: for comparisons whose tables nobody keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from harness.run.folder import Columns, height_of, rows_of_table
from harness.run.tables import SORT_KEYS, empty

__all__ = ["KeptRows"]


class KeptRows:
    """Takes the rows of a comparison, and answers for them as a run does (`harness.run.facts.RunLike`).

    Args:
        case: id.
        meta: what run.json would say.
        left_out: tables whose rows are not kept.
    """

    def __init__(self, case: str, meta: Mapping[str, Any], left_out: Sequence[str] = ("lines",)) -> None:
        self._case, self._left_out = case, left_out
        self.meta = meta
        self._blocks: dict[str, list[Columns]] = {}

    def add(self, table: str, rows: Columns) -> None:
        """Append rows; see `harness.run.folder.CaseParts.add`."""
        if table not in self._left_out and height_of(rows):
            self._blocks.setdefault(table, []).append({"case": self._case, **rows})

    def table(self, name: str) -> pl.LazyFrame:
        """One table, sorted as in a run folder."""
        blocks = self._blocks.get(name)
        rows = rows_of_table(name, blocks).sort(*SORT_KEYS[name], maintain_order=True) if blocks else empty(name)
        return rows.lazy()
