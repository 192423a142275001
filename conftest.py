"""For the examples in docstrings: each runs in an empty directory of its own."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _doctest_in_an_empty_directory(request: pytest.FixtureRequest) -> None:
    if isinstance(request.node, pytest.DoctestItem):
        monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
        monkeypatch.chdir(request.getfixturevalue("tmp_path"))
