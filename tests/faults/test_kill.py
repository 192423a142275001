"""A worker that is killed at any moment loses nothing and doubles nothing."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest

from pyiceberg.catalog.sql import SqlCatalog

import frazil
from frazil import SchemaRegistry
from tests.servers import Kafka

pytestmark = [pytest.mark.faults, pytest.mark.slow]

SCHEMA = """{"type":"record","name":"Event","fields":[
  {"name":"id","type":"long"},{"name":"day","type":"long"},{"name":"text","type":"string"}]}"""
KILLS = 20
ROWS_A_BATCH = 4_000
BATCHES = 150


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


def independent_ids(lake: Path, table: str) -> list[int]:
    """The ids in the table as PyIceberg reads them."""
    catalog = SqlCatalog("lake", uri=f"sqlite:///{lake}/catalog.db", warehouse=f"file://{lake}")
    found: list[int] = catalog.load_table(table).scan(selected_fields=("id",)).to_arrow()["id"].to_pylist()
    return found


def test_twenty_kills_leave_each_id_once(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)
    dice = random.Random(seed)
    producer = frazil.Producer(kafka.bootstrap)
    with SchemaRegistry() as registry:
        schema_id = registry.register(f"{topic}-value", SCHEMA)
        job = {
            "name": "killed",
            "lake": str(tmp_path / "lake"),
            "source": {"kafka": {"topics": [topic], "bootstrap": kafka.bootstrap, "properties": {"session.timeout.ms": "6000"}}},
            "decode": {"avro": {"registry": registry.url}},
            "sink": {"table": "faults.events", "partition_by": ["day"]},
            "trigger": {"every": "100ms"},
        }
        document = tmp_path / "job.json"
        document.write_text(json.dumps(job))
        sent = 0
        for _ in range(KILLS):
            for _ in range(BATCHES // KILLS):
                producer.send_avro(topic, batch(sent), schema=SCHEMA, schema_id=schema_id)
                sent += 1
            worker = subprocess.Popen([sys.executable, "-m", "frazil", "run", str(document), "--json"], stdout=subprocess.DEVNULL)
            time.sleep(dice.uniform(0.3, 3.0))
            worker.send_signal(signal.SIGKILL)
            worker.wait()
        producer.flush()
        frazil.run({**job, "trigger": "available_now"}, progress=False)

        lake = frazil.connect(tmp_path / "lake")
        audit = lake.audit("faults.events")
        assert audit.clean, str(audit)
        ids = independent_ids(tmp_path / "lake", "faults.events")
        assert len(ids) == len(set(ids)) == sent * ROWS_A_BATCH
        assert set(ids) == set(range(sent * ROWS_A_BATCH))
