"""Where a job begins, and where it ends, when the topic is not simply full of records."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

import frazil
from tests.faults.harness import TABLE, Feed, Worker, check, ids, job
from tests.servers import Kafka

pytestmark = pytest.mark.faults


def run(document: dict[str, Any], trigger: Any = "available_now") -> frazil.JobStatus:
    return frazil.run({**document, "trigger": trigger}, progress=False)


def test_a_job_starts_where_it_is_told_and_later_goes_on_from_its_ledger(
    kafka: Kafka, unique: str, tmp_path: Path
) -> None:
    topic = kafka.create_topic(unique, partitions=2)
    producer = frazil.Producer(kafka.bootstrap)
    for number in range(20):
        moment = 1_700_000_000_000 + number // 2 * 1_000
        producer.send(topic, f'{{"id":{number}}}'.encode(), partition=number % 2, timestamp_ms=moment)
    producer.flush()
    starts: list[tuple[str, Any, set[int]]] = [
        ("latest", "latest", set()),
        ("time", {"timestamp": "2023-11-14T22:13:26Z"}, {12, 13, 14, 15, 16, 17, 18, 19}),
        ("after", {"timestamp": "2030-01-01T00:00:00Z"}, set()),
        ("offsets", {"offsets": {topic: {"0": 9, "1": 8}}}, {18, 17, 19}),
    ]
    for name, start, expected in starts:
        document = job(kafka.bootstrap, topic, tmp_path / "lake", kafka={"start": start}, name=name)
        document["sink"] = {"table": f"faults.{name}"}
        run(document)
        assert set(ids(tmp_path / "lake", f"faults.{name}")) == expected, name
    # What came since, and nothing else; of both partitions, also of those that had nothing to read before.
    producer.send(topic, b'{"id":100}', partition=0)
    producer.send(topic, b'{"id":101}', partition=1)
    producer.flush()
    for name, start, expected in starts:
        document = job(kafka.bootstrap, topic, tmp_path / "lake", kafka={"start": start}, name=name)
        document["sink"] = {"table": f"faults.{name}"}
        run(document)
        found = ids(tmp_path / "lake", f"faults.{name}")
        assert (set(found), len(found)) == (expected | {100, 101}, len(expected) + 2), name
        assert frazil.connect(tmp_path / "lake").audit(f"faults.{name}").clean


def test_a_job_from_the_latest_records_keeps_its_place_when_it_dies_before_its_first_commit(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    feed = Feed(kafka.bootstrap, topic)
    feed.send(100)
    feed.sent = 0
    document = job(kafka.bootstrap, topic, tmp_path / "lake", kafka={"start": "latest"}, trigger={"every": "1m"})
    with Worker(tmp_path, document) as worker:
        worker.wait_for("its place", lambda s: s["lag"].get(topic))
        feed.send(100)
        worker.wait_for("what it reads", lambda s: s["freshness_ms"] and s["commits"] == 0)
        worker.send(signal.SIGKILL)
        worker.end()
    feed.send(100)
    assert run(document).rows == 200
    check(tmp_path / "lake", 200)


@pytest.mark.parametrize("trigger", ["available_now", "once"])
def test_aborted_records_are_left_out_and_a_tail_of_them_ends_the_job(
    kafka: Kafka, unique: str, tmp_path: Path, trigger: str
) -> None:
    topic = kafka.create_topic(unique)
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": unique})
    producer.init_transactions(30)

    def transaction(first: int, count: int, commit: bool) -> None:
        producer.begin_transaction()
        for number in range(first, first + count):
            producer.produce(topic, f'{{"id":{number}}}'.encode())
        producer.flush(30)
        if commit:
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)

    document = job(kafka.bootstrap, topic, tmp_path / "lake")
    transaction(0, 100, commit=True)
    transaction(1_000, 100, commit=False)
    assert run(document, trigger).rows == 100
    # Nothing but an aborted tail: nothing to do.
    assert run(document, trigger).rows == 0
    transaction(100, 50, commit=True)
    transaction(1_000, 10, commit=False)
    assert run(document, trigger).rows == 50
    check(tmp_path / "lake", 150)
    ledger = frazil.connect(tmp_path / "lake").table(TABLE).ledgers["faults"]
    assert ledger["records"] == 150


def test_aborted_records_do_not_disturb_a_stream(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    topic = kafka.create_topic(unique)
    feed = Feed(kafka.bootstrap, topic)
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": unique})
    producer.init_transactions(30)
    with frazil.start(job(kafka.bootstrap, topic, tmp_path / "lake")) as stream:
        for _ in range(5):
            feed.send(20)
            producer.begin_transaction()
            producer.produce(topic, b'{"id":-1}')
            producer.flush(30)
            producer.abort_transaction(30)
            stream.wait(0.5)
    check(tmp_path / "lake", feed.sent)
