"""A schema registry inside this process, for demos, tests and trying things out. Not for production.

It speaks the part of Confluent's API that producers and readers need: register, look up, by id, versions, latest.
Schemas are kept in memory and are not checked for compatibility. It listens on the loopback interface only.
"""

import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import unquote, urlsplit

_TYPE = "application/vnd.schemaregistry.v1+json"
_LARGEST_REQUEST = 4 << 20


class SchemaRegistry:
    """An embedded schema registry.

    Example:
        >>> from frazil import SchemaRegistry
        >>> with SchemaRegistry() as registry:
        ...     registry.register("events-value", '{"type": "long"}')
        1
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._schemas: list[tuple[str, str, list[Any]]] = []  # (type, text, references); the id is the position + 1
        self._subjects: dict[str, list[int]] = {}
        registry = self

        class Handler(_Handler):
            served = registry

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="frazil-registry", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def register(
        self, subject: str, schema: str, schema_type: str = "AVRO", references: list[Any] | None = None
    ) -> int:
        """Registers a schema under a subject and returns its id; the same text has the same id everywhere.

        Args:
            subject: The subject, for a topic's values its name and `-value`.
            schema: The schema's text.
            schema_type: `AVRO`, `JSON` or `PROTOBUF`.
            references: The schemas that it names, as Confluent's API writes them.
        """
        entry = (schema_type, schema, list(references or []))
        with self._lock:
            if entry not in self._schemas:
                self._schemas.append(entry)
            schema_id = self._schemas.index(entry) + 1
            versions = self._subjects.setdefault(subject, [])
            if schema_id not in versions:
                versions.append(schema_id)
            return schema_id

    def close(self) -> None:
        """Stops it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<schema registry at {self.url}>"

    # What the API answers, by path.

    def _subjects_list(self) -> Any:
        return sorted(self._subjects)

    def _by_id(self, text: str) -> Any:
        schema_id = int(text)
        if not 1 <= schema_id <= len(self._schemas):
            raise _Refused(404, 40403, f"Schema {schema_id} not found")
        return self._schema(schema_id)

    def _ids_versions(self, text: str) -> Any:
        self._by_id(text)
        schema_id = int(text)
        return [
            {"subject": subject, "version": versions.index(schema_id) + 1}
            for subject, versions in sorted(self._subjects.items())
            if schema_id in versions
        ]

    def _versions(self, subject: str) -> Any:
        return list(range(1, len(self._known(subject)) + 1))

    def _version(self, subject: str, version: str) -> Any:
        versions = self._known(subject)
        if version in ("latest", "-1"):
            number = len(versions)
        elif version.isdigit() and int(version) > 0:
            number = int(version)
        else:
            raise _Refused(422, 42202, f"The specified version '{version}' is not a valid version id")
        if number > len(versions):
            raise _Refused(404, 40402, f"Version {number} not found.")
        return self._described(subject, number)

    def _lookup(self, subject: str, body: dict[str, Any]) -> Any:
        versions = self._known(subject)
        entry = _entry(body)
        for number, schema_id in enumerate(versions, 1):
            if self._schemas[schema_id - 1] == entry:
                return self._described(subject, number)
        raise _Refused(404, 40403, "Schema not found")

    def _known(self, subject: str) -> list[int]:
        if subject not in self._subjects:
            raise _Refused(404, 40401, f"Subject '{subject}' not found.")
        return self._subjects[subject]

    def _described(self, subject: str, number: int) -> dict[str, Any]:
        schema_id = self._subjects[subject][number - 1]
        return {"subject": subject, "version": number, "id": schema_id, **self._schema(schema_id)}

    def _schema(self, schema_id: int) -> dict[str, Any]:
        kind, text, references = self._schemas[schema_id - 1]
        found: dict[str, Any] = {"schema": text}
        # Confluent leaves both out where they say nothing.
        if kind != "AVRO":
            found["schemaType"] = kind
        if references:
            found["references"] = references
        return found


class _Refused(Exception):
    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def _entry(body: dict[str, Any]) -> tuple[str, str, list[Any]]:
    schema, kind = body.get("schema"), body.get("schemaType") or "AVRO"
    if not isinstance(schema, str) or not schema:
        raise _Refused(422, 42201, "expected the schema's text in 'schema'")
    if kind == "AVRO":
        try:
            json.loads(schema)
        except ValueError as error:
            raise _Refused(422, 42201, f"the Avro schema is not JSON: {error}") from None
    return str(kind), schema, list(body.get("references") or [])


_GET: list[tuple[re.Pattern[str], Callable[..., Any]]] = [
    (re.compile(r"/subjects"), SchemaRegistry._subjects_list),
    (re.compile(r"/subjects/([^/]+)/versions"), SchemaRegistry._versions),
    (re.compile(r"/subjects/([^/]+)/versions/([^/]+)"), SchemaRegistry._version),
    (re.compile(r"/schemas/ids/(\d+)"), SchemaRegistry._by_id),
    (re.compile(r"/schemas/ids/(\d+)/versions"), SchemaRegistry._ids_versions),
    (re.compile(r"/schemas/types"), lambda registry: ["AVRO", "JSON", "PROTOBUF"]),
    (re.compile(r"/config"), lambda registry: {"compatibilityLevel": "NONE"}),
    (re.compile(r"/"), lambda registry: {}),
]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: SchemaRegistry

    def do_GET(self) -> None:
        for pattern, answer in _GET:
            found = pattern.fullmatch(self._path())
            if found is not None:
                parts = [unquote(part) for part in found.groups()]
                self._answer(lambda: self._locked(answer, *parts))  # noqa: B023 - called before the next round
                return
        self._answer(self._unknown)

    def do_POST(self) -> None:
        found = re.fullmatch(r"/subjects/([^/]+)(/versions)?", self._path())
        if found is None:
            self.close_connection = True  # The body stays unread.
            self._answer(self._unknown)
            return
        subject = unquote(found.group(1))

        def post() -> Any:
            body = self._body()
            if found.group(2):
                kind, schema, references = _entry(body)
                return {"id": self.served.register(subject, schema, kind, references)}
            return self._locked(SchemaRegistry._lookup, subject, body)

        self._answer(post)

    def _path(self) -> str:
        return urlsplit(self.path).path.rstrip("/") or "/"

    def _locked(self, answer: Callable[..., Any], *parts: Any) -> Any:
        with self.served._lock:
            return answer(self.served, *parts)

    def _unknown(self) -> Any:
        raise _Refused(404, 404, "HTTP 404 Not Found")

    def _body(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > _LARGEST_REQUEST:
            self.close_connection = True
            raise _Refused(422, 42201, "expected a JSON body of at most 4 MiB")
        try:
            body = json.loads(self.rfile.read(int(length)))
        except ValueError as error:
            raise _Refused(422, 42201, f"the body is not JSON: {error}") from None
        if not isinstance(body, dict):
            raise _Refused(422, 42201, "expected a JSON object")
        return body

    def _answer(self, make: Callable[[], Any]) -> None:
        try:
            status, content = 200, make()
        except _Refused as refused:
            status, content = refused.status, {"error_code": refused.code, "message": refused.message}
        payload = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", _TYPE)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: Any) -> None:
        """Keeps quiet: stderr belongs to the program."""
