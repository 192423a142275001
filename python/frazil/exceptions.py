"""The exceptions: one base class, and one subclass for each kind of error of the Rust core.

Kinds differ by what the caller does next. `ConflictError` may be tried again, after `OutcomeUnknownError` one has to
look first, after `FencedError` one stops. Where Python has a class of its own for the idea, it is mixed in, so
`except ValueError` catches a wrong setting too.
"""

from collections.abc import Mapping
from typing import Any

__all__ = [
    "AlreadyExistsError",
    "AuditError",
    "CatalogError",
    "ConfigError",
    "ConflictError",
    "DecodeError",
    "FencedError",
    "FrazilError",
    "InternalError",
    "InterruptedError",
    "MemoryLimitError",
    "NotFoundError",
    "OffsetsLostError",
    "OutcomeUnknownError",
    "RolledBackError",
    "SchemaError",
    "SourceError",
    "StorageError",
    "TooManyBadError",
    "UnauthorizedError",
    "UnsupportedError",
]


class FrazilError(Exception):
    """An error of Frazil. Its text says what was expected, what was found and what to do; it never holds a secret.

    Attributes:
        context: Where it happened, for programs: `{"table": "shop.sales"}`. The text holds it too.
        retryable: Whether trying the same again may help.

    Example:
        >>> from frazil.exceptions import ConfigError
        >>> try:
        ...     raise ConfigError("memory: expected a size", {"path": "memory"})
        ... except ValueError as error:
        ...     print(error, error.context["path"], error.retryable)
        memory: expected a size memory False
    """

    context: dict[str, Any]
    retryable: bool

    def __init__(self, message: str = "", context: Mapping[str, Any] | None = None, retryable: bool = False) -> None:
        # Only the message goes up: KeyError and OSError give further arguments meanings of their own.
        super().__init__(message)
        self.message = message
        self.context = dict(context or {})
        self.retryable = retryable

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, self.context, self.retryable)


class ConfigError(FrazilError, ValueError):
    """The job document, an argument or a setting is wrong; the text begins with its path."""


class NotFoundError(FrazilError, LookupError):
    """A table, namespace, topic, subject, snapshot or file that was named does not exist."""


class AlreadyExistsError(FrazilError):
    """What was to be created is there already."""


class UnauthorizedError(FrazilError, PermissionError):
    """Credentials were missing, wrong, or not enough."""


class ConflictError(FrazilError):
    """Another writer committed first."""


class OutcomeUnknownError(FrazilError):
    """The catalog may or may not have committed. Look into the table before anything is tried again or deleted."""


class FencedError(FrazilError):
    """Another worker runs this job: the table's ledger has moved on. Nothing was committed."""


class RolledBackError(FrazilError):
    """The table was rolled back behind the job's last commit."""


class OffsetsLostError(FrazilError):
    """Offsets that the job needs are gone from the source."""


class DecodeError(FrazilError, ValueError):
    """Bytes that are not what their format or schema says."""


class SchemaError(FrazilError, ValueError):
    """Rows or columns that do not fit the table, or an expression that does not fit the columns."""


class TooManyBadError(FrazilError):
    """More bad records than the job allows."""


class SourceError(FrazilError):
    """Kafka or another source failed."""


class CatalogError(FrazilError):
    """The catalog or the schema registry failed."""


class StorageError(FrazilError, OSError):
    """Object storage or the local disk failed."""


class MemoryLimitError(FrazilError, MemoryError):
    """The memory budget cannot hold what the job needs."""


class AuditError(FrazilError):
    """The audit found a gap, an overlap or a wrong count."""


class InterruptedError(FrazilError):
    """The caller asked to stop."""


class UnsupportedError(FrazilError, NotImplementedError):
    """Valid, but this version does not do it."""


class InternalError(FrazilError, RuntimeError):
    """A bug in Frazil: please report it."""
