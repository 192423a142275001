//! Avro schemas: from JSON text (and the texts that it refers to) to a tree whose names are resolved.
//!
//! Nothing here knows bytes or Arrow. Next: `pair`, which holds a writer's tree against a reader's.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

/// A schema; a named type that is used twice is one shared value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Schema {
    pub(crate) kind: Kind,
    pub(crate) logical: Option<Logical>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Fixed(Arc<Named>, usize),
    Enum(Arc<Named>, Arc<Symbols>),
    Array(Arc<Schema>),
    Map(Arc<Schema>),
    Record(Arc<Named>, Arc<[Field]>),
    Union(Arc<[Schema]>),
    /// A named type within itself.
    Recursive(Arc<str>),
}

/// A full name and the full names that a reader also accepts.
#[derive(Debug, PartialEq)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) aliases: Vec<String>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Symbols {
    pub(crate) names: Vec<String>,
    pub(crate) default: Option<String>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) schema: Schema,
    pub(crate) default: Option<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Logical {
    Date,
    TimeMillis,
    TimeMicros,
    TimestampMillis,
    TimestampMicros,
    TimestampNanos,
    LocalTimestampMillis,
    LocalTimestampMicros,
    LocalTimestampNanos,
    Decimal { precision: u8, scale: u8 },
    Uuid,
}

impl Schema {
    /// The schema of the last text; those before it define names that later ones use.
    pub(crate) fn parse(texts: &[impl AsRef<str>]) -> Result<Schema, String> {
        let mut parser = Parser::default();
        let mut last = None;
        for text in texts {
            let value: Value =
                serde_json::from_str(text.as_ref()).map_err(|error| format!("the schema is not JSON: {error}"))?;
            last = Some(parser.schema(&value, "")?);
        }
        last.ok_or_else(|| "there is no schema".to_owned())
    }

    /// What the schema is called in messages.
    pub(crate) fn describe(&self) -> String {
        match &self.kind {
            Kind::Null => "null".into(),
            Kind::Boolean => "boolean".into(),
            Kind::Int => "int".into(),
            Kind::Long => "long".into(),
            Kind::Float => "float".into(),
            Kind::Double => "double".into(),
            Kind::Bytes => "bytes".into(),
            Kind::String => "string".into(),
            Kind::Fixed(named, size) => format!("fixed {} of {size} bytes", named.name),
            Kind::Enum(named, _) => format!("enum {}", named.name),
            Kind::Array(items) => format!("array of {}", items.describe()),
            Kind::Map(values) => format!("map of {}", values.describe()),
            Kind::Record(named, _) => format!("record {}", named.name),
            Kind::Union(branches) => {
                format!("union of {}", branches.iter().map(Schema::describe).collect::<Vec<_>>().join(", "))
            }
            Kind::Recursive(name) => format!("{name} within itself"),
        }
    }

    /// For a union of null and one more type: that type, and where null stands.
    pub(crate) fn nullable(&self) -> Option<(usize, &Schema)> {
        let Kind::Union(branches) = &self.kind else { return None };
        match branches.as_ref() {
            [Schema { kind: Kind::Null, .. }, other] if other.kind != Kind::Null => Some((0, other)),
            [other, Schema { kind: Kind::Null, .. }] if other.kind != Kind::Null => Some((1, other)),
            _ => None,
        }
    }
}

