"""Keyword arguments build the document that YAML describes, and nothing else."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

import frazil
from frazil import ConfigError, _core

YAML = """
name: sales
lake: {lake}
source:
  kafka:
    topics: [events]
    bootstrap: "localhost:9092"
    start: earliest
    group: g
    security: {{username: u, password: "${{env:PASSWORD}}"}}
    properties: {{fetch.min.bytes: "1", enable.ssl.certificate.verification: "false"}}
decode:
  avro: {{registry: "http://localhost:8081"}}
  metadata: {{partition: kafka_partition, offset: o}}
transform:
  with_columns: {{total: "price * amount"}}
  where: "(price > 0) and (amount < 10)"
  select: [user_id, total]
sink:
  table: shop.sales
  partition_by: ["day(ts)", "bucket(16, user_id)"]
  sort_by: [user_id]
  format_version: 2
  file_size: 256MiB
  properties: {{write.parquet.compression-codec: zstd, commit.retry.num-retries: "4", a: "true"}}
errors:
  dead_letters: {{topic: events.dlq}}
  max_bad: 1%
  on_rollback: rewind
  on_lost_offsets: skip
trigger: {{every: 1s}}
memory: 1GiB
drain_timeout: 10s
"""


def _events(**more: Any) -> frazil.KafkaSource:
    return frazil.kafka("events", bootstrap="localhost:9092", **more)


def test_every_keyword_argument_lands_where_yaml_puts_it(lake: frazil.Lake) -> None:
    source = _events(
        registry="http://localhost:8081",
        start="earliest",
        group="g",
        security={"username": "u", "password": "${env:PASSWORD}"},
        properties={"fetch.min.bytes": 1, "enable.ssl.certificate.verification": False},
        metadata={"partition": "kafka_partition", "offset": "o"},
    )
    document = (
        lake.read_stream(source)
        .with_columns(total="price * amount")
        .where("price > 0")
        .where("amount < 10")
        .select("user_id", "total")
        .job(
            "shop.sales",
            every=timedelta(seconds=1),
            name="sales",
            partition_by=["day(ts)", "bucket(16, user_id)"],
            sort_by="user_id",
            format_version=2,
            file_size="256MiB",
            properties={"write.parquet.compression-codec": "zstd", "commit.retry.num-retries": 4, "a": True},
            dead_letters="events.dlq",
            max_bad="1%",
            on_rollback="rewind",
            on_lost_offsets="skip",
            memory="1GiB",
            drain_timeout=timedelta(seconds=10),
        )
    )
    assert document["trigger"] == {"every": "1000ms"}
    document["trigger"] = {"every": "1s"}
    document["drain_timeout"] = "10s"
    assert _core.validate_job(document) == _core.validate_job(YAML.format(lake=lake.document()))


def test_what_is_not_given_is_not_in_the_document(lake: frazil.Lake) -> None:
    document = lake.read(_events(registry="http://r")).job("shop.sales", memory=None)  # type: ignore[typeddict-item]
    assert document == {
        "lake": lake.document(),
        "source": {"kafka": {"topics": ["events"], "bootstrap": "localhost:9092"}},
        "decode": {"avro": {"registry": "http://r"}},
        "sink": {"table": "shop.sales"},
    }
    assert _core.validate_job(document)["trigger"] == "available_now"


def test_once_is_one_commit(lake: frazil.Lake) -> None:
    assert lake.read(_events(format="raw")).job("a.b", once=True)["trigger"] == "once"


def test_sql_is_a_transform(lake: frazil.Lake) -> None:
    document = lake.read(_events(format="raw")).sql("select value from input").job("a.b")
    assert document["transform"] == {"sql": "select value from input"}


def test_a_mistyped_option_names_the_one_that_was_meant(lake: frazil.Lake) -> None:
    with pytest.raises(ConfigError, match=r"unknown option 'partition_bye', did you mean 'partition_by'\?"):
        lake.read(_events(format="raw")).job("a.b", partition_bye="day(ts)")  # type: ignore[call-arg]


def test_mistakes_in_values_are_answered_with_their_path(lake: frazil.Lake) -> None:
    with pytest.raises(ConfigError, match=r"sink\.partition_by\[0\]: unknown transform 'dya', did you mean 'day'\?"):
        lake.read(_events(format="raw")).write("a.b", partition_by="dya(ts)", progress=False)
    with pytest.raises(ConfigError, match=r"source\.kafka\.topics: expected at least one topic"):
        frazil.kafka(bootstrap="localhost:9092", format="raw")
    with pytest.raises(ConfigError, match=r"source\.kafka\.security: unknown key 'pasword'"):
        _events(format="raw", security={"pasword": "x"})


@pytest.mark.parametrize(
    ("start", "written"),
    [
        ("latest", "latest"),
        ("2026-11-01", {"timestamp": "2026-11-01T00:00:00Z"}),
        ("2026-11-01T12:00:00+02:00", {"timestamp": "2026-11-01T10:00:00Z"}),
        (date(2026, 11, 1), {"timestamp": "2026-11-01T00:00:00Z"}),
        (datetime(2026, 11, 1, 3), {"timestamp": "2026-11-01T03:00:00Z"}),
        (datetime(2026, 11, 1, 3, tzinfo=UTC), {"timestamp": "2026-11-01T03:00:00Z"}),
        (datetime(2026, 11, 1, 3, tzinfo=timezone(timedelta(hours=1))), {"timestamp": "2026-11-01T02:00:00Z"}),
        ({"events": {0: 5}}, {"offsets": {"events": {"0": 5}}}),
        ({"offsets": {"events": {0: 5}}}, {"offsets": {"events": {"0": 5}}}),
        ({"timestamp": "2026-11-01T00:00:00Z"}, {"timestamp": "2026-11-01T00:00:00Z"}),
    ],
)
def test_start_takes_words_times_and_offsets(start: Any, written: Any) -> None:
    assert _events(format="raw", start=start).document()["source"]["kafka"]["start"] == written


def test_topics_may_be_several_or_a_list() -> None:
    assert frazil.kafka("a", ["b", "c"], bootstrap="x:1", format="raw").topics == ("a", "b", "c")


def test_a_registry_means_avro_and_nothing_is_guessed_without_one() -> None:
    assert list(_events(registry="http://r").document()["decode"]) == ["avro"]
    assert _events(format="json", schema={"id": "long"}).document()["decode"] == {"json": {"schema": {"id": "long"}}}
    with pytest.raises(ConfigError, match="expected a registry"):
        _events()
    with pytest.raises(ConfigError, match="expected format 'avro', 'json' or 'raw', found 'protobuf'"):
        _events(format="protobuf")


def test_an_option_of_another_format_is_an_error_not_ignored() -> None:
    with pytest.raises(ConfigError, match="'registry' says nothing about format 'json'"):
        _events(format="json", registry="http://r")


def test_metadata_by_name_gets_kafkas_prefix() -> None:
    decode = _events(format="raw", metadata=["partition", "offset"]).document()["decode"]
    assert decode["metadata"] == {"partition": "kafka_partition", "offset": "kafka_offset"}
    with pytest.raises(ConfigError, match="found 'ofset'"):
        _events(format="raw", metadata=["ofset"])


def test_a_local_lake_is_named_from_the_root(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lake = frazil.connect("./lake")
    assert lake.document() == str(tmp_path / "lake")
    assert frazil.connect("lake", name="x").document() == {"catalog": str(tmp_path / "lake"), "name": "x"}
    with pytest.raises(ConfigError, match="'name' stands beside a mapping"):
        frazil.connect({"catalog": "./lake"}, name="x")


def test_read_stream_needs_an_interval_and_read_refuses_one(lake: frazil.Lake) -> None:
    with pytest.raises(TypeError, match="every"):
        lake.read_stream(_events(format="raw")).write("a.b")  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match="read_stream"):
        lake.read(_events(format="raw")).write("a.b", every="1s")  # type: ignore[call-arg]
