//! Settings that must not be shown, and `${env:NAME}` / `${file:PATH}` references.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Error, ErrorKind, Result};

const MASK: &str = "***";

/// A string that may hold a secret: written out, or named by `${env:NAME}` or `${file:PATH}` anywhere in it.
///
/// It never shows itself: `Debug`, `Display` and the serialised form keep references as they are and mask anything
/// else.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret from its text, references not yet looked up.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The value, with every `${env:NAME}` and `${file:PATH}` looked up now. A file's trailing line break is left
    /// out.
    ///
    /// # Errors
    /// `Config` if a variable is not set, a file cannot be read, or a reference is malformed.
    pub fn resolve(&self) -> Result<String> {
        let mut value = String::new();
        let mut rest = self.0.as_str();
        while let Some(at) = rest.find("${") {
            value.push_str(&rest[..at]);
            let body = &rest[at + 2..];
            let end = body.find('}').ok_or_else(|| {
                Error::new(ErrorKind::Config, "expected '}' at the end of a '${env:NAME}' or '${file:PATH}' reference")
            })?;
            value.push_str(&lookup(&body[..end])?);
            rest = &body[end + 1..];
        }
        value.push_str(rest);
        Ok(value)
    }

    fn is_reference(&self) -> bool {
        self.0.starts_with("${") && self.0.find('}') == Some(self.0.len() - 1)
    }

    fn shown(&self) -> &str {
        if self.is_reference() { &self.0 } else { MASK }
    }
}

fn lookup(reference: &str) -> Result<String> {
    match reference.split_once(':') {
        Some(("env", name)) => std::env::var(name).map_err(|_| {
            Error::new(ErrorKind::Config, format!("the environment variable {name} is not set (or not UTF-8)"))
        }),
        Some(("file", path)) => {
            std::fs::read_to_string(path).map(|text| text.trim_end_matches(['\r', '\n']).to_owned()).map_err(|error| {
                Error::new(ErrorKind::Config, format!("the secret file {path} cannot be read")).caused_by(error)
            })
        }
        _ => Err(Error::new(ErrorKind::Config, "expected '${env:NAME}' or '${file:PATH}'")),
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.shown())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Secret)
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A value that is never shown. `${env:NAME}` and `${file:PATH}` are looked up when it is used."
        })
    }
}

/// A URL or path with the password of its `user:password@` part masked, for messages and logs.
pub fn redact_url(url: &str) -> String {
    let Some(scheme) = url.find("://") else { return url.to_owned() };
    let (head, rest) = url.split_at(scheme + 3);
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    match authority.rfind('@') {
        Some(at) => format!("{head}{MASK}{}", &rest[at..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_shows_itself_but_its_reference_does() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?} {}", serde_json::to_string(&secret).unwrap()), "*** *** \"***\"");
        let half = Secret::new("${env:USER}hunter2}");
        assert_eq!(format!("{half}"), "***");
        let reference = Secret::new("${env:FRAZIL_TEST_SURELY_UNSET}");
        assert_eq!(reference.to_string(), "${env:FRAZIL_TEST_SURELY_UNSET}");
        assert_eq!(reference.resolve().unwrap_err().kind(), ErrorKind::Config);
        assert_eq!(secret.resolve().unwrap(), "hunter2");
    }

    #[test]
    fn references_are_looked_up_inside_text() {
        let path = std::env::temp_dir().join(format!("frazil-secret-{}", std::process::id()));
        std::fs::write(&path, "s3cret\n").unwrap();
        let secret = Secret::new(format!("a-${{file:{}}}-b", path.display()));
        assert_eq!(secret.resolve().unwrap(), "a-s3cret-b");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn passwords_in_urls_are_masked() {
        assert_eq!(redact_url("http://u:p@host:1/x"), "http://***@host:1/x");
        assert_eq!(redact_url("http://host/x@y"), "http://host/x@y");
    }
}
