//! The schema registry (Confluent's API, also Apicurio's `/apis/ccompat/v7`): schemas by id and the newest of a subject.
//!
//! What an id means never changes, so answers are kept for ever; that an id is unknown is kept for a short time only.
//! Nothing here understands schemas. `http` asks and repeats.

mod http;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use frazil_model::{Error, ErrorKind, RegistrySettings, Result};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};

use http::{Answer, Http};

/// How long an unknown id is believed to be unknown.
const FORGET: Duration = Duration::from_secs(30);

/// How many ids are kept, those of schemas not counted.
const MOST_UNUSABLE: usize = 10_000;

/// The most schemas that one may refer to, directly or not.
const MOST_REFERENCES: usize = 256;

/// What the registry says about an id.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Lookup {
    /// The texts of the schemas that it refers to, dependencies first, and its own as the last.
    Found(Arc<[String]>),
    /// Records with this id are bad, and why.
    Unusable(String),
}

/// A registry and what is known of it. Requests run on a thread of their own, so that both async and blocking code,
/// inside a runtime or not, can wait for them.
pub(crate) struct Registry {
    requests: mpsc::UnboundedSender<Request>,
    cache: Mutex<HashMap<i32, (Lookup, Option<Instant>)>>,
}

type Request = Box<dyn FnOnce(Arc<Http>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

impl Registry {
    /// Prepares the client; asks nothing yet.
    pub(crate) fn open(settings: &RegistrySettings) -> Result<Registry> {
        let http = Arc::new(Http::new(settings)?);
        let (requests, mut open) = mpsc::unbounded_channel::<Request>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| {
            Error::new(ErrorKind::Internal, "could not start the schema registry's client").caused_by(error)
        })?;
        let thread = std::thread::Builder::new().name("frazil-registry".to_owned());
        let started = thread.spawn(move || {
            // The thread ends when the last Registry is gone.
            runtime.block_on(async move {
                while let Some(request) = open.recv().await {
                    tokio::spawn(request(http.clone()));
                }
            });
        });
        started.map_err(|error| {
            Error::new(ErrorKind::Internal, "could not start the schema registry's thread").caused_by(error)
        })?;
        Ok(Registry { requests, cache: Mutex::default() })
    }

    /// Whether the answer for this id is known and still believed.
    pub(crate) fn knows(&self, id: i32) -> bool {
        self.cached(id).is_some()
    }

    fn cached(&self, id: i32) -> Option<Lookup> {
        let cache = self.cache.lock();
        let (lookup, until) = cache.get(&id)?;
        until.is_none_or(|until| Instant::now() < until).then(|| lookup.clone())
    }

    /// The schemas of ids, in their order. Blocks while it asks, for all at once.
    ///
    /// # Errors
    /// `Catalog`, retryable, if the registry cannot be reached or fails; `Unauthorized`.
    pub(crate) fn schemas(&self, ids: &[i32]) -> Result<Vec<Lookup>> {
        let asked: Vec<_> = ids.iter().map(|id| self.cached(*id).map_or_else(|| Err(self.ask(*id)), Ok)).collect();
        let mut lookups = Vec::with_capacity(ids.len());
        for (id, asked) in ids.iter().zip(asked) {
            lookups.push(match asked {
                Ok(lookup) => lookup,
                Err(answer) => {
                    let lookup = answer?.recv().map_err(|_| gone())??;
                    self.keep(*id, &lookup);
                    lookup
                }
            });
        }
        Ok(lookups)
    }

    fn ask(&self, id: i32) -> Result<Receiver<Result<Lookup>>> {
        let (reply, answer) = sync_channel(1);
        self.request(Box::new(move |http| {
            Box::pin(async move {
                // If nobody waits any more, nobody misses the answer.
                let _ = reply.send(by_id(&http, id).await);
            })
        }))?;
        Ok(answer)
    }

    fn keep(&self, id: i32, lookup: &Lookup) {
        let until = matches!(lookup, Lookup::Unusable(_)).then(|| Instant::now() + FORGET);
        let mut cache = self.cache.lock();
        if until.is_some() && cache.len() >= MOST_UNUSABLE {
            // Ids made of spoiled bytes must not fill the memory.
            cache.retain(|_, (_, until)| until.is_none());
        }
        cache.insert(id, (lookup.clone(), until));
    }

    /// The texts of the subject's newest schema, dependencies first.
    ///
    /// # Errors
    /// `NotFound` if there is no such subject; as [`Registry::schemas`] otherwise.
    pub(crate) async fn newest(&self, subject: &str) -> Result<Arc<[String]>> {
        let (reply, answer) = oneshot::channel();
        let name = subject.to_owned();
        self.request(Box::new(move |http| {
            Box::pin(async move {
                let _ = reply.send(latest(&http, &name).await);
            })
        }))?;
        answer.await.map_err(|_| gone())?
    }

    fn request(&self, request: Request) -> Result<()> {
        self.requests.send(request).map_err(|_| gone())
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Internal, "the schema registry's thread ended before it answered")
}

