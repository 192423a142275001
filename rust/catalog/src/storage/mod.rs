//! Object storage behind iceberg's `Storage` trait: local files, memory and S3, all through `object_store`.
//!
//! Paths, clients and errors are settled here; what is written where is the business of other rooms.

mod error;
mod flush;
mod settings;
mod stores;
mod vended;
mod writer;

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use iceberg::Result;
use iceberg::io::{FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage, StorageConfig, StorageFactory};
use object_store::{Error as StoreError, ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};

use self::error::storage_error;
use self::stores::{Medium, Place};
use self::writer::ObjectWriter;
use crate::error::to_iceberg;

pub(crate) use self::settings::S3Settings;
pub(crate) use self::stores::{Stores, local_path};
pub(crate) use self::vended::{PrefixedProperties, Renew, Vended};

/// Files named in one request when many are deleted.
const DELETE_BATCH: usize = 1000;

/// Builds [`ObjectStorage`] for a table. Serialised, it holds no settings: a secret must not travel in a plan, and the
/// process that reads it back uses its own environment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ObjectStorageFactory {
    #[serde(skip)]
    stores: Arc<Stores>,
    #[serde(skip)]
    vended: Option<Arc<Vended>>,
}

impl ObjectStorageFactory {
    pub(crate) fn new(stores: Arc<Stores>, vended: Option<Arc<Vended>>) -> Self {
        ObjectStorageFactory { stores, vended }
    }
}

#[typetag::serde(name = "FrazilObjectStorageFactory")]
impl StorageFactory for ObjectStorageFactory {
    fn build(&self, config: &StorageConfig) -> Result<Arc<dyn Storage>> {
        Ok(Arc::new(ObjectStorage {
            stores: self.stores.clone(),
            vended: self.vended.clone(),
            given: S3Settings::from_properties(config.props()),
        }))
    }
}

/// Iceberg's storage over object stores. See [`ObjectStorageFactory`] for what is serialised.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ObjectStorage {
    #[serde(skip)]
    stores: Arc<Stores>,
    #[serde(skip)]
    vended: Option<Arc<Vended>>,
    #[serde(skip)]
    given: S3Settings,
}

impl ObjectStorage {
    fn place(&self, location: &str) -> Result<Place> {
        self.stores.place(location, &self.given, self.vended.as_ref()).map_err(to_iceberg)
    }
}

#[async_trait]
#[typetag::serde(name = "FrazilObjectStorage")]
impl Storage for ObjectStorage {
    async fn exists(&self, path: &str) -> Result<bool> {
        let place = self.place(path)?;
        match place.store.head(&place.path).await {
            Ok(_) => Ok(true),
            Err(StoreError::NotFound { .. }) => Ok(false),
            Err(error) => Err(storage_error("look up", path, error)),
        }
    }

    async fn metadata(&self, path: &str) -> Result<FileMetadata> {
        let place = self.place(path)?;
        let found = place.store.head(&place.path).await.map_err(|error| storage_error("look up", path, error))?;
        Ok(FileMetadata { size: found.size })
    }

    async fn read(&self, path: &str) -> Result<Bytes> {
        let place = self.place(path)?;
        let read = async { place.store.get(&place.path).await?.bytes().await };
        read.await.map_err(|error| storage_error("read", path, error))
    }

    async fn reader(&self, path: &str) -> Result<Box<dyn FileRead>> {
        Ok(Box::new(ObjectReader { place: self.place(path)?, location: path.to_owned() }))
    }

    async fn write(&self, path: &str, bytes: Bytes) -> Result<()> {
        let place = self.place(path)?;
        match place.store.put(&place.path, PutPayload::from(bytes)).await {
            Ok(_) => {
                place.flush(path);
                Ok(())
            }
            Err(error) => Err(storage_error("write", path, error)),
        }
    }

    async fn writer(&self, path: &str) -> Result<Box<dyn FileWrite>> {
        Ok(Box::new(ObjectWriter::new(self.place(path)?, path.to_owned())))
    }

    async fn delete(&self, path: &str) -> Result<()> {
        let place = self.place(path)?;
        match place.store.delete(&place.path).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(storage_error("delete", path, error)),
        }
    }

    async fn delete_prefix(&self, path: &str) -> Result<()> {
        let place = self.place(path)?;
        if place.medium == Medium::Local {
            return delete_directory(path).await;
        }
        let files = place.store.list(Some(&place.path)).map(|found| found.map(|meta| meta.location)).boxed();
        delete_all(&place, files, path).await
    }

    async fn delete_stream(&self, paths: BoxStream<'static, String>) -> Result<()> {
        let mut batches = paths.chunks(DELETE_BATCH);
        while let Some(batch) = batches.next().await {
            // Almost always one bucket; each gets one request of its own.
            let mut by_store: Vec<(Place, String, Vec<object_store::Result<object_store::path::Path>>)> = Vec::new();
            for location in batch {
                let place = self.place(&location)?;
                let path = Ok(place.path.clone());
                match by_store.iter_mut().find(|(known, ..)| Arc::ptr_eq(&known.store, &place.store)) {
                    Some((.., files)) => files.push(path),
                    None => by_store.push((place, location, vec![path])),
                }
            }
            for (place, location, files) in by_store {
                delete_all(&place, futures::stream::iter(files).boxed(), &location).await?;
            }
        }
        Ok(())
    }

    fn new_input(&self, path: &str) -> Result<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }

    fn new_output(&self, path: &str) -> Result<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}

async fn delete_all(
    place: &Place,
    files: BoxStream<'static, object_store::Result<object_store::path::Path>>,
    location: &str,
) -> Result<()> {
    let mut results = place.store.delete_stream(files);
    while let Some(result) = results.next().await {
        match result {
            Ok(_) | Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(storage_error("delete", location, error)),
        }
    }
    Ok(())
}

/// Object stores have no directories; on disk the empty ones go with their files.
async fn delete_directory(location: &str) -> Result<()> {
    let Some(path) = local_path(location) else { return Ok(()) };
    match tokio::fs::remove_dir_all(path).await {
        Err(error) if !matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            let source = Box::new(error);
            Err(storage_error("delete", location, StoreError::Generic { store: "local", source }))
        }
        _ => Ok(()),
    }
}

#[derive(Debug)]
struct ObjectReader {
    place: Place,
    location: String,
}

#[async_trait]
impl FileRead for ObjectReader {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let read = self.place.store.get_range(&self.place.path, range).await;
        read.map_err(|error| storage_error("read", &self.location, error))
    }
}
