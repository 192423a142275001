"""Avro through a real schema registry, and Kafka behind TLS and a password."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

import frazil
from frazil import UnauthorizedError
from tests.interop import events, places
from tests.servers import Apicurio, Kafka, SecureKafka

V1 = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [{"name": "id", "type": "long"}, {"name": "amount", "type": "int"}],
}
V2 = {
    **V1,
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "amount", "type": "long"},
        {"name": "currency", "type": "string", "default": "EUR"},
        {"name": "note", "type": ["null", "string"], "default": None},
    ],
}


def lake_at(directory: Path) -> frazil.Lake:
    return places.sqlite(directory, "registry").connect()


def rows_of(lake: frazil.Lake, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = lake.sql(f"select * from {table} order by id").to_arrow().to_pylist()
    return found


def test_old_records_are_read_with_the_newest_schema(
    kafka: Kafka, topic: str, registry: Apicurio, tmp_path: Path
) -> None:
    old = registry.register(f"{topic}-value", json.dumps(V1))
    new = registry.register(f"{topic}-value", json.dumps(V2))
    assert old != new
    first = [{"id": n, "amount": n * 2} for n in range(10)]
    second = [{"id": n, "amount": 2**40 + n, "currency": "USD", "note": f"n{n}"} for n in range(10, 20)]
    events.produce(kafka.bootstrap, topic, events.framed(old, V1, first))
    events.produce(kafka.bootstrap, topic, events.framed(new, V2, second))
    events.produce(kafka.bootstrap, topic, events.framed(old, V1, [{"id": 20, "amount": -1}]))
    lake = lake_at(tmp_path)
    source = frazil.kafka(topic, bootstrap=kafka.bootstrap, registry=registry.url)
    assert lake.read(source).write("r.orders", progress=False).rows == 21
    added = {"currency": "EUR", "note": None}
    assert rows_of(lake, "r.orders") == [
        *({**row, **added} for row in first),
        *second,
        {"id": 20, "amount": -1, **added},
    ]


def test_records_of_a_schema_newer_than_the_one_read_with(
    kafka: Kafka, topic: str, registry: Apicurio, tmp_path: Path
) -> None:
    new = registry.register(f"{topic}-value", json.dumps(V2))
    row = {"id": 1, "amount": 5, "currency": "USD", "note": "x"}
    events.produce(kafka.bootstrap, topic, events.framed(new, V2, [row]))
    lake = lake_at(tmp_path)
    reader = {**V2, "fields": [f for f in V2["fields"] if f["name"] in ("id", "currency")]}  # type: ignore[index]
    source = frazil.kafka(topic, bootstrap=kafka.bootstrap, registry=registry.url, schema=json.dumps(reader))
    lake.read(source).write("r.orders", progress=False)
    assert rows_of(lake, "r.orders") == [{"id": 1, "currency": "USD"}]


def test_a_schema_that_refers_to_another(
    kafka: Kafka, topic: str, registry: Apicurio, unique: str, tmp_path: Path
) -> None:
    money = {
        "type": "record",
        "name": "Money",
        "namespace": "shop",
        "fields": [{"name": "cents", "type": "long"}, {"name": "currency", "type": "string"}],
    }
    payment: dict[str, Any] = {
        "type": "record",
        "name": "Payment",
        "namespace": "shop",
        "fields": [
            {"name": "id", "type": "long"},
            {"name": "total", "type": "shop.Money"},
            {"name": "tip", "type": ["null", "shop.Money"], "default": None},
        ],
    }
    registry.register(f"{unique}-money", json.dumps(money))
    reference = {"name": "shop.Money", "subject": f"{unique}-money", "version": 1}
    schema_id = registry.register(f"{topic}-value", json.dumps(payment), schemaType="AVRO", references=[reference])
    euro = {"cents": 250, "currency": "EUR"}
    rows = [{"id": 1, "total": euro, "tip": None}, {"id": 2, "total": {**euro, "cents": 1}, "tip": euro}]
    # fastavro knows no references: the type stands where it is first used.
    inlined = {**payment, "fields": [payment["fields"][0], {"name": "total", "type": money}, payment["fields"][2]]}
    events.produce(kafka.bootstrap, topic, events.framed(schema_id, inlined, rows))
    lake = lake_at(tmp_path)
    source = frazil.kafka(topic, bootstrap=kafka.bootstrap, registry=registry.url)
    assert lake.read(source).write("r.payments", progress=False).rows == 2
    assert rows_of(lake, "r.payments") == rows


def test_records_with_a_wrong_or_unknown_schema_are_dead_letters(
    kafka: Kafka, topic: str, registry: Apicurio, unique: str, tmp_path: Path
) -> None:
    good = registry.register(f"{topic}-value", json.dumps(V1))
    stranger = {"type": "record", "name": "Stranger", "fields": [{"name": "what", "type": "string"}]}
    wrong = registry.register(f"{unique}-other", json.dumps(stranger))
    kafka.create_topic(f"{topic}.dlq")
    rows = [{"id": n, "amount": n} for n in range(5)]
    unknown = events.framed(99_999_999, V1, rows[:1])
    foreign = events.framed(wrong, stranger, [{"what": "is this"}])
    events.produce(kafka.bootstrap, topic, [*unknown, *events.framed(good, V1, rows), *foreign])
    lake = lake_at(tmp_path)
    source = frazil.kafka(topic, bootstrap=kafka.bootstrap, registry=registry.url)
    done = lake.read(source).write("r.orders", dead_letters=f"{topic}.dlq", progress=False)
    assert (done.rows, done.dead_letters) == (5, 2)
    assert rows_of(lake, "r.orders") == rows
    letters = events.records(kafka.bootstrap, f"{topic}.dlq")
    assert sorted(letter.value() for letter in letters) == sorted(unknown + foreign)
    reasons = {dict(letter.headers())["frazil.reason"].decode() for letter in letters}
    assert any("99999999" in reason for reason in reasons), reasons
    assert lake.audit("r.orders").clean


def test_a_subject_of_its_own_name(kafka: Kafka, topic: str, registry: Apicurio, unique: str, tmp_path: Path) -> None:
    schema_id = registry.register(f"{unique}-elsewhere", json.dumps(V1))
    events.produce(kafka.bootstrap, topic, events.framed(schema_id, V1, [{"id": 7, "amount": 7}]))
    lake = lake_at(tmp_path)
    source = frazil.kafka(topic, bootstrap=kafka.bootstrap, registry=registry.url, subject=f"{unique}-elsewhere")
    assert lake.read(source).write("r.orders", progress=False).rows == 1


def test_a_subject_that_is_not_there_is_named(kafka: Kafka, topic: str, registry: Apicurio, tmp_path: Path) -> None:
    source = frazil.kafka(topic, bootstrap=kafka.bootstrap, registry=registry.url)
    with pytest.raises(frazil.NotFoundError, match=f"{topic}-value"):
        lake_at(tmp_path).read(source).write("r.orders", progress=False)


def security(server: SecureKafka, mechanism: str, **changes: str) -> dict[str, str]:
    """The part `source.kafka.security` of a job document."""
    login = {"mechanism": mechanism, "username": server.username, "password": server.password}
    return {"protocol": "sasl_ssl", "ca": str(server.ca_file), **login, **changes}


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_kafka_behind_tls_and_a_password(
    secure_kafka: SecureKafka, mechanism: str, unique: str, tmp_path: Path
) -> None:
    secure_kafka.create_topic(unique, partitions=2)
    secure_kafka.create_topic(f"{unique}.dlq")
    schema = {"id": "long"}
    values = [json.dumps({"id": n}).encode() for n in range(100)]
    events.produce(secure_kafka.client_properties(mechanism), unique, [*values, b"broken"])
    lake = lake_at(tmp_path)
    source = frazil.kafka(
        unique,
        bootstrap=secure_kafka.secure_bootstrap,
        format="json",
        schema=schema,
        security=security(secure_kafka, mechanism),
    )
    # Dead letters go the same secured way.
    done = lake.read(source).write("r.events", dead_letters=f"{unique}.dlq", progress=False)
    assert (done.rows, done.dead_letters) == (100, 1)
    assert [letter.value() for letter in events.records(secure_kafka.bootstrap, f"{unique}.dlq")] == [b"broken"]
    assert secure_kafka.password not in repr(source)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_a_wrong_password_of_kafka_is_refused_and_not_shown(
    secure_kafka: SecureKafka, mechanism: str, unique: str, tmp_path: Path
) -> None:
    secure_kafka.create_topic(unique)
    source = frazil.kafka(
        unique,
        bootstrap=secure_kafka.secure_bootstrap,
        format="json",
        schema={"id": "long"},
        security=security(secure_kafka, mechanism, password="hush-hush"),
    )
    began = time.monotonic()
    with pytest.raises(UnauthorizedError) as refused:
        lake_at(tmp_path).read(source).write("r.events", progress=False)
    assert "hush-hush" not in str(refused.value)
    assert time.monotonic() - began < 30


def test_a_broker_that_is_not_trusted_is_refused(secure_kafka: SecureKafka, unique: str, tmp_path: Path) -> None:
    secure_kafka.create_topic(unique)
    settings = security(secure_kafka, "PLAIN")
    del settings["ca"]
    source = frazil.kafka(
        unique, bootstrap=secure_kafka.secure_bootstrap, format="json", schema={"id": "long"}, security=settings
    )
    with pytest.raises(frazil.FrazilError, match=r"(?i)certificate|ssl") as refused:
        lake_at(tmp_path).read(source).write("r.events", progress=False)
    assert secure_kafka.password not in str(refused.value)
