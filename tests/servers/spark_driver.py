"""The Spark session's process: reads one JSON request a line, answers one JSON line.

Started by ``spark.py``, with pyspark on its path. It imports nothing of this repository.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def main(jars: str, data: Path) -> None:
    """Answer requests until standard input ends."""
    # Java and Python workers write to standard output too: what is meant for the other side gets a
    # file descriptor of its own, everything else goes to the log.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    from pyspark.sql import SparkSession

    spark = (
        SparkSession.builder.master("local[2]")
        .appName("frazil-tests")
        .config("spark.jars", jars)
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.memory", "1g")
        .config("spark.ui.enabled", "false")
        .config("spark.local.dir", str(data / "tmp"))
        .config("spark.sql.warehouse.dir", str(data / "warehouse"))
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.extensions", "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("WARN")
    spark.sql("select 1").collect()
    names: dict[str, Any] = {"spark": spark}
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        try:
            answer = {"result": handle(json.loads(line), names, data)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


def handle(request: dict[str, Any], names: dict[str, Any], data: Path) -> Any:
    """Carry out one request."""
    spark = names["spark"]
    if "catalog" in request:
        prefix = f"spark.sql.catalog.{request['catalog']}"
        for key, value in request["properties"].items():
            spark.conf.set(f"{prefix}.{key}", value)
        spark.conf.set(prefix, "org.apache.iceberg.spark.SparkCatalog")
        return None
    if "sql" in request:
        import pyarrow as pa

        table = spark.sql(request["sql"]).toArrow()
        path = data / "result.arrow"
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        return str(path)
    names.pop("result", None)
    exec(request["python"], names)
    return names.get("result")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
