//! What runs beside the next round: merging manifests.

use uuid::Uuid;

use crate::draft::has_all;
use crate::io::{self, metadata_directory};
use crate::merge;
use crate::policy::Policy;
use crate::{CatalogCommit, Committer};

impl<C: CatalogCommit> Committer<C> {
    /// Starts merging manifests beside the next round if a tier is full and no merge is under way.
    pub(crate) fn start_merge(&mut self, policy: &Policy) {
        let Some(manifests) = self.manifests.as_ref().filter(|_| self.merging.is_none() && self.merged.is_none())
        else {
            return;
        };
        let Some(sources) = merge::plan(manifests, policy.manifest_target_bytes) else { return };
        let sources = sources.into_iter().map(|manifest| (self.entries.get(&manifest.manifest_path), manifest));
        let sources: Vec<_> = sources.map(|(cached, manifest)| (manifest, cached)).collect();
        let metadata = self.table.metadata_ref();
        let path = format!("{}/{}-m0.avro", metadata_directory(&metadata), Uuid::new_v4());
        let run = merge::run(self.table.file_io().clone(), metadata, sources, path);
        // Encoding thousands of entries is work for a thread of its own, not between the futures of others.
        let runtime = tokio::runtime::Handle::current();
        self.merging = Some(tokio::task::spawn_blocking(move || runtime.block_on(run)));
    }

    /// Takes the result of a merge that has ended, or, told to `wait`, that ends now.
    pub(crate) async fn collect_merge(&mut self, wait: bool) {
        if let Some(merged) = self.merged.as_ref()
            && let Some(manifests) = &self.manifests
            && !has_all(manifests, &merged.sources)
            && !has_all(manifests, std::slice::from_ref(&merged.manifest.manifest_path))
        {
            // Another writer has rewritten its sources.
            let path = merged.manifest.manifest_path.clone();
            self.merged = None;
            io::delete(self.table.file_io(), [path]).await;
        }
        if !self.merging.as_ref().is_some_and(|task| wait || task.is_finished()) {
            return;
        }
        let Some(task) = self.merging.take() else { return };
        match task.await {
            Ok(Ok(merged)) => self.merged = Some(merged),
            Ok(Err(error)) => log::warn!("job {}: manifests were not merged, commits go on without: {error}", self.job),
            Err(error) => log::warn!("job {}: merging manifests ended early: {error}", self.job),
        }
    }
}
