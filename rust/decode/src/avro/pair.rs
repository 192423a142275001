//! A writer's schema held against the reader's: Avro's schema resolution, done once for each writer's schema.
//!
//! Out come a judge for the writer's bytes, both schemas in a form that leaves arrow-avro nothing to interpret, and
//! the last step from arrow-avro's arrays to the columns. The form: every named type written out where it is used
//! under an invented name that is the same on both sides (arrow-avro reads a type that is only *named* with the
//! reader's layout, whatever the writer's was), fields under the reader's names, logical types and enums as the
//! numbers they are written as, and `["null", T]` in the reader wherever null may be written.

use std::sync::Arc;

use arrow::array::StringArray;
use serde_json::{Map, Value, json};

use super::judge::Node;
use super::schema::{Field, Kind, Logical, Named, Schema, Symbols, short_name};
use crate::convert::Shape;

/// Nodes of a schema with all its types written out; more is a schema that names itself in ever new ways.
const MOST_NODES: usize = 50_000;

/// How to read one writer's records.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) node: Node,
    pub(super) shape: Shape,
    pub(super) writer: Value,
    pub(super) reader: Value,
}

/// Resolves `writer` against `reader`; an error says why its records cannot be read.
pub(super) fn pair(writer: &Schema, reader: &Schema) -> Result<Pair, String> {
    Pairing { nodes: 0 }.pair(writer, reader)
}

struct Pairing {
    /// How many nodes there are so far; also what invented names are made of.
    nodes: usize,
}

