"""Exceptions: one class for each kind of error of the core."""

import pickle
import re
from pathlib import Path

import pytest

from frazil import _core, exceptions
from frazil.exceptions import FrazilError

KINDS = [name for name in exceptions.__all__ if name != "FrazilError"]


def test_there_is_one_class_for_each_kind_of_the_core() -> None:
    source = Path(__file__).parents[2] / "rust" / "model" / "src" / "error.rs"
    if not source.exists():
        pytest.skip("the core's source is not beside the tests")
    names = re.findall(r'ErrorKind::\w+ => "(\w+)"', source.read_text())
    assert len(names) == 20
    assert sorted(names) == sorted(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_each_is_made_as_the_core_makes_it_and_keeps_what_it_was_told(name: str) -> None:
    kind = getattr(exceptions, name)
    error = kind("expected a, found b", {"table": "shop.sales"}, True)
    assert isinstance(error, FrazilError)
    assert str(error) == "expected a, found b"
    assert error.args == ("expected a, found b",)
    assert (error.context, error.retryable) == ({"table": "shop.sales"}, True)
    assert kind(message="m", context={}, retryable=False).retryable is False


@pytest.mark.parametrize("name", KINDS)
def test_each_survives_pickling(name: str) -> None:
    error = pickle.loads(pickle.dumps(getattr(exceptions, name)("m", {"a": "b"}, True)))
    assert (type(error).__name__, str(error), error.context, error.retryable) == (name, "m", {"a": "b"}, True)


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("ConfigError", ValueError),
        ("NotFoundError", LookupError),
        ("UnauthorizedError", PermissionError),
        ("StorageError", OSError),
        ("MemoryLimitError", MemoryError),
        ("UnsupportedError", NotImplementedError),
    ],
)
def test_pythons_own_class_for_the_idea_is_mixed_in(name: str, builtin: type[Exception]) -> None:
    assert issubclass(getattr(exceptions, name), builtin)


def test_exit_codes_are_distinct_and_leave_room_for_the_shells() -> None:
    codes = {name: _core.exit_code(name) for name in KINDS}
    assert len(set(codes.values())) == len(KINDS)
    assert all(3 <= code < 126 for code in codes.values())
    assert codes["ConfigError"] == 10
