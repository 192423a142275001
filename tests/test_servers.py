"""Each server does its work, seen by a client that is not Frazil. If these fail, look no further."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pyarrow as pa
import pytest
from botocore.exceptions import ClientError
from confluent_kafka import Consumer, KafkaException, Producer
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import CommitFailedException, OAuthError
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField

from tests.servers import Apicurio, IcebergRest, Kafka, SeaweedFS, SecureKafka, Spark, SparkError, Unavailable
from tests.servers.base import listens
from tests.servers.install import jdk

ROWS = pa.table({"id": pa.array(range(100), pa.int64()), "word": [f"w{i % 7}" for i in range(100)]})


def produce(kafka: Kafka, topic: str, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "enable.idempotence": True})
    for value in values:
        producer.produce(topic, value=value)
    assert producer.flush(30) == 0


def consume(kafka: Kafka, topic: str, count: int, within: float = 30.0) -> list[bytes]:
    settings = {"bootstrap.servers": kafka.bootstrap, "group.id": f"{topic}-group", "auto.offset.reset": "earliest"}
    consumer = Consumer({**settings, "enable.auto.commit": False})
    consumer.subscribe([topic])
    found: list[bytes] = []
    deadline = time.monotonic() + within
    try:
        while len(found) < count and time.monotonic() < deadline:
            for message in consumer.consume(count, 0.5):
                if message.error() is not None:
                    raise KafkaException(message.error())
                found.append(message.value() or b"")
    finally:
        consumer.close()
    return found


def test_kafka_gives_back_what_was_produced(kafka: Kafka, topic: str) -> None:
    values = [b"%06d" % i for i in range(1_000)]
    produce(kafka, topic, values)
    assert sorted(consume(kafka, topic, len(values))) == values


def test_kafka_makes_no_topic_by_accident(kafka: Kafka, unique: str) -> None:
    kafka.admin().list_topics(unique, timeout=10)
    time.sleep(0.2)
    assert unique not in kafka.admin().list_topics(timeout=10).topics


def test_killed_kafka_comes_back_at_its_address_with_its_messages(unique: str) -> None:
    values = [b"%06d" % i for i in range(1_000)]
    with Kafka() as kafka:
        address = kafka.bootstrap
        kafka.create_topic(unique)
        produce(kafka, unique, values)
        kafka.kill()
        assert not listens(kafka.port)
        kafka.restart()
        assert kafka.bootstrap == address
        assert consume(kafka, unique, len(values)) == values


def test_paused_kafka_answers_nothing_until_resumed(unique: str) -> None:
    with Kafka() as kafka:
        kafka.create_topic(unique)
        kafka.pause()
        with pytest.raises(KafkaException):
            kafka.admin().list_topics(timeout=2)
        kafka.resume()
        assert unique in kafka.admin().list_topics(timeout=20).topics


def first_error(properties: dict[str, object]) -> str:
    """The name of the error that a client meets first."""
    met: list[str] = []
    client = Producer({**properties, "error_cb": lambda error: met.append(error.name()), "log_level": 0})
    deadline = time.monotonic() + 20
    while not met and time.monotonic() < deadline:
        client.poll(0.1)
    return met[0] if met else "none"


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_secure_kafka_takes_the_right_password_only(secure_kafka: SecureKafka, mechanism: str) -> None:
    right = secure_kafka.client_properties(mechanism)
    assert Producer(right).list_topics(timeout=20).brokers
    assert first_error({**right, "sasl.password": "wrong"}) == "_AUTHENTICATION"


def test_secure_kafka_is_not_trusted_without_its_certificate(secure_kafka: SecureKafka) -> None:
    properties = secure_kafka.client_properties()
    del properties["ssl.ca.location"]
    assert first_error(properties) == "_SSL"


def test_s3_gives_back_what_was_put(s3: SeaweedFS, unique: str) -> None:
    s3.create_bucket(unique)
    client = s3.client()
    body = os.urandom(1 << 20)
    client.put_object(Bucket=unique, Key="a/b", Body=body)
    assert client.get_object(Bucket=unique, Key="a/b")["Body"].read() == body
    part = client.get_object(Bucket=unique, Key="a/b", Range="bytes=100-199")
    assert part["Body"].read() == body[100:200]


def test_s3_puts_only_where_nothing_is_when_asked(s3: SeaweedFS, unique: str) -> None:
    s3.create_bucket(unique)
    client = s3.client()
    client.put_object(Bucket=unique, Key="once", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError) as refused:
        client.put_object(Bucket=unique, Key="once", Body=b"2", IfNoneMatch="*")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    assert client.get_object(Bucket=unique, Key="once")["Body"].read() == b"1"


def test_s3_refuses_a_wrong_secret(s3: SeaweedFS) -> None:
    with pytest.raises(ClientError, match=r"SignatureDoesNotMatch"):
        s3.client(aws_secret_access_key="wrong").list_buckets()


def check_catalog(namespace: str, **properties: str) -> None:
    """A namespace, a table, two appends that are read back, and a commit on stale metadata that is refused."""
    catalog = load_catalog("test", type="rest", **properties)
    catalog.create_namespace(namespace)
    assert (namespace,) in catalog.list_namespaces()
    table = catalog.create_table(f"{namespace}.t", schema=ROWS.schema)
    stale = catalog.load_table(f"{namespace}.t")
    table.append(ROWS)
    table.append(ROWS)
    assert catalog.load_table(f"{namespace}.t").scan().to_arrow().num_rows == 200
    with stale.update_schema() as update:
        update.add_column("first", LongType())
    with pytest.raises(CommitFailedException), table.update_schema() as update:
        update.add_column("second", LongType())
    assert "second" not in catalog.load_table(f"{namespace}.t").schema().column_names


def test_apache_rest_catalog_on_files(rest_catalog: IcebergRest, unique: str) -> None:
    with urllib.request.urlopen(f"{rest_catalog.uri}/v1/config", timeout=10) as response:
        assert "defaults" in json.load(response)
    check_catalog(unique, uri=rest_catalog.uri)


def test_apache_rest_catalog_on_s3(rest_catalog_s3: IcebergRest, s3: SeaweedFS, unique: str) -> None:
    check_catalog(unique, uri=rest_catalog_s3.uri, **s3.storage_properties())
    stored = s3.client().list_objects_v2(Bucket="rest-warehouse", Prefix=f"{unique}/")
    assert any(found["Key"].endswith(".parquet") for found in stored["Contents"])


def test_killed_rest_catalog_keeps_its_tables(unique: str) -> None:
    with IcebergRest() as server:
        schema = Schema(NestedField(1, "id", LongType()))
        catalog = load_catalog("before", type="rest", uri=server.uri)
        catalog.create_namespace(unique)
        catalog.create_table(f"{unique}.t", schema=schema)
        server.restart()
        again = load_catalog("after", type="rest", uri=server.uri)
        assert again.load_table(f"{unique}.t").schema() == schema


def test_seaweed_catalog_with_client_credentials(seaweed_catalog: SeaweedFS, unique: str) -> None:
    server = seaweed_catalog
    check_catalog(
        unique,
        **{"oauth2-server-uri": server.token_uri},
        uri=server.catalog_uri,
        warehouse="s3://lake",
        credential=server.credential,
        **server.storage_properties(),
    )


def test_seaweed_catalog_refuses_wrong_credentials(seaweed_catalog: SeaweedFS) -> None:
    server = seaweed_catalog
    place = {"uri": server.catalog_uri, "oauth2-server-uri": server.token_uri, "warehouse": "s3://lake"}
    with pytest.raises(OAuthError):
        load_catalog("test", type="rest", credential="who:what", **place)


def test_registry_registers_and_returns_schemas(registry: Apicurio, unique: str) -> None:
    schema = {"type": "record", "name": "Event", "fields": [{"name": "id", "type": "long"}]}
    first = registry.register(f"{unique}-value", json.dumps(schema))
    assert registry.register(f"{unique}-value", json.dumps(schema)) == first
    schema["fields"].append({"name": "word", "type": ["null", "string"], "default": None})  # type: ignore[attr-defined]
    assert registry.register(f"{unique}-value", json.dumps(schema)) != first
    with urllib.request.urlopen(f"{registry.url}/schemas/ids/{first}", timeout=10) as response:
        stored = json.loads(json.load(response)["schema"])
    assert [field["name"] for field in stored["fields"]] == ["id"]


def test_registry_does_not_know_what_was_never_registered(registry: Apicurio) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{registry.url}/schemas/ids/99999999", timeout=10)


def test_spark_and_pyiceberg_share_a_sql_catalog(spark_session: Spark, tmp_path: Path, unique: str) -> None:
    database, warehouse = tmp_path / "catalog.db", f"file://{tmp_path}/warehouse"
    catalog = load_catalog(unique, type="sql", uri=f"sqlite:///{database}", warehouse=warehouse)
    catalog.create_namespace("n")
    catalog.create_table("n.t", schema=ROWS.schema).append(ROWS)
    spark_session.sql_catalog(unique, database, warehouse)
    assert spark_session.sql(f"select sum(id) s from {unique}.n.t").to_pylist() == [{"s": 4950}]
    spark_session.sql(f"insert into {unique}.n.t values (1000, 'spark')")
    assert catalog.load_table("n.t").scan().to_arrow().num_rows == 101
    catalog.load_table("n.t").append(ROWS)
    assert spark_session.sql(f"select count(*) c from {unique}.n.t").to_pylist() == [{"c": 201}]


def test_spark_reads_and_writes_through_a_rest_catalog(
    spark_session: Spark, rest_catalog: IcebergRest, unique: str
) -> None:
    catalog = load_catalog("test", type="rest", uri=rest_catalog.uri)
    check_spark(spark_session, catalog, unique, uri=rest_catalog.uri)


def test_spark_reads_and_writes_on_s3(
    spark_session: Spark, rest_catalog_s3: IcebergRest, s3: SeaweedFS, unique: str
) -> None:
    catalog = load_catalog("test", type="rest", uri=rest_catalog_s3.uri, **s3.storage_properties())
    check_spark(spark_session, catalog, unique, uri=rest_catalog_s3.uri, **s3.java_storage_properties())


def test_spark_reads_and_writes_with_client_credentials(
    spark_session: Spark, seaweed_catalog: SeaweedFS, unique: str
) -> None:
    server = seaweed_catalog
    place = {
        "uri": server.catalog_uri,
        "oauth2-server-uri": server.token_uri,
        "warehouse": "s3://lake",
        "credential": server.credential,
    }
    catalog = load_catalog("test", type="rest", **place, **server.storage_properties())
    check_spark(spark_session, catalog, unique, **place, **server.java_storage_properties())


def check_spark(spark: Spark, catalog: Catalog, unique: str, **properties: str) -> None:
    """Spark reads what PyIceberg wrote, and PyIceberg what Spark added."""
    catalog.create_namespace(unique)
    catalog.create_table(f"{unique}.t", schema=ROWS.schema).append(ROWS)
    spark.rest_catalog(f"rest_{unique}", **properties)
    assert spark.sql(f"select count(*) c from rest_{unique}.{unique}.t").to_pylist() == [{"c": 100}]
    spark.sql(f"insert into rest_{unique}.{unique}.t values (1000, 'spark')")
    assert catalog.load_table(f"{unique}.t").scan(row_filter="id = 1000").to_arrow()["word"].to_pylist() == ["spark"]


def test_spark_says_what_is_wrong_and_goes_on(spark_session: Spark) -> None:
    with pytest.raises(SparkError, match="no_such_table"):
        spark_session.sql("select * from no_such_table")
    assert spark_session.python("result = spark.range(3).count()") == 3


def test_a_server_that_cannot_start_shows_its_log() -> None:
    kafka = Kafka(overrides={"log.dirs": ""})
    with pytest.raises(RuntimeError, match=r"log\.dirs?"), kafka:
        pass
    assert not kafka.running
    assert not kafka.data.exists()


def test_a_missing_jdk_is_named() -> None:
    with pytest.raises(Unavailable, match="needs a JDK of version 99 or later; found: "):
        jdk(99)


def test_servers_do_not_outlive_a_killed_test_run() -> None:
    code = """
import time
from tests.servers import IcebergRest
server = IcebergRest().start()
print(server.port, server.data, flush=True)
time.sleep(600)
"""
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    try:
        port, data = run.stdout.readline().split()
        assert listens(int(port))
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
        run.stdout.close()
    deadline = time.monotonic() + 10
    while listens(int(port)):
        assert time.monotonic() < deadline, "the server is still there"
        time.sleep(0.05)
    subprocess.run(["rm", "-r", data], check=True)