impl Pairing {
    fn next(&mut self) -> Result<usize, String> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            Err(format!("the schema has more than {MOST_NODES} types"))
        } else {
            Ok(self.nodes)
        }
    }

    fn pair(&mut self, writer: &Schema, reader: &Schema) -> Result<Pair, String> {
        let id = self.next()?;
        match (writer.nullable(), reader.nullable()) {
            (Some((null, inner)), target) => {
                // Where the reader wants a value, null is a flaw of the record; arrow-avro may think it is allowed.
                let refused = "the value is null, but the reader's schema has no null here";
                let of_null = if target.is_some() { Ok(Node::Null) } else { Err(refused) };
                let pair = self.pair(inner, target.map_or(reader, |(_, inner)| inner))?;
                let (branches, text) = match null {
                    0 => (vec![of_null, Ok(pair.node)], json!(["null", pair.writer])),
                    _ => (vec![Ok(pair.node), of_null], json!([pair.writer, "null"])),
                };
                Ok(Pair {
                    node: Node::Union(branches),
                    shape: pair.shape,
                    writer: text,
                    reader: json!(["null", pair.reader]),
                })
            }
            (None, Some((_, target))) => {
                let pair = self.pair(writer, target)?;
                Ok(Pair { reader: json!(["null", pair.reader]), ..pair })
            }
            (None, None) => self.plain(id, writer, reader),
        }
    }

    fn plain(&mut self, id: usize, writer: &Schema, reader: &Schema) -> Result<Pair, String> {
        let same = |node, shape, text: Value| Ok(Pair { node, shape, writer: text.clone(), reader: text });
        let shape = Shape::of(reader.logical);
        let mismatch = || Err(format!("{} cannot be read as {}", writer.describe(), reader.describe()));
        match (&writer.kind, &reader.kind) {
            (Kind::Boolean, Kind::Boolean) => same(Node::Boolean, shape, json!("boolean")),
            (Kind::Int, Kind::Int) => same(within(reader.logical).unwrap_or(Node::Int), shape, json!("int")),
            // An int is written like a long, so arrow-avro may read it as one.
            (Kind::Int, Kind::Long) => same(within(reader.logical).unwrap_or(Node::Int), shape, json!("long")),
            (Kind::Long, Kind::Long) => same(within(reader.logical).unwrap_or(Node::Long), shape, json!("long")),
            (Kind::Float, Kind::Float) => same(Node::Float, shape, json!("float")),
            (Kind::Double, Kind::Double) => same(Node::Double, shape, json!("double")),
            (Kind::Int | Kind::Long | Kind::Float, Kind::Float | Kind::Double) => {
                let (node, name) = match writer.kind {
                    Kind::Int => (Node::Int, "int"),
                    Kind::Long => (Node::Long, "long"),
                    _ if reader.kind == Kind::Float => return mismatch(),
                    _ => (Node::Float, "float"),
                };
                let target = if reader.kind == Kind::Float { "float" } else { "double" };
                Ok(Pair { node, shape, writer: json!(name), reader: json!(target) })
            }
            (Kind::Bytes | Kind::String, Kind::Bytes | Kind::String) => match (writer.logical, reader.logical) {
                (from @ Some(Logical::Decimal { .. }), to @ Some(Logical::Decimal { .. })) if from != to => mismatch(),
                (_, Some(Logical::Uuid)) => {
                    same(Node::UuidText, shape, json!({"type": "string", "logicalType": "uuid"}))
                }
                (_, Some(Logical::Decimal { precision, scale })) => {
                    let text =
                        json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale});
                    same(decimal(precision, None), shape, text)
                }
                _ if reader.kind == Kind::String => same(Node::Text, shape, json!("string")),
                _ => same(Node::Bytes, shape, json!("bytes")),
            },
            (Kind::Fixed(from, size), Kind::Fixed(to, target)) => {
                let decimals = [writer.logical, reader.logical]
                    .iter()
                    .flatten()
                    .filter(|logical| matches!(logical, Logical::Decimal { .. }))
                    .count();
                if size != target || !matches(from, to) || decimals == 2 && writer.logical != reader.logical {
                    return mismatch();
                }
                let mut text = json!({"type": "fixed", "name": format!("f{id}"), "size": size});
                let mut node = Node::Fixed(*size);
                if let Some(Logical::Decimal { precision, scale }) = reader.logical {
                    text["logicalType"] = "decimal".into();
                    text["precision"] = precision.into();
                    text["scale"] = scale.into();
                    node = decimal(precision, Some(*size));
                }
                same(node, shape, text)
            }
            (Kind::Enum(from, symbols), Kind::Enum(to, target)) if matches(from, to) => {
                let (node, shape) = enumeration(symbols, target);
                same(node, shape, json!("int"))
            }
            (Kind::Array(from), Kind::Array(to)) => {
                let pair = self.pair(from, to)?;
                let of = |items: Value| json!({"type": "array", "items": items});
                let min = pair.node.min();
                let node = Node::Array { item: Box::new(pair.node), min };
                Ok(Pair {
                    node,
                    shape: Shape::List(Box::new(pair.shape)),
                    writer: of(pair.writer),
                    reader: of(pair.reader),
                })
            }
            (Kind::Map(from), Kind::Map(to)) => {
                let pair = self.pair(from, to)?;
                let of = |values: Value| json!({"type": "map", "values": values});
                let min = 1 + pair.node.min();
                let node = Node::Map { value: Box::new(pair.node), min, text: true };
                Ok(Pair {
                    node,
                    shape: Shape::Map(Box::new(pair.shape)),
                    writer: of(pair.writer),
                    reader: of(pair.reader),
                })
            }
            // Records are compared by their fields only, as Avro's Java library does: names differ in practice.
            (Kind::Record(_, fields), Kind::Record(_, target)) => self.record(id, fields, target),
            (Kind::Union(_), _) => Err(format!(
                "the writer's {} is not null and one more type, which is all that a column can hold",
                writer.describe()
            )),
            _ => mismatch(),
        }
    }

    fn record(&mut self, id: usize, writer: &[Field], reader: &[Field]) -> Result<Pair, String> {
        let mut source: Vec<Option<usize>> = vec![None; writer.len()];
        let mut of_reader: Vec<Option<usize>> = vec![None; reader.len()];
        // Names first: an alias must not take a writer's field that another reader's field has by name.
        for by_alias in [false, true] {
            for (to, field) in reader.iter().enumerate().filter(|(to, _)| of_reader[*to].is_none()).collect::<Vec<_>>()
            {
                let found = writer.iter().enumerate().position(|(from, candidate)| {
                    source[from].is_none()
                        && if by_alias { field.aliases.contains(&candidate.name) } else { field.name == candidate.name }
                });
                if let Some(from) = found {
                    source[from] = Some(to);
                    of_reader[to] = Some(from);
                }
            }
        }
        let mut nodes = Vec::with_capacity(writer.len());
        let mut texts = Vec::with_capacity(writer.len());
        let mut targets: Vec<Option<(Value, Shape)>> = reader.iter().map(|_| None).collect();
        for (from, field) in writer.iter().enumerate() {
            let (node, text, name) = match source[from] {
                Some(to) => {
                    let pair =
                        self.pair(&field.schema, &reader[to].schema).map_err(|why| format!("{}: {why}", field.name))?;
                    targets[to] = Some((json!({"name": reader[to].name, "type": pair.reader}), pair.shape));
                    (pair.node, pair.writer, reader[to].name.clone())
                }
                None => {
                    let (node, text) = self.skipped(&field.schema).map_err(|why| format!("{}: {why}", field.name))?;
                    (node, text, format!("skipped {from}"))
                }
            };
            nodes.push((field.name.clone(), node));
            texts.push(json!({"name": name, "type": text}));
        }
        let mut shapes = Vec::with_capacity(reader.len());
        let mut fields = Vec::with_capacity(reader.len());
        for (field, target) in reader.iter().zip(targets) {
            let (text, shape) = match target {
                Some(target) => target,
                None => self.missing(field).map_err(|why| format!("{}: {why}", field.name))?,
            };
            fields.push(text);
            shapes.push(shape);
        }
        let of = |fields: Vec<Value>| json!({"type": "record", "name": format!("r{id}"), "fields": fields});
        Ok(Pair { node: Node::Record(nodes), shape: Shape::Struct(shapes), writer: of(texts), reader: of(fields) })
    }

    /// A reader's field that the writer does not have.
    fn missing(&mut self, field: &Field) -> Result<(Value, Shape), String> {
        let Some(default) = &field.default else {
            return Err("the writer's schema has no such field, and it has no default".to_owned());
        };
        // A reader with itself: the same names, types and shapes as if a writer had it.
        let pair = self.pair(&field.schema, &field.schema)?;
        let default = default_value(&field.schema, default)?;
        let text = match field.schema.nullable() {
            // The branch of the default comes first.
            Some(_) if !default.is_null() => json!([pair.reader[1], "null"]),
            _ => pair.reader,
        };
        Ok((json!({"name": field.name, "type": text, "default": default}), pair.shape))
    }

    /// A writer's type that the reader does not want.
    fn skipped(&mut self, schema: &Schema) -> Result<(Node, Value), String> {
        let id = self.next()?;
        Ok(match &schema.kind {
            Kind::Null => (Node::Null, json!("null")),
            Kind::Boolean => (Node::Boolean, json!("boolean")),
            Kind::Int => (Node::Int, json!("int")),
            Kind::Long => (Node::Long, json!("long")),
            Kind::Float => (Node::Float, json!("float")),
            Kind::Double => (Node::Double, json!("double")),
            Kind::Bytes => (Node::Bytes, json!("bytes")),
            Kind::String => (Node::Bytes, json!("string")),
            Kind::Fixed(_, size) => {
                (Node::Fixed(*size), json!({"type": "fixed", "name": format!("f{id}"), "size": size}))
            }
            Kind::Enum(_, symbols) => {
                let text = json!({"type": "enum", "name": format!("e{id}"), "symbols": symbols.names});
                (Node::Enum(symbols.names.iter().map(|name| (name.clone(), true)).collect()), text)
            }
            Kind::Array(items) => {
                let (node, text) = self.skipped(items)?;
                let min = node.min();
                (Node::Array { item: Box::new(node), min }, json!({"type": "array", "items": text}))
            }
            Kind::Map(values) => {
                let (node, text) = self.skipped(values)?;
                let min = 1 + node.min();
                (Node::Map { value: Box::new(node), min, text: false }, json!({"type": "map", "values": text}))
            }
            Kind::Record(_, fields) => {
                let mut nodes = Vec::with_capacity(fields.len());
                let mut texts = Vec::with_capacity(fields.len());
                for field in fields.iter() {
                    let (node, text) = self.skipped(&field.schema).map_err(|why| format!("{}: {why}", field.name))?;
                    nodes.push((field.name.clone(), node));
                    texts.push(json!({"name": field.name, "type": text}));
                }
                (Node::Record(nodes), json!({"type": "record", "name": format!("r{id}"), "fields": texts}))
            }
            Kind::Union(branches) => {
                let (nodes, texts): (Vec<_>, Vec<_>) = branches
                    .iter()
                    .map(|branch| self.skipped(branch))
                    .collect::<Result<Vec<_>, _>>()?
                    .into_iter()
                    .unzip();
                (Node::Union(nodes.into_iter().map(Ok).collect()), Value::Array(texts))
            }
            Kind::Recursive(name) => return Err(format!("the type {name} holds itself, which is not supported")),
        })
    }
}

