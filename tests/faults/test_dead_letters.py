"""Records that cannot be decoded: kept aside with all that they had, or an end to the job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

import frazil
from frazil.exceptions import NotFoundError, TooManyBadError
from tests.faults.harness import TABLE, Feed, Worker, check, files_on_disk, ids, job
from tests.servers import Kafka

pytestmark = pytest.mark.faults


def letters(kafka: Kafka, topic: str, count: int) -> list[Any]:
    """The messages of a topic of one partition, by a client that is not Frazil."""
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "letters", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    found = [*consumer.consume(count, timeout=20), *consumer.consume(1, timeout=0.5)]
    consumer.close()
    assert [message.error() for message in found] == [None] * count
    return found


def run(document: dict[str, Any]) -> frazil.JobStatus:
    return frazil.run({**document, "trigger": "available_now"}, progress=False)


def test_a_dead_letter_has_all_that_the_record_had(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    topic, dlq = kafka.create_topic(unique, partitions=2), kafka.create_topic(f"{unique}.dlq")
    document = job(kafka.bootstrap, topic, tmp_path / "lake", errors={"dead_letters": {"topic": dlq}})
    feed = Feed(kafka.bootstrap, topic)
    feed.send(50, partition=1)
    bad = b"\x00\xffno json"
    feed.spoil(1, bad, key=b"\x01key", partition=1, headers=[("trace", b"\x02"), ("trace", None)], timestamp_ms=1234567)
    feed.spoil(1, b'{"id": "not a number"}', partition=0)
    feed.send(50, partition=1)
    status = run(document)
    assert (status.records, status.rows, status.dead_letters) == (102, 100, 2)

    by_value = {message.value(): message for message in letters(kafka, dlq, 2)}
    letter = by_value[bad]
    assert letter.key() == b"\x01key"
    headers = letter.headers()
    assert headers[:2] == [("trace", b"\x02"), ("trace", None)]
    own = dict(headers[2:])
    reason = own.pop("frazil.reason")
    assert reason
    assert own == {
        "frazil.stage": b"decode",
        "frazil.topic": topic.encode(),
        "frazil.partition": b"1",
        "frazil.offset": b"50",
        "frazil.timestamp": b"1234567",
        "frazil.job": b"faults",
    }
    other = by_value[b'{"id": "not a number"}']
    assert other.key() is None
    assert dict(other.headers())["frazil.offset"] == b"0"
    check(tmp_path / "lake", 100)
    assert frazil.connect(tmp_path / "lake").audit(TABLE)[0]["dead_letters"] == 2


def test_without_dead_letters_the_first_bad_record_stops_the_job(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    topic = kafka.create_topic(unique)
    document = job(kafka.bootstrap, topic, tmp_path / "lake")
    feed = Feed(kafka.bootstrap, topic)
    feed.send(100)
    run(document)
    feed.send(50)
    feed.spoil(1)
    feed.send(50)
    with pytest.raises(TooManyBadError) as stopped:
        run(document)
    where = {key: str(value) for key, value in stopped.value.context.items()}
    assert (where["topic"], where["partition"], where["offset"]) == (topic, "0", "150")
    assert "150" in str(stopped.value)
    assert topic in str(stopped.value)
    assert "errors.dead_letters" in str(stopped.value)
    check(tmp_path / "lake", 100)
    assert len(files_on_disk(tmp_path / "lake")) == 1, "files of the refused round are left"


@pytest.mark.parametrize(("limit", "bad", "stops"), [(5, 5, False), (5, 6, True), ("1%", 20, False), ("1%", 21, True)])
def test_more_bad_records_than_allowed_stop_the_job(
    kafka: Kafka, unique: str, tmp_path: Path, limit: int | str, bad: int, stops: bool
) -> None:
    topic = kafka.create_topic(unique)
    document = job(kafka.bootstrap, topic, tmp_path / "lake", errors={"max_bad": limit})
    feed = Feed(kafka.bootstrap, topic)
    feed.send(2_000 - bad)
    feed.spoil(bad)
    if stops:
        with pytest.raises(TooManyBadError, match=f"{bad} of 2000 .* allows {limit}"):
            run(document)
        assert ids(tmp_path / "lake") == []
        assert not files_on_disk(tmp_path / "lake")
    else:
        status = run(document)
        assert (status.rows, status.dead_letters) == (2_000 - bad, bad)
        check(tmp_path / "lake", feed.sent)


def test_a_count_goes_on_over_the_rounds_of_a_stream(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    topic = kafka.create_topic(unique)
    feed = Feed(kafka.bootstrap, topic)
    with Worker(tmp_path, job(kafka.bootstrap, topic, tmp_path / "lake", errors={"max_bad": 3})) as worker:
        for _ in range(3):
            feed.send(10)
            feed.spoil(1)
            worker.wait_for("its round", lambda s: s["rows"] == feed.sent)
        feed.spoil(1)
        assert worker.end() != 0
        assert worker.error()["error"] == "TooManyBadError"
    check(tmp_path / "lake", feed.sent)


def test_a_dead_letter_topic_that_is_missing_is_named_at_the_start(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    topic = kafka.create_topic(unique)
    feed = Feed(kafka.bootstrap, topic)
    feed.send(10)
    with pytest.raises(NotFoundError, match=f"{unique}.dlq"):
        run(job(kafka.bootstrap, topic, tmp_path / "lake", errors={"dead_letters": {"topic": f"{unique}.dlq"}}))
    assert ids(tmp_path / "lake") == []
