"""Offsets that are gone from Kafka, or mean something else than before: said, never passed over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition

import frazil
from frazil.exceptions import FrazilError, NotFoundError, OffsetsLostError
from tests.faults.harness import TABLE, Feed, Worker, check, ids, job, wait_for
from tests.servers import Kafka

pytestmark = pytest.mark.faults

SKIP = {"on_lost_offsets": "skip"}


def delete_records(kafka: Kafka, topic: str, partition: int, before: int) -> None:
    admin = kafka.admin()  # it must outlive its answers
    for future in admin.delete_records([TopicPartition(topic, partition, before)]).values():
        future.result(30)


def delete_topic(kafka: Kafka, topic: str) -> None:
    admin = kafka.admin()
    for future in admin.delete_topics([topic]).values():
        future.result(30)
    wait_for("the topic's end", lambda: topic not in admin.list_topics(timeout=10).topics)


def run(document: dict[str, Any]) -> frazil.JobStatus:
    return frazil.run({**document, "trigger": "available_now"}, progress=False)


def test_deleted_records_stop_the_job_or_are_recorded_as_a_gap(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    topic = kafka.create_topic(unique, partitions=2)
    document = job(kafka.bootstrap, topic, tmp_path / "lake")
    feed = Feed(kafka.bootstrap, topic)
    feed.send(100, partition=0)
    feed.send(100, partition=1)
    run(document)
    feed.send(50, partition=0)
    feed.send(50, partition=1)
    delete_records(kafka, topic, 1, 130)

    with pytest.raises(OffsetsLostError) as lost:
        run(document)
    assert "100" in str(lost.value)
    assert "130" in str(lost.value)
    assert "on_lost_offsets" in str(lost.value)
    assert (lost.value.context["topic"], str(lost.value.context["partition"])) == (topic, "1")
    assert len(ids(tmp_path / "lake")) == 200

    assert run({**document, "errors": SKIP}).rows == 70
    found = ids(tmp_path / "lake")
    assert len(found) == len(set(found)) == 270
    audit = frazil.connect(tmp_path / "lake").audit(TABLE)
    assert audit.clean, str(audit)
    assert audit[0]["skipped"] == [{topic: {1: (100, 130)}}]
    assert f"offsets 100 to 130 of {topic} [1]" in str(audit)


def test_records_deleted_under_a_stream_that_is_behind(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    topic = kafka.create_topic(unique, partitions=1)
    document = job(kafka.bootstrap, topic, tmp_path / "lake", errors=SKIP)
    feed = Feed(kafka.bootstrap, topic)
    feed.send(100)
    run(document)
    feed.send(100)
    delete_records(kafka, topic, 0, 150)
    with Worker(tmp_path, document) as worker:
        worker.wait_for("what is left", lambda s: s["rows"] == 50)
        feed.send(100)
        worker.wait_for("what came later", lambda s: s["rows"] == 150)
        assert worker.stop() == 0
    found = ids(tmp_path / "lake")
    assert sorted(found) == [*range(100), *range(150, 300)]
    assert frazil.connect(tmp_path / "lake").audit(TABLE).clean


def test_a_topic_that_was_created_anew_is_not_taken_for_the_old_one(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    topic = kafka.create_topic(unique, partitions=1)
    document = job(kafka.bootstrap, topic, tmp_path / "lake")
    feed = Feed(kafka.bootstrap, topic)
    feed.send(100)
    run(document)
    delete_topic(kafka, topic)
    with pytest.raises(NotFoundError, match=topic):
        run(document)
    kafka.create_topic(topic, partitions=1)
    feed.send(10)
    for errors in ({}, SKIP):
        with pytest.raises(OffsetsLostError, match="created anew") as lost:
            run({**document, "errors": errors})
        assert lost.value.context["topic"] == topic
    check(tmp_path / "lake", 100)


def test_a_topic_that_is_replaced_under_a_stream_ends_it(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    topic = kafka.create_topic(unique, partitions=1)
    feed = Feed(kafka.bootstrap, topic)
    feed.send(100)
    stream = frazil.start(job(kafka.bootstrap, topic, tmp_path / "lake"))
    wait_for("its rows", lambda: stream.status().rows == 100)
    delete_topic(kafka, topic)
    kafka.create_topic(topic, partitions=1)
    with pytest.raises(FrazilError) as ended:
        assert stream.wait(60) is not None, stream.status()
    assert isinstance(ended.value, (OffsetsLostError, NotFoundError)), repr(ended.value)
    assert topic in str(ended.value) + str(ended.value.context)
    check(tmp_path / "lake", 100)
