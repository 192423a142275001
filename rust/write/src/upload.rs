//! Finished bytes on their way to object storage, while the next are encoded.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use frazil_catalog::from_iceberg;
use frazil_model::{Error, ErrorKind, Result};
use iceberg::io::FileIO;
use iceberg::spec::DataFile;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};

use crate::budget::Reservation;

/// Size of the pieces of a large file: a part of a multipart upload, all but the last of the same size.
pub(crate) const PIECE_BYTES: usize = 8 << 20;
/// Requests of one writer at a time. Object stores answer many small writes together as fast as one.
const CONCURRENT: usize = 32;
/// Pieces of one file that wait while another is being sent.
const PIECES_AHEAD: usize = 1;

/// Where the encoder puts a file's bytes: complete pieces, and one that is being filled.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    pieces: VecDeque<Bytes>,
    filling: Vec<u8>,
}

impl Sink {
    /// Bytes held.
    pub(crate) fn memory(&self) -> usize {
        self.pieces.len() * PIECE_BYTES + self.filling.capacity()
    }

    pub(crate) fn next_piece(&mut self) -> Option<Bytes> {
        self.pieces.pop_front()
    }

    pub(crate) fn rest(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut self.filling))
    }
}

impl Write for Sink {
    fn write(&mut self, mut bytes: &[u8]) -> std::io::Result<usize> {
        let written = bytes.len();
        while self.filling.len() + bytes.len() >= PIECE_BYTES {
            let (fits, more) = bytes.split_at(PIECE_BYTES - self.filling.len());
            self.filling.extend_from_slice(fits);
            self.pieces.push_back(Bytes::from(std::mem::take(&mut self.filling)));
            bytes = more;
        }
        if self.filling.is_empty() && !self.pieces.is_empty() {
            self.filling.reserve_exact(PIECE_BYTES);
        }
        self.filling.extend_from_slice(bytes);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

enum Message {
    Piece(Bytes, Reservation),
    End,
}

/// A large file that is sent piece by piece. Dropped before its end, it is never completed.
#[derive(Debug)]
pub(crate) struct Stream {
    sender: mpsc::Sender<Message>,
    task: JoinHandle<Result<()>>,
}

impl Stream {
    fn start(file_io: &FileIO, path: &str) -> Result<Self> {
        let output = file_io.new_output(path).map_err(from_iceberg)?;
        let (sender, mut receiver) = mpsc::channel(PIECES_AHEAD);
        let task = tokio::spawn(async move {
            let mut file = output.writer().await.map_err(from_iceberg)?;
            while let Some(message) = receiver.recv().await {
                match message {
                    Message::Piece(bytes, held) => {
                        file.write(bytes).await.map_err(from_iceberg)?;
                        drop(held);
                    }
                    Message::End => return file.close().await.map_err(from_iceberg),
                }
            }
            Err(Error::new(ErrorKind::Interrupted, "the file was given up before its end"))
        });
        Ok(Stream { sender, task })
    }

    /// Hands a piece over; waits while earlier ones are being sent.
    pub(crate) async fn send(&mut self, bytes: Bytes, held: Reservation) -> Result<()> {
        if self.sender.send(Message::Piece(bytes, held)).await.is_err() {
            // The task has ended, which before the end of the file is an error.
            return Err(joined((&mut self.task).await).err().unwrap_or_else(lost));
        }
        Ok(())
    }

    /// Stops without completing the file, and waits until nothing more is being sent.
    pub(crate) async fn give_up(self) {
        drop(self.sender);
        // That it was given up is what its error says.
        let _ = self.task.await;
    }

    async fn end(self) -> Result<()> {
        // If nobody receives any more, the task's own error says why.
        let _ = self.sender.send(Message::End).await;
        joined(self.task.await)
    }
}

fn joined<T>(result: std::result::Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    result.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Internal, "an upload did not end by itself").caused_by(error))
    })
}

fn lost() -> Error {
    Error::new(ErrorKind::Internal, "an upload ended before its file did")
}

/// The uploads of one round.
#[derive(Debug)]
pub(crate) struct Uploads {
    file_io: FileIO,
    requests: Arc<Semaphore>,
    tasks: JoinSet<Result<DataFile>>,
    finished: Vec<DataFile>,
    /// Everything whose upload was begun: what an abort deletes.
    begun: Vec<String>,
}

impl Uploads {
    pub(crate) fn new(file_io: FileIO) -> Self {
        Uploads {
            file_io,
            requests: Arc::new(Semaphore::new(CONCURRENT)),
            tasks: JoinSet::new(),
            finished: Vec::new(),
            begun: Vec::new(),
        }
    }

    /// Begins a large file.
    pub(crate) fn stream(&mut self, path: &str) -> Result<Stream> {
        self.begun.push(path.to_owned());
        Stream::start(&self.file_io, path)
    }

    /// Completes a large file in the background.
    pub(crate) fn end(&mut self, stream: Stream, file: DataFile) {
        self.tasks.spawn(async move { stream.end().await.map(|()| file) });
    }

    /// Sends a whole small file in the background.
    pub(crate) fn put(&mut self, file: DataFile, bytes: Bytes, held: Reservation) -> Result<()> {
        let output = self.file_io.new_output(file.file_path()).map_err(from_iceberg)?;
        self.begun.push(file.file_path().to_owned());
        let requests = self.requests.clone();
        self.tasks.spawn(async move {
            let permit = requests.acquire_owned().await;
            output.write(bytes).await.map_err(from_iceberg)?;
            drop((permit, held));
            Ok(file)
        });
        Ok(())
    }

    /// Takes note of uploads that have ended, without waiting.
    pub(crate) fn collect(&mut self) -> Result<()> {
        while let Some(result) = self.tasks.try_join_next() {
            self.finished.push(joined(result)?);
        }
        Ok(())
    }

    /// Waits for one upload. Says whether there was one to wait for.
    pub(crate) async fn wait_one(&mut self) -> Result<bool> {
        match self.tasks.join_next().await {
            None => Ok(false),
            Some(result) => {
                self.finished.push(joined(result)?);
                Ok(true)
            }
        }
    }

    /// Waits for all uploads and hands their files over.
    pub(crate) async fn finish(&mut self) -> Result<Vec<DataFile>> {
        while self.wait_one().await? {}
        self.begun.clear();
        let mut files = std::mem::take(&mut self.finished);
        files.sort_by(|a, b| file_name(a.file_path()).cmp(file_name(b.file_path())));
        Ok(files)
    }

    /// Waits for what is under way, then deletes everything. An upload that was merely cancelled could still arrive after
    /// its deletion.
    pub(crate) async fn abort(&mut self) -> Result<()> {
        while self.tasks.join_next().await.is_some() {}
        self.finished.clear();
        delete(&self.file_io, std::mem::take(&mut self.begun)).await
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Deletes all that can be deleted; the error is the first that occurred.
pub(crate) async fn delete(file_io: &FileIO, paths: Vec<String>) -> Result<()> {
    use futures::StreamExt;
    let deletions = paths.into_iter().map(|path| async move {
        let result = file_io.delete(&path).await;
        result.map_err(|error| {
            log::warn!("could not delete {path}, which no snapshot refers to: {error}");
            from_iceberg(error).with("path", path)
        })
    });
    let results: Vec<Result<()>> = futures::stream::iter(deletions).buffer_unordered(CONCURRENT).collect().await;
    results.into_iter().collect()
}
