"""What a job has done so far."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from frazil import _text

Offsets = Mapping[str, Mapping[int, int]]


@dataclass(frozen=True, slots=True)
class Commit:
    """The last commit of a job.

    Attributes:
        snapshot_id: The snapshot that it made.
        at_ms: When, in milliseconds since 1970.
        duration_ms: How long the commit itself took.
        rows: Rows that it added.
        commit_id: Its own id, in the ledger and in the snapshot's summary.
    """

    snapshot_id: int
    at_ms: int
    duration_ms: float
    rows: int
    commit_id: str


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A look at a job, as it was when `status()` was called or when it ended. Counts are since it was started.

    Attributes:
        state: `starting`, `running`, `draining`, `finished` or `failed`.
        job: The job's name: its ledger's key in the table.
        table: The table that it writes.
        started_at_ms: When it was started, in milliseconds since 1970.
        records: Records committed, whatever became of them.
        rows: Rows committed.
        filtered: Records left out by `where`, committed.
        dead_letters: Records that went to the dead-letter topic, or were dropped and counted.
        bytes: Bytes of keys and values read.
        commits: Commits made.
        offsets: The next offset that the table's ledger asks for, by topic and partition.
        lag: Records in the source that are not committed yet, by topic and partition.
        lag_total: Their sum.
        records_per_second: Records read, over the last seconds.
        bytes_per_second: Bytes read, over the last seconds.
        last_commit: The last commit, if there was one.
        freshness_ms: Age of the oldest record that was read and is not committed, None if there is none.
        open_files: Data files being written.
        memory_bytes: Memory that the job holds.
        memory_limit: Memory that it may hold.
        stage_cpu_seconds: Processor time of each stage: consume, decode, transform, write.
        fenced: How often a commit was refused because another worker had moved the ledger.
        retries: How often the job began again after an error.
        kafka_connected: Whether a broker answers.
        last_error: The last error, even if trying again helped.
        healthy: Running, connected, and not trying again.

    Example:
        >>> from frazil import JobStatus
        >>> JobStatus.from_dict({"state": "running", "table": "shop.sales", "rows": 10}).rows
        10
    """

    state: str = "starting"
    job: str = ""
    table: str = ""
    started_at_ms: int = 0
    records: int = 0
    rows: int = 0
    filtered: int = 0
    dead_letters: int = 0
    bytes: int = 0
    commits: int = 0
    offsets: Offsets = field(default_factory=dict)
    lag: Offsets = field(default_factory=dict)
    lag_total: int = 0
    records_per_second: float = 0.0
    bytes_per_second: float = 0.0
    last_commit: Commit | None = None
    freshness_ms: float | None = None
    open_files: int = 0
    memory_bytes: int = 0
    memory_limit: int = 0
    stage_cpu_seconds: Mapping[str, float] = field(default_factory=dict)
    fenced: int = 0
    retries: int = 0
    kafka_connected: bool = False
    last_error: str | None = None
    healthy: bool = False

    @classmethod
    def from_dict(cls, status: Mapping[str, Any]) -> "JobStatus":
        """Reads the dict that the core builds. Keys that this version does not know are left out."""
        known = {item.name for item in fields(cls)}
        values = {name: value for name, value in status.items() if name in known}
        for name in ("offsets", "lag"):
            values[name] = {
                topic: {int(partition): offset for partition, offset in sorted(parts.items(), key=lambda p: int(p[0]))}
                for topic, parts in (values.get(name) or {}).items()
            }
        commit = values.get("last_commit")
        if commit is not None and not isinstance(commit, Commit):
            values["last_commit"] = Commit(**{item.name: commit[item.name] for item in fields(Commit)})
        return cls(**values)

    @property
    def ended(self) -> bool:
        """Whether the job has come to its end, well or not."""
        return self.state in ("finished", "failed")

    @property
    def started_at(self) -> datetime:
        """When it was started, in UTC."""
        return datetime.fromtimestamp(self.started_at_ms / 1000, UTC)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and logs."""
        return asdict(self)

    def line(self) -> str:
        """One line for people, as the progress shows it."""
        parts = [
            f"{self.table or self.job} {self.state}",
            f"{self.records:,} records",
            f"{self.rows:,} rows",
        ]
        if self.filtered:
            parts.append(f"{self.filtered:,} filtered")
        if self.dead_letters:
            parts.append(f"{self.dead_letters:,} dead letters")
        if not self.ended:
            parts.append(f"{self.records_per_second:,.0f}/s, {_text.size(self.bytes_per_second)}/s")
            parts.append(f"lag {self.lag_total:,}")
            if self.freshness_ms is not None:
                parts.append(f"oldest uncommitted {self.freshness_ms / 1000:.1f} s")
        parts.append(f"{self.commits:,} commit{'' if self.commits == 1 else 's'}")
        if self.last_error and self.state != "finished":
            parts.append(f"last error: {_text.one_line(self.last_error)}")
        return " | ".join(parts)

    def __str__(self) -> str:
        return self.line()

    def _repr_html_(self) -> str:
        shown = {
            "table": self.table,
            "job": self.job,
            "state": self.state,
            "records": f"{self.records:,}",
            "rows": f"{self.rows:,}",
            "dead letters": f"{self.dead_letters:,}",
            "commits": f"{self.commits:,}",
            "lag": f"{self.lag_total:,}",
            "rate": f"{self.records_per_second:,.0f} records/s, {_text.size(self.bytes_per_second)}/s",
            "memory": f"{_text.size(self.memory_bytes)} of {_text.size(self.memory_limit)}",
        }
        if self.last_error:
            shown["last error"] = self.last_error
        return _text.html_pairs(shown)
