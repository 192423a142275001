"""Lakes: a catalog and the storage of its tables. The way in to everything else."""

import os
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frazil import _text
from frazil._interrupt import interruptible
from frazil.exceptions import ConfigError
from frazil.relation import Relation, Stream, _Query, _TableScan
from frazil.source import KafkaSource, _copy, parse_time, utc
from frazil.table import AuditReport, Table

if TYPE_CHECKING:
    from frazil import _core as core


def connect(
    catalog: str | os.PathLike[str] | Mapping[str, Any],
    *,
    warehouse: str | os.PathLike[str] | None = None,
    name: str | None = None,
    token: str | None = None,
    credential: str | None = None,
    scope: str | None = None,
    oauth2_server_uri: str | None = None,
    prefix: str | None = None,
    headers: Mapping[str, str] | None = None,
    storage: Mapping[str, Any] | None = None,
) -> "Lake":
    """Opens a lake.

    Args:
        catalog: A directory (local files with a SQLite catalog in it, made if it is not there),
            `sqlite:///path/catalog.db`, or the URL of a REST catalog. Or all settings as one mapping, as the part
            `lake` of a job document holds them.
        warehouse: Where new tables go: a directory or `s3://bucket/prefix`; for a REST catalog its name for it.
        name: The catalog's name in the SQL schema shared with PyIceberg and Java; all must use the same.
        token: Bearer token of a REST catalog.
        credential: OAuth2 client credentials of a REST catalog, `client_id:client_secret`.
        scope: OAuth2 scope.
        oauth2_server_uri: Where tokens are fetched, if not at the catalog itself.
        prefix: Prefix of the REST paths.
        headers: Further HTTP headers of each request to a REST catalog.
        storage: `endpoint`, `region`, `access_key_id`, `secret_access_key`, `session_token` and `path_style` of
            S3-compatible storage. What is missing comes from the catalog or the environment.

    Returns:
        The open lake.

    Raises:
        ConfigError: If a setting is wrong.
        UnauthorizedError: If the catalog refuses the credentials.
        CatalogError: If it does not answer.

    Example:
        >>> import frazil
        >>> frazil.connect("./lake").namespaces()
        []

        A REST catalog, secrets from the environment::

            lake = frazil.connect(
                "https://catalog:8181",
                warehouse="sales",
                credential="${env:CATALOG_CREDENTIAL}",
                storage={"endpoint": "http://minio:9000"},
            )
    """
    location = None if isinstance(catalog, Mapping) else local(os.fspath(catalog))
    if warehouse is not None:
        # For a REST catalog it is a name, which may look like a path.
        remote = location is not None and location.startswith(("http://", "https://"))
        warehouse = os.fspath(warehouse) if remote else local(os.fspath(warehouse))
    given: dict[str, Any] = {
        "warehouse": warehouse,
        "name": name,
        "token": token,
        "credential": credential,
        "scope": scope,
        "oauth2_server_uri": oauth2_server_uri,
        "prefix": prefix,
        "headers": None if headers is None else dict(headers),
        "storage": None if storage is None else dict(storage),
    }
    settings = {key: value for key, value in given.items() if value is not None}
    if location is None:
        if settings:
            raise ConfigError(f"lake: '{next(iter(settings))}' stands beside a mapping; put it into the mapping")
        return Lake(_copy(catalog))
    return Lake({"catalog": location, **settings} if settings else location)


