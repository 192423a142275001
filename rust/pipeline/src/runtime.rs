//! The one asynchronous runtime of the process.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};

/// The runtime that all input and output of this process shares, started when first needed (so that a process that
/// only imports Frazil, or forks before it uses it, has no threads).
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .enable_all()
            .thread_name("frazil-io")
            .build()
            .expect("the operating system can start threads")
    })
}
