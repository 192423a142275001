"""Every catalog with every storage does the same: one suite, run over all of them."""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import Any

import pytest

import frazil
from frazil import CatalogError, FrazilError, NotFoundError, UnauthorizedError
from tests.interop import events, places
from tests.interop.places import Place
from tests.servers import Apicurio, IcebergRest, Kafka, SeaweedFS, free_ports

PARTITIONS = ["day(ts)", "bucket(4, user)"]


def stored_ids(place: Place, table: str) -> list[int]:
    """The ids in a table as PyIceberg reads them."""
    found: list[int] = place.other().load_table(table).scan(selected_fields=("id",)).to_arrow()["id"].to_pylist()
    return sorted(found)


def snapshots(place: Place, table: str) -> int:
    """How many snapshots a table has, as PyIceberg says."""
    return len(place.other().load_table(table).snapshots())


class Ingest:
    """A topic of Avro events, and the job that brings them into a table."""

    def __init__(self, kafka: Kafka, topic: str, registry: frazil.SchemaRegistry | Apicurio) -> None:
        self.kafka, self.topic, self.dead_letters = kafka, topic, f"{topic}.dlq"
        kafka.create_topic(self.dead_letters)
        self.schema_id = registry.register(f"{topic}-value", events.text(events.EVENT))
        self.source = frazil.kafka(topic, bootstrap=kafka.bootstrap, registry=registry.url)
        self.sent = 0

    def send(self, count: int) -> None:
        rows = [events.event(n) for n in range(self.sent, self.sent + count)]
        events.produce(self.kafka.bootstrap, self.topic, events.framed(self.schema_id, events.EVENT, rows))
        self.sent += count

    def send_broken(self, values: list[bytes]) -> None:
        events.produce(self.kafka.bootstrap, self.topic, values, key=b"the key")

    def run(self, lake: frazil.Lake, table: str, **options: Any) -> frazil.JobStatus:
        settings = {"name": "ingest", "partition_by": PARTITIONS, "dead_letters": self.dead_letters, **options}
        return lake.read(self.source).write(table, progress=False, **settings)


@pytest.fixture
def ingest(kafka: Kafka, topic: str, schemas: frazil.SchemaRegistry) -> Ingest:
    return Ingest(kafka, topic, schemas)


def ledger(lake: frazil.Lake, table: str) -> dict[int, int]:
    """The next offsets that the table asks for."""
    (topic,) = lake.table(table).ledgers["ingest"]["next"].values()
    return {int(partition): offset for partition, offset in topic.items()}


@pytest.mark.parametrize("version", [2, 3])
def test_runs_go_on_where_the_tables_ledger_stands(place: Place, version: int, ingest: Ingest, unique: str) -> None:
    if version not in place.format_versions:
        pytest.skip(f"{place.name} has no tables of format version {version}")
    lake, table = place.connect(), f"{unique}.events"
    broken = [b"", b"\x00\x00", b"not avro at all", b"\x00\x00\x00\x00\x01\x02"]
    ingest.send(300)
    ingest.send_broken(broken)

    first = ingest.run(lake, table, format_version=version)
    assert (first.state, first.rows, first.dead_letters) == ("finished", 300, len(broken))
    described = lake.table(table)
    assert (described.format_version, described.partition_by) == (version, PARTITIONS)
    # One record behind the newest of each partition, as the broker counts them.
    assert ledger(lake, table) == events.ends(ingest.kafka.bootstrap, ingest.topic)

    ingest.send(200)
    second = ingest.run(place.connect(), table)
    assert (second.records, second.rows, second.dead_letters) == (200, 200, 0)
    assert ledger(lake, table) == events.ends(ingest.kafka.bootstrap, ingest.topic)

    before = snapshots(place, table)
    third = ingest.run(place.connect(), table)
    assert (third.records, third.commits) == (0, 0)
    assert snapshots(place, table) == before

    assert stored_ids(place, table) == list(range(500))
    query = f"select count(*) as n, count(distinct id) as ids, count(price) as prices from {table}"
    assert lake.sql(query).to_arrow().to_pylist() == [{"n": 500, "ids": 500, "prices": 400}]
    report = lake.audit(table)
    assert report.clean, str(report)
    assert report[0]["rows"] == 500
    letters = events.records(ingest.kafka.bootstrap, ingest.dead_letters)
    assert Counter(letter.value() for letter in letters) == Counter(broken)
    assert {letter.key() for letter in letters} == {b"the key"}

    lake.drop_table(table)
    assert table not in lake.tables()
    with pytest.raises(NotFoundError):
        lake.table(table)
    assert not place.other().table_exists(table)


def test_partitions_are_those_that_pyiceberg_computes(place: Place, ingest: Ingest, unique: str) -> None:
    lake, table = place.connect(), f"{unique}.events"
    ingest.send(150)
    ingest.run(lake, table)
    other = place.other().load_table(table)
    # If a row stood in a wrong bucket or day, pruning would miss it.
    for user in range(7):
        found = other.scan(row_filter=f"user = 'user-{user}'").to_arrow()["id"].to_pylist()
        assert sorted(found) == [n for n in range(150) if n % 7 == user]
    found = other.scan(row_filter="ts >= '2026-11-02T00:00:00+00:00' and ts < '2026-11-03T00:00:00+00:00'").to_arrow()
    assert sorted(found["id"].to_pylist()) == [n for n in range(150) if events.event(n)["ts"].day == 2]


