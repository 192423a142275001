"""Freshness: from the moment a record is produced to the moment when its snapshot can be read."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pyarrow.compute as pc

import frazil
from frazil import SchemaRegistry
from tests.servers import Kafka

from . import ingest, measure


class Watcher(threading.Thread):
    """Notes when each snapshot can first be seen in the catalog, as another process would see it."""

    def __init__(self, catalog: Path) -> None:
        super().__init__(daemon=True)
        self.catalog = catalog
        self.seen: dict[int, float] = {}
        self.ranges: list[tuple[int, str, int, int, int]] = []
        self.stop = threading.Event()

    def run(self) -> None:
        """Asks the catalog until told to stop."""
        last = ""
        while not self.stop.wait(0.01):
            try:
                with sqlite3.connect(f"file:{self.catalog}?mode=ro", uri=True, timeout=5) as db:
                    row = db.execute("select metadata_location from iceberg_tables").fetchone()
            except sqlite3.OperationalError:
                continue
            if row is None or row[0] == last:
                continue
            last = row[0]
            now = time.time() * 1e3
            metadata = json.loads(Path(unquote(urlparse(last).path)).read_text())
            for snapshot in metadata.get("snapshots", []):
                self._note(snapshot, now)

    def _note(self, snapshot: dict[str, Any], now: float) -> None:
        number = snapshot["snapshot-id"]
        if number in self.seen:
            return
        self.seen[number] = now
        for topic, partitions in json.loads(snapshot["summary"]["frazil.ranges"]).items():
            for partition, (start, end) in partitions.items():
                self.ranges.append((number, topic, int(partition), start, end))


def measure_freshness(
    kafka: Kafka, registry: SchemaRegistry, schema: str, rate: int, seconds: int, every: str
) -> dict[str, float]:
    """Produces at a rate while a stream runs; percentiles over all records, by each record's own timestamp."""
    topic = f"fresh-{int(time.time())}"
    schema_id = registry.register(ingest.SCHEMA_SUBJECT, schema)
    kafka.create_topic(topic, ingest.PARTITIONS)
    with tempfile.TemporaryDirectory(prefix="frazil-bench-") as lake:
        job = ingest.document(kafka, registry.url, topic, Path(lake), trigger={"every": every})
        job["decode"]["metadata"] = {"partition": "k_partition", "offset": "k_offset", "timestamp": "k_timestamp"}
        watcher = Watcher(Path(lake) / "catalog.db")
        with frazil.start(job) as stream:
            watcher.start()
            command = measure.bench_binary("produce", kafka.bootstrap, topic, rate * seconds, schema_id, 1, rate)
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            deadline = time.monotonic() + 60
            while stream.status().rows < rate * seconds and time.monotonic() < deadline:
                time.sleep(0.05)
        watcher.stop.set()
        watcher.join()
        lateness = _lateness(Path(lake), watcher)
    if len(lateness) != rate * seconds:
        raise RuntimeError(f"expected {rate * seconds} rows, found {len(lateness)}")
    p50, p99, worst = (lateness[int(len(lateness) * share)] for share in (0.5, 0.99, 0.999999))
    length = float(every.removesuffix("s"))
    print(
        f"  every {every}, {rate:,} records/s for {seconds} s: p50 {p50:.2f} s, p99 {p99:.2f} s, worst {worst:.2f} s; "
        f"{len(watcher.seen)} commits"
    )
    return {
        "freshness.every_s": length,
        "freshness.p50_s": p50,
        "freshness.p99_s": p99,
        "freshness.records_per_s": rate,
    }


def _lateness(lake: Path, watcher: Watcher) -> list[float]:
    """Seconds from produce to visible of every record, sorted."""
    rows = frazil.connect(lake).sql("select k_partition, k_offset, k_timestamp from bench.events").to_arrow()
    found: list[float] = []
    for snapshot, _, partition, start, end in watcher.ranges:
        offsets = rows["k_offset"]
        mine = pc.and_(
            pc.equal(rows["k_partition"], partition), pc.and_(pc.greater_equal(offsets, start), pc.less(offsets, end))
        )
        stamps = pc.cast(rows.filter(mine)["k_timestamp"], "int64").to_numpy()
        found.extend((watcher.seen[snapshot] - stamps / 1e3) / 1e3)
    return sorted(found)
