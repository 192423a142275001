"""The places where a lake can be: each a catalog with a storage, as Frazil, PyIceberg and Spark name it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyiceberg.catalog import Catalog, load_catalog

import frazil
from tests.servers import IcebergRest, SeaweedFS, Spark


@dataclass
class Place:
    """One catalog with its storage."""

    name: str
    settings: dict[str, Any]
    """The part `lake` of a job document."""
    properties: dict[str, str]
    """The same for PyIceberg."""
    spark: dict[str, str]
    """The same for Spark."""
    s3: SeaweedFS | None = None
    format_versions: tuple[int, ...] = (2, 3)
    catalog_name: str = "lake"
    _others: list[Catalog] = field(default_factory=list)

    def connect(self, **changes: Any) -> frazil.Lake:
        """The lake, opened anew."""
        return frazil.connect({**self.settings, **changes})

    def other(self) -> Catalog:
        """The catalog as PyIceberg sees it."""
        if not self._others:
            self._others.append(load_catalog(self.catalog_name, **self.properties))
        return self._others[0]

    def register(self, spark: Spark) -> str:
        """Make the catalog known to Spark, and say under which name."""
        spark.catalog(self.catalog_name, **self.spark)
        return self.catalog_name


def s3_settings(s3: SeaweedFS, **changes: str) -> dict[str, str]:
    """The part `lake.storage` of a job document."""
    keys = {"access_key_id": s3.access_key, "secret_access_key": s3.secret_key}
    return {"endpoint": s3.endpoint, "region": s3.region, **keys, **changes}


def sqlite(directory: Path, name: str, s3: SeaweedFS | None = None, bucket: str | None = None) -> Place:
    """A SQLite catalog, its tables in local files or in a bucket.

    ``name`` is the catalog's, which all programs must share and which Spark cannot use for two.
    """
    directory.mkdir(parents=True, exist_ok=True)
    database = directory / "catalog.db"
    warehouse = bucket or f"file://{directory}"
    settings: dict[str, Any] = {"catalog": f"sqlite:///{database}", "warehouse": warehouse, "name": name}
    properties = {"type": "sql", "uri": f"sqlite:///{database}", "warehouse": warehouse}
    spark = {"type": "jdbc", "uri": f"jdbc:sqlite:file:{database}", "warehouse": warehouse, "jdbc.schema-version": "V1"}
    if s3 is not None:
        settings["storage"] = s3_settings(s3)
        properties |= s3.storage_properties()
        spark |= s3.java_storage_properties()
    return Place("sqlite", settings, properties, spark, s3, catalog_name=name)


def rest(server: IcebergRest, name: str, s3: SeaweedFS | None = None) -> Place:
    """Apache's REST catalog, its tables in local files or in a bucket."""
    settings: dict[str, Any] = {"catalog": server.uri}
    properties = {"type": "rest", "uri": server.uri}
    spark = dict(properties)
    if s3 is not None:
        settings["storage"] = s3_settings(s3)
        properties |= s3.storage_properties()
        spark |= s3.java_storage_properties()
    return Place("rest", settings, properties, spark, s3, catalog_name=name)


def seaweed(s3: SeaweedFS, name: str, warehouse: str) -> Place:
    """SeaweedFS' own REST catalog behind OAuth2 client credentials."""
    place = {"uri": s3.catalog_uri, "warehouse": warehouse, "credential": s3.credential}
    return Place(
        "seaweed",
        {
            "catalog": s3.catalog_uri,
            "warehouse": warehouse,
            "credential": s3.credential,
            "storage": s3_settings(s3),
        },
        {"type": "rest", **place, "oauth2-server-uri": s3.token_uri, **s3.storage_properties()},
        {"type": "rest", **place, "oauth2-server-uri": s3.token_uri, **s3.java_storage_properties()},
        s3,
        catalog_name=name,
    )
