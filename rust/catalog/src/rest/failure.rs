//! What an answer that is not a success means, by its status and by what was asked.

use std::time::Duration;

use frazil_model::{Error, ErrorKind, Result};
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde::Deserialize;

/// Tries of a request that changes nothing, or the same thing each time.
const TRIES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// What a request does: the same status means different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// Asking for the configuration: a 400 is about our settings.
    Configure,
    /// Fetching a token: a 400 is about the credentials.
    Token,
    /// Reads, and what may be done twice.
    Read,
    /// Creates a table or namespace.
    Create,
    /// Commits to a table.
    Commit,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    error: ErrorBody,
    /// RFC 6749 has it beside `error`.
    error_description: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ErrorBody {
    Iceberg {
        #[serde(default)]
        message: Option<String>,
        #[serde(default)]
        r#type: Option<String>,
    },
    Oauth(String),
}

/// An error for a status that is not a success.
pub(super) fn status(
    status: StatusCode,
    body: &[u8],
    wait: Option<Duration>,
    operation: Operation,
    action: &str,
    scrub: impl Fn(&str) -> String,
) -> Error {
    let said = scrub(&server_text(body));
    let text = match said.is_empty() {
        true => format!("could not {action}: the catalog answered {status}"),
        false => format!("could not {action}: {said} ({status})"),
    };
    let error = |kind| Error::new(kind, text.clone());
    match (status.as_u16(), operation) {
        (400 | 401 | 403, Operation::Token) => error(ErrorKind::Unauthorized),
        (400 | 422, Operation::Configure | Operation::Create) => error(ErrorKind::Config),
        (401 | 403 | 419, _) => error(ErrorKind::Unauthorized),
        (404, Operation::Configure | Operation::Token) => Error::new(
            ErrorKind::Config,
            format!("{text}: expected a REST catalog there, check the URL and the warehouse"),
        ),
        (404, _) => error(ErrorKind::NotFound),
        (406 | 501, _) => error(ErrorKind::Unsupported),
        (409, Operation::Commit) => error(ErrorKind::Conflict).retryable(),
        (409, _) => error(ErrorKind::AlreadyExists),
        (429 | 503, _) => match wait {
            Some(wait) => error(ErrorKind::Catalog).retry_after(wait),
            None => error(ErrorKind::Catalog).retryable(),
        },
        (500.., Operation::Commit) => error(ErrorKind::OutcomeUnknown),
        // A second create after an unseen success would say "already exists".
        (500.., Operation::Create) => error(ErrorKind::Catalog),
        (408 | 500.., _) => error(ErrorKind::Catalog).retryable(),
        _ => error(ErrorKind::Catalog),
    }
}

/// An error for a request without an answer.
pub(super) fn transport(error: reqwest::Error, operation: Operation, action: &str) -> Error {
    let before_sending = error.is_connect() || error.is_builder();
    let timeout = error.is_timeout();
    let cause = error.without_url();
    let (kind, text, retryable) = match operation {
        _ if before_sending => (ErrorKind::Catalog, format!("could not {action}: no connection to the catalog"), true),
        Operation::Commit => {
            let text = format!(
                "could not {action}: the connection failed before the answer, it may or may not have been made"
            );
            (ErrorKind::OutcomeUnknown, text, false)
        }
        _ if timeout => (
            ErrorKind::Catalog,
            format!("could not {action}: the catalog did not answer in time"),
            operation != Operation::Create,
        ),
        _ => (
            ErrorKind::Catalog,
            format!("could not {action}: the connection to the catalog failed"),
            operation != Operation::Create,
        ),
    };
    let error = Error::new(kind, text).caused_by(cause);
    if retryable { error.retryable() } else { error }
}

