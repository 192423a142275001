"""The embedded registry answers as Confluent's API does."""

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from frazil import SchemaRegistry

SCHEMA = '{"type": "record", "name": "R", "fields": [{"name": "a", "type": "long"}]}'


@pytest.fixture
def registry() -> Iterator[SchemaRegistry]:
    with SchemaRegistry() as registry:
        yield registry


def _ask(registry: SchemaRegistry, path: str, body: Any = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(registry.url + path, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_schemas_are_registered_and_found_again(registry: SchemaRegistry) -> None:
    assert _ask(registry, "/subjects/t-value/versions", {"schema": SCHEMA}) == (200, {"id": 1})
    assert _ask(registry, "/subjects/t-value/versions", {"schema": SCHEMA}) == (200, {"id": 1})
    assert _ask(registry, "/subjects/t-value/versions", {"schema": '"long"'}) == (200, {"id": 2})
    assert _ask(registry, "/subjects/other%2Fvalue/versions", {"schema": '"long"'}) == (200, {"id": 2})
    assert _ask(registry, "/subjects") == (200, ["other/value", "t-value"])
    assert _ask(registry, "/subjects/t-value/versions") == (200, [1, 2])
    assert _ask(registry, "/schemas/ids/1") == (200, {"schema": SCHEMA})
    latest = {"subject": "t-value", "version": 2, "id": 2, "schema": '"long"'}
    assert _ask(registry, "/subjects/t-value/versions/latest") == (200, latest)
    assert _ask(registry, "/subjects/t-value/versions/1")[1]["id"] == 1
    assert _ask(registry, "/subjects/t-value", {"schema": '"long"'}) == (200, latest)
    versions = [{"subject": "other/value", "version": 1}, {"subject": "t-value", "version": 2}]
    assert _ask(registry, "/schemas/ids/2/versions") == (200, versions)


def test_types_and_references_are_kept(registry: SchemaRegistry) -> None:
    reference = [{"name": "R", "subject": "r", "version": 1}]
    body = {"schema": "message M {}", "schemaType": "PROTOBUF", "references": reference}
    _ask(registry, "/subjects/p/versions", body)
    assert _ask(registry, "/schemas/ids/1") == (200, body)


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/schemas/ids/99", None, 404, 40403),
        ("/schemas/ids/0", None, 404, 40403),
        ("/subjects/none/versions", None, 404, 40401),
        ("/subjects/t/versions/5", None, 404, 40402),
        ("/subjects/t/versions/x", None, 422, 42202),
        ("/subjects/t/versions", {"schema": "{not json"}, 422, 42201),
        ("/subjects/t/versions", {"no": "schema"}, 422, 42201),
        ("/subjects/t/versions", [1], 422, 42201),
        ("/subjects/t", {"schema": '"string"'}, 404, 40403),
        ("/nonsense", None, 404, 404),
        ("/nonsense", {"a": 1}, 404, 404),
    ],
)
def test_mistakes_have_confluents_codes(registry: SchemaRegistry, path: str, body: Any, status: int, code: int) -> None:
    registry.register("t", SCHEMA)
    found, answer = _ask(registry, path, body)
    assert (found, answer["error_code"]) == (status, code)


def test_it_listens_on_loopback_only_and_connections_are_kept(registry: SchemaRegistry) -> None:
    assert registry.url.startswith("http://127.0.0.1:")
    registry.register("t", SCHEMA)
    connection = http.client.HTTPConnection(registry.url.removeprefix("http://"), timeout=10)
    for _ in range(3):
        connection.request("GET", "/schemas/ids/1")
        assert connection.getresponse().read()
    connection.close()


def test_a_closed_registry_answers_no_more() -> None:
    registry = SchemaRegistry()
    registry.close()
    with pytest.raises(urllib.error.URLError):
        _ask(registry, "/subjects")
