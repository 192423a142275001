//! The loop: wires the stages of a job together, keeps them within the memory budget, commits round by round, and
//! drains when told to stop.
//!
//! A *round* is what one commit covers. The reader (one thread) takes records from Kafka and deals them out in chunks
//! to lanes; a lane (one thread each) decodes, transforms and writes them to its own files; at the end of a round the
//! lanes close their files and the committer puts all of them into the table in one commit. Reading goes on meanwhile:
//! at most one round is being committed while the next is filled. Whatever fails, the attempt is torn down, its
//! uncommitted files are removed and, where that helps, a new attempt starts from the table's ledger; there is no other
//! recovery. The next room is `bindings`.

mod attempt;
mod bad;
mod commits;
mod job;
mod lane;
mod open;
mod partitions;
mod produce;
mod read;
mod reader;
mod round;
mod runtime;
mod status;

pub use job::JobHandle;
pub use produce::{AvroRows, open_producer, send_avro};
pub use read::{BatchStream, read_source, read_topic};
pub use runtime::runtime;
pub use status::{LastCommit, StageCpu, State, Status};
