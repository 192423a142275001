"""Fixtures for all tests: the real servers, each started once a session, when a test first asks for it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import TypeVar

import pytest

from tests.servers import Apicurio, IcebergRest, Kafka, SeaweedFS, SecureKafka, Server, Spark, Unavailable

S = TypeVar("S", bound=Server)
FIXTURES = {
    "kafka",
    "secure_kafka",
    "s3",
    "seaweed_catalog",
    "rest_catalog",
    "rest_catalog_s3",
    "registry",
    "spark_session",
}

_UNAVAILABLE = pytest.StashKey[dict[str, str]]()
_STARTED = pytest.StashKey[dict[str, float]]()


def _serve(request: pytest.FixtureRequest, server: S) -> Iterator[S]:
    """Run a server for the session; skip what needs it where this machine cannot run it."""
    stash = request.config.stash
    try:
        try:
            server.start()
        except Unavailable as missing:
            reason = f"{server.name}: {missing}"
            stash.setdefault(_UNAVAILABLE, {})[server.name] = str(missing)
            # CI has all that is needed: there a skip would be a hole that nobody sees.
            if os.environ.get("CI") == "true":
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)
        stash.setdefault(_STARTED, {})[server.name] = server.started_in
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Iterator[Kafka]:
    """A Kafka broker. Shared: use the `topic` fixture, or names of your own."""
    yield from _serve(request, Kafka())


@pytest.fixture(scope="session")
def secure_kafka(request: pytest.FixtureRequest) -> Iterator[SecureKafka]:
    """A Kafka broker behind TLS and SASL."""
    yield from _serve(request, SecureKafka())


@pytest.fixture(scope="session")
def s3(request: pytest.FixtureRequest) -> Iterator[SeaweedFS]:
    """An S3 server. Shared: use the `bucket` fixture, or names of your own."""
    yield from _serve(request, SeaweedFS())


@pytest.fixture(scope="session")
def seaweed_catalog(s3: SeaweedFS) -> SeaweedFS:
    """A REST catalog behind OAuth2 client credentials, its warehouse ``s3://lake`` on the same server's S3."""
    s3.create_table_bucket("lake")
    return s3


@pytest.fixture(scope="session")
def rest_catalog(request: pytest.FixtureRequest) -> Iterator[IcebergRest]:
    """Apache's REST catalog, its warehouse in local files."""
    yield from _serve(request, IcebergRest())


@pytest.fixture(scope="session")
def rest_catalog_s3(request: pytest.FixtureRequest, s3: SeaweedFS) -> Iterator[IcebergRest]:
    """Apache's REST catalog, its warehouse on S3."""
    warehouse = s3.create_bucket("rest-warehouse")
    yield from _serve(request, IcebergRest({"warehouse": warehouse, **s3.java_storage_properties()}))


@pytest.fixture(scope="session")
def registry(request: pytest.FixtureRequest) -> Iterator[Apicurio]:
    """A schema registry with Confluent's API. Shared: use subjects of your own."""
    yield from _serve(request, Apicurio())


@pytest.fixture(scope="session")
def spark_session(request: pytest.FixtureRequest) -> Iterator[Spark]:
    """A Spark session with Iceberg. Shared: register catalogs under names of your own."""
    yield from _serve(request, Spark())


@pytest.fixture
def unique() -> str:
    """A name that nothing else has used, for topics, buckets, namespaces and subjects."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def topic(kafka: Kafka, unique: str) -> str:
    """A topic of this test alone, with four partitions."""
    return kafka.create_topic(unique, partitions=4)


@pytest.fixture
def bucket(s3: SeaweedFS, unique: str) -> str:
    """The URL of a bucket of this test alone."""
    return s3.create_bucket(unique)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts servers, so that ``-m 'not servers'`` is quick."""
    for item in items:
        names = set(getattr(item, "fixturenames", ()))
        if names & FIXTURES:
            item.add_marker(pytest.mark.servers)
        if "spark_session" in names:
            item.add_marker(pytest.mark.spark)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name the servers that ran and those that this machine cannot run."""
    if started := config.stash.get(_STARTED, {}):
        times = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in started.items())
        terminalreporter.write_line(f"servers started: {times}")
    for name, reason in config.stash.get(_UNAVAILABLE, {}).items():
        terminalreporter.write_line(f"server NOT available, its tests were skipped: {name} ({reason})", yellow=True)