/// The part of a full name behind the last dot, by which Avro's resolution compares types.
pub(crate) fn short_name(full: &str) -> &str {
    full.rsplit('.').next().unwrap_or(full)
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

fn strings(object: &Map<String, Value>, key: &str) -> Vec<String> {
    let list = object.get(key).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[derive(Default)]
struct Parser {
    /// `None` while the type is being read.
    names: HashMap<String, Option<Schema>>,
}

impl Parser {
    fn schema(&mut self, value: &Value, namespace: &str) -> Result<Schema, String> {
        match value {
            Value::String(name) => self.name(name, namespace),
            Value::Array(branches) => {
                let branches =
                    branches.iter().map(|branch| self.schema(branch, namespace)).collect::<Result<Vec<_>, _>>()?;
                Ok(plain(Kind::Union(branches.into())))
            }
            Value::Object(object) => self.object(object, namespace),
            other => Err(format!("expected a schema (text, list or object), found {other}")),
        }
    }

    fn name(&self, name: &str, namespace: &str) -> Result<Schema, String> {
        Ok(plain(match name {
            "null" => Kind::Null,
            "boolean" => Kind::Boolean,
            "int" => Kind::Int,
            "long" => Kind::Long,
            "float" => Kind::Float,
            "double" => Kind::Double,
            "bytes" => Kind::Bytes,
            "string" => Kind::String,
            _ => {
                let full = full_name(name, namespace);
                return match self.names.get(&full).or_else(|| self.names.get(name)) {
                    Some(Some(schema)) => Ok(schema.clone()),
                    Some(None) => Ok(plain(Kind::Recursive(full.into()))),
                    None => Err(format!(
                        "the type '{full}' is neither defined before its use nor among the schema's references"
                    )),
                };
            }
        }))
    }

    fn object(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<Schema, String> {
        let kind = match object.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            Some(nested) => return self.schema(nested, namespace).map(|schema| with_logical(schema, object)),
            None => return Err("expected the key 'type' in a schema".to_owned()),
        };
        let schema = match kind {
            "array" => plain(Kind::Array(Arc::new(self.inner(object, "items", namespace)?))),
            "map" => plain(Kind::Map(Arc::new(self.inner(object, "values", namespace)?))),
            "record" | "error" | "enum" | "fixed" => return self.named(kind, object, namespace),
            name => self.name(name, namespace)?,
        };
        Ok(with_logical(schema, object))
    }

    fn inner(&mut self, object: &Map<String, Value>, key: &str, namespace: &str) -> Result<Schema, String> {
        let value = object.get(key).ok_or_else(|| format!("expected the key '{key}' in a schema"))?;
        self.schema(value, namespace)
    }

    fn named(&mut self, kind: &str, object: &Map<String, Value>, namespace: &str) -> Result<Schema, String> {
        let text = |key: &str| object.get(key).and_then(Value::as_str);
        let name = text("name").ok_or_else(|| format!("expected the key 'name' in a schema of type {kind}"))?;
        let name = full_name(name, text("namespace").unwrap_or(namespace));
        let namespace = name.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
        if self.names.insert(name.clone(), None).is_some_and(|before| before.is_none()) {
            return Err(format!("the type '{name}' is defined within itself"));
        }
        let aliases = strings(object, "aliases").iter().map(|alias| full_name(alias, &namespace)).collect();
        let named = Arc::new(Named { name: name.clone(), aliases });
        let schema = match kind {
            "fixed" => {
                let size = object.get("size").and_then(Value::as_u64).and_then(|size| i32::try_from(size).ok());
                let size = size.ok_or_else(|| format!("expected a number of bytes as 'size' of '{name}'"))?;
                with_logical(plain(Kind::Fixed(named, size as usize)), object)
            }
            "enum" => {
                let symbols =
                    Symbols { names: strings(object, "symbols"), default: text("default").map(str::to_owned) };
                plain(Kind::Enum(named, Arc::new(symbols)))
            }
            _ => {
                let fields = object.get("fields").and_then(Value::as_array);
                let fields = fields.ok_or_else(|| format!("expected a list of fields in the record '{name}'"))?;
                let fields =
                    fields.iter().map(|field| self.field(field, &name, &namespace)).collect::<Result<Vec<_>, _>>()?;
                if let Some(field) = fields
                    .iter()
                    .enumerate()
                    .find_map(|(at, field)| fields[..at].iter().find(|other| other.name == field.name))
                {
                    return Err(format!("the record '{name}' has two fields '{}'", field.name));
                }
                plain(Kind::Record(named, fields.into()))
            }
        };
        self.names.insert(name, Some(schema.clone()));
        Ok(schema)
    }

    fn field(&mut self, value: &Value, record: &str, namespace: &str) -> Result<Field, String> {
        let object = value.as_object().ok_or_else(|| format!("expected an object for each field of '{record}'"))?;
        let name = object
            .get("name")
            .and_then(Value::as_str)
            .ok_or_else(|| format!("expected a name for each field of '{record}'"))?;
        let schema = self.inner(object, "type", namespace).map_err(|error| format!("{record}.{name}: {error}"))?;
        // A logical type beside the field's own type (not within it) is a common mistake that Java ignores, so it is ignored.
        Ok(Field {
            name: name.to_owned(),
            aliases: strings(object, "aliases"),
            schema,
            default: object.get("default").cloned(),
        })
    }
}

fn plain(kind: Kind) -> Schema {
    Schema { kind, logical: None }
}

/// Adds the logical type if it fits; one that does not is ignored, as the specification demands.
fn with_logical(schema: Schema, object: &Map<String, Value>) -> Schema {
    let Some(name) = object.get("logicalType").and_then(Value::as_str) else { return schema };
    let logical = match (name, &schema.kind) {
        ("date", Kind::Int) => Logical::Date,
        ("time-millis", Kind::Int) => Logical::TimeMillis,
        ("time-micros", Kind::Long) => Logical::TimeMicros,
        ("timestamp-millis", Kind::Long) => Logical::TimestampMillis,
        ("timestamp-micros", Kind::Long) => Logical::TimestampMicros,
        ("timestamp-nanos", Kind::Long) => Logical::TimestampNanos,
        ("local-timestamp-millis", Kind::Long) => Logical::LocalTimestampMillis,
        ("local-timestamp-micros", Kind::Long) => Logical::LocalTimestampMicros,
        ("local-timestamp-nanos", Kind::Long) => Logical::LocalTimestampNanos,
        ("uuid", Kind::String | Kind::Fixed(_, 16)) => Logical::Uuid,
        ("decimal", Kind::Bytes | Kind::Fixed(..)) => match decimal(&schema.kind, object) {
            Some(decimal) => decimal,
            None => return schema,
        },
        _ => return schema,
    };
    Schema { logical: Some(logical), ..schema }
}

fn decimal(kind: &Kind, object: &Map<String, Value>) -> Option<Logical> {
    let precision =
        object.get("precision").and_then(Value::as_u64).and_then(|precision| u8::try_from(precision).ok())?;
    let scale = match object.get("scale") {
        Some(scale) => scale.as_u64().and_then(|scale| u8::try_from(scale).ok())?,
        None => 0,
    };
    let fits = match kind {
        // Digits that always fit in this many bytes: floor(log10(2^(8n-1) - 1)).
        Kind::Fixed(_, size) => {
            usize::from(precision) <= (((8 * size).saturating_sub(1)) as f64 * std::f64::consts::LOG10_2) as usize
        }
        _ => true,
    };
    (precision > 0 && scale <= precision && fits).then_some(Logical::Decimal { precision, scale })
}
