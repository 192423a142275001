//! One request to a REST catalog: headers, token, retries, and the answer as JSON or as an error.

use std::collections::HashMap;
use std::time::Duration;

use frazil_model::{CatalogSettings, Error, ErrorKind, Result, redact_url};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::auth::Auth;
use super::failure::{self, Operation};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(60);
/// Giving up on a commit leaves its outcome unknown: it gets longer.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(120);

/// A request, with what it is for.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) operation: Operation,
    /// As in "could not {action}".
    pub(super) action: &'a str,
}

impl<'a> Call<'a> {
    pub(super) fn get(path: &'a str, action: &'a str) -> Self {
        Call { method: Method::GET, path, query: &[], operation: Operation::Read, action }
    }
}

/// The connection to one catalog.
pub(super) struct Http {
    client: reqwest::Client,
    auth: Auth,
    headers: HeaderMap,
}

impl Http {
    pub(super) fn new(settings: &CatalogSettings, base: &str) -> Result<Self> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .user_agent(concat!("frazil/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::new(ErrorKind::Catalog, "the HTTP client cannot be set up").caused_by(error))?;
        let mut headers = HeaderMap::new();
        headers.insert("X-Iceberg-Access-Delegation", HeaderValue::from_static("vended-credentials"));
        for (name, value) in &settings.headers {
            let mut header = header(name, &value.resolve()?)?;
            header.1.set_sensitive(true);
            headers.insert(header.0, header.1);
        }
        Ok(Http { client, auth: Auth::new(settings, base)?, headers })
    }

    /// Takes over `header.…` entries of the catalog's configuration; the user's own stay.
    pub(super) fn add_headers(&mut self, properties: &HashMap<String, String>) -> Result<()> {
        for (key, value) in properties {
            if let Some(name) = key.strip_prefix("header.") {
                let (name, value) = header(name, value)?;
                self.headers.entry(name).or_insert(value);
            }
        }
        Ok(())
    }

    /// Sends and reads the answer's JSON.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        call: &Call<'_>,
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<T> {
        let answer = self.send(call, body).await?;
        serde_json::from_slice(&answer).map_err(|error| {
            let message = format!("could not {}: the catalog's answer cannot be read", call.action);
            // It was a success, so a commit has been made; only what is in the table now is not known.
            let kind = if call.operation == Operation::Commit { ErrorKind::OutcomeUnknown } else { ErrorKind::Catalog };
            Error::new(kind, message).caused_by(error)
        })
    }

    /// Sends and returns the answer's body.
    pub(super) async fn send(&self, call: &Call<'_>, body: Option<&(impl Serialize + Sync)>) -> Result<Vec<u8>> {
        let body = body.map(serde_json::to_vec).transpose().map_err(|error| {
            Error::new(ErrorKind::Internal, format!("could not {}: the request cannot be written as JSON", call.action))
                .caused_by(error)
        })?;
        match call.operation {
            Operation::Commit | Operation::Create => self.authenticated(call, body.as_deref()).await,
            _ => failure::retrying(|| self.authenticated(call, body.as_deref())).await,
        }
    }

    /// Once more with a new token if the old one is refused: nothing was done with it.
    async fn authenticated(&self, call: &Call<'_>, body: Option<&[u8]>) -> Result<Vec<u8>> {
        let token = self.auth.header(&self.client, None).await?;
        match self.once(call, body, token.as_ref()).await? {
            Answer::Good(answer) => Ok(answer),
            Answer::Bad(StatusCode::UNAUTHORIZED | STATUS_AUTHENTICATION_TIMEOUT, _) if self.auth.renews() => {
                let token = self.auth.header(&self.client, token.as_ref()).await?;
                match self.once(call, body, token.as_ref()).await? {
                    Answer::Good(answer) => Ok(answer),
                    Answer::Bad(_, error) => Err(error),
                }
            }
            Answer::Bad(_, error) => Err(error),
        }
    }

    async fn once(&self, call: &Call<'_>, body: Option<&[u8]>, token: Option<&HeaderValue>) -> Result<Answer> {
        let mut request = self.client.request(call.method.clone(), call.path).headers(self.headers.clone());
        if !call.query.is_empty() {
            request = request.query(call.query);
        }
        if let Some(token) = token {
            request = request.header(reqwest::header::AUTHORIZATION, token.clone());
        }
        if let Some(body) = body {
            request = request.header(reqwest::header::CONTENT_TYPE, "application/json").body(body.to_vec());
        }
        if call.operation == Operation::Commit {
            request = request.timeout(COMMIT_TIMEOUT);
        }
        let failed = |error| failure::transport(error, call.operation, call.action).with("url", redact_url(call.path));
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let wait = failure::retry_after(response.headers());
        let answer = response.bytes().await;
        if status.is_success() {
            return Ok(Answer::Good(answer.map_err(failed)?.to_vec()));
        }
        // The status decides, even if the connection was lost in the explanation.
        let explanation = answer.unwrap_or_default();
        let error =
            failure::status(status, &explanation, wait, call.operation, call.action, |text| self.auth.scrub(text));
        Ok(Answer::Bad(status, error))
    }
}

/// 419: not registered, but in Iceberg's specification for a token that has run out.
const STATUS_AUTHENTICATION_TIMEOUT: StatusCode = match StatusCode::from_u16(419) {
    Ok(status) => status,
    Err(_) => panic!("419 is a valid status"),
};

enum Answer {
    Good(Vec<u8>),
    Bad(StatusCode, Error),
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue)> {
    match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        (Ok(name), Ok(value)) => Ok((name, value)),
        _ => Err(Error::config(
            format!("lake.headers.{name}"),
            "expected an HTTP header, found characters that it cannot hold",
        )),
    }
}
