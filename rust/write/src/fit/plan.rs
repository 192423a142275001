//! How a column of one type becomes a column of another, decided once for a schema.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit};
use iceberg::spec::{NestedFieldRef, PrimitiveType, Type};

use super::missing;
use crate::names::did_you_mean;

/// What happens to a column.
#[derive(Debug)]
pub(super) enum Plan {
    /// Nothing: it is what the table has, but for names and ids inside.
    Keep,
    /// A cast that cannot fail nor lose anything.
    Cast(DataType),
    /// A cast whose values are checked: out of range or not exact is refused.
    Checked(DataType, Check),
    /// Text → UUID.
    ParseUuid,
    /// Bytes of any length → bytes of one length.
    Fixed(i32),
    /// A struct, field by field.
    Struct(Fields, Vec<Child>),
    /// A list (after a cast to Arrow's plain list where it is another kind).
    List(Option<DataType>, FieldRef, Box<Child>),
    /// A map: key and value.
    Map(FieldRef, Box<Child>, Box<Child>),
}

/// What a checked cast must keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// The value must be in the target's range.
    Range,
    /// Casting back must give the same value.
    Exact,
    /// Finite must stay finite.
    Finite,
}

/// A field inside a column.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) name: String,
    pub(super) required: bool,
    pub(super) source: ChildSource,
}

#[derive(Debug)]
pub(super) enum ChildSource {
    Input(usize, Plan),
    Constant(ArrayRef),
}

type Reasons = Vec<String>;

impl Plan {
    /// Everything that does not fit is listed, not only the first.
    pub(super) fn new(found: &Field, target: &Field, field: &NestedFieldRef, name: &str) -> Result<Plan, Reasons> {
        match (field.field_type.as_ref(), found.data_type(), target.data_type()) {
            (Type::Primitive(primitive), from, to) => {
                primitive_plan(primitive, from, to).ok_or_else(|| vec![impossible(name, from, &field.field_type)])
            }
            (Type::Struct(inner), DataType::Struct(from), DataType::Struct(to)) => {
                struct_plan(inner.fields(), from, to, name).map(|children| Plan::Struct(to.clone(), children))
            }
            (
                Type::List(list),
                DataType::List(from)
                | DataType::LargeList(from)
                | DataType::FixedSizeList(from, _)
                | DataType::ListView(from)
                | DataType::LargeListView(from),
                DataType::List(to),
            ) => {
                let first = (!matches!(found.data_type(), DataType::List(_))).then(|| DataType::List(from.clone()));
                let child = element(from, to, &list.element_field, &format!("{name}.element"), 0)?;
                Ok(Plan::List(first, to.clone(), Box::new(child)))
            }
            (Type::Map(map), DataType::Map(from, _), DataType::Map(to, _)) => {
                let (DataType::Struct(from), DataType::Struct(pair)) = (from.data_type(), to.data_type()) else {
                    return Err(vec![impossible(name, found.data_type(), &field.field_type)]);
                };
                let key = element(&from[0], &pair[0], &map.key_field, &format!("{name}.key"), 0);
                let value = element(&from[1], &pair[1], &map.value_field, &format!("{name}.value"), 1);
                match (key, value) {
                    (Ok(key), Ok(value)) => Ok(Plan::Map(to.clone(), Box::new(key), Box::new(value))),
                    (key, value) => Err([key.err(), value.err()].into_iter().flatten().flatten().collect()),
                }
            }
            (_, DataType::Null, to) => Ok(Plan::Cast(to.clone())),
            (_, from, _) => Err(vec![impossible(name, from, &field.field_type)]),
        }
    }
}

fn impossible(name: &str, from: &DataType, to: &Type) -> String {
    format!(
        "column '{name}' is {from} and cannot become the table's {to} without loss or guessing: cast it in the transform"
    )
}

fn element(from: &Field, to: &Field, field: &NestedFieldRef, name: &str, index: usize) -> Result<Child, Reasons> {
    let plan = Plan::new(from, to, field, name)?;
    Ok(Child { name: name.to_owned(), required: field.required, source: ChildSource::Input(index, plan) })
}

