"""Servers that die, come back or stop answering while a stream runs."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog import load_catalog

import frazil
from frazil.embedded import _Refused
from tests.faults.harness import Feed, Worker, check, job, wait_for
from tests.interop import places
from tests.servers import IcebergRest, Kafka, SeaweedFS

pytestmark = [pytest.mark.faults, pytest.mark.servers]


def test_a_broker_that_is_killed_and_comes_back(tmp_path: Path, unique: str) -> None:
    with Kafka() as broker:
        topic = broker.create_topic(unique, partitions=2)
        feed = Feed(broker.bootstrap, topic)
        feed.send(5_000)
        with Worker(tmp_path, job(broker.bootstrap, topic, tmp_path / "lake")) as worker:
            worker.wait_for("the first rows", lambda s: s["rows"] == feed.sent and s["healthy"])
            broker.kill()
            down = worker.wait_for("trouble in the status", lambda s: not s["kafka_connected"])
            assert not down["healthy"]
            assert down["last_error"]
            broker.start()
            feed.send(5_000)
            worker.wait_for("the rest", lambda s: s["rows"] == feed.sent and s["kafka_connected"] and s["healthy"])
            # And a worker that is stopped while the broker is away ends all the same.
            broker.kill()
            worker.wait_for("trouble in the status", lambda s: not s["kafka_connected"])
            began = time.monotonic()
            assert worker.stop() == 0
            assert time.monotonic() - began < 15
    check(tmp_path / "lake", feed.sent)


def test_a_catalog_that_is_killed_and_comes_back(kafka: Kafka, topic: str, tmp_path: Path, unique: str) -> None:
    with IcebergRest() as server:
        lake = {"catalog": server.uri}
        feed = Feed(kafka.bootstrap, topic)
        document = job(kafka.bootstrap, topic, lake, drain_timeout="4s")
        with Worker(tmp_path, document) as worker:
            with feed:
                worker.wait_for("the first commits", lambda s: s["commits"] >= 3)
                server.kill()
                time.sleep(3)
                server.start()
                commits = worker.status()["commits"]
                worker.wait_for("commits again", lambda s: s["commits"] >= commits + 2, 90)
            worker.wait_for("all rows", lambda s: s["rows"] == feed.sent, 60)
            # And a worker that is stopped while the catalog is away ends when it must, with what it had undone.
            server.kill()
            feed.send(1_000)
            worker.wait_for("uncommitted records", lambda s: s["freshness_ms"])
            worker.send(signal.SIGTERM)
            assert worker.end(12) != 0
            assert worker.error()["error"] in ("InterruptedError", "CatalogError", "OutcomeUnknownError")
        server.start()
        with Worker(tmp_path, {**document, "trigger": "available_now"}) as last:
            assert last.end() == 0
        check(lake, feed.sent, load_catalog("rest", type="rest", uri=server.uri))


def test_a_storage_that_does_not_answer_for_a_while(
    kafka: Kafka, topic: str, s3: SeaweedFS, bucket: str, tmp_path: Path, unique: str
) -> None:
    place = places.sqlite(tmp_path / "lake", unique, s3, bucket)
    feed = Feed(kafka.bootstrap, topic)
    document = job(kafka.bootstrap, topic, place.settings, drain_timeout="4s")
    with Worker(tmp_path, document) as worker:
        with feed:
            worker.wait_for("the first commits", lambda s: s["commits"] >= 2)
            s3.pause()
            try:
                time.sleep(5)
                before = worker.status()["commits"]
            finally:
                s3.resume()
            worker.wait_for("commits again", lambda s: s["commits"] >= before + 3, 60)
        worker.wait_for("all rows", lambda s: s["rows"] == feed.sent, 60)
        # Stopped while the storage hangs, it gives up in time.
        s3.pause()
        try:
            feed.send(1_000)
            worker.wait_for("uncommitted records", lambda s: s["freshness_ms"])
            assert worker.stop(seconds=12) != 0
        finally:
            s3.resume()
    with Worker(tmp_path, {**document, "trigger": "available_now"}) as last:
        assert last.end() == 0
    check(place.settings, feed.sent, place.other())


def test_a_registry_that_fails_for_a_while_makes_no_dead_letters(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    topic, dlq = kafka.create_topic(unique), kafka.create_topic(f"{unique}.dlq")
    schemas = [
        json.dumps({"type": "record", "name": name, "fields": [{"name": "id", "type": "long"}]}) for name in ("A", "B")
    ]
    producer = frazil.Producer(kafka.bootstrap)

    def send(schema: int, *ids: int) -> None:
        rows = pa.table({"id": pa.array(ids, pa.int64())})
        producer.send_avro(topic, rows, schema=schemas[schema], schema_id=registry_ids[schema])
        producer.flush()

    with frazil.SchemaRegistry() as registry:
        registry_ids = [registry.register(f"{topic}-value", schema) for schema in schemas]
        document = job(kafka.bootstrap, topic, tmp_path / "lake", errors={"dead_letters": {"topic": dlq}})
        document["decode"] = {"avro": {"registry": registry.url, "schema": schemas[0]}}
        send(0, 0, 1)
        with frazil.start(document) as stream:
            wait_for("the first rows", lambda: stream.status().rows == 2)
            answer = registry._schema
            down = True

            def fail(schema_id: int) -> dict[str, Any]:
                if down:
                    raise _Refused(503, 50301, "no leader")
                return answer(schema_id)

            registry._schema = fail  # type: ignore[method-assign]
            send(1, 2, 3)
            send(0, 4)
            wait_for("another try", lambda: stream.status().retries >= 1)
            assert "schema registry failed" in (stream.status().last_error or "")
            assert stream.status().rows == 2
            down = False
            wait_for("the rest", lambda: stream.status().rows == 5)
            assert stream.status().dead_letters == 0
    check(tmp_path / "lake", 5)


def test_a_topic_that_stays_idle_keeps_the_job_healthy_and_new_partitions_are_found(
    kafka: Kafka, unique: str, tmp_path: Path
) -> None:
    from confluent_kafka.admin import NewPartitions  # type: ignore[attr-defined]

    topic = kafka.create_topic(unique, partitions=1)
    feed = Feed(kafka.bootstrap, topic)
    feed.send(1_000)
    with Worker(tmp_path, job(kafka.bootstrap, topic, tmp_path / "lake", kafka={"start": "latest"})) as worker:
        # `latest` begins where the topic ends when the job begins.
        worker.wait_for("its partition", lambda s: s["lag"].get(topic))
        feed.sent = 0
        feed.send(1_000)
        worker.wait_for("what came later", lambda s: s["rows"] == feed.sent)
        time.sleep(4)
        commits = worker.status()["commits"]
        for line in worker.lines()[-20:]:
            assert (line["healthy"], line["commits"]) == (True, commits)
        admin = kafka.admin()
        for future in admin.create_partitions([NewPartitions(topic, 3)]).values():
            future.result(30)
        # Also what was there before the job has seen the partition belongs to it, `latest` or not.
        wait_for("the partitions", lambda: len(admin.list_topics(topic).topics[topic].partitions) == 3)
        # A producer that knows them.
        later = Feed(kafka.bootstrap, topic)
        later.sent = feed.sent
        later.send(500, partition=1)
        later.send(500, partition=2)
        worker.wait_for("rows of the new partitions", lambda s: s["rows"] == later.sent)
        assert worker.stop() == 0
    check(tmp_path / "lake", later.sent)
