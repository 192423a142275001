"""Rows with a column of every type of Iceberg's version 2, and how other engines' answers are compared with them."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any


def _nullable(kind: Any) -> list[Any]:
    return ["null", kind]


def _decimal(precision: int, scale: int) -> dict[str, Any]:
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


_PLACE = {
    "type": "record",
    "name": "Place",
    "fields": [{"name": "lat", "type": "double"}, {"name": "label", "type": _nullable("string")}],
}
_STEP = {
    "type": "record",
    "name": "Step",
    "fields": [{"name": "at", "type": "int"}, {"name": "counts", "type": {"type": "map", "values": "long"}}],
}

TYPES: dict[str, Any] = {
    "flag": "boolean",
    "small": "int",
    "big": "long",
    "single": "float",
    "twice": "double",
    "dec9": _decimal(9, 2),
    "dec18": _decimal(18, 4),
    "dec38": _decimal(38, 10),
    "day": {"type": "int", "logicalType": "date"},
    "clock": {"type": "long", "logicalType": "time-micros"},
    "ts": {"type": "long", "logicalType": "local-timestamp-micros"},
    "tz": {"type": "long", "logicalType": "timestamp-micros"},
    "word": "string",
    "uid": {"type": "string", "logicalType": "uuid"},
    "five": {"type": "fixed", "name": "Five", "size": 5},
    "raw": "bytes",
    "tags": {"type": "array", "items": _nullable("string")},
    "attrs": {"type": "map", "values": _nullable("long")},
    "place": _PLACE,
    "steps": {"type": "array", "items": _STEP},
}
"""Column → its Avro type. All may be null; ``id``, which comes before them, is never."""

SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Everything",
    "fields": [
        {"name": "id", "type": "long"},
        *({"name": name, "type": _nullable(kind), "default": None} for name, kind in TYPES.items()),
    ],
}

WORDS = ["", "a", "abc", "Ärger", "日本語テキスト", "zebra", "🧊🧊🧊", "with 'quotes' and \\", "x" * 300]
"""Short, long and beyond the basic plane."""


def _scaled(unscaled: int, scale: int) -> Decimal:
    # Arithmetic would round to 28 digits.
    return Decimal(f"{unscaled}e-{scale}")


def row(number: int) -> dict[str, Any]:
    """A row in which now and then a column is null, and some values are extreme."""
    if number == 0:
        return {"id": 0, **dict.fromkeys(TYPES)}
    sign = -1 if number % 3 == 0 else 1
    moment = datetime(1969, 12, 30, 23, 59, 59, 999_999) + timedelta(days=number * 7, hours=number, microseconds=number)
    values: dict[str, Any] = {
        "flag": number % 2 == 0,
        "small": sign * (2**31 - 1 if number == 1 else number % 9),
        "big": sign * (2**63 - 1 if number == 1 else number * 1_000_003),
        "single": sign * number / 8,
        "twice": sign * (1.5e300 if number == 2 else number / 3),
        "dec9": _scaled(sign * (10**9 - 1 if number == 1 else number * 37), 2),
        "dec18": _scaled(sign * number * 123_456_789, 4),
        "dec38": _scaled(sign * (10**38 - 1 if number == 1 else number * 10**20 + 7), 10),
        "day": date(1969, 12, 25) + timedelta(days=number * 11),
        "clock": time(number % 24, number % 60, (number * 7) % 60, number * 9_999 % 1_000_000),
        "ts": moment,
        "tz": moment.replace(tzinfo=UTC),
        "word": WORDS[number % len(WORDS)],
        "uid": uuid.UUID(int=(number * 2**121 + number) % 2**128),
        "five": bytes([number % 256, 0, 255, 128, number % 7]),
        "raw": bytes(range(number % 11)) * 3,
        "tags": [None if n == 1 else f"t{n}" for n in range(number % 4)],
        "attrs": {f"k{n}": None if n == 2 else n * number for n in range(number % 4)},
        "place": {"lat": number / 7, "label": None if number % 2 else f"place {number}"},
        "steps": [{"at": n, "counts": {"a": n, "b": number}} for n in range(number % 3)],
    }
    for index, name in enumerate(values):
        if number > 2 and (number + index) % 13 == 0:
            values[name] = None
    return {"id": number, **values}


def rows(count: int) -> list[dict[str, Any]]:
    """So many rows."""
    return [row(number) for number in range(count)]


def plain(value: Any) -> Any:
    """A value in a form that does not depend on the engine: maps as dicts, UUIDs as text, times in UTC."""
    match value:
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list() if value and all(isinstance(pair, tuple) and len(pair) == 2 for pair in value):
            return {key: plain(item) for key, item in value}
        case list():
            return [plain(item) for item in value]
        case uuid.UUID():
            return str(value)
        case bytearray() | memoryview():
            return bytes(value)
        case datetime() if value.tzinfo is not None:
            return value.astimezone(UTC)
        case _:
            return value


def comparable(found: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of any engine by their id, with what only differs in form made equal."""
    tidied = []
    for record in found:
        values = {name: plain(value) for name, value in record.items()}
        # Engines without maps have lists of pairs, and an empty list tells nothing of its kind.
        if isinstance(attrs := values.get("attrs"), list):
            values["attrs"] = {pair["key"]: pair["value"] for pair in attrs}
        for step in values.get("steps") or []:
            if isinstance(step["counts"], list):
                step["counts"] = {pair["key"]: pair["value"] for pair in step["counts"]}
        if isinstance(values.get("uid"), bytes):
            values["uid"] = str(uuid.UUID(bytes=values["uid"]))
        if isinstance(single := values.get("single"), float):
            assert math.isfinite(single)
        tidied.append(values)
    return sorted(tidied, key=lambda record: int(record["id"]))


def expected(count: int, without: Iterable[str] = ()) -> list[dict[str, Any]]:
    """What an engine must find after `rows` were written."""
    left_out = set(without)
    return comparable({k: v for k, v in record.items() if k not in left_out} for record in rows(count))
