//! The extension module `frazil._core`: registers what the other files convert. No policy lives here.

use pyo3::prelude::*;

mod convert;
mod errors;
mod job;
mod kafka;
mod lake;
mod log_bridge;
mod released;
mod stream;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[pymodule]
mod _core {
    #[pymodule_export]
    use super::errors::exit_code;
    #[pymodule_export]
    use super::job::{Job, job_schema, parse_yaml, read_source, validate_job, validate_part};
    #[pymodule_export]
    use super::kafka::{EmbeddedBroker, Producer, read_topic};
    #[pymodule_export]
    use super::lake::Lake;
    #[pymodule_export]
    use super::stream::ArrowStream;
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        super::log_bridge::install();
        Ok(())
    }
}