fn struct_plan(fields: &[NestedFieldRef], from: &Fields, to: &Fields, name: &str) -> Result<Vec<Child>, Reasons> {
    let mut reasons = Vec::new();
    for column in from {
        if !fields.iter().any(|field| field.name == *column.name()) {
            let near = did_you_mean(column.name(), fields.iter().map(|field| field.name.as_str()));
            reasons.push(format!("the table has no column '{name}.{}'{near}", column.name()));
        }
    }
    let mut children = Vec::with_capacity(fields.len());
    for (field, target) in fields.iter().zip(to) {
        let inner = format!("{name}.{}", field.name);
        let source = match from.find(&field.name) {
            Some((index, found)) => Plan::new(found, target, field, &inner).map(|plan| ChildSource::Input(index, plan)),
            None => missing(field, target, &inner).map(ChildSource::Constant),
        };
        match source {
            Ok(source) => children.push(Child { name: inner, required: field.required, source }),
            Err(mut more) => reasons.append(&mut more),
        }
    }
    if reasons.is_empty() { Ok(children) } else { Err(reasons) }
}

fn primitive_plan(primitive: &PrimitiveType, from: &DataType, to: &DataType) -> Option<Plan> {
    use DataType::{
        Binary, BinaryView, Boolean, Date64, Decimal32, Decimal64, Decimal128, Decimal256, Dictionary, FixedSizeBinary,
        Float16, Float32, Float64, LargeBinary, LargeUtf8, Null, Time32, Time64, Timestamp, Utf8, Utf8View,
    };
    if from == to {
        return Some(Plan::Keep);
    }
    let (cast, checked) = (|| Some(Plan::Cast(to.clone())), |check| Some(Plan::Checked(to.clone(), check)));
    let scale_of = |data_type: &DataType| match data_type {
        Decimal32(p, s) | Decimal64(p, s) | Decimal128(p, s) | Decimal256(p, s) => Some((*p, *s)),
        _ => None,
    };
    match (primitive, from) {
        (_, Null) => cast(),
        (_, Dictionary(_, values)) => match primitive_plan(primitive, values, to)? {
            Plan::Keep | Plan::Cast(_) => cast(),
            _ => None,
        },
        (PrimitiveType::Boolean, Boolean) => cast(),
        (PrimitiveType::Int | PrimitiveType::Long, from) if from.is_integer() => checked(Check::Range),
        (PrimitiveType::Float | PrimitiveType::Double, from) if from.is_integer() => checked(Check::Exact),
        (PrimitiveType::Float, Float16) | (PrimitiveType::Double, Float16 | Float32) => cast(),
        (PrimitiveType::Float, Float64) => checked(Check::Finite),
        (PrimitiveType::Decimal { .. }, from) if from.is_integer() => checked(Check::Range),
        (PrimitiveType::Decimal { scale, .. }, from) => {
            let (_, found) = scale_of(from)?;
            // Fewer digits behind the point would be rounded.
            checked(if i64::from(found) > i64::from(*scale) { Check::Exact } else { Check::Range })
        }
        (PrimitiveType::Date, Date64) => checked(Check::Exact),
        (PrimitiveType::Time, Time32(_)) => cast(),
        (PrimitiveType::Time, Time64(TimeUnit::Nanosecond)) => checked(Check::Exact),
        (PrimitiveType::Timestamp | PrimitiveType::TimestampNs, Timestamp(unit, None)) => timestamp(*unit, to),
        (PrimitiveType::Timestamptz | PrimitiveType::TimestamptzNs, Timestamp(unit, Some(_))) => timestamp(*unit, to),
        (PrimitiveType::String, Utf8 | LargeUtf8 | Utf8View) => cast(),
        (PrimitiveType::Binary, Binary | LargeBinary | BinaryView | FixedSizeBinary(_)) => cast(),
        (PrimitiveType::Fixed(_) | PrimitiveType::Uuid, Binary | LargeBinary | BinaryView) => match to {
            FixedSizeBinary(width) => Some(Plan::Fixed(*width)),
            _ => None,
        },
        (PrimitiveType::Uuid, Utf8 | LargeUtf8 | Utf8View) => Some(Plan::ParseUuid),
        _ => None,
    }
}

/// Coarser to finer may overflow, finer to coarser may lose digits; the zone's name alone changes no value.
fn timestamp(from: TimeUnit, to: &DataType) -> Option<Plan> {
    let digits = |unit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    };
    let DataType::Timestamp(unit, _) = to else { return None };
    Some(match digits(from).cmp(&digits(*unit)) {
        std::cmp::Ordering::Equal => Plan::Cast(to.clone()),
        std::cmp::Ordering::Less => Plan::Checked(to.clone(), Check::Range),
        std::cmp::Ordering::Greater => Plan::Checked(to.clone(), Check::Exact),
    })
}

/// The list element of a target, for the list that is built.
pub(super) fn entries(field: &FieldRef) -> Fields {
    match field.data_type() {
        DataType::Struct(fields) => fields.clone(),
        _ => Fields::from(vec![Arc::clone(field)]),
    }
}
