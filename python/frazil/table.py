"""A look at a table: schema, partitions, snapshots, ledgers; and the audit's answer."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from frazil import _text
from frazil.exceptions import AuditError

if TYPE_CHECKING:
    from frazil.lake import Lake
    from frazil.relation import Relation


class Table:
    """A table as it was when `lake.table(…)` was called.

    Attributes:
        name: `namespace.table`.
        info: All that the core says of it, as plain values.
    """

    def __init__(self, lake: "Lake", name: str, info: Mapping[str, Any]) -> None:
        self._lake = lake
        self.name = name
        self.info = dict(info)

    @property
    def location(self) -> str:
        """Where its files are."""
        return str(self.info["location"])

    @property
    def format_version(self) -> int:
        """Iceberg's format version."""
        return int(self.info["format_version"])

    @property
    def schema(self) -> list[dict[str, Any]]:
        """Its columns: dicts of `id`, `name`, `type`, `required` and `doc`."""
        return list(self.info["schema"])

    @property
    def partition_by(self) -> list[str]:
        """Its partition fields as `write` takes them: `["day(ts)"]`."""
        return list(self.info["partition_spec"])

    @property
    def sort_by(self) -> list[str]:
        """Its sort order as `write` takes it."""
        return list(self.info["sort_order"])

    @property
    def properties(self) -> dict[str, str]:
        """Its properties."""
        return dict(self.info["properties"])

    @property
    def snapshots(self) -> list[dict[str, Any]]:
        """Its snapshots, the oldest first.

        Each is a dict of `snapshot_id`, `parent_id`, `timestamp_ms`, `operation` and `summary`.
        """
        return list(self.info["snapshots"])

    @property
    def current_snapshot_id(self) -> int | None:
        """Its newest snapshot on the main branch."""
        found: int | None = self.info.get("current_snapshot_id")
        return found

    @property
    def ledgers(self) -> dict[str, dict[str, Any]]:
        """What it knows of each job that writes it: next offsets, rows, dead letters, commits."""
        return dict(self.info["ledgers"])

    def read(self, *, as_of: Any = None) -> "Relation":
        """Its rows, as `lake.read` gives them."""
        return self._lake.read(self.name, as_of=as_of)

    def audit(self, job: str | None = None) -> "AuditReport":
        """Checks its ledgers against its snapshots and files."""
        return self._lake.audit(self.name, job=job)

    def __repr__(self) -> str:
        return f"<table {self.name}: {len(self.schema)} columns, {len(self.snapshots)} snapshots, {self.location}>"

    def __str__(self) -> str:
        columns = [[c["name"], c["type"], "required" if c.get("required") else ""] for c in self.schema]
        parts = [repr(self), _text.table(["column", "type", ""], columns)]
        if self.partition_by:
            parts.append(f"partitioned by {', '.join(self.partition_by)}")
        if self.sort_by:
            parts.append(f"sorted by {', '.join(self.sort_by)}")
        parts += [f"job {job}: {_ledger_line(ledger)}" for job, ledger in self.ledgers.items()]
        return "\n".join(parts)

    def _repr_html_(self) -> str:
        columns = [[c["name"], c["type"], bool(c.get("required"))] for c in self.schema]
        facts = {
            "location": self.location,
            "format version": self.format_version,
            "partitioned by": ", ".join(self.partition_by) or "nothing",
            "sorted by": ", ".join(self.sort_by) or "nothing",
            "snapshots": len(self.snapshots),
            **{f"job {job}": _ledger_line(ledger) for job, ledger in self.ledgers.items()},
        }
        newest = [
            [
                s["snapshot_id"],
                _text.time(s["timestamp_ms"]),
                s.get("operation"),
                (s.get("summary") or {}).get("total-records"),
            ]
            for s in reversed(self.snapshots[-10:])
        ]
        return (
            _text.html_table(["column", "type", "required"], columns, self.name)
            + _text.html_pairs(facts)
            + _text.html_table(["snapshot", "time", "operation", "rows in table"], newest, "newest snapshots")
        )


def _ledger_line(ledger: Mapping[str, Any]) -> str:
    names = ("rows", "commits", "dead_letters")
    return ", ".join(f"{ledger.get(name, 0):,} {name.replace('_', ' ')}" for name in names)


class AuditReport(Sequence[Mapping[str, Any]]):
    """The audit's answer: one finding for each job that writes the table.

    Each is a dict with `job`, `clean`, `findings`, `offsets` and counts; `clean` of the report is that of all of them.
    """

    def __init__(self, table: str, jobs: Sequence[Mapping[str, Any]]) -> None:
        self.table = table
        self.jobs = [dict(job) for job in jobs]

    @property
    def clean(self) -> bool:
        """Whether no gap, no overlap and no wrong count was found."""
        return all(job["clean"] for job in self.jobs)

    @property
    def findings(self) -> list[str]:
        """What is wrong, for people."""
        return [f"{job['job']}: {finding}" for job in self.jobs for finding in job["findings"]]

    def check(self) -> "AuditReport":
        """Raises what was found.

        Raises:
            AuditError: If it is not clean.
        """
        if not self.clean:
            found = "; ".join(self.findings) or "no details"
            raise AuditError(f"the audit of {self.table} is not clean: {found}", {"table": self.table})
        return self

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"table": self.table, "clean": self.clean, "jobs": self.jobs}

    def __getitem__(self, at: Any) -> Any:
        return self.jobs[at]

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self.jobs)

    def __len__(self) -> int:
        return len(self.jobs)

    def __str__(self) -> str:
        if not self.jobs:
            return f"{self.table}: no job of Frazil has written this table"
        lines = []
        for job in self.jobs:
            counts = [
                f"{job[name]:,} {name.replace('_', ' ')}"
                for name in ("records", "rows", "filtered", "dead_letters", "commits", "snapshots_checked")
                if isinstance(job.get(name), int)
            ]
            lines.append(
                f"{self.table} | job {job['job']} | {'clean' if job['clean'] else 'NOT CLEAN'} | {', '.join(counts)}"
            )
            lines += [f"  {_text.one_line(finding, 2000)}" for finding in job["findings"]]
            lines += [
                f"  skipped, because they were gone from the source: offsets {start} to {end} of {topic} [{partition}]"
                for gap in job.get("skipped", ())
                for topic, partitions in gap.items()
                for partition, (start, end) in partitions.items()
            ]
            if not job.get("history_complete", True):
                lines.append("  older snapshots are gone: what they added is known from the ledger alone")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<audit of {self.table}: {'clean' if self.clean else 'NOT CLEAN'}, {len(self.jobs)} jobs>"

    def _repr_html_(self) -> str:
        rows = [[job["job"], job["clean"], "; ".join(job["findings"])] for job in self.jobs]
        return _text.html_table(["job", "clean", "findings"], rows, f"audit of {self.table}")
