"""Sources: where records come from and how their bytes become columns. Describes; reads nothing."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from frazil.exceptions import ConfigError

_FORMATS = ("avro", "json", "raw")
_FIELDS = ("topic", "partition", "offset", "timestamp", "key", "headers")


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class KafkaSource:
    """Kafka topics and the format of their records, as `frazil.kafka` makes it.

    Hand it to `lake.read` or `lake.read_stream`. It cannot be changed and never shows a secret.
    """

    _source: dict[str, Any]
    _decode: dict[str, Any]
    _shown: dict[str, Any]

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics."""
        return tuple(self._source["kafka"]["topics"])

    def document(self) -> dict[str, Any]:
        """The parts `source` and `decode` of a job document, with secrets as they were given."""
        return {"source": _copy(self._source), "decode": _copy(self._decode)}

    def __repr__(self) -> str:
        kafka = self._shown["source"].get("kafka", {})
        settings = {name: value for name, value in kafka.items() if name != "topics"}
        settings.update(self._shown["decode"])
        return f"kafka({', '.join(map(repr, self.topics))}, {_settings(settings)})"


def kafka(
    *topics: str | Iterable[str],
    bootstrap: str,
    registry: str | Mapping[str, Any] | None = None,
    format: str | None = None,
    schema: Any = None,
    subject: str | None = None,
    start: str | datetime | date | Mapping[str, Any] | None = None,
    group: str | None = None,
    security: Mapping[str, Any] | None = None,
    properties: Mapping[str, Any] | None = None,
    metadata: Mapping[str, str] | Iterable[str] | None = None,
    column: str | None = None,
    infer_records: int | None = None,
) -> KafkaSource:
    """Kafka topics as a source.

    Nothing is read and no broker is asked yet. Secrets are best given as references, `"${env:NAME}"` or
    `"${file:PATH}"`, which are looked up where the job runs.

    Args:
        topics: One or more topics whose records have the same format.
        bootstrap: `host:port` of one or more brokers, comma-separated.
        registry: The schema registry: its URL, or a mapping of `url` and `username`, `password`, `token`, `ca`. With
            one, records are Avro in Confluent's wire format.
        format: `"avro"`, `"json"` or `"raw"` (the bytes in one column). Needed where no registry is given.
        schema: For Avro the schema to read with, as JSON text or a mapping; for JSON a mapping of columns to Iceberg
            types, `{"id": "long", "ts": "timestamptz"}`. JSON without one is inferred.
        subject: The registry's subject, if not the topic's name and `-value`.
        start: Where a job begins that the table has no ledger of: `"earliest"` (the default), `"latest"`, a time
            (a `datetime` or ISO text, UTC if it names no zone), or offsets as `{topic: {partition: offset}}`.
        group: The consumer group, by default `frazil-` and the job's name.
        security: Encryption and authentication: `protocol`, `mechanism`, `username`, `password`, `ca`,
            `certificate`, `key`, `key_password`.
        properties: Further librdkafka settings by their own names.
        metadata: Record fields that become columns: `{"partition": "kafka_partition"}`, or only their names
            (`["partition", "offset"]`), which become `kafka_partition` and `kafka_offset`. Fields are topic,
            partition, offset, timestamp, key and headers.
        column: The column of the `raw` format, by default `value`.
        infer_records: How many records the columns of JSON are inferred from.

    Returns:
        The source, for `lake.read(source)` and `lake.read_stream(source)`.

    Raises:
        ConfigError: If something does not fit; the text begins with its path in the job document.

    Example:
        >>> import frazil
        >>> frazil.kafka("events", bootstrap="localhost:9092", registry="http://localhost:8081").topics
        ('events',)
        >>> frazil.kafka("a", "b", bootstrap="localhost:9092", format="raw").document()["decode"]
        {'raw': {}}
    """
    names: list[str] = []
    for topic in topics:
        names.extend([topic] if isinstance(topic, str) else topic)
    settings: dict[str, Any] = {"topics": names, "bootstrap": bootstrap}
    if start is not None:
        settings["start"] = _start(start)
    if group is not None:
        settings["group"] = group
    if security is not None:
        settings["security"] = dict(security)
    if properties is not None:
        settings["properties"] = {name: _property(value) for name, value in properties.items()}

    format = _format(format, registry, schema)
    options: dict[str, Any] = {}
    given = {
        "registry": _copy(registry),
        "schema": _copy(schema),
        "subject": subject,
        "column": column,
        "infer_records": infer_records,
    }
    allowed = {
        "avro": ("registry", "schema", "subject"),
        "json": ("schema", "infer_records"),
        "raw": ("column",),
    }[format]
    for name, value in given.items():
        if value is None:
            continue
        if name not in allowed:
            takes = ", ".join(f"'{option}'" for option in allowed)
            raise ConfigError(f"decode.{format}: '{name}' says nothing about format {format!r}, which takes {takes}")
        options[name] = value
    decode: dict[str, Any] = {format: options}
    if metadata is not None:
        decode["metadata"] = _metadata(metadata)
    return from_document({"kafka": settings}, decode)


