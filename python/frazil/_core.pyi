"""The Rust core. Everything here converts arguments, releases the GIL, calls the core and converts back."""

from collections.abc import Mapping, Sequence
from typing import Any, final

__all__ = [
    "ArrowStream",
    "EmbeddedBroker",
    "Job",
    "Lake",
    "Producer",
    "__version__",
    "exit_code",
    "job_schema",
    "parse_yaml",
    "read_source",
    "read_topic",
    "validate_job",
    "validate_part",
]

__version__: str

def validate_job(document: Mapping[str, Any] | str) -> dict[str, Any]:
    """Checks a job document (a mapping, or YAML text) and returns it with defaults filled in and secrets masked."""

def validate_part(part: str, path: str, value: Any) -> Any:
    """Checks one part of a job document ("lake", "source", "decode", "transform", "sink", "errors", "trigger")."""

def parse_yaml(text: str) -> Any:
    """YAML (or JSON) as plain values, mappings in the order of the text."""

def job_schema() -> dict[str, Any]:
    """The JSON Schema of the job document."""

def exit_code(exception_name: str) -> int:
    """The exit code of the command line for an exception class of `frazil.exceptions`."""

@final
class ArrowStream:
    """Arrow record batches, produced while they are read. Can be consumed once."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...
    def __arrow_c_schema__(self) -> object: ...
    def raise_error(self) -> None:
        """Raises the error that ended the stream, if one did: Arrow's interface hands on its text only."""

@final
class Lake:
    """An open catalog and its storage."""

    @staticmethod
    def open(settings: Mapping[str, Any] | str) -> Lake: ...
    def describe(self) -> str: ...
    def namespaces(self) -> list[str]: ...
    def tables(self, namespace: str | None = None) -> list[str]: ...
    def table_info(self, table: str) -> dict[str, Any]:
        """Location, format version, schema, partition spec, sort order, properties, snapshots, ledgers."""
    def drop_table(self, table: str) -> None: ...
    def sql(self, query: str, memory: int | None = None) -> ArrowStream: ...
    def scan(
        self,
        table: str,
        *,
        select: Sequence[str] = ...,
        with_columns: Mapping[str, str] | None = None,
        filter: str | None = None,
        limit: int | None = None,
        snapshot_id: int | None = None,
        timestamp_ms: int | None = None,
        ref: str | None = None,
    ) -> ArrowStream: ...
    def audit(self, table: str, job: str | None = None) -> list[dict[str, Any]]: ...

@final
class Job:
    """A job that runs in the background."""

    @staticmethod
    def start(document: Mapping[str, Any] | str) -> Job:
        """Checks the document, opens source and table, and begins. Errors of opening are raised here."""
    def status(self) -> dict[str, Any]:
        """See `frazil.JobStatus`."""
    def stop(self) -> None:
        """Asks the job to stop reading, commit what it has read, and end."""
    def wait(self, timeout: float | None = None) -> dict[str, Any] | None:
        """Waits for the end: its last status, or None when the time ran out. Raises the job's error."""

def read_source(document: Mapping[str, Any]) -> ArrowStream:
    """Reads what is in the source up to now (a job document without `sink`), without a table."""

@final
class EmbeddedBroker:
    """librdkafka's mock cluster inside this process: for trying things out, keeps about 5 MB a partition."""

    def __new__(cls, topics: Mapping[str, int]) -> EmbeddedBroker: ...
    @property
    def bootstrap(self) -> str: ...
    def close(self) -> None: ...

@final
class Producer:
    """Sends records to Kafka."""

    def __new__(cls, bootstrap: str, properties: Mapping[str, str] | None = None) -> Producer: ...
    def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        headers: Sequence[tuple[str, bytes | None]] = ...,
        timestamp_ms: int | None = None,
    ) -> None: ...
    def send_avro(
        self,
        topic: str,
        rows: object,
        *,
        schema: str,
        schema_id: int,
        key_column: str | None = None,
        spoil_every: int = 0,
    ) -> int:
        """Encodes Arrow rows (`__arrow_c_stream__`) in Confluent's wire format, one record each; how many were sent.

        With `spoil_every=n`, each n-th record is cut or altered so that it cannot be decoded.
        """
    def flush(self, timeout: float = 30.0) -> None: ...

def read_topic(
    bootstrap: str,
    topic: str,
    properties: Mapping[str, str] | None = None,
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """Reads a topic up to now: dicts of partition, offset, timestamp_ms, key, value, headers."""
