"""Throughput and CPU time of ingest, beside the floor in the same run; memory with a thousand open partitions."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

from frazil import SchemaRegistry
from tests.servers import Kafka

from . import measure

SCHEMA_SUBJECT = "events-value"
PARTITIONS = 4


def document(kafka: Kafka, registry: str, topic: str, lake: Path, **changes: Any) -> dict[str, Any]:
    """The job that is measured: Avro events into a table partitioned by day."""
    return {
        "name": "bench",
        "lake": str(lake),
        "source": {"kafka": {"topics": [topic], "bootstrap": kafka.bootstrap}},
        "decode": {"avro": {"registry": registry, "subject": SCHEMA_SUBJECT}},
        "sink": {"table": "bench.events", "partition_by": ["day(ts)"]},
        "trigger": "available_now",
        **changes,
    }


def fill(kafka: Kafka, registry: SchemaRegistry, schema: str, topic: str, records: int, days: int = 1) -> None:
    """Makes a topic and fills it with events spread over so many days."""
    schema_id = registry.register(SCHEMA_SUBJECT, schema)
    kafka.create_topic(topic, PARTITIONS)
    measure.run(measure.bench_binary("produce", kafka.bootstrap, topic, records, schema_id, days))


def throughput(kafka: Kafka, registry: SchemaRegistry, topic: str, records: int, rounds: int) -> dict[str, float]:
    """Floor and Frazil in turns over the same topic; medians."""
    floors: dict[str, list[float]] = {"consume": [], "decode": [], "write": []}
    cpu: list[float] = []
    rate: list[float] = []
    rss: list[float] = []
    stages: dict[str, list[float]] = {}
    for _ in range(rounds):
        for stage, found in floors.items():
            cost = measure.run(measure.bench_binary("floor", kafka.bootstrap, topic, records, stage))
            found.append(cost.cpu_s / (cost.report["bytes"] / 1e9))
        with tempfile.TemporaryDirectory(prefix="frazil-bench-") as lake:
            cost = measure.job(document(kafka, registry.url, topic, Path(lake)))
        report = cost.report
        status = report["status"]
        if status["rows"] != records:
            raise RuntimeError(f"expected {records} rows in the table, found {status['rows']}")
        gigabytes = status["bytes"] / 1e9
        cpu.append(report["cpu_s"] / gigabytes)
        rate.append(gigabytes * 1e3 / report["seconds"])
        rss.append(report["peak_rss_mib"])
        for stage, seconds in status["stage_cpu_seconds"].items():
            stages.setdefault(stage, []).append(seconds / gigabytes)
    floor = statistics.median(floors["write"])
    print(
        f"  floor, CPU-s per GB: consume {measure.spread(floors['consume'])}, with decode "
        f"{measure.spread(floors['decode'])}, with Parquet {measure.spread(floors['write'])}"
    )
    print(
        f"  frazil, CPU-s per GB: {measure.spread(cpu)} = {statistics.median(cpu) / floor:.2f} x the floor; "
        f"MB/s {measure.spread(rate)}; peak RSS MiB {measure.spread(rss)}"
    )
    print("  by stage: " + ", ".join(f"{stage} {measure.spread(found)}" for stage, found in stages.items()))
    result = {
        "ingest.cpu_s_per_gb": statistics.median(cpu),
        "ingest.floor_cpu_s_per_gb": floor,
        "ingest.ratio_to_floor": statistics.median(cpu) / floor,
        "ingest.mb_per_s": statistics.median(rate),
        "ingest.peak_rss_mib": max(rss),
    }
    result.update({f"ingest.stage.{stage}.cpu_s_per_gb": statistics.median(found) for stage, found in stages.items()})
    return result


def many_partitions(kafka: Kafka, registry: SchemaRegistry, topic: str, records: int) -> dict[str, float]:
    """A thousand open partitions within `memory: 1GiB`."""
    with tempfile.TemporaryDirectory(prefix="frazil-bench-") as lake:
        cost = measure.job(document(kafka, registry.url, topic, Path(lake), memory="1GiB"))
    report = cost.report
    gigabytes = report["status"]["bytes"] / 1e9
    if report["status"]["rows"] != records:
        raise RuntimeError(f"expected {records} rows in the table, found {report['status']['rows']}")
    print(
        f"  1,000 open partitions: peak RSS {report['peak_rss_mib']:.0f} MiB of 1,024 promised (1,229 borne), "
        f"{report['cpu_s'] / gigabytes:.2f} CPU-s per GB"
    )
    return {
        "ingest.partitions_1000.peak_rss_mib": report["peak_rss_mib"],
        "ingest.partitions_1000.cpu_s_per_gb": report["cpu_s"] / gigabytes,
    }
