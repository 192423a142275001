//! GET with authentication and repetition: what the registry lacks is an answer, that it fails is an error.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use frazil_model::{Error, ErrorKind, RegistrySettings, Result, Secret, redact_url};
use reqwest::{Certificate, Client, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use url::Url;

const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(15);
const TRIES: u32 = 5;
const SLOTS: usize = 16;
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait between two tries, whatever `Retry-After` says; the job's own retries come behind these.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
const ACCEPT: &str = "application/vnd.schemaregistry.v1+json, application/json";

pub(super) struct Http {
    client: Client,
    base: Url,
    username: Option<String>,
    password: Option<String>,
    token: Option<String>,
    /// Requests that may run at the same time.
    slots: Semaphore,
}

pub(super) enum Answer<T> {
    Found(T),
    /// The registry itself said that it has no such thing.
    Missing,
}

/// The body of the registry's refusals.
#[derive(Deserialize)]
struct Refusal {
    error_code: i64,
}

/// How one try ended, if not with an answer.
enum Failure {
    Again(Error, Option<Duration>),
    Final(Error),
}

impl Http {
    pub(super) fn new(settings: &RegistrySettings) -> Result<Http> {
        const PATH: &str = "decode.avro.registry";
        let base =
            Url::parse(&settings.url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let base = base.ok_or_else(|| {
            Error::config(
                format!("{PATH}.url"),
                format!("expected http://… or https://…, found '{}'", redact_url(&settings.url)),
            )
        })?;
        let mut client = Client::builder().connect_timeout(CONNECT).timeout(ANSWER);
        if let Some(path) = &settings.ca {
            let wrong = |error: String| {
                Error::config(
                    format!("{PATH}.ca"),
                    format!("expected a file with PEM certificates at '{path}': {error}"),
                )
            };
            let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
            let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| wrong(error.to_string()))?;
            if certificates.is_empty() {
                return Err(wrong("it holds none".to_owned()));
            }
            client =
                certificates.into_iter().fold(client, |client, certificate| client.add_root_certificate(certificate));
        }
        let client = client.build().map_err(|error| {
            Error::new(ErrorKind::Catalog, "could not set up the schema registry's client").caused_by(error)
        })?;
        let resolve = |secret: &Option<Secret>| secret.as_ref().map(Secret::resolve).transpose();
        let (username, password, token) =
            (resolve(&settings.username)?, resolve(&settings.password)?, resolve(&settings.token)?);
        Ok(Http { client, base, username, password, token, slots: Semaphore::new(SLOTS) })
    }

    /// Asks for `path`, again where that may help.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<Answer<T>> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| Error::new(ErrorKind::Internal, "an http URL has a path"))?
            .pop_if_empty()
            .extend(path);
        // Closed never, so there is always a slot in the end.
        let _slot = self.slots.acquire().await.ok();
        let mut wait = FIRST_WAIT;
        for attempt in 1.. {
            match self.try_once(&url).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Again(error, _)) if attempt == TRIES => return Err(error.retryable()),
                Err(Failure::Again(error, asked)) => {
                    let pause = asked.unwrap_or_else(|| jittered(wait)).min(LONGEST_WAIT);
                    log::warn!("schema registry: {error}; trying again in {} ms", pause.as_millis());
                    tokio::time::sleep(pause).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
        unreachable!("the loop ends with the last attempt")
    }

    async fn try_once<T: DeserializeOwned>(&self, url: &Url) -> Result<Answer<T>, Failure> {
        let shown = redact_url(url.as_str());
        let error = |kind, message: &str| Error::new(kind, message).with("url", &shown);
        let mut request = self.client.get(url.clone()).header(header::ACCEPT, ACCEPT);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        } else if let Some(username) = &self.username {
            request = request.basic_auth(username, self.password.as_ref());
        }
        let unreachable = |cause: reqwest::Error| {
            error(ErrorKind::Catalog, "could not reach the schema registry").caused_by(cause.without_url())
        };
        let response = request.send().await.map_err(|cause| Failure::Again(unreachable(cause), None))?;
        let status = response.status();
        let wait = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        let body = response.bytes().await.map_err(|cause| Failure::Again(unreachable(cause), None))?;
        let catalog = |what: &str| error(ErrorKind::Catalog, what).with("status", status.as_u16());
        match status {
            StatusCode::OK => match serde_json::from_slice(&body) {
                Ok(found) => Ok(Answer::Found(found)),
                Err(cause) => Err(Failure::Final(
                    catalog("the schema registry's answer is not what Confluent's API says").caused_by(cause),
                )),
            },
            // A proxy or a wrong base path also says 404, but not in the registry's words: then no record is to blame.
            StatusCode::NOT_FOUND
                if serde_json::from_slice::<Refusal>(&body).is_ok_and(|refusal| refusal.error_code != 0) =>
            {
                Ok(Answer::Missing)
            }
            StatusCode::NOT_FOUND => Err(Failure::Final(error(
                ErrorKind::Config,
                "decode.avro.registry.url: there is no schema registry at this URL; expected the base of Confluent's API (for Apicurio …/apis/ccompat/v7)",
            ))),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Failure::Final(
                error(ErrorKind::Unauthorized, "the schema registry refused the credentials of decode.avro.registry")
                    .with("status", status.as_u16()),
            )),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
                Err(Failure::Again(catalog("the schema registry is busy"), wait))
            }
            status if status.is_server_error() => Err(Failure::Again(catalog("the schema registry failed"), wait)),
            _ => Err(Failure::Final(catalog("the schema registry refused the request"))),
        }
    }
}

/// Between half and all of `wait`, so that workers that failed together do not come back together.
fn jittered(wait: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) as u32;
    wait / 2 + wait.mul_f64(f64::from(random) / f64::from(u32::MAX) / 2.0)
}
