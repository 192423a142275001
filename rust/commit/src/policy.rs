//! The table properties that steer commits, in one place, with their defaults.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use frazil_model::{Error, ErrorKind, Result};

/// How often and how long to try something again.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Retry {
    pub(crate) retries: u32,
    pub(crate) min_wait: Duration,
    pub(crate) max_wait: Duration,
    pub(crate) total: Duration,
}

impl Retry {
    /// Exponential back-off with full jitter: a random time below `min_wait * 2^tries`, at most `max_wait`.
    pub(crate) fn wait(&self, tries: u32) -> Duration {
        let ceiling = self.min_wait.saturating_mul(1 << tries.min(20)).min(self.max_wait);
        ceiling.mul_f64(rand::random())
    }
}

/// What the table's properties say about commits.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Policy {
    /// After conflicts.
    pub(crate) commit: Retry,
    /// After an unknown outcome.
    pub(crate) status_check: Retry,
    pub(crate) merge_manifests: bool,
    pub(crate) manifest_target_bytes: i64,
    /// 0: never trim. By default as many as the pace of the commits allows, see `history::most`.
    pub(crate) max_snapshots: Option<usize>,
    pub(crate) min_snapshots_to_keep: usize,
    /// Only where the property is set: it is a promise to somebody.
    pub(crate) max_snapshot_age: Option<Duration>,
    /// How long files of removed snapshots stay.
    pub(crate) grace: Duration,
    /// Whether files may be deleted at all.
    pub(crate) gc: bool,
    /// Up to how many changed partitions the summary names each of them.
    pub(crate) summary_partitions: u64,
}

impl Policy {
    /// Reads the properties.
    ///
    /// # Errors
    /// `Config` naming the property that is not what Iceberg says it must be: never silently another value.
    pub(crate) fn of(properties: &HashMap<String, String>) -> Result<Self> {
        let read = Reader(properties);
        let retry = |of: &str, min_wait: u64| -> Result<Retry> {
            Ok(Retry {
                retries: read.or(&format!("commit.{of}.num-retries"), 20)?,
                min_wait: read.millis(&format!("commit.{of}.min-wait-ms"), min_wait)?,
                max_wait: read.millis(&format!("commit.{of}.max-wait-ms"), 60_000)?,
                total: read.millis(&format!("commit.{of}.total-timeout-ms"), 1_800_000)?,
            })
        };
        Ok(Policy {
            commit: retry("retry", 100)?,
            status_check: retry("status-check", 200)?,
            merge_manifests: read.or("commit.manifest-merge.enabled", true)?,
            manifest_target_bytes: read.or("commit.manifest.target-size-bytes", 8 << 20)?,
            max_snapshots: read.get("frazil.history.max-snapshots")?,
            min_snapshots_to_keep: read.or("history.expire.min-snapshots-to-keep", 1)?,
            max_snapshot_age: read.get("history.expire.max-snapshot-age-ms")?.map(Duration::from_millis),
            grace: read.millis("frazil.history.grace-ms", 60_000)?,
            gc: read.or("gc.enabled", true)?,
            summary_partitions: read.or("write.summary.partition-limit", 0)?,
        })
    }
}

struct Reader<'a>(&'a HashMap<String, String>);

impl Reader<'_> {
    fn get<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        let Some(text) = self.0.get(name) else { return Ok(None) };
        match text.trim().parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(Error::new(
                ErrorKind::Config,
                format!("table property '{name}': expected {}, found '{text}'; correct the property", expected::<T>()),
            )),
        }
    }

    fn or<T: FromStr>(&self, name: &str, default: T) -> Result<T> {
        Ok(self.get(name)?.unwrap_or(default))
    }

    fn millis(&self, name: &str, default: u64) -> Result<Duration> {
        Ok(Duration::from_millis(self.or(name, default)?))
    }
}

fn expected<T>() -> &'static str {
    if std::any::type_name::<T>() == "bool" { "'true' or 'false'" } else { "a whole number, not negative" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_property_is_named_and_never_replaced_by_a_default() {
        for (name, value) in
            [("commit.retry.num-retries", "many"), ("gc.enabled", "maybe"), ("frazil.history.max-snapshots", "-1")]
        {
            let error = Policy::of(&HashMap::from([(name.to_owned(), value.to_owned())])).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.message().contains(name) && error.message().contains(value), "{error}");
        }
    }

    #[test]
    fn waits_grow_within_their_bounds() {
        let retry =
            Policy::of(&HashMap::from([("commit.retry.max-wait-ms".to_owned(), "800".to_owned())])).unwrap().commit;
        for tries in 0..64 {
            let bound = Duration::from_millis((100u64 << tries.min(3)).min(800));
            assert!(retry.wait(tries) <= bound, "try {tries}");
        }
    }
}