/// The message and type of an error answer, in the form of Iceberg's specification or OAuth2's. Any other text is left
/// out: proxies answer with whole pages.
fn server_text(body: &[u8]) -> String {
    let Ok(answer) = serde_json::from_slice::<ErrorAnswer>(body) else { return String::new() };
    match answer.error {
        ErrorBody::Oauth(code) => match answer.error_description {
            Some(description) => format!("{code}: {description}"),
            None => code,
        },
        ErrorBody::Iceberg { message, r#type } => match (r#type, message) {
            (Some(r#type), Some(message)) => format!("{type}: {message}"),
            (one, other) => one.or(other).unwrap_or_default(),
        },
    }
}

/// `Retry-After` in seconds. Its other form, a date, is rare and left to the back-off.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// Tries again while that may help: exponential back-off with full jitter, or as long as the server asked.
pub(super) async fn retrying<T, F: Future<Output = Result<T>>>(attempt: impl FnMut() -> F) -> Result<T> {
    retrying_from(FIRST_WAIT, attempt).await
}

async fn retrying_from<T, F: Future<Output = Result<T>>>(first: Duration, mut attempt: impl FnMut() -> F) -> Result<T> {
    let mut tries = 1;
    loop {
        match attempt().await {
            Err(error) if error.is_retryable() && tries < TRIES => {
                let ceiling = first.saturating_mul(1 << (tries - 1)).min(LONGEST_WAIT);
                let wait = match error.wait_hint() {
                    // A longer pause is for the caller to take: it has work to stop meanwhile.
                    Some(asked) if asked > LONGEST_WAIT => return Err(error),
                    Some(asked) => asked,
                    None => ceiling.mul_f64(rand::random()),
                };
                log::debug!("try {tries} of {TRIES} failed, next in {wait:?}: {error}");
                tokio::time::sleep(wait).await;
                tries += 1;
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"error":{"message":"no t-o-k-e-n here","type":"SomeException","code":1}}"#;

    fn kind(code: u16, operation: Operation) -> (ErrorKind, bool) {
        let status = self::status(StatusCode::from_u16(code).unwrap(), BODY, None, operation, "act", str::to_owned);
        (status.kind(), status.is_retryable())
    }

    #[test]
    fn a_status_means_what_the_operation_makes_of_it() {
        assert_eq!(kind(409, Operation::Commit), (ErrorKind::Conflict, true));
        assert_eq!(kind(409, Operation::Create), (ErrorKind::AlreadyExists, false));
        for code in [500, 502, 504] {
            assert_eq!(kind(code, Operation::Commit), (ErrorKind::OutcomeUnknown, false), "{code}");
            assert_eq!(kind(code, Operation::Read), (ErrorKind::Catalog, true), "{code}");
            assert_eq!(kind(code, Operation::Create), (ErrorKind::Catalog, false), "{code}");
        }
        for code in [429, 503] {
            assert_eq!(kind(code, Operation::Commit), (ErrorKind::Catalog, true), "{code}");
        }
        assert_eq!(kind(404, Operation::Commit), (ErrorKind::NotFound, false));
        assert_eq!(kind(400, Operation::Configure), (ErrorKind::Config, false));
        assert_eq!(kind(400, Operation::Commit), (ErrorKind::Catalog, false));
        assert_eq!(kind(400, Operation::Token), (ErrorKind::Unauthorized, false));
        assert_eq!(kind(403, Operation::Read), (ErrorKind::Unauthorized, false));
    }

    #[test]
    fn the_server_is_quoted_without_secrets() {
        let error = status(StatusCode::BAD_REQUEST, BODY, None, Operation::Read, "list tables", |text| {
            text.replace("t-o-k-e-n", "***")
        });
        assert_eq!(error.message(), "could not list tables: SomeException: no *** here (400 Bad Request)");
        let page = status(StatusCode::BAD_GATEWAY, b"<html>", None, Operation::Read, "list tables", str::to_owned);
        assert_eq!(page.message(), "could not list tables: the catalog answered 502 Bad Gateway");
        let oauth = br#"{"error":"invalid_client","error_description":"unknown"}"#;
        assert_eq!(server_text(oauth), "invalid_client: unknown");
    }

    #[tokio::test]
    async fn only_what_may_pass_is_tried_again_and_not_for_ever() {
        let mut tries = 0;
        let busy = retrying_from(Duration::from_millis(1), || {
            tries += 1;
            async { Err::<(), _>(Error::new(ErrorKind::Catalog, "busy").retryable()) }
        });
        assert!(busy.await.is_err());
        assert_eq!(tries, TRIES);
        let mut tries = 0;
        let wrong = retrying_from(Duration::from_millis(1), || {
            tries += 1;
            async { Err::<(), _>(Error::new(ErrorKind::Unauthorized, "no")) }
        });
        assert!(wrong.await.is_err());
        assert_eq!(tries, 1);
    }
}
