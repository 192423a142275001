//! Log records of the core as records of Python's `logging`, under the logger `frazil`.
//!
//! They go through a queue and a thread of their own: threads of the core and of Kafka's client must never wait for the
//! GIL, and a log record must never keep them from ending.

use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use log::{Level, LevelFilter, Log, Metadata, Record};
use pyo3::prelude::*;

/// Records that may wait; more are left out rather than waited for.
const WAITING: usize = 1024;

struct Entry {
    level: Level,
    target: String,
    message: String,
}

struct Bridge {
    queue: OnceLock<SyncSender<Entry>>,
}

/// Makes this the process's logger, unless there is one.
pub(crate) fn install() {
    static BRIDGE: Bridge = Bridge { queue: OnceLock::new() };
    if log::set_logger(&BRIDGE).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

impl Log for Bridge {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries tell much that only their developers want to know.
        metadata.level() <= Level::Warn || metadata.target().starts_with("frazil")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let entry = Entry {
            level: record.level(),
            target: record.target().replace("::", "."),
            message: record.args().to_string(),
        };
        // A full queue leaves the record out.
        let _ = self.queue.get_or_init(start).try_send(entry);
    }

    fn flush(&self) {}
}

fn start() -> SyncSender<Entry> {
    let (sender, entries) = sync_channel(WAITING);
    // Without the thread the queue fills up and nothing is logged.
    let _ = std::thread::Builder::new().name("frazil-log".to_owned()).spawn(move || deliver(&entries));
    sender
}

fn deliver(entries: &Receiver<Entry>) {
    while let Ok(entry) = entries.recv() {
        // None: the interpreter is ending.
        if Python::try_attach(|py| hand_over(py, &entry)).is_none() {
            return;
        }
    }
}

fn hand_over(py: Python<'_>, entry: &Entry) {
    let level = match entry.level {
        Level::Error => 40,
        Level::Warn => 30,
        Level::Info => 20,
        Level::Debug => 10,
        Level::Trace => 5,
    };
    let name = match entry.target.strip_prefix("frazil") {
        Some(rest) => format!("frazil{}", rest.replace('_', ".")),
        None => format!("frazil.{}", entry.target),
    };
    let logged = py
        .import("logging")
        .and_then(|logging| logging.call_method1("getLogger", (name,)))
        .and_then(|logger| logger.call_method1("log", (level, "%s", &entry.message)));
    if let Err(error) = logged {
        error.write_unraisable(py, None);
    }
}
