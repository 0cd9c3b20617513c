"""A file in the making: what is put into it, and what must become of each of its rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.ingestion.generator.manifest import ExpectedFile
from pipelines.ingestion.generator.writers import Kind, Row, write_rows


@dataclass
class Table:
    """A dataset's table as it must be by now."""

    dataset: str
    key: str
    fields: dict[str, Kind]
    rows: dict[str, Row] = field(default_factory=dict)


@dataclass
class Delivery:
    """A file of a dataset. Each method puts a row into it and counts what must become of it."""

    table: Table
    rows: list[Row] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    deduplicated: int = 0

    def new(self, row: Row) -> None:
        """A row with a key that is new."""
        self._keep(row)
        self.inserted += 1

    def change(self, row: Row) -> None:
        """A newer version of a row that was delivered before."""
        self._keep(row)
        self.updated += 1

    def known(self, row: Row) -> None:
        """A version of a row that is not newer, or the same once more: the table stays as it is."""
        self.rows.append(row)
        self.unchanged += 1

    def outdated(self, row: Row) -> None:
        """An older version of a row that is in the same file."""
        self.rows.append(row)
        self.deduplicated += 1

    def bad(self, row: Row, rule: str) -> None:
        """A row that breaks a rule of the contract, named `column: rule`."""
        self.rows.append(row)
        self.rejected[rule] += 1

    def _keep(self, row: Row) -> None:
        self.rows.append(row)
        self.table.rows[row[self.table.key]] = row

    def write(self, folder: Path, name: str, *, delimiter: str = ",", decimal: str = ".") -> ExpectedFile:
        """Write the file and return what is expected of it."""
        write_rows(folder / name, self.rows, self.table.fields, delimiter=delimiter, decimal=decimal)
        return ExpectedFile(
            name,
            self.table.dataset,
            rows_read=len(self.rows),
            rows_rejected=self.rejected.total(),
            rejected_by_rule=dict(self.rejected),
            rows_deduplicated=self.deduplicated,
            rows_inserted=self.inserted,
            rows_updated=self.updated,
            rows_unchanged=self.unchanged,
        )
