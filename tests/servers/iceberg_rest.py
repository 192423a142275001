"""Apache Iceberg's own REST catalog: the adapter of its tests over a JDBC catalog in SQLite."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from . import versions
from .base import HOST, Server, answers, free_ports
from .install import install, jdk, maven_jars, run
from .jvm import java

_SOURCE = Path(__file__).parent / "java" / "RestCatalog.java"
_JARS = (
    f"org.apache.iceberg:iceberg-core:{versions.ICEBERG_REST}",
    f"org.apache.iceberg:iceberg-core:{versions.ICEBERG_REST}:tests",
    # S3FileIO, for a warehouse in object storage
    f"org.apache.iceberg:iceberg-aws:{versions.ICEBERG_REST}",
    f"org.apache.iceberg:iceberg-aws-bundle:{versions.ICEBERG_REST}",
    f"org.xerial:sqlite-jdbc:{versions.ICEBERG_REST_SQLITE}",
    f"org.eclipse.jetty:jetty-server:{versions.ICEBERG_REST_JETTY}",
    f"org.eclipse.jetty.ee10:jetty-ee10-servlet:{versions.ICEBERG_REST_JETTY}",
    f"org.apache.hadoop:hadoop-client-api:{versions.ICEBERG_REST_HADOOP}",
    f"org.apache.hadoop:hadoop-client-runtime:{versions.ICEBERG_REST_HADOOP}",
    f"org.slf4j:slf4j-simple:{versions.ICEBERG_REST_SLF4J}",
)


class IcebergRest(Server):
    """A REST catalog without authentication. Its warehouse is a local directory unless told otherwise."""

    name: ClassVar[str] = "iceberg-rest"

    def __init__(self, properties: dict[str, str] | None = None) -> None:
        """``properties`` are catalog properties, for example ``warehouse`` and those of an S3 storage."""
        super().__init__()
        (self.port,) = free_ports(1)
        self.uri = f"http://{HOST}:{self.port}"
        self.properties = properties or {}
        self.warehouse = self.properties.get("warehouse", f"file://{self.data / 'warehouse'}")

    def install(self) -> None:
        self.java_home = jdk(versions.ICEBERG_REST_JDK)
        self.home = install(self.name, "\n".join((*_JARS, _SOURCE.read_text())), self._build)

    def prepare(self) -> None:
        (self.data / "warehouse").mkdir(exist_ok=True)

    def command(self) -> list[str]:
        classes = f"{self.home / 'classes'}:{self.home}/*"
        level = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        properties = [f"{key}={value}" for key, value in self.properties.items()]
        start = [*java(self.java_home, self.data), "-cp", classes, level]
        return [*start, "RestCatalog", str(self.port), str(self.data), *properties]

    def ready(self) -> bool:
        return answers(f"{self.uri}/v1/config")

    def addresses(self) -> dict[str, str]:
        return {"uri": self.uri, "warehouse": self.warehouse}

    def _build(self, target: Path) -> None:
        maven_jars(target, *_JARS)
        javac = str(self.java_home / "bin" / "javac")
        release = str(versions.ICEBERG_REST_JDK)
        run([javac, "--release", release, "-cp", f"{target}/*", "-d", str(target / "classes"), str(_SOURCE)])