/// Whether two named types are the same: short names agree (as the specification says), or an alias of the reader's.
fn matches(writer: &Named, reader: &Named) -> bool {
    short_name(&writer.name) == short_name(&reader.name)
        || reader.aliases.iter().any(|alias| *alias == writer.name || short_name(alias) == short_name(&writer.name))
}

/// Times of day, and milliseconds that become microseconds.
fn within(logical: Option<Logical>) -> Option<Node> {
    let (name, from, to) = match logical? {
        Logical::TimeMillis => ("time of day in milliseconds", 0, 86_400_000 - 1),
        Logical::TimeMicros => ("time of day in microseconds", 0, 86_400_000_000 - 1),
        Logical::TimestampMillis | Logical::LocalTimestampMillis => {
            ("timestamp that microseconds can hold", i64::MIN / 1000, i64::MAX / 1000)
        }
        // Dates are ints, which the node must still check.
        _ => return None,
    };
    Some(Node::Within { name, from, to })
}

fn decimal(precision: u8, size: Option<usize>) -> Node {
    // Precision is at most 38, checked when the reader's schema became columns; 10^38 fits.
    Node::Decimal { size, bound: 10i128.pow(u32::from(precision.min(38))), precision }
}

fn enumeration(writer: &Arc<Symbols>, reader: &Arc<Symbols>) -> (Node, Shape) {
    let default = reader.default.as_ref().filter(|default| reader.names.contains(default));
    let target = |symbol: &String| if reader.names.contains(symbol) { Some(symbol.clone()) } else { default.cloned() };
    let node = Node::Enum(writer.names.iter().map(|symbol| (symbol.clone(), target(symbol).is_some())).collect());
    (node, Shape::Symbols(StringArray::from_iter(writer.names.iter().map(target))))
}

