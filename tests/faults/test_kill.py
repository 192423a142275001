"""A worker that is killed at any moment loses nothing and doubles nothing."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path

import pyarrow as pa
import pytest

import frazil
from frazil import SchemaRegistry
from tests.faults.harness import TABLE, Worker, check, files_in_table, files_on_disk, pyiceberg
from tests.servers import Kafka

pytestmark = [pytest.mark.faults, pytest.mark.slow]

SCHEMA = """{"type":"record","name":"Event","fields":[
  {"name":"id","type":"long"},{"name":"day","type":"long"},{"name":"text","type":"string"}]}"""
KILLS = 20
ROWS_A_BATCH = 4_000
BATCHES_A_RUN = 10


def batch(number: int) -> pa.Table:
    """Events whose ids follow each other over all batches."""
    first = number * ROWS_A_BATCH
    ids = range(first, first + ROWS_A_BATCH)
    return pa.table(
        {
            "id": pa.array(ids, pa.int64()),
            "day": pa.array([n % 7 for n in ids], pa.int64()),
            "text": pa.array([f"event {n * 2_654_435_761 % 4_294_967_296:x}" * 12 for n in ids]),
        }
    )


def test_twenty_kills_leave_each_id_once(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)
    dice = random.Random(seed)
    producer = frazil.Producer(kafka.bootstrap)
    lake = tmp_path / "lake"
    with SchemaRegistry() as registry:
        schema_id = registry.register(f"{topic}-value", SCHEMA)
        job = {
            "name": "killed",
            "lake": str(lake),
            "source": {"kafka": {"topics": [topic], "bootstrap": kafka.bootstrap}},
            "decode": {"avro": {"registry": registry.url}},
            "sink": {"table": TABLE, "partition_by": ["day"]},
            # Members of a group that were killed keep their partitions for a while: these have none.
            "trigger": "available_now",
            "memory": "128MiB",
        }
        sent = 0
        phases = []
        for run in range(KILLS):
            for _ in range(BATCHES_A_RUN):
                producer.send_avro(topic, batch(sent), schema=SCHEMA, schema_id=schema_id)
                sent += 1
            producer.flush(60)
            # Half of them ingest in one commit, half in many: killed while reading, writing, committing or ending.
            document = job if run % 2 else {**job, "trigger": {"every": "50ms"}}
            group = {"group": f"{topic}-{run}"}
            document = {**document, "source": {"kafka": {**job["source"]["kafka"], **group}}}  # type: ignore[index]
            with Worker(tmp_path / "workers", document) as worker:
                until = time.monotonic() + 30
                while worker.process.poll() is None and not worker.status() and time.monotonic() < until:
                    time.sleep(0.005)
                time.sleep(dice.uniform(0, 0.8))
                worker.send(signal.SIGKILL)
                code = worker.end()
                status = worker.status()
            phases.append((code, status.get("commits", 0), status.get("rows", 0)))
        print("(exit code, commits, rows) of each run:", phases)
        frazil.run(job, progress=False)
    check(lake, sent * ROWS_A_BATCH)
    # What was killed may leave files behind, but nothing may be referred to that is not there.
    assert files_in_table(lake) <= files_on_disk(lake)
    table = pyiceberg(lake).load_table(TABLE)
    assert {ledger["records"] for ledger in frazil.connect(lake).table(TABLE).ledgers.values()} == {sent * ROWS_A_BATCH}
    commits = sum(commits for _, commits, _ in phases)
    assert commits >= 5, "no kill came between commits"
    killed = [phase for phase in phases if phase[0] == -signal.SIGKILL]
    assert len(killed) >= KILLS // 2, "too many runs had ended before they were killed"
    assert json.dumps(table.metadata.properties)
