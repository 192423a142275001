"""Events of the tests, put into Kafka by clients that are not Frazil (confluent-kafka and fastavro)."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import fastavro
from confluent_kafka import Consumer, Producer, TopicPartition

FIRST_DAY = datetime(2026, 11, 1, 22, 30, tzinfo=UTC)

EVENT: dict[str, Any] = {
    "type": "record",
    "name": "Event",
    "namespace": "frazil.tests",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "user", "type": "string"},
        {"name": "price", "type": ["null", "double"], "default": None},
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    ],
}


def event(number: int) -> dict[str, Any]:
    """An event with nulls now and then, over three days and a few users."""
    return {
        "id": number,
        "user": f"user-{number % 7}",
        "price": None if number % 5 == 0 else number / 4,
        "ts": FIRST_DAY + timedelta(hours=number % 50, microseconds=number),
    }


def framed(schema_id: int, schema: Any, rows: Iterable[dict[str, Any]]) -> list[bytes]:
    """Rows as Avro in Confluent's wire format, written by fastavro."""
    parsed = fastavro.parse_schema(schema)
    values = []
    for row in rows:
        body = io.BytesIO()
        fastavro.schemaless_writer(body, parsed, row)
        values.append(struct.pack(">bI", 0, schema_id) + body.getvalue())
    return values


def produce(properties: str | dict[str, Any], topic: str, values: Iterable[bytes], key: bytes | None = None) -> None:
    """Put values into a topic. ``properties``: librdkafka's, or only the address of a broker."""
    if isinstance(properties, str):
        properties = {"bootstrap.servers": properties}
    producer = Producer({**properties, "enable.idempotence": True})
    for value in values:
        producer.produce(topic, value=value, key=key)
        producer.poll(0)
    assert producer.flush(30) == 0


def ends(bootstrap: str, topic: str) -> dict[int, int]:
    """The offset behind the newest record of each partition, as Kafka says."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "ends"})
    try:
        partitions = consumer.list_topics(topic, timeout=20).topics[topic].partitions
        return {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=20)[1] for p in sorted(partitions)}
    finally:
        consumer.close()


def records(bootstrap: str, topic: str) -> list[Any]:
    """All records of a topic."""
    wanted = sum(ends(bootstrap, topic).values())
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"{topic}-all", "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    found: list[Any] = []
    try:
        while len(found) < wanted:
            batch = consumer.consume(wanted - len(found), 20)
            assert batch, f"{topic}: {len(found)} of {wanted} records came"
            found.extend(message for message in batch if message.error() is None)
    finally:
        consumer.close()
    return found


def text(schema: Any) -> str:
    """A schema as a registry takes it."""
    return json.dumps(schema)
