"""Fixtures of the interoperability tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import frazil
from tests.interop import places
from tests.interop.places import Place
from tests.servers import SeaweedFS

PLACES = ("sqlite-files", "sqlite-s3", "rest-files", "rest-s3", "seaweed-oauth2")


def open_place(kind: str, request: pytest.FixtureRequest, directory: Path, unique: str) -> Place:
    """A place of a kind of `PLACES`, with the servers that it needs."""
    if kind == "sqlite-files":
        return places.sqlite(directory / "lake", unique)
    if kind == "rest-files":
        return places.rest(request.getfixturevalue("rest_catalog"), unique)
    s3: SeaweedFS = request.getfixturevalue("s3")
    if kind == "sqlite-s3":
        return places.sqlite(directory / "lake", unique, s3, request.getfixturevalue("bucket"))
    if kind == "rest-s3":
        return places.rest(request.getfixturevalue("rest_catalog_s3"), unique, s3)
    request.getfixturevalue("seaweed_catalog")
    return places.seaweed(s3, unique, "s3://lake")


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path, unique: str) -> Place:
    """Every catalog with every storage, one after the other."""
    return open_place(request.param, request, tmp_path, unique)


@pytest.fixture
def schemas() -> Iterator[frazil.SchemaRegistry]:
    """The schema registry of the package."""
    with frazil.SchemaRegistry() as registry:
        yield registry
