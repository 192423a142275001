//! Avro: records in Confluent's wire format (a zero byte, the schema's id, the value) or bare values of one schema.
//!
//! Each writer's schema is resolved once ([`pair`]), each record judged by it ([`judge`]), and the good ones decoded
//! by arrow-avro, all of one writer in one batch. `schema` reads schemas, `columns` holds the table of types.

mod bytes;
mod columns;
mod judge;
mod pair;
mod schema;
#[cfg(test)]
pub(crate) mod tests;
mod writer;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, StructArray};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Fields};
use frazil_model::{Avro, Error, ErrorKind, Records, Rejected, Result, Stage};
use serde_json::Value;

pub(crate) use schema::Logical;
use schema::Schema;
use writer::Writer;

use crate::format::{Rows, Values};
use crate::registry::{Lookup, Registry};

/// The writer's schema of bare values, which have no id.
const BARE: i32 = 0;

/// Ids that are remembered before those that cannot be read, perhaps made of spoiled bytes, are forgotten.
const MOST_WRITERS: usize = 10_000;

/// Decodes Avro values; its clones share the registry's cache.
pub(crate) struct AvroFormat {
    registry: Option<Arc<Registry>>,
    reader: Arc<Schema>,
    fields: Fields,
    /// Writers by schema id; an error is why none of its records can be read.
    writers: HashMap<i32, Result<Writer, String>>,
}

impl AvroFormat {
    /// Finds the schema to read with: the given one, else the newest of the subject.
    pub(crate) async fn open(avro: &Avro, topics: &[String]) -> Result<AvroFormat> {
        let registry =
            avro.registry.as_ref().map(|registry| Registry::open(&registry.settings())).transpose()?.map(Arc::new);
        let reader = match (&avro.schema, &registry) {
            (Some(given), _) => {
                let text = match given {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                Schema::parse(&[text]).map_err(|why| Error::config("decode.avro.schema", why))?
            }
            (None, Some(registry)) => newest(registry, avro.subject.as_deref(), topics).await?,
            (None, None) => return Err(Error::config("decode.avro", "expected 'registry' or 'schema'")),
        };
        let fields = columns::columns(&reader)?;
        Ok(AvroFormat { registry, reader: Arc::new(reader), fields, writers: HashMap::new() })
    }

    pub(crate) fn fields(&self) -> &Fields {
        &self.fields
    }

    pub(crate) fn fork(&self) -> AvroFormat {
        AvroFormat {
            registry: self.registry.clone(),
            reader: self.reader.clone(),
            fields: self.fields.clone(),
            writers: HashMap::new(),
        }
    }

    /// Decodes all values.
    pub(crate) fn decode(&mut self, records: &Records) -> Result<Values> {
        self.learn(records)?;
        let mut rejected = Vec::new();
        let mut last = None;
        let mut used: Vec<i32> = Vec::new();
        for row in 0..records.len() {
            let (id, body) = match self.split(records.value(row)) {
                Ok(split) => split,
                Err(reason) => {
                    rejected.push(Rejected { row, stage: Stage::Decode, reason, schema_id: None });
                    continue;
                }
            };
            let writer = self.writers.get_mut(&id).expect("learn has added every id");
            if last != Some(id) {
                last = Some(id);
                if let Ok(writer) = writer
                    && !used.contains(&id)
                {
                    used.push(id);
                    writer.begin();
                }
            }
            let verdict = match writer {
                Ok(writer) => writer.push(row as u32, body).map_err(|flaw| flaw.to_string()),
                Err(why) => Err(why.clone()),
            };
            if let Err(reason) = verdict {
                rejected.push(Rejected { row, stage: Stage::Decode, reason, schema_id: self.shown(id) });
            }
        }
        let mut parts = Vec::new();
        for id in used {
            let schema_id = self.shown(id);
            let Some(Ok(writer)) = self.writers.get_mut(&id) else { continue };
            let body = |row: u32| body_of(records.value(row as usize).unwrap_or_default(), schema_id.is_some());
            let mut refuse = |row: u32, reason| {
                rejected.push(Rejected { row: row as usize, stage: Stage::Decode, reason, schema_id })
            };
            parts.extend(writer.finish(&DataType::Struct(self.fields.clone()), &body, &mut refuse));
        }
        rejected.sort_unstable_by_key(|rejected| rejected.row);
        let (rows, columns) = merge(parts, &self.fields, records.len())?;
        Ok(Values { columns, rows, rejected })
    }

    fn shown(&self, id: i32) -> Option<i32> {
        self.registry.is_some().then_some(id)
    }

    /// The schema id and the bytes behind it.
    fn split<'a>(&self, value: Option<&'a [u8]>) -> Result<(i32, &'a [u8]), String> {
        let Some(value) = value else { return Err("the value is null (a tombstone)".to_owned()) };
        if self.registry.is_none() {
            return Ok((BARE, value));
        }
        match value {
            [0, a, b, c, d, body @ ..] => Ok((i32::from_be_bytes([*a, *b, *c, *d]), body)),
            [] => Err("the value is empty; expected a zero byte and the id of its schema".to_owned()),
            [0, ..] => Err(format!(
                "the value has {} bytes; expected a zero byte and the 4 bytes of its schema's id",
                value.len()
            )),
            [magic, ..] => Err(format!("the first byte is {magic:#04x}; expected 0x00, Confluent's wire format")),
        }
    }

