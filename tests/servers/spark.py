"""Spark with Iceberg, in a process of its own (its JVM and this test process stay apart)."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from . import versions
from .base import HOST, Server
from .install import install, jdk, maven_file, python_packages

if TYPE_CHECKING:
    import pyarrow as pa

_JARS = (versions.SPARK_ICEBERG, versions.SPARK_AWS, versions.SPARK_SQLITE)
_PACKAGE = f"pyspark=={versions.PYSPARK}"


class SparkError(Exception):
    """Spark refused a statement. The message is Spark's."""


class Spark(Server):
    """A local Spark session. Statements go to it one at a time, results come back as Arrow tables."""

    name: ClassVar[str] = "spark"
    start_timeout: ClassVar[float] = 180.0
    piped: ClassVar[bool] = True

    def install(self) -> None:
        self.java_home = jdk(versions.SPARK_JDK)
        self.packages = install("pyspark", _PACKAGE, lambda target: python_packages(target, _PACKAGE))
        self.jars = install("spark-jars", "\n".join(_JARS), _fetch_jars)

    def command(self) -> list[str]:
        jars = ",".join(str(jar) for jar in sorted(self.jars.glob("*.jar")))
        return [sys.executable, str(Path(__file__).parent / "spark_driver.py"), jars, str(self.data)]

    def environment(self) -> dict[str, str]:
        return {
            "JAVA_HOME": str(self.java_home),
            "PYTHONPATH": os.pathsep.join([str(self.packages), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_LOCAL_IP": HOST,
        }

    def ready(self) -> bool:
        return self._pipe()[1].readline() == "ready\n"

    def catalog(self, name: str, **properties: str) -> None:
        """Make a catalog known under ``name``. Property names have ``_`` for ``-``.

        Other programs' commits are seen at once: Spark's own cache of tables is off.
        """
        settings = {"cache-enabled": "false"}
        settings.update({key.replace("_", "-"): value for key, value in properties.items()})
        self._ask(catalog=name, properties=settings)

    def sql_catalog(self, name: str, database: Path, warehouse: str) -> None:
        """Make a JDBC catalog in a SQLite file known. ``name`` must be the one that its tables carry."""
        properties = {"type": "jdbc", "uri": f"jdbc:sqlite:file:{database}", "warehouse": warehouse}
        self.catalog(name, **properties, **{"jdbc.schema-version": "V1"})

    def rest_catalog(self, name: str, uri: str, **properties: str) -> None:
        """Make a REST catalog known."""
        self.catalog(name, type="rest", uri=uri, **properties)

    def sql(self, statement: str) -> pa.Table:
        """Run one statement and return its result."""
        import pyarrow as pa

        with pa.OSFile(self._ask(sql=statement)) as source, pa.ipc.open_file(source) as result:
            return result.read_all()

    def python(self, code: str) -> Any:
        """Run code beside the session (``spark``) and return what it assigns to ``result``, through JSON."""
        return self._ask(python=code)

    def _ask(self, **request: Any) -> Any:
        to_driver, from_driver = self._pipe()
        to_driver.write(json.dumps(request) + "\n")
        to_driver.flush()
        line = from_driver.readline()
        if not line:
            raise RuntimeError(f"spark ended; its log:\n{self.log_tail()}")
        answer = json.loads(line)
        if "error" in answer:
            raise SparkError(answer["error"])
        return answer["result"]


def _fetch_jars(target: Path) -> None:
    for jar in _JARS:
        maven_file(target, jar)
