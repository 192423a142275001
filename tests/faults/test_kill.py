"""A worker that is killed at any moment loses nothing and doubles nothing."""

from __future__ import annotations

import random
import signal
import threading
import time
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import frazil
from frazil import SchemaRegistry
from tests.faults.harness import TABLE, Worker, check, files_in_table, files_on_disk, pyiceberg
from tests.servers import Kafka

pytestmark = [pytest.mark.faults, pytest.mark.slow]

SCHEMA = """{"type":"record","name":"Event","fields":[
  {"name":"id","type":"long"},{"name":"day","type":"long"},{"name":"text","type":"string"}]}"""
KILLS = 20
ROWS_A_BATCH = 2_000


def batch(number: int) -> pa.Table:
    """Events whose ids follow each other over all batches."""
    ids = pa.array(np.arange(number * ROWS_A_BATCH, (number + 1) * ROWS_A_BATCH, dtype=np.int64))
    text = pc.binary_repeat(pc.cast(pc.bit_wise_xor(ids, 0x5DEECE66D), pa.string()), 10)
    return pa.table({"id": ids, "day": np.asarray(ids) % 7, "text": text})


class Stream:
    """About 40,000 Avro events a second, without a pause: a kill at any moment meets work."""

    def __init__(self, bootstrap: str, topic: str, schema_id: int) -> None:
        self._producer = frazil.Producer(bootstrap)
        self._to = {"topic": topic, "schema": SCHEMA, "schema_id": schema_id}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.batches = 0

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            self._producer.send_avro(rows=batch(self.batches), **self._to)  # type: ignore[arg-type]
            self.batches += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._producer.flush(60)


def run_and_kill(directory: Path, document: dict[str, Any], dice: random.Random, starting: bool) -> tuple[int, int]:
    """Run a worker and kill it while it starts or while it works; its exit code and how many commits it told of."""
    with Worker(directory, document) as worker:
        if starting:
            time.sleep(dice.uniform(0.15, 0.6))
        else:
            until = time.monotonic() + 30
            while worker.process.poll() is None and not worker.status() and time.monotonic() < until:
                time.sleep(0.005)
            time.sleep(dice.uniform(0, 1.2))
        worker.send(signal.SIGKILL)
        return worker.end(), worker.status().get("commits", 0)


def test_twenty_kills_leave_each_id_once(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)
    dice = random.Random(seed)
    lake = tmp_path / "lake"
    with SchemaRegistry() as registry:
        source: dict[str, Any] = {"topics": [topic], "bootstrap": kafka.bootstrap}
        job = {
            "name": "killed",
            "lake": str(lake),
            "source": {"kafka": source},
            "decode": {"avro": {"registry": registry.url}},
            "sink": {"table": TABLE, "partition_by": ["day"]},
            "trigger": "available_now",
            "memory": "128MiB",
        }
        runs = []
        with Stream(kafka.bootstrap, topic, registry.register(f"{topic}-value", SCHEMA)) as stream:
            for run in range(KILLS):
                # A killed member keeps its partitions until its session ends: a group for each, so that nobody waits.
                document = {**job, "source": {"kafka": {**source, "group": f"{topic}-{run}"}}}
                # Now and then a job that ends by itself, with one large commit at its end.
                document["trigger"] = "once" if run % 4 == 3 else {"every": "50ms"}
                starting = run % 4 == 3 or dice.random() < 0.25
                runs.append(run_and_kill(tmp_path / "workers", document, dice, starting))
        sent = stream.batches * ROWS_A_BATCH
        print(f"{sent} records; (exit code, commits) of each run: {runs}")
        frazil.run(job, progress=False)
    check(lake, sent)
    # What was killed may leave files behind, but nothing may be referred to that is not there.
    assert files_in_table(lake) <= files_on_disk(lake)
    last = pyiceberg(lake).load_table(TABLE).current_snapshot()
    assert last is not None
    assert last.summary is not None
    assert last.summary["total-records"] == str(sent)
    killed = [commits for code, commits in runs if code == -signal.SIGKILL]
    assert len(killed) >= KILLS * 3 // 4, "too many runs had ended before they were killed"
    assert sum(commits > 0 for commits in killed) >= KILLS // 4, "too few kills came between commits"