class Lake:
    """An open lake. `frazil.connect` makes it."""

    def __init__(self, settings: Mapping[str, Any] | str) -> None:
        from frazil import _core

        self._settings = settings
        self._core: core.Lake = interruptible(lambda: _core.Lake.open(settings))

    def document(self) -> dict[str, Any] | str:
        """The part `lake` of a job document, with secrets as they were given."""
        found: dict[str, Any] | str = _copy(self._settings)
        return found

    def read(self, source: KafkaSource | str | Table, *, as_of: int | str | datetime | date | None = None) -> Relation:
        """Rows of a table, or what is in Kafka up to now.

        Args:
            source: The name of a table (`"shop.sales"`), or a source such as `frazil.kafka(…)`.
            as_of: The table as it was: a snapshot's id, a time (`datetime` or ISO text; a date means its first
                moment; UTC if no zone is named), or the name of a branch or tag.

        Returns:
            The rows, not read yet.

        Example:
            ::

                lake.read("shop.sales", as_of="2026-11-01").where("price > 0").to_polars()
        """
        if isinstance(source, KafkaSource):
            if as_of is not None:
                raise ConfigError("as_of: is for tables; where Kafka is read from is frazil.kafka(…, start=…)")
            return Relation(self, source)
        table = source.name if isinstance(source, Table) else source
        if not isinstance(table, str):
            raise ConfigError(f"read: expected a table's name or frazil.kafka(…), found {type(source).__name__}")
        return Relation(self, _scan(table, as_of))

    def read_stream(self, source: KafkaSource) -> Stream:
        """What comes through Kafka, for as long as the job runs; the words are those of `read`.

        Args:
            source: A source such as `frazil.kafka(…)`.
        """
        if not isinstance(source, KafkaSource):
            raise ConfigError(f"read_stream: expected a source such as frazil.kafka(…), found {type(source).__name__}")
        return Stream(self, source)

    def sql(self, query: str, *, memory: int | None = None) -> Relation:
        """The rows of a query over the tables of this lake.

        Args:
            query: `"select country, sum(price) from shop.sales group by country"`. Names are exact,
                upper and lower case included.
            memory: How many bytes it may hold.

        Returns:
            The rows; the query runs when they are asked for, each time anew.
        """
        return Relation(self, _Query(query.strip().rstrip(";"), memory))

    def namespaces(self) -> list[str]:
        """The namespaces."""
        return self._core.namespaces()

    def tables(self, namespace: str | None = None) -> list[str]:
        """The tables, as `namespace.table`.

        Args:
            namespace: Only those of this namespace.
        """
        return self._core.tables(namespace)

    def table(self, name: str) -> Table:
        """Schema, partitions, properties, snapshots and ledgers of a table, as they are now.

        Args:
            name: `namespace.table`.

        Raises:
            NotFoundError: If there is no such table.
        """
        return Table(self, name, self._core.table_info(name))

    def drop_table(self, name: str) -> None:
        """Takes a table out of the catalog. Its files stay where they are.

        Args:
            name: `namespace.table`.

        Raises:
            NotFoundError: If there is no such table.
        """
        self._core.drop_table(name)

    def audit(self, table: str, *, job: str | None = None) -> AuditReport:
        """Checks what the table says of its jobs: no gap, no overlap, and row counts that agree with the files.

        Args:
            table: `namespace.table`.
            job: Only this job.

        Returns:
            What was found. `report.clean` says whether all is well, `report.check()` raises if not.
        """
        return AuditReport(table, self._core.audit(table, job))

    def __repr__(self) -> str:
        return f"<lake {self._core.describe()}>"

    def _repr_html_(self) -> str:
        return _text.html_table(["table"], [[name] for name in self.tables()], self._core.describe())


def audit(
    table: str, lake: Lake | str | os.PathLike[str] | Mapping[str, Any] = "./lake", *, job: str | None = None
) -> AuditReport:
    """Checks a table of a lake: what `frazil audit` does.

    Args:
        table: `namespace.table`.
        lake: An open lake, or what `connect` takes.
        job: Only this job.
    """
    opened = lake if isinstance(lake, Lake) else connect(lake)
    return opened.audit(table, job=job)


def local(location: str) -> str:
    """A local path from the root, so that a later change of the working directory does not lead elsewhere."""
    if "://" in location or location.startswith(("file:", "sqlite:", "memory:")):
        return location
    return str(Path(location).expanduser().absolute())


def _scan(table: str, as_of: int | str | datetime | date | None) -> _TableScan:
    if as_of is None:
        return _TableScan(table)
    if isinstance(as_of, bool):
        raise ConfigError(f"as_of: expected a snapshot's id, a time, or the name of a branch or tag, found {as_of}")
    if isinstance(as_of, int):
        return _TableScan(table, snapshot_id=as_of, as_of=as_of)
    moment = parse_time(as_of) if isinstance(as_of, str) else as_of
    if moment is not None:
        return _TableScan(table, timestamp_ms=int(utc(moment).timestamp() * 1000), as_of=as_of)
    assert isinstance(as_of, str), "times are handled above"
    if as_of.isdigit():
        return _TableScan(table, snapshot_id=int(as_of), as_of=as_of)
    return _TableScan(table, ref=as_of, as_of=as_of)