def test_a_stream_commits_while_it_runs(place: Place, ingest: Ingest, unique: str) -> None:
    lake, table = place.connect(), f"{unique}.events"
    stream = lake.read_stream(ingest.source).write(table, name="ingest", every="200ms", partition_by=PARTITIONS)
    with stream:
        for _ in range(3):
            ingest.send(100)
            deadline = time.monotonic() + 30
            while stream.status().rows < ingest.sent:
                assert time.monotonic() < deadline, str(stream.status())
                stream.wait(0.05)
            # Committed rows are there for others at once.
            assert len(stored_ids(place, table)) == ingest.sent
        stream.stop()
        last = stream.wait(30)
    assert last is not None
    assert last.state == "finished"
    assert last.commits >= 3
    # A batch goes on from the stream: the same job.
    ingest.send(50)
    assert ingest.run(lake, table).rows == 50
    assert stored_ids(place, table) == list(range(350))
    report = lake.audit(table)
    assert report.clean, str(report)


def test_time_travel_sees_each_run(place: Place, ingest: Ingest, unique: str) -> None:
    lake, table = place.connect(), f"{unique}.events"
    for _ in range(2):
        ingest.send(40)
        ingest.run(lake, table)
    counts = [lake.read(table, as_of=s["snapshot_id"]).count() for s in lake.table(table).snapshots]
    assert counts == [40, 80]


# Where hashed paths begin, and how Iceberg's LocationProviders form them.
HASHED = re.compile(r"/data/[01]{4}/[01]{4}/[01]{4}/[01]{8}/ts_day=[\d-]+/user_bucket=\d/[^/]+\.parquet$")


def test_hashed_paths_spread_files_over_the_storage(place: Place, ingest: Ingest, unique: str) -> None:
    lake, table = place.connect(), f"{unique}.events"
    ingest.send(200)
    ingest.run(lake, table, properties={"write.object-storage.enabled": True})
    other = place.other().load_table(table)
    paths = [task.file.file_path for task in other.scan().plan_files()]
    assert len(paths) > 4
    assert [path for path in paths if not HASHED.search(path)] == []
    assert len({path.split("/data/")[1][:14] for path in paths}) > len(paths) // 2
    assert stored_ids(place, table) == list(range(200))
    if place.s3 is not None:
        # They are objects of the store, not only text in the metadata.
        bucket, _, prefix = other.location().removeprefix("s3://").partition("/")
        listed = place.s3.client().list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/data/")["Contents"]
        assert {f"s3://{bucket}/{found['Key']}" for found in listed} == set(paths)


def wrong_storage(place: Place) -> dict[str, Any]:
    """Settings with a wrong secret key."""
    assert place.s3 is not None
    return {**place.settings, "storage": places.s3_settings(place.s3, secret_access_key="hush-hush")}


@pytest.mark.parametrize("kind", ["sqlite", "rest"])
def test_a_wrong_secret_of_the_storage_is_refused_and_not_shown(
    kind: str, request: pytest.FixtureRequest, ingest: Ingest, s3: SeaweedFS, unique: str, tmp_path: Any
) -> None:
    if kind == "sqlite":
        place = places.sqlite(tmp_path, unique, s3, s3.create_bucket(unique))
    else:
        place = places.rest(request.getfixturevalue("rest_catalog_s3"), unique, s3)
    table = f"{unique}.events"
    ingest.send(10)
    ingest.run(place.connect(), table)
    ingest.send(10)
    with pytest.raises(UnauthorizedError) as refused:
        ingest.run(frazil.connect(wrong_storage(place)), table)
    assert "hush-hush" not in str(refused.value)
    assert isinstance(refused.value, PermissionError)
    assert len(stored_ids(place, table)) == 10
    with pytest.raises(UnauthorizedError) as refused:
        frazil.connect(wrong_storage(place)).sql(f"select count(price) from {table}").to_arrow()
    assert "hush-hush" not in str(refused.value)


def test_wrong_client_credentials_are_refused_and_not_shown(seaweed_catalog: SeaweedFS, unique: str) -> None:
    place = places.seaweed(seaweed_catalog, unique, "s3://lake")
    with pytest.raises(UnauthorizedError) as refused:
        place.connect(credential=f"{seaweed_catalog.access_key}:hush-hush").tables()
    assert "hush-hush" not in str(refused.value)
    assert not refused.value.retryable


def check_down(error: FrazilError, address: str) -> None:
    assert isinstance(error, CatalogError)
    assert error.retryable
    assert address in str(error)


def test_a_catalog_that_is_not_there_is_named() -> None:
    address = f"http://127.0.0.1:{free_ports(1)[0]}"
    with pytest.raises(CatalogError) as down:
        frazil.connect(address).tables()
    check_down(down.value, address)


def test_a_catalog_that_goes_down_is_named_and_used_again_when_it_is_back(ingest: Ingest, unique: str) -> None:
    with IcebergRest() as server:
        place = places.rest(server, unique)
        lake, table = place.connect(), f"{unique}.events"
        ingest.send(20)
        ingest.run(lake, table)
        server.kill()
        with pytest.raises(CatalogError) as down:
            lake.tables()
        check_down(down.value, server.uri)
        server.start()
        ingest.send(20)
        assert ingest.run(lake, table).rows == 20
        assert stored_ids(place, table) == list(range(40))


def test_jobs_from_a_real_registry(
    kafka: Kafka, topic: str, registry: Apicurio, rest_catalog: IcebergRest, unique: str
) -> None:
    ingest = Ingest(kafka, topic, registry)
    place = places.rest(rest_catalog, unique)
    lake, table = place.connect(), f"{unique}.events"
    for count in (120, 30):
        ingest.send(count)
        assert ingest.run(lake, table).rows == count
    assert stored_ids(place, table) == list(range(150))