/// A field's default in the form that arrow-avro is given: symbols as numbers, records whole.
fn default_value(schema: &Schema, value: &Value) -> Result<Value, String> {
    let wrong = || format!("the default {value} is not a value of {}", schema.describe());
    if let Some((_, inner)) = schema.nullable() {
        return if value.is_null() { Ok(Value::Null) } else { default_value(inner, value) };
    }
    match &schema.kind {
        Kind::Enum(_, symbols) => {
            let at = symbols.names.iter().position(|symbol| Some(symbol.as_str()) == value.as_str());
            Ok(json!(at.ok_or_else(wrong)?))
        }
        Kind::Array(items) => {
            value.as_array().ok_or_else(wrong)?.iter().map(|item| default_value(items, item)).collect()
        }
        Kind::Map(values) => {
            let object = value.as_object().ok_or_else(wrong)?;
            object
                .iter()
                .map(|(key, value)| Ok((key.clone(), default_value(values, value)?)))
                .collect::<Result<Map<_, _>, _>>()
                .map(Value::Object)
        }
        Kind::Record(_, fields) => {
            let object = value.as_object().ok_or_else(wrong)?;
            let mut whole = Map::new();
            for field in fields.iter() {
                let value = object.get(&field.name).or(field.default.as_ref()).ok_or_else(wrong)?;
                whole.insert(field.name.clone(), default_value(&field.schema, value)?);
            }
            Ok(Value::Object(whole))
        }
        _ => Ok(value.clone()),
    }
}
