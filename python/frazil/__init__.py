"""Frazil: Kafka and files into Apache Iceberg tables, each record exactly once.

    >>> import frazil
    >>> lake = frazil.connect("./lake")
    >>> lake.tables()
    []

The heavy path is Rust (`frazil._core`); this package is the API in front of it. Nothing is imported before it is
used, so `import frazil` costs next to nothing in a DAG file or a command line.

Example:
    Kafka into a table, once or for as long as the process lives, with the same words::

        events = frazil.kafka("events", bootstrap="localhost:9092", registry="http://localhost:8081")
        lake.read(events).where("price > 0").write("shop.sales")
        lake.read_stream(events).where("price > 0").write("shop.sales", every="1s")
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from frazil import exceptions as exceptions
    from frazil._core import EmbeddedBroker as EmbeddedBroker
    from frazil._core import Producer as Producer
    from frazil._core import __version__ as __version__
    from frazil._core import job_schema as job_schema
    from frazil.embedded import SchemaRegistry as SchemaRegistry
    from frazil.exceptions import AlreadyExistsError as AlreadyExistsError
    from frazil.exceptions import AuditError as AuditError
    from frazil.exceptions import CatalogError as CatalogError
    from frazil.exceptions import ConfigError as ConfigError
    from frazil.exceptions import ConflictError as ConflictError
    from frazil.exceptions import DecodeError as DecodeError
    from frazil.exceptions import FencedError as FencedError
    from frazil.exceptions import FrazilError as FrazilError
    from frazil.exceptions import InternalError as InternalError
    from frazil.exceptions import InterruptedError as InterruptedError
    from frazil.exceptions import MemoryLimitError as MemoryLimitError
    from frazil.exceptions import NotFoundError as NotFoundError
    from frazil.exceptions import OffsetsLostError as OffsetsLostError
    from frazil.exceptions import OutcomeUnknownError as OutcomeUnknownError
    from frazil.exceptions import RolledBackError as RolledBackError
    from frazil.exceptions import SchemaError as SchemaError
    from frazil.exceptions import SourceError as SourceError
    from frazil.exceptions import StorageError as StorageError
    from frazil.exceptions import TooManyBadError as TooManyBadError
    from frazil.exceptions import UnauthorizedError as UnauthorizedError
    from frazil.exceptions import UnsupportedError as UnsupportedError
    from frazil.job import JobDocument as JobDocument
    from frazil.job import StreamHandle as StreamHandle
    from frazil.job import run as run
    from frazil.job import start as start
    from frazil.lake import Lake as Lake
    from frazil.lake import audit as audit
    from frazil.lake import connect as connect
    from frazil.relation import Relation as Relation
    from frazil.relation import Stream as Stream
    from frazil.source import KafkaSource as KafkaSource
    from frazil.source import kafka as kafka
    from frazil.status import JobStatus as JobStatus
    from frazil.table import AuditReport as AuditReport
    from frazil.table import Table as Table

_HOME = {
    "EmbeddedBroker": "_core",
    "Producer": "_core",
    "__version__": "_core",
    "job_schema": "_core",
    "SchemaRegistry": "embedded",
    "JobDocument": "job",
    "StreamHandle": "job",
    "run": "job",
    "start": "job",
    "Lake": "lake",
    "audit": "lake",
    "connect": "lake",
    "Relation": "relation",
    "Stream": "relation",
    "KafkaSource": "source",
    "kafka": "source",
    "JobStatus": "status",
    "AuditReport": "table",
    "Table": "table",
    "AlreadyExistsError": "exceptions",
    "AuditError": "exceptions",
    "CatalogError": "exceptions",
    "ConfigError": "exceptions",
    "ConflictError": "exceptions",
    "DecodeError": "exceptions",
    "FencedError": "exceptions",
    "FrazilError": "exceptions",
    "InternalError": "exceptions",
    "InterruptedError": "exceptions",
    "MemoryLimitError": "exceptions",
    "NotFoundError": "exceptions",
    "OffsetsLostError": "exceptions",
    "OutcomeUnknownError": "exceptions",
    "RolledBackError": "exceptions",
    "SchemaError": "exceptions",
    "SourceError": "exceptions",
    "StorageError": "exceptions",
    "TooManyBadError": "exceptions",
    "UnauthorizedError": "exceptions",
    "UnsupportedError": "exceptions",
}

# `InterruptedError` would hide Python's own after `from frazil import *`.
__all__ = sorted(name for name in _HOME if name not in ("__version__", "InterruptedError"))


def __getattr__(name: str) -> Any:
    if name == "exceptions":
        return importlib.import_module("frazil.exceptions")
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'frazil' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"frazil.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, "exceptions"})
