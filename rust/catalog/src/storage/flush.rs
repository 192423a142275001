//! Local files reach the disk before a catalog names them.
//!
//! SQLite flushes its own file. If the files of a commit did not come first, a power cut could leave a catalog that
//! points to nothing. Each flush starts when its file is complete, so that a commit waits only for the last ones.

use std::io;

use frazil_model::Result;
use object_store::Error as StoreError;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::error::own_error;
use super::stores::local_path;

/// Flushes under way for the files that this process wrote.
#[derive(Debug, Default)]
pub(super) struct Flushes(Mutex<Vec<(String, JoinHandle<io::Result<()>>)>>);

impl Flushes {
    /// Starts to flush a file that is complete.
    pub(super) fn start(&self, location: &str) {
        let Some(path) = local_path(location).map(str::to_owned) else { return };
        let flush = tokio::task::spawn_blocking(move || match std::fs::File::open(path) {
            Ok(file) => file.sync_all(),
            // Deleted again meanwhile: nobody will name it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        });
        self.0.lock().push((location.to_owned(), flush));
    }

    /// Waits until all are on disk.
    ///
    /// # Errors
    /// `Storage` if one is not.
    pub(super) async fn finish(&self) -> Result<()> {
        let flushes = std::mem::take(&mut *self.0.lock());
        let mut failed = None;
        for (location, flush) in flushes {
            let error = match flush.await {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => StoreError::Generic { store: "local", source: Box::new(error) },
                Err(error) => StoreError::JoinError { source: error },
            };
            failed.get_or_insert(own_error("flush", &location, error));
        }
        failed.map_or(Ok(()), Err)
    }

    /// Forgets flushes that are done, for processes that write and never commit.
    pub(super) fn prune(&self) {
        let mut flushes = self.0.lock();
        if flushes.len() > 1024 {
            flushes.retain(|(_, flush)| !flush.is_finished());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_cannot_be_flushed_fails_the_commit_and_a_deleted_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let flushes = Flushes::default();
        let file = dir.path().join("f");
        std::fs::write(&file, "x").unwrap();
        flushes.start(&format!("file://{}", file.display()));
        flushes.start(&format!("{}/gone", dir.path().display()));
        flushes.finish().await.unwrap();
        // A file where a directory is expected cannot be opened.
        flushes.start(&format!("{}/below", file.display()));
        assert_eq!(flushes.finish().await.unwrap_err().kind(), frazil_model::ErrorKind::Storage);
        flushes.finish().await.expect("reported once");
    }
}