def from_document(source: Mapping[str, Any], decode: Mapping[str, Any]) -> KafkaSource:
    """A source from the parts `source` and `decode` of a job document."""
    from frazil import _core

    own_source, own_decode = _copy(source), _copy(decode)
    shown = {
        "source": _core.validate_part("source", "source", own_source),
        "decode": _core.validate_part("decode", "decode", own_decode),
    }
    return KafkaSource(own_source, own_decode, shown)


def _format(format: str | None, registry: object, schema: object) -> str:
    if format is None:
        if registry is not None:
            return "avro"
        hint = " ('avro' with an Avro schema, 'json' with columns and types)" if schema is not None else ""
        raise ConfigError(
            "decode: expected a registry (Avro in Confluent's wire format) or format='avro', 'json' or 'raw', "
            f"found neither{hint}"
        )
    if format not in _FORMATS:
        raise ConfigError(f"decode: expected format 'avro', 'json' or 'raw', found {format!r}")
    return format


def _start(start: str | datetime | date | Mapping[str, Any]) -> Any:
    if isinstance(start, (datetime, date)):
        return {"timestamp": rfc3339(start)}
    if isinstance(start, str):
        moment = parse_time(start)
        return start if moment is None else {"timestamp": rfc3339(moment)}
    if set(start) == {"timestamp"}:
        value = start["timestamp"]
        return {"timestamp": value if isinstance(value, str) else rfc3339(value)}
    offsets = start["offsets"] if set(start) == {"offsets"} else start
    return {
        "offsets": {
            topic: {str(partition): offset for partition, offset in partitions.items()}
            if isinstance(partitions, Mapping)
            else partitions
            for topic, partitions in offsets.items()
        }
    }


def _metadata(metadata: Mapping[str, str] | Iterable[str]) -> dict[str, str]:
    if isinstance(metadata, Mapping):
        return dict(metadata)
    fields = [metadata] if isinstance(metadata, str) else list(metadata)
    for name in fields:
        if name not in _FIELDS:
            raise ConfigError(f"decode.metadata: expected any of {', '.join(_FIELDS)}, found {name!r}")
    return {name: f"kafka_{name}" for name in fields}


def _property(value: Any) -> str:
    # librdkafka's booleans are written small.
    return str(value).lower() if isinstance(value, bool) else str(value)


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in settings.items())


def _copy(value: Any) -> Any:
    """A deep copy of plain values, with paths as text, so that nobody's later change reaches a source."""
    if isinstance(value, Mapping):
        return {str(key): _copy(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copy(item) for item in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def parse_time(text: str) -> datetime | None:
    """A time from ISO text such as `2026-11-01` or `2026-11-01T12:00:00Z`; None if it does not begin like a date."""
    if len(text) < 10 or text[4] != "-" or text[7] != "-" or not text[:4].isdigit():
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def utc(moment: datetime | date) -> datetime:
    """A time with its zone: UTC where none is named, midnight for a date."""
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def rfc3339(moment: datetime | date) -> str:
    """A time as RFC 3339 writes it."""
    return utc(moment).isoformat().replace("+00:00", "Z")
