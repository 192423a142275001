"""Apicurio: a schema registry that speaks Confluent's API."""

from __future__ import annotations

import json
import tarfile
import urllib.request
from pathlib import Path
from typing import Any, ClassVar

from . import versions
from .base import HOST, Server, answers, free_ports
from .install import install, jdk, maven_file
from .jvm import java

_ARTIFACT = f"io.apicurio:apicurio-registry-app:{versions.APICURIO}:tar.gz:all"


class Apicurio(Server):
    """A registry that keeps its schemas in memory: a restart empties it."""

    name: ClassVar[str] = "apicurio"

    def __init__(self) -> None:
        super().__init__()
        self.port, self.management_port = free_ports(2)
        self.url = f"http://{HOST}:{self.port}/apis/ccompat/v7"

    def install(self) -> None:
        self.java_home = jdk(versions.APICURIO_JDK)
        self.home = install(self.name, _ARTIFACT, _unpack)

    def command(self) -> list[str]:
        settings = {
            "quarkus.http.host": HOST,
            "quarkus.http.port": self.port,
            # Its default is every interface, and it cannot be turned off.
            "quarkus.management.host": HOST,
            "quarkus.management.port": self.management_port,
            "apicurio.ccompat.use-canonical-hash": "true",
        }
        options = [f"-D{key}={value}" for key, value in settings.items()]
        return [*java(self.java_home, self.data), *options, "-jar", str(self.home / "quarkus-run.jar")]

    def ready(self) -> bool:
        return answers(f"{self.url}/subjects")

    def addresses(self) -> dict[str, str]:
        return {"url": self.url}

    def register(self, subject: str, schema: str, **fields: Any) -> int:
        """Register a schema under a subject and return its id. ``fields``: ``schemaType``, ``references``."""
        request = urllib.request.Request(
            f"{self.url}/subjects/{subject}/versions",
            data=json.dumps({"schema": schema, **fields}).encode(),
            headers={"Content-Type": "application/vnd.schemaregistry.v1+json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return int(json.load(response)["id"])


def _unpack(target: Path) -> None:
    maven_file(target, _ARTIFACT)
    (archive,) = target.glob("*.tar.gz")
    with tarfile.open(archive) as contents:
        contents.extractall(target, filter="data")
    archive.unlink()
