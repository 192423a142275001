"""Keyword arguments of `write` → the parts of a job document. Names and values are checked by the core alone."""

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, TypedDict

from frazil.exceptions import ConfigError
from frazil.source import _copy


class WriteOptions(TypedDict, total=False):
    """What `write` and `job` take beside the table's name.

    Attributes:
        name: The job's name, its ledger's key in the table. By default made from topics and table.
        create: Create the table if it does not exist (the default).
        partition_by: Partition fields of a new table: `["day(ts)", "bucket(16, user_id)"]`.
        sort_by: Sort order of a new table: `["user_id", "ts desc"]`.
        format_version: Iceberg format version of a new table, 2 or 3.
        file_size: Target size of a data file: `"256MiB"`.
        properties: Table properties of a new table.
        location: Location of a new table.
        dead_letters: Topic for records that cannot be read or do not fit, or a mapping of `topic` and `bootstrap`.
        max_bad: How many bad records the job bears: `"1%"`, `0.01` or a count.
        on_rollback: `"stop"` or `"rewind"` when the table was rolled back.
        on_lost_offsets: `"stop"` or `"skip"` when offsets are gone from the source.
        memory: All memory that the job may hold: `"1GiB"`.
        drain_timeout: How long stopping may take: `"30s"`.
    """

    name: str
    create: bool
    partition_by: str | Sequence[str]
    sort_by: str | Sequence[str]
    format_version: int
    file_size: str | int
    properties: Mapping[str, Any]
    location: str | os.PathLike[str]
    dead_letters: str | Mapping[str, Any]
    max_bad: str | float
    on_rollback: str
    on_lost_offsets: str
    memory: str | int
    drain_timeout: str | timedelta


_SINK = ("create", "partition_by", "sort_by", "format_version", "file_size", "properties", "location")
_ERRORS = ("dead_letters", "max_bad", "on_rollback", "on_lost_offsets")
_TOP = ("name", "memory", "drain_timeout")
KNOWN = (*_TOP, *_SINK, *_ERRORS)


def parts(table: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The parts `sink`, `errors`, `name`, `memory` and `drain_timeout` of a job document.

    Raises:
        ConfigError: For an option that does not exist, with the one that was probably meant.
    """
    for name in options:
        if name not in KNOWN:
            raise ConfigError(f"write: unknown option '{name}'{_meant(name)} (known: {', '.join(sorted(KNOWN))})")
    given = {name: _plain(value) for name, value in options.items() if value is not None}
    document: dict[str, Any] = {name: given[name] for name in _TOP if name in given}
    sink = {"table": table, **{name: given[name] for name in _SINK if name in given}}
    for name in ("partition_by", "sort_by"):
        if isinstance(sink.get(name), str):
            sink[name] = [sink[name]]
    if isinstance(sink.get("properties"), dict):
        sink["properties"] = {key: _property(value) for key, value in sink["properties"].items()}
    document["sink"] = sink
    errors = {name: given[name] for name in _ERRORS if name in given}
    if isinstance(errors.get("dead_letters"), str):
        errors["dead_letters"] = {"topic": errors["dead_letters"]}
    if errors:
        document["errors"] = errors
    return document


def interval(value: str | timedelta) -> str:
    """An interval as the job document writes it."""
    if isinstance(value, timedelta):
        return f"{round(value.total_seconds() * 1000)}ms"
    return value


def _plain(value: Any) -> Any:
    return interval(value) if isinstance(value, timedelta) else _copy(value)


def _property(value: Any) -> str:
    # Iceberg's booleans are written small.
    return str(value).lower() if isinstance(value, bool) else str(value)


def _meant(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, KNOWN, n=1)
    return f", did you mean '{near[0]}'?" if near else ""
