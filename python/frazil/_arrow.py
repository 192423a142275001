"""What everything that gives rows has in common: Arrow's PyCapsule stream, and the conversions built on it.

Nothing here knows where rows come from. pyarrow, pandas, Polars and DuckDB are imported when they are asked for.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from frazil import _text
from frazil._optional import need

if TYPE_CHECKING:
    import duckdb
    import pandas
    import polars
    import pyarrow

    from frazil import _core

_HTML_ROWS = 10


class ArrowRows(ABC):
    """Rows that can be handed to any Arrow-speaking library without a copy."""

    __slots__ = ()

    @abstractmethod
    def _stream(self, limit: int | None = None) -> "_core.ArrowStream":
        """The rows, from the start; at most so many where that saves work."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Arrow's PyCapsule interface: `pyarrow.table(rows)`, `polars.DataFrame(rows)` and others read through it."""
        return self._stream().__arrow_c_stream__(requested_schema)

    def to_batches(self) -> "Iterator[pyarrow.RecordBatch]":
        """The rows as Arrow record batches, read while they are iterated over: for results larger than memory."""
        yield from _batches(self._reader())

    def to_arrow(self) -> "pyarrow.Table":
        """All rows as a pyarrow table."""
        reader = self._reader()
        # Batch by batch, so that Ctrl-C is heard between them.
        table: pyarrow.Table = need("pyarrow", "to_arrow()").Table.from_batches(list(_batches(reader)), reader.schema)
        return table

    def to_pandas(self, **options: Any) -> "pandas.DataFrame":
        """All rows as a pandas data frame.

        Args:
            options: Passed on to `pyarrow.Table.to_pandas`.
        """
        need("pandas", "to_pandas()", "frazil[pandas]")
        frame: pandas.DataFrame = self.to_arrow().to_pandas(**options)
        return frame

    def to_polars(self) -> "polars.DataFrame":
        """All rows as a Polars data frame."""
        frame: polars.DataFrame = need("polars", "to_polars()", "frazil[polars]").DataFrame(self)
        return frame

    def to_duckdb(self, connection: "duckdb.DuckDBPyConnection | None" = None) -> "duckdb.DuckDBPyRelation":
        """All rows as a DuckDB relation.

        Args:
            connection: The connection to make it in, by default DuckDB's own.
        """
        duckdb = need("duckdb", "to_duckdb()", "frazil[duckdb]")
        # A table, not the stream: DuckDB may read a relation more than once.
        return (duckdb if connection is None else connection).from_arrow(self.to_arrow())

    def count(self) -> int:
        """How many rows there are."""
        return sum(batch.num_rows for batch in self.to_batches())

    def show(self, n: int = 20) -> None:
        """Prints the first rows.

        Args:
            n: How many.
        """
        columns, rows = self._first(n)
        print(_text.table([name for name, _ in columns], rows))

    def _reader(self, limit: int | None = None) -> "_Reader":
        stream = self._stream(limit)
        return _Reader(stream, need("pyarrow", "reading rows").RecordBatchReader.from_stream(stream))

    def _first(self, n: int) -> tuple[list[tuple[str, str]], list[list[Any]]]:
        reader = self._reader(n)
        columns = [(field.name, str(field.type)) for field in reader.schema]
        rows = islice(_rows(reader), n)
        return columns, list(rows)

    def _repr_html_(self) -> str:
        columns, rows = self._first(_HTML_ROWS)
        heads = [f"{name}: {kind}" for name, kind in columns]
        return _text.html_table(heads, rows, f"first {len(rows)} rows of {self!r}")


class _Reader(NamedTuple):
    """A stream and pyarrow's reader over it."""

    stream: "_core.ArrowStream"
    batches: "pyarrow.RecordBatchReader"

    @property
    def schema(self) -> "pyarrow.Schema":
        return self.batches.schema


def _batches(reader: _Reader) -> "Iterator[pyarrow.RecordBatch]":
    try:
        yield from reader.batches
    except Exception:
        # Of an error in the middle of a stream only the text is left on its way through Arrow: raise the one it was.
        reader.stream.raise_error()
        raise


def _rows(reader: _Reader) -> Iterator[list[Any]]:
    for batch in _batches(reader):
        columns = [column.to_pylist() for column in batch.columns]
        yield from (list(row) for row in zip(*columns, strict=True))
