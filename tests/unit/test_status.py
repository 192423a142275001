"""The status of a job."""

import dataclasses
import json
from typing import Any

import pytest

import frazil
from frazil.status import Commit

STATUS: dict[str, Any] = {
    "state": "running",
    "job": "sales",
    "table": "shop.sales",
    "started_at_ms": 1793491200000,
    "records": 1_234_567,
    "rows": 1_234_000,
    "filtered": 500,
    "dead_letters": 67,
    "bytes": 1_500_000_000,
    "commits": 12,
    "offsets": {"t": {"10": 5, "9": 7}},
    "lag": {"t": {"10": 3, "9": 0}},
    "lag_total": 3,
    "records_per_second": 45_678.9,
    "bytes_per_second": 55_500_000.0,
    "last_commit": {
        "snapshot_id": 1,
        "at_ms": 1793491201000,
        "duration_ms": 12.5,
        "rows": 10,
        "commit_id": "8d7e",
    },
    "freshness_ms": 860.5,
    "open_files": 3,
    "memory_bytes": 100,
    "memory_limit": 1 << 30,
    "stage_cpu_seconds": {"consume": 1.0},
    "fenced": 0,
    "retries": 0,
    "kafka_connected": True,
    "last_error": None,
    "healthy": True,
}


def test_the_cores_dict_is_read_completely() -> None:
    status = frazil.JobStatus.from_dict(STATUS)
    assert {item.name for item in dataclasses.fields(status)} == set(STATUS)
    assert status.offsets == {"t": {9: 7, 10: 5}}
    assert list(status.lag["t"]) == [9, 10]
    assert isinstance(status.last_commit, Commit)
    assert status.last_commit.snapshot_id == 1
    assert status.started_at.isoformat() == "2026-11-01T00:00:00+00:00"
    assert json.loads(json.dumps(status.to_dict()))["offsets"] == {"t": {"9": 7, "10": 5}}


def test_a_key_of_a_newer_core_is_left_out() -> None:
    assert frazil.JobStatus.from_dict({**STATUS, "new": 1}) == frazil.JobStatus.from_dict(STATUS)


def test_the_line_says_how_it_gets_on_and_how_it_ended() -> None:
    line = frazil.JobStatus.from_dict(STATUS).line()
    assert line == (
        "shop.sales running | 1,234,567 records | 1,234,000 rows | 500 filtered | 67 dead letters | "
        "45,679/s, 55.5 MB/s | lag 3 | oldest uncommitted 0.9 s | 12 commits"
    )
    failed = frazil.JobStatus.from_dict({**STATUS, "state": "failed", "last_error": "broken\n\x1b[2Jpipe"})
    assert "last error: broken [2Jpipe" in failed.line()
    assert "lag" not in failed.line()
    assert failed.ended


def test_a_status_cannot_be_changed_and_is_escaped_in_html() -> None:
    status = frazil.JobStatus.from_dict({**STATUS, "last_error": "<script>"})
    with pytest.raises(dataclasses.FrozenInstanceError):
        status.rows = 5  # type: ignore[misc]
    assert "&lt;script&gt;" in status._repr_html_()