/// A schema as the registry sends it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    schema: String,
    /// Absent for Avro.
    schema_type: Option<String>,
    #[serde(default)]
    references: Option<Vec<Reference>>,
}

#[derive(Debug, Deserialize)]
struct Reference {
    subject: String,
    version: i32,
}

impl Sent {
    fn not_avro(&self) -> Option<&str> {
        self.schema_type.as_deref().filter(|kind| !kind.eq_ignore_ascii_case("avro"))
    }
}

async fn by_id(http: &Http, id: i32) -> Result<Lookup> {
    match http.get::<Sent>(&["schemas", "ids", &id.to_string()]).await? {
        Answer::Missing => Ok(Lookup::Unusable(format!("the schema registry has no schema with id {id}"))),
        Answer::Found(sent) => match sent.not_avro() {
            Some(kind) => Ok(Lookup::Unusable(format!("schema {id} is of type {kind}; expected AVRO"))),
            None => with_references(http, sent).await.map(Lookup::Found),
        },
    }
}

async fn latest(http: &Http, subject: &str) -> Result<Arc<[String]>> {
    match http.get::<Sent>(&["subjects", subject, "versions", "latest"]).await? {
        Answer::Missing => {
            let message = "the schema registry has no such subject: register a schema, or give 'subject' or 'schema' in decode.avro";
            Err(Error::new(ErrorKind::NotFound, message).with("subject", subject))
        }
        Answer::Found(sent) => match sent.not_avro() {
            Some(kind) => Err(Error::new(
                ErrorKind::Unsupported,
                format!("the subject's newest schema is of type {kind}; expected AVRO"),
            )
            .with("subject", subject)),
            None => with_references(http, sent).await,
        },
    }
}

/// Fetches what a schema refers to, in depth, and puts each text behind those that it needs.
async fn with_references(http: &Http, sent: Sent) -> Result<Arc<[String]>> {
    let mut texts = Vec::new();
    let mut seen: HashSet<(String, i32)> = HashSet::new();
    // A schema is entered with its references still to come, and left, its text written, when they are done.
    let mut open: Vec<(String, std::vec::IntoIter<Reference>)> =
        vec![(sent.schema, sent.references.unwrap_or_default().into_iter())];
    while let Some((_, references)) = open.last_mut() {
        let Some(Reference { subject, version }) = references.next() else {
            texts.extend(open.pop().map(|(text, _)| text));
            continue;
        };
        if !seen.insert((subject.clone(), version)) {
            continue;
        }
        if seen.len() > MOST_REFERENCES {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("the schema refers to more than {MOST_REFERENCES} others"),
            ));
        }
        match http.get::<Sent>(&["subjects", &subject, "versions", &version.to_string()]).await? {
            Answer::Found(sent) => open.push((sent.schema, sent.references.unwrap_or_default().into_iter())),
            Answer::Missing => {
                let message = "a schema refers to one that the schema registry does not have";
                return Err(Error::new(ErrorKind::Catalog, message).with("subject", &subject).with("version", version));
            }
        }
    }
    Ok(texts.into())
}