    /// Fetches and resolves the schemas that these records name and that were not seen before.
    ///
    /// It comes before any record is decoded, so that a failing registry leaves nothing half done.
    fn learn(&mut self, records: &Records) -> Result<()> {
        let Some(registry) = self.registry.clone() else {
            if !self.writers.contains_key(&BARE) {
                self.writers.insert(BARE, Writer::new(&self.reader, &self.reader));
            }
            return Ok(());
        };
        if self.writers.len() > MOST_WRITERS {
            self.writers.retain(|_, writer| writer.is_ok());
        }
        let mut last = None;
        let mut wanted = BTreeSet::new();
        for row in 0..records.len() {
            let Ok((id, _)) = self.split(records.value(row)) else { continue };
            if last == Some(id) {
                continue;
            }
            last = Some(id);
            // An id that was unknown may have been registered since: the registry's cache decides when to ask again.
            if !matches!(self.writers.get(&id), Some(known) if known.is_ok() || registry.knows(id)) {
                wanted.insert(id);
            }
        }
        let wanted: Vec<i32> = wanted.into_iter().collect();
        for (id, lookup) in wanted.iter().zip(registry.schemas(&wanted)?) {
            let writer = match lookup {
                Lookup::Found(texts) => {
                    let parsed = Schema::parse(&texts).and_then(|writer| Writer::new(&writer, &self.reader));
                    parsed
                        .map_err(|why| format!("records of schema {id} cannot be read with the reader's schema: {why}"))
                }
                Lookup::Unusable(why) => Err(why),
            };
            self.writers.insert(*id, writer);
        }
        Ok(())
    }
}

fn body_of(value: &[u8], framed: bool) -> &[u8] {
    if framed { value.get(5..).unwrap_or_default() } else { value }
}

/// The newest schema of the subject, or of every topic's subject, which then must agree.
async fn newest(registry: &Registry, subject: Option<&str>, topics: &[String]) -> Result<Schema> {
    let subjects: Vec<String> = match subject {
        Some(subject) => vec![subject.to_owned()],
        None => topics.iter().map(|topic| format!("{topic}-value")).collect(),
    };
    let mut found: Option<(String, Schema)> = None;
    for subject in subjects {
        let texts = registry.newest(&subject).await?;
        let schema = Schema::parse(&texts).map_err(|why| {
            Error::new(ErrorKind::Schema, format!("the newest schema of the subject: {why}")).with("subject", &subject)
        })?;
        match &found {
            Some((first, other)) if *other != schema => {
                let message = format!(
                    "the newest schemas of '{first}' and '{subject}' differ: give 'schema' or 'subject' to say which one the columns follow"
                );
                return Err(Error::config("decode.avro", message));
            }
            Some(_) => {}
            None => found = Some((subject, schema)),
        }
    }
    found.map(|(_, schema)| schema).ok_or_else(|| {
        Error::config("decode.avro", "expected 'subject' or 'schema', since there is no topic to name the subject")
    })
}

/// Puts the parts of several writers back into the order of the records.
fn merge(mut parts: Vec<(Vec<u32>, StructArray)>, fields: &Fields, records: usize) -> Result<(Rows, Vec<ArrayRef>)> {
    let failed = |error| Error::new(ErrorKind::Internal, "decoded parts do not fit together").caused_by(error);
    if parts.len() == 1 {
        let (rows, array) = parts.remove(0);
        let rows = if rows.len() == records { Rows::All } else { Rows::Some(rows) };
        return Ok((rows, array.columns().to_vec()));
    }
    let mut order: Vec<(u32, (usize, usize))> = Vec::with_capacity(records);
    for (part, (rows, _)) in parts.iter().enumerate() {
        order.extend(rows.iter().enumerate().map(|(at, row)| (*row, (part, at))));
    }
    order.sort_unstable();
    let indices: Vec<(usize, usize)> = order.iter().map(|(_, index)| *index).collect();
    let mut columns = Vec::with_capacity(fields.len());
    for (at, field) in fields.iter().enumerate() {
        let sources: Vec<&dyn arrow::array::Array> = parts.iter().map(|(_, array)| array.column(at).as_ref()).collect();
        columns.push(match sources.is_empty() {
            true => arrow::array::new_empty_array(field.data_type()),
            false => interleave(&sources, &indices).map_err(failed)?,
        });
    }
    let rows =
        if order.len() == records { Rows::All } else { Rows::Some(order.into_iter().map(|(row, _)| row).collect()) };
    Ok((rows, columns))
}
