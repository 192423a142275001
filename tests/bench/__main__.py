"""`python -m tests.bench`: prints a table and writes `reports/bench.json`.

`FRAZIL_BENCH_RECORDS` (default 2,000,000), `FRAZIL_BENCH_ROUNDS` (3) and `FRAZIL_BENCH_ONLY` (ingest, partitions,
freshness, commits; comma-separated) make it shorter.
"""

from __future__ import annotations

import json
import os
import platform
import time

from frazil import SchemaRegistry
from tests.servers import Kafka

from . import freshness, ingest, measure


def commits() -> dict[str, float]:
    """Commit latency against the table's age."""
    example = measure.TARGET / "release" / "examples" / "commit_age"
    report = measure.run([str(example), "2100"]).report
    ages = {int(age): value for age, value in report.items() if age.isdigit()}
    print("  commit p50 ms by age: " + ", ".join(f"{age}: {value:.2f}" for age, value in sorted(ages.items())))
    print(f"  commit 2,000 costs {report['2000.ratio_to_50']:.2f} x commit 50, taken in turns")
    return {f"commit.p50_ms.{age}": value for age, value in report.items()}


def main() -> None:
    """Runs what was asked for."""
    records = int(os.environ.get("FRAZIL_BENCH_RECORDS", "2000000"))
    rounds = int(os.environ.get("FRAZIL_BENCH_ROUNDS", "3"))
    only = set(os.environ.get("FRAZIL_BENCH_ONLY", "ingest,partitions,freshness,commits").split(","))
    measure.build()
    schema = measure.run(measure.bench_binary("schema")).report["schema"]
    results: dict[str, float] = {}
    if "commits" in only:
        print("commits")
        results.update(commits())
    if only & {"ingest", "partitions", "freshness"}:
        with Kafka(heap="1g") as kafka, SchemaRegistry() as registry:
            if "ingest" in only:
                print(f"ingest of {records:,} events of about 1 KB")
                ingest.fill(kafka, registry, schema, "events", records)
                results.update(ingest.throughput(kafka, registry, "events", records, rounds))
            if "partitions" in only:
                ingest.fill(kafka, registry, schema, "wide", records, days=1000)
                results.update(ingest.many_partitions(kafka, registry, "wide", records))
            if "freshness" in only:
                print("freshness")
                # About 1 KB a record: records a second are KB a second.
                rate = int(
                    os.environ.get("FRAZIL_BENCH_RATE", int(results.get("ingest.mb_per_s", 100) * 1000 / 2 / 1.02))
                )
                results.update(freshness.measure_freshness(kafka, registry, schema, rate, 30, "1s"))
    report = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
    }
    path = measure.ROOT / "reports" / "bench.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**report, **results}, indent=2) + "\n")
    print(f"written to {path.relative_to(measure.ROOT)}")


if __name__ == "__main__":
    main()
