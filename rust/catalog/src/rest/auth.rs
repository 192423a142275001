//! Who we are to a REST catalog: a bearer token, given or fetched with OAuth2 client credentials and fetched again.

use std::time::{Duration, Instant};

use frazil_model::{CatalogSettings, Error, ErrorKind, Result};
use reqwest::header::HeaderValue;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::failure::{self, Operation};

/// A token is replaced this long before its end, or a tenth of its life if that is less.
const MARGIN: Duration = Duration::from_secs(60);

/// OAuth2 client credentials (RFC 6749, section 4.4) and where to trade them.
struct Client {
    uri: String,
    id: Option<String>,
    secret: String,
    scope: String,
}

struct Token {
    header: HeaderValue,
    replace_at: Option<Instant>,
}

/// Hands out the `Authorization` header. Has no `Debug`: it is made of secrets.
pub(super) struct Auth {
    client: Option<Client>,
    token: Mutex<Option<Token>>,
    /// What must never be repeated from a server's answer.
    secrets: Vec<String>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    expires_in: Option<u64>,
}

impl Auth {
    pub(super) fn new(settings: &CatalogSettings, base: &str) -> Result<Self> {
        let mut secrets = Vec::new();
        let client = match &settings.credential {
            None => None,
            Some(credential) => {
                let credential = credential.resolve()?;
                let (id, secret) = match credential.split_once(':') {
                    Some((id, secret)) => (Some(id.to_owned()), secret.to_owned()),
                    None => (None, credential),
                };
                if secret.is_empty() {
                    return Err(Error::config(
                        "lake.credential",
                        "expected 'client_id:client_secret', found an empty secret",
                    ));
                }
                secrets.push(secret.clone());
                let uri = settings.oauth2_server_uri.clone().unwrap_or_else(|| format!("{base}/v1/oauth/tokens"));
                Some(Client { uri, id, secret, scope: settings.scope.clone().unwrap_or_else(|| "catalog".to_owned()) })
            }
        };
        let token = match &settings.token {
            None => None,
            Some(token) => {
                let token = token.resolve()?;
                secrets.push(token.clone());
                Some(Token { header: bearer(&token)?, replace_at: None })
            }
        };
        Ok(Auth { client, token: Mutex::new(token), secrets })
    }

    /// The header for a request; `refused` is one that the server did not take, to be replaced.
    pub(super) async fn header(
        &self,
        http: &reqwest::Client,
        refused: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>> {
        let mut token = self.token.lock().await;
        let Some(client) = &self.client else {
            return Ok(token.as_ref().map(|token| token.header.clone()));
        };
        let usable = token.as_ref().filter(|token| {
            refused.is_none_or(|refused| refused != token.header)
                && token.replace_at.is_none_or(|at| Instant::now() < at)
        });
        if let Some(token) = usable {
            return Ok(Some(token.header.clone()));
        }
        let fetched = self.fetch(client, http).await?;
        let header = fetched.header.clone();
        *token = Some(fetched);
        Ok(Some(header))
    }

    /// Whether a refused token can be replaced.
    pub(super) fn renews(&self) -> bool {
        self.client.is_some()
    }

    /// A server's text without our secrets.
    pub(super) fn scrub(&self, text: &str) -> String {
        self.secrets
            .iter()
            .filter(|secret| secret.len() > 3)
            .fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"))
    }

    async fn fetch(&self, client: &Client, http: &reqwest::Client) -> Result<Token> {
        let mut form = vec![
            ("grant_type", "client_credentials"),
            ("client_secret", client.secret.as_str()),
            ("scope", client.scope.as_str()),
        ];
        if let Some(id) = &client.id {
            form.push(("client_id", id));
        }
        let place = frazil_model::redact_url(&client.uri);
        let answer: TokenAnswer = failure::retrying(|| async {
            let response = http.post(&client.uri).form(&form).send().await;
            let response = response.map_err(|error| failure::transport(error, Operation::Read, "fetch a token"))?;
            let status = response.status();
            let retry_after = failure::retry_after(response.headers());
            let body =
                response.bytes().await.map_err(|error| failure::transport(error, Operation::Read, "fetch a token"))?;
            if !status.is_success() {
                // RFC 6749, section 5.2: wrong credentials are a 400 too.
                let error = failure::status(status, &body, retry_after, Operation::Token, "fetch a token", |text| {
                    self.scrub(text)
                });
                return Err(error);
            }
            serde_json::from_slice(&body).map_err(|_| {
                Error::new(ErrorKind::Catalog, "expected a token from the OAuth2 server, found another answer")
            })
        })
        .await
        .map_err(|error| error.with("oauth2_server_uri", place))?;
        let life = answer.expires_in.map(Duration::from_secs);
        Ok(Token {
            header: bearer(&answer.access_token)?,
            replace_at: life.map(|life| Instant::now() + life - MARGIN.min(life / 10)),
        })
    }
}

fn bearer(token: &str) -> Result<HeaderValue> {
    let mut header = HeaderValue::try_from(format!("Bearer {}", token.trim())).map_err(|_| {
        Error::config("lake.token", "expected a bearer token, found characters that no HTTP header can hold")
    })?;
    header.set_sensitive(true);
    Ok(header)
}
