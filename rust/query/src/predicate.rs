//! From DataFusion's filters to Iceberg's predicates.
//!
//! A predicate may let rows through that the filter does not (DataFusion filters again), but must never stop a row for
//! which the filter is true. So `not` is pushed down to the comparisons before anything is left out, and what the two
//! sides might see differently (NaN in statistics, implied casts) is left to DataFusion.

use std::collections::HashSet;

use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{BinaryExpr, Expr, Like, Operator};
use iceberg::expr::{Predicate, Reference};
use iceberg::spec::Datum;

/// The predicate of a filter, or `None` if no part of it can be expressed.
pub(crate) fn convert(filter: &Expr, schema: &SchemaRef) -> Option<Predicate> {
    Converter { schema }.expr(filter, false)
}

/// Whether a filter touches one of these columns.
pub(crate) fn touches(filter: &Expr, columns: &HashSet<String>) -> bool {
    filter.column_refs().iter().any(|column| columns.contains(&column.name))
}

struct Converter<'a> {
    schema: &'a SchemaRef,
}

impl Converter<'_> {
    /// What is true wherever `expr` (`not expr` if negated) is true.
    fn expr(&self, expr: &Expr, negated: bool) -> Option<Predicate> {
        match expr {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                self.pair(left, right, negated, !negated)
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => self.pair(left, right, negated, negated),
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                let op = if negated { op.negate()? } else { *op };
                match (self.column(left), self.column(right)) {
                    (Some(column), None) => self.compare(column, op, literal(right)?),
                    (None, Some(column)) => self.compare(column, op.swap()?, literal(left)?),
                    _ => None,
                }
            }
            Expr::Not(inner) => self.expr(inner, !negated),
            Expr::IsNull(inner) => Some(null(self.column(inner)?, negated)),
            Expr::IsNotNull(inner) => Some(null(self.column(inner)?, !negated)),
            Expr::InList(list) => self.in_list(list, negated),
            Expr::Like(Like { negated: false, expr, pattern, escape_char: None, case_insensitive: false })
                if !negated =>
            {
                let prefix = prefix(literal(pattern)?)?;
                Some(reference(self.column(expr)?).starts_with(Datum::string(prefix)))
            }
            Expr::Column(_) => {
                let column = self.column(expr)?;
                self.compare(column, Operator::Eq, &ScalarValue::Boolean(Some(!negated)))
            }
            _ => None,
        }
    }

    /// Of two that must both hold, one alone will do; of two alternatives, both are needed.
    fn pair(&self, left: &Expr, right: &Expr, negated: bool, both_hold: bool) -> Option<Predicate> {
        match (self.expr(left, negated), self.expr(right, negated)) {
            (Some(left), Some(right)) if both_hold => Some(left.and(right)),
            (Some(left), Some(right)) => Some(left.or(right)),
            (Some(one), None) | (None, Some(one)) if both_hold => Some(one),
            _ => None,
        }
    }

    fn column<'e>(&self, expr: &'e Expr) -> Option<&'e str> {
        match expr {
            // Iceberg would take a dot in a name for a step into a struct.
            Expr::Column(column) if !column.name.contains('.') => Some(column.name.as_str()),
            _ => None,
        }
    }

    fn compare(&self, column: &str, op: Operator, value: &ScalarValue) -> Option<Predicate> {
        let datum = self.datum(column, value)?;
        let float = matches!(value, ScalarValue::Float32(_) | ScalarValue::Float64(_));
        let reference = reference(column);
        Some(match op {
            Operator::Eq => reference.equal_to(datum),
            Operator::Lt => reference.less_than(datum),
            Operator::LtEq => reference.less_than_or_equal_to(datum),
            // DataFusion sorts NaN above every number; Iceberg's bounds leave NaN out.
            Operator::Gt if float => reference.clone().greater_than(datum).or(reference.is_nan()),
            Operator::GtEq if float => reference.clone().greater_than_or_equal_to(datum).or(reference.is_nan()),
            Operator::Gt => reference.greater_than(datum),
            Operator::GtEq => reference.greater_than_or_equal_to(datum),
            Operator::NotEq if !float => reference.not_equal_to(datum),
            _ => return None,
        })
    }

    fn in_list(&self, list: &InList, negated: bool) -> Option<Predicate> {
        let column = self.column(&list.expr)?;
        let mut datums = Vec::with_capacity(list.list.len());
        for item in &list.list {
            datums.push(self.datum(column, literal(item)?)?);
        }
        let float = matches!(
            self.schema.field_with_name(column).ok()?.data_type(),
            arrow::datatypes::DataType::Float32 | arrow::datatypes::DataType::Float64
        );
        match list.negated != negated {
            false => Some(reference(column).is_in(datums)),
            true if !float => Some(reference(column).is_not_in(datums)),
            true => None,
        }
    }

    /// The literal as a value of the column's type. Types must be the same: a comparison that casts is DataFusion's.
    fn datum(&self, column: &str, value: &ScalarValue) -> Option<Datum> {
        use ScalarValue as S;
        let field = self.schema.field_with_name(column).ok()?;
        if *field.data_type() != value.data_type() {
            return None;
        }
        Some(match value {
            S::Boolean(Some(value)) => Datum::bool(*value),
            S::Int32(Some(value)) => Datum::int(*value),
            S::Int64(Some(value)) => Datum::long(*value),
            S::Float32(Some(value)) if !value.is_nan() => Datum::float(*value),
            S::Float64(Some(value)) if !value.is_nan() => Datum::double(*value),
            S::Utf8(Some(value)) | S::LargeUtf8(Some(value)) => Datum::string(value),
            S::Date32(Some(days)) => Datum::date(*days),
            S::Time64Microsecond(Some(value)) => Datum::time_micros(*value).ok()?,
            S::TimestampMicrosecond(Some(value), None) => Datum::timestamp_micros(*value),
            S::TimestampMicrosecond(Some(value), Some(_)) => Datum::timestamptz_micros(*value),
            S::TimestampNanosecond(Some(value), None) => Datum::timestamp_nanos(*value),
            S::TimestampNanosecond(Some(value), Some(_)) => Datum::timestamptz_nanos(*value),
            S::Binary(Some(value)) | S::LargeBinary(Some(value)) => Datum::binary(value.iter().copied()),
            _ => return None,
        })
    }
}

/// `column is null`, or `is not null`.
fn null(column: &str, not: bool) -> Predicate {
    if not { reference(column).is_not_null() } else { reference(column).is_null() }
}

fn reference(column: &str) -> Reference {
    Reference::new(column)
}

fn literal(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value),
        _ => None,
    }
}

/// `abc` of `abc%`.
fn prefix(pattern: &ScalarValue) -> Option<&str> {
    let (ScalarValue::Utf8(Some(pattern))
    | ScalarValue::LargeUtf8(Some(pattern))
    | ScalarValue::Utf8View(Some(pattern))) = pattern
    else {
        return None;
    };
    let prefix = pattern.strip_suffix('%')?;
    (!prefix.is_empty() && !prefix.contains(['%', '_', '\\'])).then_some(prefix)
}
