//! Writing one object as a stream: nothing is visible before `close`, nothing is left behind without it.

use bytes::Bytes;
use frazil_model::{Error, ErrorKind};
use iceberg::io::FileWrite;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};
use tokio::task::JoinSet;

use super::error::storage_error;
use super::stores::{Medium, Place};
use crate::error::to_iceberg;

/// Size of an uploaded part. S3 wants at least 5 MiB and equal sizes, and allows 10,000 parts.
const PART_S3: usize = 8 << 20;
/// Local files are written as the bytes come: little is gained by waiting, and thousands may be open.
const PART_LOCAL: usize = 1 << 20;
/// Parts under way at once.
const IN_FLIGHT: usize = 4;

#[derive(Debug)]
enum State {
    /// Less than a part so far: it may become one plain PUT.
    Small,
    Parts {
        upload: Box<dyn MultipartUpload>,
        tasks: JoinSet<object_store::Result<()>>,
    },
    Closed,
}

/// A [`FileWrite`] over an object store.
#[derive(Debug)]
pub(super) struct ObjectWriter {
    place: Place,
    location: String,
    pending: Vec<Bytes>,
    pending_len: usize,
    state: State,
}

impl ObjectWriter {
    pub(super) fn new(place: Place, location: String) -> Self {
        ObjectWriter { place, location, pending: Vec::new(), pending_len: 0, state: State::Small }
    }

    fn part_size(&self) -> usize {
        match self.place.medium {
            Medium::S3 => PART_S3,
            Medium::Local | Medium::Memory => PART_LOCAL,
        }
    }

    /// Takes exactly `size` bytes off the front, without copying them.
    fn cut(&mut self, size: usize) -> PutPayload {
        let mut part = Vec::with_capacity(self.pending.len());
        let mut missing = size;
        let mut taken = 0;
        for chunk in &mut self.pending {
            if chunk.len() > missing {
                part.push(chunk.split_to(missing));
                break;
            }
            missing -= chunk.len();
            part.push(std::mem::take(chunk));
            taken += 1;
            if missing == 0 {
                break;
            }
        }
        self.pending.drain(..taken);
        self.pending_len -= size;
        part.into_iter().collect()
    }

    async fn put_part(&mut self, size: usize) -> object_store::Result<()> {
        let payload = self.cut(size);
        if matches!(self.state, State::Small) {
            let upload = self.place.store.put_multipart(&self.place.path).await?;
            self.state = State::Parts { upload, tasks: JoinSet::new() };
        }
        let State::Parts { upload, tasks } = &mut self.state else { unreachable!("set above") };
        while tasks.len() >= IN_FLIGHT {
            joined(tasks.join_next().await)?;
        }
        tasks.spawn(upload.put_part(payload));
        Ok(())
    }

    async fn finish(&mut self) -> object_store::Result<()> {
        let rest = self.pending_len;
        match &self.state {
            State::Small => {
                let payload = self.cut(rest);
                self.place.store.put(&self.place.path, payload).await?;
            }
            _ => {
                if rest > 0 {
                    self.put_part(rest).await?;
                }
                let State::Parts { upload, tasks } = &mut self.state else { unreachable!("not small, not closed") };
                while !tasks.is_empty() {
                    joined(tasks.join_next().await)?;
                }
                upload.complete().await?;
            }
        }
        self.state = State::Closed;
        self.place.flush(&self.location);
        Ok(())
    }

    /// Removes the parts uploaded so far. What fails here costs storage, not correctness.
    async fn abort(state: State, location: &str) {
        if let State::Parts { mut upload, mut tasks } = state {
            tasks.shutdown().await;
            if let Err(error) = upload.abort().await {
                log::debug!("the unfinished upload of {location} was left behind: {error}");
            }
        }
    }

    async fn fail(&mut self, error: object_store::Error) -> iceberg::Error {
        let state = std::mem::replace(&mut self.state, State::Closed);
        self.pending.clear();
        Self::abort(state, &self.location).await;
        storage_error("write", &self.location, error)
    }

    fn check_open(&self) -> iceberg::Result<()> {
        if matches!(self.state, State::Closed) {
            let error =
                Error::new(ErrorKind::Internal, "expected an open file, found one that was closed or has failed");
            return Err(to_iceberg(error.with("path", &self.location)));
        }
        Ok(())
    }
}

fn joined(task: Option<Result<object_store::Result<()>, tokio::task::JoinError>>) -> object_store::Result<()> {
    match task {
        Some(result) => result?,
        None => Ok(()),
    }
}

#[async_trait::async_trait]
impl FileWrite for ObjectWriter {
    async fn write(&mut self, bytes: Bytes) -> iceberg::Result<()> {
        self.check_open()?;
        if bytes.is_empty() {
            return Ok(());
        }
        self.pending_len += bytes.len();
        self.pending.push(bytes);
        let part = self.part_size();
        while self.pending_len >= part {
            if let Err(error) = self.put_part(part).await {
                return Err(self.fail(error).await);
            }
        }
        Ok(())
    }

    async fn close(&mut self) -> iceberg::Result<()> {
        self.check_open()?;
        match self.finish().await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.fail(error).await),
        }
    }
}

impl Drop for ObjectWriter {
    fn drop(&mut self) {
        let state = std::mem::replace(&mut self.state, State::Closed);
        if !matches!(state, State::Parts { .. }) {
            return;
        }
        // Without a runtime the process is ending; S3 then needs its life-cycle rule, local staging files are
        // removed by their own destructor.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let location = std::mem::take(&mut self.location);
            runtime.spawn(async move { Self::abort(state, &location).await });
        }
    }
}
