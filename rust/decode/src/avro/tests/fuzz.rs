//! Spoiled records among good ones: never a panic, never a lost neighbour, and the same verdict alone and in company.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::{body, framed, logical, open, record, records};
use crate::registry::tests::Server;

/// The schema that spoiled records have: something of everything.
fn rich() -> Value {
    record(json!([
        {"name": "id", "type": "long"},
        {"name": "url", "type": "string"},
        {"name": "price", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}]},
        {"name": "ts", "type": logical("long", "timestamp-millis")},
        {"name": "uuid", "type": logical("string", "uuid")},
        {"name": "state", "type": {"type": "enum", "name": "state", "symbols": ["A", "B", "C"]}},
        {"name": "tags", "type": {"type": "array", "items": ["null", "string"]}},
        {"name": "counts", "type": {"type": "map", "values": {"type": "array", "items": "int"}}},
        {"name": "deep", "type": ["null", {"type": "record", "name": "deep", "fields": [{"name": "f", "type": {"type": "fixed", "name": "f4", "size": 4}}, {"name": "b", "type": "boolean"}, {"name": "d", "type": "double"}]}]},
        {"name": "nested", "type": {"type": "array", "items": {"type": "array", "items": {"type": "array", "items": "long"}}}},
    ]))
}

fn rich_value(rng: &mut StdRng, id: i64) -> Value {
    let text = |rng: &mut StdRng| {
        (0..rng.random_range(0..60)).map(|_| ['a', 'é', '/', '😀', '0'][rng.random_range(0..5)]).collect::<String>()
    };
    let tags: Vec<Value> = (0..rng.random_range(0..4))
        .map(|_| if rng.random() { json!([1, text(rng)]) } else { json!([0, null]) })
        .collect();
    let counts: serde_json::Map<String, Value> = (0..rng.random_range(0..3))
        .map(|key| (format!("k{key}"), json!(vec![rng.random::<i32>(); rng.random_range(0..3)])))
        .collect();
    json!({
        "id": id, "url": text(rng),
        "price": if rng.random() { json!([1, "\u{1}\u{2}\u{3}"]) } else { json!([0, null]) },
        "ts": rng.random_range(-1_000_000_000_000i64..4_000_000_000_000), "uuid": format!("{:032x}", rng.random::<u128>()),
        "state": (["A", "B", "C"][rng.random_range(0..3)]), "tags": tags, "counts": counts,
        "deep": if rng.random() { json!([1, {"f": "abcd", "b": rng.random::<bool>(), "d": rng.random::<f64>()}]) } else { json!([0, null]) },
        "nested": [[[1, 2], []], [], [[rng.random::<i64>()]]],
    })
}

/// Spoils a record's bytes, perhaps so little that it is still one.
fn spoil(rng: &mut StdRng, value: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = value.to_vec();
    let at = rng.random_range(0..bytes.len());
    match rng.random_range(0..9) {
        0 => bytes.truncate(at),
        1 => bytes[at] ^= 1 << rng.random_range(0..8),
        2 => bytes[1 + rng.random_range(0..4)] = rng.random(),
        3 => {
            let huge = [0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01];
            bytes.splice(at..at, huge[rng.random_range(0..9)..].iter().copied());
        }
        4 => bytes.splice(at.., other[rng.random_range(0..other.len())..].iter().copied()).for_each(drop),
        5 => bytes.extend((0..rng.random_range(1..9)).map(|_| rng.random::<u8>())),
        6 => bytes.splice(at..at, vec![2u8; rng.random_range(1..5000)]).for_each(drop),
        7 => bytes[at..].fill_with(|| rng.random()),
        _ => bytes.splice(at..at, [0xFF, 0xC0, 0x80]).for_each(drop),
    }
    bytes
}

#[test]
fn spoiled_records_never_panic_and_never_take_a_neighbour_with_them() {
    let mut rng = StdRng::seed_from_u64(0xF2A211);
    let server = Server::start();
    let schema = rich();
    server.register(1, "t-value", &schema);
    let mut decoder = open(json!({"avro": {"registry": server.url}})).unwrap();
    let mut alone = decoder.fork();
    let (mut refused, mut survived) = (0, 0);
    for round in 0..60 {
        let good: Vec<Vec<u8>> = (0..100).map(|id| framed(1, &body(&schema, &rich_value(&mut rng, id)))).collect();
        let share = [0.01, 0.1, 0.9][round % 3];
        let values: Vec<(bool, Vec<u8>)> = (0..good.len())
            .map(|at| {
                if rng.random_bool(share) {
                    (false, spoil(&mut rng, &good[at], &good[(at + 1) % good.len()]))
                } else {
                    (true, good[at].clone())
                }
            })
            .collect();
        let decoded = decoder.decode(&records(values.iter().map(|(_, value)| Some(value.as_slice())))).unwrap();
        let kept: Vec<u32> = decoded.rows.clone().unwrap_or_else(|| (0..values.len() as u32).collect());
        assert_eq!(kept.len() + decoded.rejected.len(), values.len());
        assert!(kept.is_sorted() && decoded.rejected.is_sorted_by_key(|rejected| rejected.row));
        for (row, (good, value)) in values.iter().enumerate() {
            let by_itself = alone.decode(&records([Some(value.as_slice())])).unwrap();
            match kept.binary_search(&(row as u32)) {
                Ok(at) => {
                    assert_eq!(decoded.batch.slice(at, 1), by_itself.batch, "round {round}, row {row}");
                    survived += usize::from(!good);
                }
                Err(_) => {
                    assert!(!good, "round {round}: the good row {row} was rejected: {:?}", decoded.rejected);
                    let rejected = decoded.rejected.iter().find(|rejected| rejected.row == row).unwrap();
                    assert_eq!(by_itself.rejected[0].reason, rejected.reason);
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 1000 && survived > 0, "{refused} refused, {survived} still readable");
}

#[test]
fn text_that_is_not_utf8_is_found_in_whichever_batch_it_comes() {
    let schema = record(json!([{"name": "id", "type": "long"}, {"name": "s", "type": ["null", "string"]}]));
    let mut decoder = open(json!({"avro": {"schema": schema}})).unwrap();
    let good = body(&schema, &json!({"id": 1, "s": [1, "gut"]}));
    let mut bad = good.clone();
    *bad.last_mut().unwrap() = 0xC3;
    // A character that begins in one record and ends in the next is none: both are bad.
    let mut end = good.clone();
    end[3] = 0xA9;
    for _ in 0..3 {
        let all_good = decoder.decode(&records([Some(good.as_slice()), Some(&good)])).unwrap();
        assert!(all_good.rows.is_none() && all_good.rejected.is_empty());
        let mixed = decoder.decode(&records([Some(good.as_slice()), Some(&bad), Some(&end), Some(&good)])).unwrap();
        assert_eq!(mixed.rows.as_deref(), Some([0, 3].as_slice()));
        assert!(
            mixed
                .rejected
                .iter()
                .all(|rejected| rejected.reason.contains("field 's'") && rejected.reason.contains("UTF-8"))
        );
        assert_eq!(mixed.batch.slice(1, 1), all_good.batch.slice(0, 1));
    }
}
