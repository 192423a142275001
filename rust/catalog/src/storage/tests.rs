use frazil_model::ErrorKind;
use iceberg::io::{FileIO, FileIOBuilder};

use super::*;
use crate::from_iceberg;

fn file_io() -> FileIO {
    FileIOBuilder::new(Arc::new(ObjectStorageFactory::default())).build()
}

/// 21 MiB in uneven pieces, none of them equal.
fn pieces() -> Vec<Bytes> {
    (0..3001u32).map(|i| Bytes::from(i.to_le_bytes().repeat(1800 + (i % 7) as usize))).collect()
}

async fn round_trip(io: &FileIO, location: &str) {
    let pieces = pieces();
    let whole: Vec<u8> = pieces.concat();
    assert!(whole.len() > 20 << 20);
    let mut writer = io.new_output(location).unwrap().writer().await.unwrap();
    for piece in pieces {
        writer.write(piece).await.unwrap();
    }
    assert!(!io.exists(location).await.unwrap(), "nothing is visible before close");
    writer.close().await.unwrap();
    let input = io.new_input(location).unwrap();
    assert_eq!(input.metadata().await.unwrap().size, whole.len() as u64);
    assert!(input.read().await.unwrap() == whole, "{location}");
    let range = input.reader().await.unwrap().read(1_000_001..9_000_000).await.unwrap();
    assert!(range == whole[1_000_001..9_000_000], "{location}");
    assert_eq!(from_iceberg(writer.write(Bytes::from_static(b"x")).await.unwrap_err()).kind(), ErrorKind::Internal);
    io.delete(location).await.unwrap();
    io.delete(location).await.expect("deleting what is gone is no error");
    assert!(!io.exists(location).await.unwrap());
}

#[tokio::test]
async fn large_files_come_back_from_disk_and_memory() {
    let dir = tempfile::tempdir().unwrap();
    let io = file_io();
    round_trip(&io, &format!("file://{}/a/day=2013-01-01/name=a%2Fb c/x.bin", dir.path().display())).await;
    assert!(dir.path().join("a/day=2013-01-01/name=a%2Fb c").is_dir(), "names stay as they are written");
    round_trip(&io, &format!("{}/bare.bin", dir.path().display())).await;
    round_trip(&io, "memory://lake/x.bin").await;
}

#[tokio::test]
async fn an_abandoned_writer_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let location = format!("file://{}/x.bin", dir.path().display());
    let mut writer = file_io().new_output(&location).unwrap().writer().await.unwrap();
    writer.write(Bytes::from(vec![1; 3 << 20])).await.unwrap();
    drop(writer);
    for _ in 0..500 {
        if std::fs::read_dir(dir.path()).unwrap().count() == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("left behind: {:?}", std::fs::read_dir(dir.path()).unwrap().collect::<Vec<_>>());
}

#[tokio::test]
async fn many_files_and_prefixes_are_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let io = file_io();
    let roots = [format!("file://{}/t", dir.path().display()), "memory://lake/t".to_owned()];
    let mut files = Vec::new();
    for root in &roots {
        for name in ["a", "b", "sub/c"] {
            let file = format!("{root}/{name}");
            io.new_output(&file).unwrap().write(Bytes::from_static(b"x")).await.unwrap();
            files.push(file);
        }
    }
    let gone = [files[0].clone(), files[3].clone(), format!("{}/never", roots[0])];
    io.delete_stream(futures::stream::iter(gone)).await.unwrap();
    assert!(!io.exists(&files[0]).await.unwrap() && !io.exists(&files[3]).await.unwrap());
    assert!(io.exists(&files[2]).await.unwrap() && io.exists(&files[5]).await.unwrap());
    for root in &roots {
        io.delete_prefix(root).await.unwrap();
    }
    assert!(!io.exists(&files[2]).await.unwrap() && !io.exists(&files[5]).await.unwrap());
    assert!(!dir.path().join("t").exists());
}

#[tokio::test]
async fn a_missing_file_is_not_found_and_named() {
    let io = file_io();
    let missing = io.new_input("/surely/not/there").unwrap().read().await.unwrap_err();
    let missing = from_iceberg(missing);
    assert_eq!((missing.kind(), missing.is_retryable()), (ErrorKind::NotFound, false));
    assert!(missing.message().contains("/surely/not/there"), "{missing}");
}

#[test]
fn a_storage_that_travels_takes_no_secret_along() {
    let keys = [("s3.access-key-id", "id"), ("s3.secret-access-key", "hunter2")];
    let config = StorageConfig::new().with_props(keys);
    let storage = ObjectStorageFactory::default().build(&config).unwrap();
    let text = serde_json::to_string(&storage).unwrap();
    assert!(!text.contains("hunter2") && !format!("{storage:?}").contains("hunter2"));
    let back: Box<dyn Storage> = serde_json::from_str(&text).unwrap();
    assert!(back.new_input("/x").is_ok());
}
