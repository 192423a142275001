"""Tables that others made, appended to or rewrote: Frazil goes on in them, the others after it, nothing is lost."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import BucketTransform, DayTransform
from pyiceberg.types import DoubleType, LongType, NestedField, StringType, TimestamptzType

import frazil
from tests.interop import events, places
from tests.interop.places import Place
from tests.servers import IcebergRest, Kafka, Spark

COLUMNS = {"id": "long", "user": "string", "price": "double", "ts": "timestamptz"}
ICEBERG = Schema(
    NestedField(1, "id", LongType()),
    NestedField(2, "user", StringType()),
    NestedField(3, "price", DoubleType()),
    NestedField(4, "ts", TimestamptzType()),
)
DAYS_AND_BUCKETS = PartitionSpec(
    PartitionField(4, 1000, DayTransform(), "ts_day"), PartitionField(2, 1001, BucketTransform(4), "user_bucket")
)
SPARK_DDL = "id bigint, user string, price double, ts timestamp"


def arrow(numbers: range) -> pa.Table:
    """Events for PyIceberg."""
    rows = [events.event(number) for number in numbers]
    types = [
        ("id", pa.int64()),
        ("user", pa.string()),
        ("price", pa.float64()),
        ("ts", pa.timestamp("us", tz="UTC")),
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema(types))


def values(numbers: range) -> list[bytes]:
    """Events for Kafka."""
    rows = [events.event(number) for number in numbers]
    return [json.dumps({**row, "ts": row["ts"].isoformat()}).encode() for row in rows]


@dataclass
class Job:
    """A job that appends what is in its topic to a table."""

    kafka: Kafka
    topic: str
    place: Place
    table: str

    def source(self) -> frazil.KafkaSource:
        return frazil.kafka(self.topic, bootstrap=self.kafka.bootstrap, format="json", schema=COLUMNS)

    def send(self, numbers: range) -> None:
        events.produce(self.kafka.bootstrap, self.topic, values(numbers))

    def append(self, numbers: range, **options: Any) -> frazil.JobStatus:
        self.send(numbers)
        status = self.place.connect().read(self.source()).write(self.table, name="job", progress=False, **options)
        assert status.rows == len(numbers), str(status)
        return status

    def ids(self) -> list[int]:
        """All ids as PyIceberg reads them."""
        found = self.place.other().load_table(self.table).scan(selected_fields=("id",)).to_arrow()["id"].to_pylist()
        return sorted(found)

    def spark(self, spark: Spark, sql: str) -> list[dict[str, Any]]:
        """Run SQL in which ``$t`` is the table and ``$c`` its catalog."""
        full = f"{self.place.catalog_name}.{self.table}"
        found = spark.sql(sql.replace("$t", full).replace("$c", self.place.catalog_name))
        rows: list[dict[str, Any]] = found.to_pylist()
        return rows

    def check(self, numbers: range | list[int], spark: Spark | None = None) -> None:
        """Every engine finds these ids, and the audit is clean."""
        wanted = sorted(numbers)
        lake = self.place.connect()
        report = lake.audit(self.table)
        assert report.clean, str(report)
        assert sorted(lake.read(self.table).select("id").to_arrow()["id"].to_pylist()) == wanted
        assert lake.sql(f"select count(*) as n from {self.table}").to_arrow().to_pylist() == [{"n": len(wanted)}]
        assert self.ids() == wanted
        if spark is not None:
            query = "select count(*) as n, count(distinct id) as ids, sum(id) as total from $t"
            assert self.spark(spark, query) == [{"n": len(wanted), "ids": len(wanted), "total": sum(wanted)}]


@pytest.fixture
def job(kafka: Kafka, topic: str, rest_catalog: IcebergRest, unique: str) -> Job:
    place = places.rest(rest_catalog, unique)
    place.other().create_namespace(unique)
    return Job(kafka, topic, place, f"{unique}.t")


@pytest.mark.parametrize("spec", [PartitionSpec(), DAYS_AND_BUCKETS], ids=["unpartitioned", "days-and-buckets"])
def test_a_table_of_pyiceberg_is_appended_to_in_turns(job: Job, spec: PartitionSpec) -> None:
    # Neither a codec nor anything else is set: defaults as other writers leave them.
    job.place.other().create_table(job.table, schema=ICEBERG, partition_spec=spec)
    job.place.other().load_table(job.table).append(arrow(range(100)))
    job.append(range(100, 200))
    job.place.other().load_table(job.table).append(arrow(range(200, 250)))
    job.append(range(250, 300))
    job.check(range(300))
    table = job.place.other().load_table(job.table)
    assert table.spec() == spec
    names = [task.file.partition for task in table.scan().plan_files()]
    assert len(names) >= 4


def test_pyiceberg_deletes_and_overwrites_between_runs(job: Job) -> None:
    job.append(range(100), partition_by=["day(ts)", "bucket(4, user)"])
    job.place.other().load_table(job.table).delete("user = 'user-3'")
    job.append(range(100, 150))
    left = [n for n in range(100) if n % 7 != 3] + list(range(100, 150))
    job.check(left)
    job.place.other().load_table(job.table).overwrite(arrow(range(500, 520)), overwrite_filter="id < 50")
    job.append(range(150, 160))
    job.check([n for n in left if n >= 50] + list(range(150, 160)) + list(range(500, 520)))


def test_pyiceberg_changes_the_schema_and_the_partitions_between_runs(job: Job) -> None:
    job.append(range(50), partition_by=["day(ts)"])
    with job.place.other().load_table(job.table).update_schema() as schema:
        schema.add_column("note", StringType())
        schema.rename_column("price", "amount")
    with job.place.other().load_table(job.table).update_spec() as spec:
        spec.add_field("user", BucketTransform(4), "user_bucket")
    job.send(range(50, 100))
    lake = job.place.connect()
    renamed = lake.read(job.source()).select("id", "user", "price as amount", "ts")
    assert renamed.write(job.table, name="job", progress=False).rows == 50
    job.check(range(100))
    found = job.place.other().load_table(job.table).scan().to_arrow().to_pylist()
    amounts = {row["id"]: row["amount"] for row in found}
    assert amounts == {n: events.event(n)["price"] for n in range(100)}
    assert {row["note"] for row in found} == {None}


@pytest.mark.parametrize("version", [2, 3])
def test_a_table_of_spark_is_appended_to_in_turns(job: Job, version: int, spark_session: Spark) -> None:
    job.place.register(spark_session)
    job.spark(
        spark_session,
        f"create table $t ({SPARK_DDL}) using iceberg partitioned by (days(ts), bucket(4, user)) "
        f"tblproperties ('format-version' = '{version}', 'write.parquet.compression-codec' = 'gzip')",
    )
    job.append(range(100))
    insert_by_spark(job, spark_session, 100, 150)
    job.append(range(150, 200))
    insert_by_spark(job, spark_session, 200, 220)
    job.check(range(220), spark_session)
    assert job.place.connect().table(job.table).format_version == version
    # Rows stand in the partitions where Spark looks for them.
    for user in range(7):
        found = job.spark(spark_session, f"select id from $t where user = 'user-{user}'")
        assert sorted(row["id"] for row in found) == [n for n in range(220) if n % 7 == user]


def insert_by_spark(job: Job, spark: Spark, start: int, end: int) -> None:
    """The same events, made in SQL."""
    first = events.FIRST_DAY.strftime("%Y-%m-%d %H:%M:%S")
    job.spark(
        spark,
        f"insert into $t select id, concat('user-', id % 7), if(id % 5 = 0, null, id / 4), "
        f"timestamp '{first}' + make_interval(0, 0, 0, 0, id % 50, 0, id / 1000000) from range({start}, {end})",
    )


@pytest.mark.parametrize("version", [2, 3])
def test_spark_rewrites_and_expires_between_runs(job: Job, version: int, spark_session: Spark) -> None:
    job.place.register(spark_session)
    for start in range(0, 60, 20):
        job.append(range(start, start + 20), partition_by=["bucket(2, user)"], format_version=version)
    options = "map('min-input-files', '2')"
    (done,) = job.spark(spark_session, f"call $c.system.rewrite_data_files(table => '$t', options => {options})")
    assert done["rewritten_data_files_count"] == 6
    job.append(range(60, 80))
    job.check(range(80), spark_session)
    (expired,) = job.spark(
        spark_session,
        "call $c.system.expire_snapshots(table => '$t', retain_last => 1, older_than => now())",
    )
    assert expired["deleted_manifest_lists_count"] == 4
    job.append(range(80, 100))
    job.check(range(100), spark_session)
    report = job.place.connect().audit(job.table)
    # The older history is gone, the ledger is not.
    assert report[0]["rows"] == 100
    assert not report[0]["history_complete"]
    job.spark(spark_session, "call $c.system.rewrite_manifests('$t')")
    job.append(range(100, 110))
    job.check(range(110), spark_session)


@pytest.mark.parametrize("version", [2, 3])
def test_spark_deletes_rows_between_runs(job: Job, version: int, spark_session: Spark) -> None:
    job.place.register(spark_session)
    # Position delete files in version 2, deletion vectors in version 3.
    modes = dict.fromkeys(("write.delete.mode", "write.update.mode", "write.merge.mode"), "merge-on-read")
    job.append(range(100), format_version=version, properties=modes)
    job.spark(spark_session, "delete from $t where id % 10 = 3")
    job.append(range(100, 120))
    left = [n for n in range(120) if n % 10 != 3 or n >= 100]
    query = "select count(*) as n, sum(id) as total from $t"
    assert job.spark(spark_session, query) == [{"n": len(left), "total": sum(left)}]
    report = job.place.connect().audit(job.table)
    assert report.clean, str(report)
    if version == 2:
        job.check(left, spark_session)
    else:
        # This version does not read deletion vectors: it must say so, and never show deleted rows.
        with pytest.raises(frazil.UnsupportedError):
            job.place.connect().read(job.table).to_arrow()
        assert job.ids() == left


def test_row_lineage_of_version_3_goes_on_over_engines(job: Job, spark_session: Spark) -> None:
    job.place.register(spark_session)
    job.append(range(30), format_version=3)
    insert_by_spark(job, spark_session, 30, 40)
    job.append(range(40, 60))
    found = job.spark(spark_session, "select _row_id as r, id from $t")
    # Every row has an id of its own, whoever wrote it.
    assert sorted(row["r"] for row in found) == list(range(60))
    assert sorted(row["id"] for row in found) == list(range(60))


def test_pyiceberg_and_frazil_share_a_sqlite_catalog_in_one_process(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    # Each has a SQLite library of its own, which POSIX locks do not keep apart within a process.
    place = places.sqlite(tmp_path, "shared")
    place.connect()
    place.other().create_namespace("w")
    job = Job(kafka, topic, place, "w.t")
    job.append(range(10))
    for start in range(10, 50, 10):
        place.other().load_table(job.table).append(arrow(range(start, start + 5)))
        job.append(range(start + 5, start + 10))
    job.check(range(50))


def test_a_loop_of_pyiceberg_and_a_stream_lose_nothing(job: Job) -> None:
    job.place.other().create_table(job.table, schema=ICEBERG, partition_spec=DAYS_AND_BUCKETS)
    lake = job.place.connect()
    theirs: list[int] = []
    refused = 0
    stop = threading.Event()
    failure: list[BaseException] = []

    def append() -> None:
        nonlocal refused
        other = load_catalog("theirs", **job.place.properties)
        start = 1_000_000
        try:
            while not stop.is_set():
                numbers = range(start, start + 5)
                try:
                    other.load_table(job.table).append(arrow(numbers))
                except CommitFailedException:
                    refused += 1  # Frazil was first: nothing was added, so the same again
                    continue
                theirs.extend(numbers)
                start += 5
        except BaseException as error:
            failure.append(error)

    appender = threading.Thread(target=append)
    sent = 0
    with lake.read_stream(job.source()).write(job.table, name="job", every="200ms") as stream:
        appender.start()
        try:
            until = time.monotonic() + 8
            while time.monotonic() < until:
                job.send(range(sent, sent + 50))
                sent += 50
                stream.wait(0.1)
            deadline = time.monotonic() + 30
            while stream.status().rows < sent:
                assert time.monotonic() < deadline, str(stream.status())
                stream.wait(0.1)
        finally:
            stop.set()
            appender.join()
        stream.stop()
        last = stream.wait(30)
    assert not failure, failure
    assert last is not None
    assert last.rows == sent
    assert last.commits >= 10
    assert len(theirs) >= 25, f"{len(theirs)} rows, {refused} refused"
    job.check(list(range(sent)) + theirs)
