"""Relations and streams: what to read and how to change it, as values. Nothing runs before rows are asked for.

Every method returns a new object. `read` and `read_stream` share their words, which build one job document; the
document alone decides what happens.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self, Unpack

from frazil import _sink
from frazil._arrow import ArrowRows
from frazil._interrupt import interruptible
from frazil.exceptions import ConfigError, UnsupportedError
from frazil.job import JobDocument, StreamHandle, run, start
from frazil.source import KafkaSource
from frazil.status import JobStatus

if TYPE_CHECKING:
    from frazil import _core
    from frazil.lake import Lake

_DOCUMENT_ORDER = (
    "with_columns, then where, then select: an earlier step cannot see what a later one makes. Change the order, or "
    "write one .sql('select … from input …')"
)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class _Steps:
    """The transform part of the document while it is put together."""

    sql: str | None = None
    with_columns: tuple[tuple[str, str], ...] = ()
    filters: tuple[str, ...] = ()
    select: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.sql is not None:
            found["sql"] = self.sql
        if self.with_columns:
            found["with_columns"] = dict(self.with_columns)
        if self.filters:
            found["where"] = self.condition()
        if self.select:
            found["select"] = list(self.select)
        return found

    def condition(self) -> str | None:
        if len(self.filters) <= 1:
            return self.filters[0] if self.filters else None
        return " and ".join(f"({text})" for text in self.filters)

    def add_where(self, condition: str) -> "_Steps":
        self._not_after_sql("where")
        if self.select:
            raise ConfigError(f"transform.where: stands behind select, but steps run as {_DOCUMENT_ORDER}")
        return replace(self, filters=(*self.filters, _text_of("where", condition)))

    def add_select(self, expressions: tuple[str, ...]) -> "_Steps":
        self._not_after_sql("select")
        if self.select:
            raise ConfigError("transform.select: is given twice; name all expressions in one")
        if not expressions:
            raise ConfigError("transform.select: expected at least one expression")
        return replace(self, select=tuple(_text_of("select", text) for text in expressions))

    def add_columns(self, columns: Mapping[str, str]) -> "_Steps":
        self._not_after_sql("with_columns")
        if self.select or self.filters:
            before = "select" if self.select else "where"
            raise ConfigError(f"transform.with_columns: stands behind {before}, but steps run as {_DOCUMENT_ORDER}")
        for name, _ in self.with_columns:
            for new, text in columns.items():
                if new == name or re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE):
                    raise ConfigError(
                        f"transform.with_columns.{new}: uses or replaces '{name}' of an earlier with_columns, but all "
                        "of them see the source's columns; write the expression out"
                    )
        added = tuple((name, _text_of(f"with_columns.{name}", text)) for name, text in columns.items())
        return replace(self, with_columns=(*self.with_columns, *added))

    def add_sql(self, query: str) -> "_Steps":
        if self != _Steps():
            raise ConfigError("transform.sql: says everything, so it cannot follow where, select, with_columns or sql")
        return _Steps(sql=_text_of("sql", query))

    def _not_after_sql(self, word: str) -> None:
        if self.sql is not None:
            raise ConfigError(f"transform.{word}: cannot follow sql, which says everything; put it into the query")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Steps) and self.document() == other.document()

    def __hash__(self) -> int:
        return hash((self.sql, self.with_columns, self.filters, self.select))

    def __str__(self) -> str:
        texts = [f".sql({self.sql!r})"] if self.sql is not None else []
        if self.with_columns:
            texts.append(f".with_columns({', '.join(f'{name}={text!r}' for name, text in self.with_columns)})")
        texts += [f".where({text!r})" for text in self.filters]
        if self.select:
            texts.append(f".select({', '.join(map(repr, self.select))})")
        return "".join(texts)


def _text_of(word: str, text: object) -> str:
    if not isinstance(text, str):
        raise ConfigError(f"transform.{word}: expected SQL text, found {type(text).__name__}")
    if not text.strip():
        raise ConfigError(f"transform.{word}: expected SQL text, found none")
    return text


class _Words:
    """The words that a relation and a stream share."""

    __slots__ = ()

    _lake: "Lake"
    _steps: _Steps

    def _with_steps(self, steps: _Steps) -> Self:
        return replace(self, _steps=steps)  # type: ignore[type-var]

    def where(self, condition: str) -> Self:
        """Keeps the rows for which a SQL expression is true. Several are joined by `and`.

        Args:
            condition: `"price > 0 and country <> 'DE'"`.
        """
        return self._with_steps(self._steps.add_where(condition))

    def select(self, *expressions: str) -> Self:
        """Keeps these columns, in this order.

        Args:
            expressions: SQL expressions: `"user_id"`, `"price * 2 as double_price"`.
        """
        return self._with_steps(self._steps.add_select(expressions))

    def with_columns(self, **columns: str) -> Self:
        """Adds or replaces columns. All of them see the columns of the source.

        Args:
            columns: SQL expressions by the name of the column: `day="cast(ts as date)"`.
        """
        return self._with_steps(self._steps.add_columns(columns))

    def _job(self, source: KafkaSource, table: str, trigger: Any, options: Mapping[str, Any]) -> JobDocument:
        document = JobDocument(_sink.parts(table, options))
        document["lake"] = self._lake.document()
        document.update(source.document())
        transform = self._steps.document()
        if transform:
            document["transform"] = transform
        if trigger is not None:
            document["trigger"] = trigger
        order = ("name", "lake", "source", "decode", "transform", "sink", "errors", "trigger", "memory")
        known = JobDocument({part: document[part] for part in order if part in document})
        known.update({part: value for part, value in document.items() if part not in known})
        return known


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class _TableScan:
    table: str
    snapshot_id: int | None = None
    timestamp_ms: int | None = None
    ref: str | None = None
    as_of: object = None


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class _Query:
    text: str
    memory: int | None = None


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Relation(_Words, ArrowRows):
    """Rows of a table, of a query, or what is in Kafka up to now.

    It reads nothing until rows are asked for, reads anew each time, and can be handed to anything that speaks Arrow's
    PyCapsule interface. From Kafka it can be written into a table.

    Example:
        >>> import frazil
        >>> lake = frazil.connect("./lake")
        >>> lake.sql("select 1 as one union all select 2 order by one").to_arrow().to_pydict()
        {'one': [1, 2]}
    """

    _lake: "Lake"
    _from: KafkaSource | _TableScan | _Query
    _steps: _Steps = _Steps()
    _limit: int | None = None

    def limit(self, n: int) -> "Relation":
        """Keeps at most so many rows of a table. Which ones is not said."""
        if isinstance(self._from, KafkaSource):
            raise UnsupportedError(
                "limit works on tables; a job reads all that is in the topics. show(n) looks at a few"
            )
        if isinstance(n, bool) or not isinstance(n, int) or n < 0:
            raise ConfigError(f"limit: expected a whole number of rows, found {n!r}")
        return replace(self, _limit=n if self._limit is None else min(n, self._limit))

    def where(self, condition: str) -> "Relation":
        """Keeps the rows for which a SQL expression is true. Several are joined by `and`.

        Args:
            condition: `"price > 0 and country <> 'DE'"`.
        """
        if self._limit is not None:
            raise ConfigError("where: stands behind limit; put it before, or write lake.sql(…)")
        if isinstance(self._from, _Query):
            return self._nested("select * from", f"where {_text_of('where', condition)}")
        return self._with_steps(self._steps.add_where(condition))

    def select(self, *expressions: str) -> "Relation":
        """Keeps these columns, in this order.

        Args:
            expressions: SQL expressions: `"user_id"`, `"price * 2 as double_price"`.
        """
        if isinstance(self._from, _Query) and expressions:
            return self._nested(f"select {', '.join(_text_of('select', text) for text in expressions)} from")
        return self._with_steps(self._steps.add_select(expressions))

    def with_columns(self, **columns: str) -> "Relation":
        """Adds or replaces columns. All of them see the columns of the source.

        Args:
            columns: SQL expressions by the name of the column: `day="cast(ts as date)"`.
        """
        if isinstance(self._from, _Query):
            new = ", ".join(
                f"{_text_of(f'with_columns.{name}', text)} as {_quoted(name)}" for name, text in columns.items()
            )
            return self._nested(f"select *, {new} from")
        return self._with_steps(self._steps.add_columns(columns))

    def sql(self, query: str) -> "Relation":
        """Runs a query over these rows, which it calls `input`.

        Over Kafka it goes row by row: no aggregates, joins, ordering or limits. Over a table it is any query.

        Args:
            query: `"select user_id, price from input where price > 0"`.

        Example:
            ::

                lake.read("shop.sales").sql("select country, sum(price) from input group by country").show()
        """
        if isinstance(self._from, KafkaSource):
            return replace(self, _steps=self._steps.add_sql(query))
        return Relation(self._lake, _Query(_over(self._as_query("sql"), _text_of("sql", query))))

    def count(self) -> int:
        """How many rows there are. For a table, the files are read only as far as the count needs it."""
        if isinstance(self._from, _TableScan) and self._from.as_of is None:
            query = f"select count(*) as n from ({self._as_query('count')}) as rows"
            return int(Relation(self._lake, _Query(query)).to_arrow().column(0)[0].as_py())
        return ArrowRows.count(self)

    def job(self, table: str, *, once: bool = False, **options: Unpack[_sink.WriteOptions]) -> JobDocument:
        """The job document that `write` runs: for a file, a DAG or `frazil run`.

        Args:
            table: `namespace.table`.
            once: One commit for all of it, instead of as many as memory and file size suggest.
            options: As for `write`.
        """
        return self._job(self._kafka("job"), table, "once" if once else None, options)

    def write(
        self, table: str, *, once: bool = False, progress: bool | None = None, **options: Unpack[_sink.WriteOptions]
    ) -> JobStatus:
        """Writes what is in the topics up to now into a table, each record exactly once, and returns when it is there.

        Run again, it goes on where the table's ledger stands. Ctrl-C commits what was read and stops.

        Args:
            table: `namespace.table`; created if it does not exist.
            once: One commit for all of it, instead of as many as memory and file size suggest.
            progress: False to show none.
            options: `name`, `create`, `partition_by`, `sort_by`, `format_version`, `file_size`, `properties`,
                `location`, `dead_letters`, `max_bad`, `on_rollback`, `on_lost_offsets`, `memory` and
                `drain_timeout`, as `WriteOptions` explains them.

        Returns:
            What was done.

        Raises:
            ConfigError: If something does not fit; the text begins with its path in the job document.
            FrazilError: If the job failed. What was committed before stays and is not written again.
        """
        if "every" in options:
            raise ConfigError("trigger.every: read(…) ends with what is there now; read_stream(…) goes on")
        return run(self.job(table, once=once, **options), progress=progress)

    def _kafka(self, word: str) -> KafkaSource:
        if isinstance(self._from, KafkaSource):
            return self._from
        raise UnsupportedError(f"{word} works on Kafka sources; this version does not write from a table or query")

    def _nested(self, head: str, tail: str = "") -> "Relation":
        memory = self._from.memory if isinstance(self._from, _Query) else None
        return Relation(self._lake, _Query(f"{head} ({self._as_query('sql')}) as rows {tail}".rstrip(), memory))

    def _as_query(self, word: str) -> str:
        """The same rows as SQL text."""
        if isinstance(self._from, _Query):
            text = self._from.text
            return text if self._limit is None else f"select * from ({text}) as rows limit {self._limit}"
        assert isinstance(self._from, _TableScan), "Kafka sources are handled before"
        if self._from.as_of is not None:
            raise UnsupportedError(f"{word} does not work together with as_of in this version")
        table = ".".join(_quoted(part) for part in self._from.table.split("."))
        columns = ", ".join(f"{text} as {_quoted(name)}" for name, text in self._steps.with_columns)
        text = f"select *, {columns} from {table}" if columns else f"select * from {table}"
        condition = self._steps.condition()
        if condition is not None:
            text = f"select * from ({text}) as rows where {condition}" if columns else f"{text} where {condition}"
        if self._steps.select:
            text = f"select {', '.join(self._steps.select)} from ({text}) as rows"
        return text if self._limit is None else f"{text} limit {self._limit}"

    def _stream(self, limit: int | None = None) -> "_core.ArrowStream":
        from frazil import _core

        limits = [n for n in (self._limit, limit) if n is not None]
        at_most = min(limits) if limits else None
        match self._from:
            case KafkaSource() as source:
                document = {**source.document(), "transform": self._steps.document()}
                return interruptible(lambda: _core.read_source(document))
            case _TableScan() as scan:
                return self._lake._core.scan(
                    scan.table,
                    select=list(self._steps.select),
                    with_columns=dict(self._steps.with_columns) or None,
                    filter=self._steps.condition(),
                    limit=at_most,
                    snapshot_id=scan.snapshot_id,
                    timestamp_ms=scan.timestamp_ms,
                    ref=scan.ref,
                )
            case _Query() as query:
                return self._lake._core.sql(self._as_query("sql"), query.memory)

    def __repr__(self) -> str:
        match self._from:
            case KafkaSource() as source:
                head = f"read({source!r})"
            case _TableScan() as scan:
                as_of = "" if scan.as_of is None else f", as_of={str(scan.as_of)!r}"
                head = f"read({scan.table!r}{as_of})"
            case _Query() as query:
                head = f"sql({query.text!r})"
        limit = "" if self._limit is None else f".limit({self._limit})"
        return f"{head}{self._steps}{limit}"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Stream(_Words):
    """What comes through Kafka, for as long as the job runs. The words are those of `Relation`."""

    _lake: "Lake"
    _source: KafkaSource
    _steps: _Steps = _Steps()

    def sql(self, query: str) -> "Stream":
        """Runs a query over each record, which it calls `input`: no aggregates, joins, ordering or limits.

        Args:
            query: `"select user_id, price from input where price > 0"`.
        """
        return self._with_steps(self._steps.add_sql(query))

    def job(self, table: str, *, every: str | timedelta, **options: Unpack[_sink.WriteOptions]) -> JobDocument:
        """The job document that `write` starts: for a file, a DAG or `frazil run`.

        Args:
            table: `namespace.table`.
            every: A commit in each such interval: `"1s"`.
            options: As for `write`.
        """
        return self._job(self._source, table, {"every": _sink.interval(every)}, options)

    def write(self, table: str, *, every: str | timedelta, **options: Unpack[_sink.WriteOptions]) -> StreamHandle:
        """Starts to write the topics into a table, each record exactly once, and returns at once.

        Args:
            table: `namespace.table`; created if it does not exist.
            every: A commit in each such interval: `"1s"`. What was read is in the table that soon.
            options: `name`, `create`, `partition_by`, `sort_by`, `format_version`, `file_size`, `properties`,
                `location`, `dead_letters`, `max_bad`, `on_rollback`, `on_lost_offsets`, `memory` and
                `drain_timeout`, as `WriteOptions` explains them.

        Returns:
            A handle with `status()`, `stop()` and `wait()`, which can be used in a `with` block.

        Raises:
            ConfigError: If something does not fit; the text begins with its path in the job document.
            FrazilError: If the source or the table cannot be opened.
        """
        return start(self.job(table, every=every, **options))

    def __repr__(self) -> str:
        return f"read_stream({self._source!r}){self._steps}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


_WITH = re.compile(r"^\s*with\s+(recursive\s+)?", re.IGNORECASE)


def _over(rows: str, query: str) -> str:
    """A query with `input` defined in front of it; its own `with` goes on behind."""
    query = query.strip().rstrip(";")
    own = _WITH.match(query)
    head: Callable[[str], str] = lambda recursive: f"with {recursive}input as ({rows})"  # noqa: E731
    if own is None:
        return f"{head('')} {query}"
    return f"{head(own.group(1) or '')}, {query[own.end() :]}"
