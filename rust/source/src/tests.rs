//! The source against the embedded broker. What that cannot do (transactions, times, deleted records) is proven against
//! a real one in `tests/kafka_live.rs`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use frazil_model::{ErrorKind, Header, JobName, Kafka, Positions, Records, Rejected, Stage};
use parking_lot::Mutex;

use crate::*;

fn kafka(bootstrap: &str, topics: &[&str], more: &str) -> Kafka {
    let text = format!("{{topics: [{}], bootstrap: '{bootstrap}', {more}}}", topics.join(", "));
    frazil_model::read("source.kafka", frazil_model::yaml(&text).unwrap()).unwrap()
}

fn job() -> JobName {
    "job".parse().unwrap()
}

fn open(bootstrap: &str, topics: &[&str], more: &str) -> KafkaSource {
    KafkaSource::open(&kafka(bootstrap, topics, more), &job(), SourceOptions::default()).unwrap()
}

fn producer(bootstrap: &str) -> Producer {
    Producer::open(&kafka(bootstrap, &["any"], ""), None, "test", Compression::None, 8 << 20).unwrap()
}

/// Sends `count` values `PARTITION-NUMBER` to each partition.
fn fill(bootstrap: &str, topic: &str, partitions: i32, count: usize) {
    let producer = producer(bootstrap);
    for number in 0..count {
        for partition in 0..partitions {
            let value = format!("{partition}-{number}");
            let message = Message {
                topic,
                partition: Some(partition),
                value: Some(value.as_bytes()),
                timestamp: Some(1000 + number as i64),
                ..Message::default()
            };
            producer.send(message).unwrap();
        }
    }
    producer.flush(Duration::from_secs(10)).unwrap();
}

fn positions(entries: &[(&str, i32, i64)]) -> Positions {
    let mut positions = Positions::default();
    for (topic, partition, offset) in entries {
        positions.set(topic, *partition, *offset);
    }
    positions
}

/// Polls until `count` records are there.
fn read(source: &mut KafkaSource, count: usize) -> Records {
    let mut records = Records::default();
    let deadline = Instant::now() + Duration::from_secs(20);
    while records.len() < count && Instant::now() < deadline {
        source.poll(&mut records, count, usize::MAX, Duration::from_millis(50)).unwrap();
    }
    assert_eq!(records.len(), count);
    records
}

fn offsets(records: &Records, partition: i32) -> Vec<i64> {
    (0..records.len())
        .filter(|row| records.run_of(*row).partition == partition)
        .map(|row| records.offset(row))
        .collect()
}

#[test]
fn every_partition_is_read_from_its_first_record_to_its_end() {
    let broker = EmbeddedBroker::start(&[("a", 3), ("b", 1)]).unwrap();
    fill(&broker.bootstrap(), "a", 3, 100);
    fill(&broker.bootstrap(), "b", 1, 10);
    let mut source = open(&broker.bootstrap(), &["a", "b"], "");
    let ends = source.high_watermarks().unwrap();
    assert_eq!(ends, positions(&[("a", 0, 100), ("a", 1, 100), ("a", 2, 100), ("b", 0, 10)]));
    source.assign_all(&Positions::default()).unwrap();
    let records = read(&mut source, 310);
    assert_eq!(source.positions(), ends);
    for row in 0..records.len() {
        let run = records.run_of(row);
        let value = format!("{}-{}", run.partition, records.offset(row));
        assert_eq!(records.value(row), Some(value.as_bytes()));
        assert_eq!(records.timestamp(row), Some(1000 + records.offset(row)));
    }
    let covered: Vec<_> =
        records.ranges().iter().map(|(topic, partition, range)| (topic, partition, range.start, range.end)).collect();
    assert_eq!(covered, [("a", 0, 0, 100), ("a", 1, 0, 100), ("a", 2, 0, 100), ("b", 0, 0, 10)]);
    assert_eq!(source.lag(&positions(&[("a", 1, 40), ("b", 0, 10)])).get("a").unwrap()[&1], 60);
    let mut none = Records::default();
    let outcome = source.poll(&mut none, 10, 1000, Duration::from_millis(30)).unwrap();
    assert_eq!((outcome, none.len()), (PollOutcome::default(), 0));
}

#[test]
fn limits_end_a_poll_and_the_next_one_goes_on_from_there() {
    let broker = EmbeddedBroker::start(&[("t", 1)]).unwrap();
    fill(&broker.bootstrap(), "t", 1, 500);
    let mut source = open(&broker.bootstrap(), &["t"], "");
    source.assign_all(&Positions::default()).unwrap();
    let first = read(&mut source, 123);
    assert_eq!(source.positions().get("t", 0), Some(123));
    let mut second = Records::default();
    while second.is_empty() {
        source.poll(&mut second, usize::MAX, 50, Duration::from_millis(100)).unwrap();
    }
    assert!(second.bytes() >= 50 && second.bytes() < 60, "{}", second.bytes());
    assert_eq!((first.offset(122), second.offset(0)), (122, 123));
    assert_eq!(second.ranges().iter().next().unwrap().2.start, 123);
}

#[test]
fn keys_nulls_headers_and_empty_values_arrive_as_they_were_sent() {
    let broker = EmbeddedBroker::start(&[("t", 1)]).unwrap();
    let producer = producer(&broker.bootstrap());
    let headers: Vec<Header> =
        vec![("h".into(), Some(vec![0, 255])), ("none".into(), None), ("h".into(), Some(vec![]))];
    let message = Message { topic: "t", partition: Some(0), ..Message::default() };
    producer.send(Message { key: Some(b"k"), value: None, headers: &headers, timestamp: Some(7), ..message }).unwrap();
    producer.send(Message { key: None, value: Some(b""), ..message }).unwrap();
    producer.send(Message { key: Some(b""), value: Some(b"v"), ..message }).unwrap();
    producer.flush(Duration::from_secs(10)).unwrap();
    let mut source = open(&broker.bootstrap(), &["t"], "");
    source.assign_all(&Positions::default()).unwrap();
    let records = read(&mut source, 3);
    let row = |row| (records.key(row), records.value(row), records.headers(row).len());
    assert_eq!(row(0), (Some(b"k".as_slice()), None, 3));
    assert_eq!(row(1), (None, Some(b"".as_slice()), 0));
    assert_eq!(row(2), (Some(b"".as_slice()), Some(b"v".as_slice()), 0));
    assert_eq!(records.headers(0), headers);
    assert_eq!(records.timestamp(0), Some(7));
}

#[test]
fn start_says_where_unknown_partitions_begin_and_the_ledger_wins() {
    let broker = EmbeddedBroker::start(&[("t", 2), ("u", 2)]).unwrap();
    fill(&broker.bootstrap(), "t", 2, 20);
    fill(&broker.bootstrap(), "u", 2, 20);
    let starts = |more: &str, known: &Positions| open(&broker.bootstrap(), &["t", "u"], more).start_positions(known);
    let none = Positions::default();
    let all = |offset| positions(&[("t", 0, offset), ("t", 1, offset), ("u", 0, offset), ("u", 1, offset)]);
    assert_eq!(starts("", &none).unwrap(), all(0));
    assert_eq!(starts("start: latest", &none).unwrap(), all(20));
    let chosen = starts("start: {offsets: {t: {1: 7}}}", &none).unwrap();
    assert_eq!(chosen, positions(&[("t", 0, 0), ("t", 1, 7), ("u", 0, 0), ("u", 1, 0)]));
    // Partition 1 of t came after the ledger was written: all of it is new. The ledger does not know u.
    let known = positions(&[("t", 0, 5)]);
    assert_eq!(
        starts("start: latest", &known).unwrap(),
        positions(&[("t", 0, 5), ("t", 1, 0), ("u", 0, 20), ("u", 1, 20)])
    );
    let error = starts("start: {timestamp: yesterday}", &none).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().starts_with("source.kafka.start.timestamp: expected a time"), "{error}");
}

#[test]
fn seek_drops_what_was_fetched_ahead() {
    let broker = EmbeddedBroker::start(&[("t", 2)]).unwrap();
    fill(&broker.bootstrap(), "t", 2, 2000);
    let mut source = open(&broker.bootstrap(), &["t"], "");
    source.assign_all(&Positions::default()).unwrap();
    read(&mut source, 1500);
    for target in [100, 1990, 3] {
        source.seek(&positions(&[("t", 0, target), ("t", 1, target)])).unwrap();
        assert_eq!(source.positions(), positions(&[("t", 0, target), ("t", 1, target)]));
        let records = read(&mut source, 2 * (2000 - target as usize));
        for partition in [0, 1] {
            assert_eq!(offsets(&records, partition), (target..2000).collect::<Vec<_>>());
        }
        source.seek(&positions(&[("t", 0, target), ("t", 1, target)])).unwrap();
        read(&mut source, 2);
    }
}

#[test]
fn seek_moves_a_source_that_has_been_paused_for_long() {
    let broker = EmbeddedBroker::start(&[("t", 1)]).unwrap();
    fill(&broker.bootstrap(), "t", 1, 1000);
    let mut source = open(&broker.bootstrap(), &["t"], "");
    source.assign_all(&Positions::default()).unwrap();
    read(&mut source, 500);
    source.pause();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(1300) {
        source.poll(&mut Records::default(), 1, 1, Duration::from_millis(50)).unwrap();
    }
    source.seek(&positions(&[("t", 0, 20)])).unwrap();
    source.poll(&mut Records::default(), 1, 1, Duration::from_millis(50)).unwrap();
    assert_eq!(source.positions().get("t", 0), Some(20));
    source.resume().unwrap();
    assert_eq!(offsets(&read(&mut source, 980), 0), (20..1000).collect::<Vec<_>>());
}

#[test]
fn a_paused_source_delivers_nothing_and_then_goes_on_without_a_gap() {
    let broker = EmbeddedBroker::start(&[("t", 2)]).unwrap();
    fill(&broker.bootstrap(), "t", 2, 1000);
    let mut source = open(&broker.bootstrap(), &["t"], "");
    source.assign_all(&Positions::default()).unwrap();
    let mut records = read(&mut source, 300);
    // Once for a moment, once until librdkafka itself pauses.
    for pause in [Duration::from_millis(100), Duration::from_millis(1500)] {
        source.pause();
        let begin = Instant::now();
        let before = records.len();
        while begin.elapsed() < pause {
            source.poll(&mut records, usize::MAX, usize::MAX, Duration::from_millis(50)).unwrap();
        }
        assert_eq!(records.len(), before);
        source.resume().unwrap();
        let limit = records.len() + 400;
        while records.len() < limit {
            source.poll(&mut records, limit, usize::MAX, Duration::from_millis(50)).unwrap();
        }
    }
    while records.len() < 2000 {
        source.poll(&mut records, usize::MAX, usize::MAX, Duration::from_millis(50)).unwrap();
    }
    assert_eq!(offsets(&records, 0), (0..1000).collect::<Vec<_>>());
    assert_eq!(offsets(&records, 1), (0..1000).collect::<Vec<_>>());
}

#[test]
fn offsets_beyond_the_end_are_an_error_that_says_so() {
    let broker = EmbeddedBroker::start(&[("t", 1)]).unwrap();
    fill(&broker.bootstrap(), "t", 1, 10);
    let mut source = open(&broker.bootstrap(), &["t"], "");
    assert!(source.check_retained(&positions(&[("t", 0, 10)])).unwrap().is_empty());
    for (partition, offset, words) in
        [(0, 11, "expected offset 11, but the partition ends at 10"), (1, 0, "not there any more")]
    {
        let error = source.check_retained(&positions(&[("t", partition, offset)])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OffsetsLost);
        assert!(error.to_string().contains(words), "{error}");
    }
    source.assign_all(&positions(&[("t", 0, 11)])).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let error = loop {
        assert!(Instant::now() < deadline, "no error came");
        if let Err(error) = source.poll(&mut Records::default(), 1, 1, Duration::from_millis(100)) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::OffsetsLost, "{error}");
}

#[test]
fn a_missing_topic_and_a_wrong_host_are_told_apart() {
    let broker = EmbeddedBroker::start(&[("t", 1)]).unwrap();
    let options = || SourceOptions { connect_timeout: Duration::from_secs(1), ..SourceOptions::default() };
    let error = KafkaSource::open(&kafka(&broker.bootstrap(), &["t", "gone"], ""), &job(), options()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("'gone'"), "{error}");
    let error = KafkaSource::open(&kafka("127.0.0.1:1", &["t"], ""), &job(), options()).err().unwrap();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Source, true));
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[test]
fn wrong_settings_are_named_without_their_values() {
    for (more, path) in [
        ("properties: {fetch.mim.bytes: hunter2}", "source.kafka.properties.fetch.mim.bytes"),
        ("properties: {fetch.min.bytes: hunter2}", "source.kafka.properties.fetch.min.bytes"),
        ("security: {mechanism: MAGIC, password: hunter2}", "source.kafka.security.mechanism"),
        ("security: {password: hunter2}", "source.kafka.security.mechanism"),
        ("security: {protocol: ssl, mechanism: PLAIN}", "source.kafka.security.mechanism"),
    ] {
        let error =
            KafkaSource::open(&kafka("127.0.0.1:1", &["t"], more), &job(), SourceOptions::default()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().starts_with(path), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}

#[test]
fn an_outage_is_no_error_and_reading_goes_on_after_it() {
    let broker = EmbeddedBroker::start(&[("t", 1)]).unwrap();
    fill(&broker.bootstrap(), "t", 1, 10);
    let mut source = open(&broker.bootstrap(), &["t"], "");
    source.assign_all(&Positions::default()).unwrap();
    let mut records = read(&mut source, 10);
    assert!(source.health().connected);
    broker.set_down(true);
    let deadline = Instant::now() + Duration::from_secs(10);
    while source.health().connected {
        assert!(Instant::now() < deadline, "the outage was not seen");
        source.poll(&mut records, 11, usize::MAX, Duration::from_millis(50)).unwrap();
    }
    assert!(source.health().last_error.is_some());
    broker.set_down(false);
    fill(&broker.bootstrap(), "t", 1, 5);
    while records.len() < 15 {
        assert!(Instant::now() < deadline + Duration::from_secs(10), "reading did not go on");
        source.poll(&mut records, 15, usize::MAX, Duration::from_millis(50)).unwrap();
    }
    assert_eq!(offsets(&records, 0), (0..15).collect::<Vec<_>>());
}

type Told = (&'static str, Vec<(String, i32)>);

/// Remembers what it is told; knows where records were read up to.
#[derive(Default)]
struct Ledger {
    next: Mutex<Positions>,
    told: Mutex<Vec<Told>>,
}

impl Assignment for Ledger {
    fn assigned(&self, partitions: &[(String, i32)]) -> frazil_model::Result<Positions> {
        self.told.lock().push(("assigned", partitions.to_vec()));
        Ok(self.next.lock().clone())
    }

    fn revoked(&self, partitions: &[(String, i32)]) {
        self.told.lock().push(("revoked", partitions.to_vec()));
    }

    fn lost(&self, partitions: &[(String, i32)]) {
        self.told.lock().push(("lost", partitions.to_vec()));
    }
}

#[test]
fn a_group_divides_the_partitions_and_asks_before_it_takes_some_away() {
    let broker = EmbeddedBroker::start(&[("t", 4)]).unwrap();
    fill(&broker.bootstrap(), "t", 4, 50);
    let more = "properties: {session.timeout.ms: '6000', heartbeat.interval.ms: '200'}";
    // One ledger for both, as one table would be; every record is "committed" as soon as it is read.
    let seen = Mutex::new(vec![0u32; 4 * 60]);
    let ledgers = [Arc::new(Ledger::default()), Arc::new(Ledger::default())];
    let commit = |records: &Records| {
        for row in 0..records.len() {
            seen.lock()[records.run_of(row).partition as usize * 60 + records.offset(row) as usize] += 1;
        }
        for ledger in &ledgers {
            for (topic, partition, range) in records.ranges().iter() {
                ledger.next.lock().set(topic, partition, range.end);
            }
        }
    };
    let mut first = open(&broker.bootstrap(), &["t"], more);
    first.subscribe(ledgers[0].clone()).unwrap();
    commit(&read(&mut first, 200));
    assert_eq!(first.positions().iter().count(), 4);

    let mut second = open(&broker.bootstrap(), &["t"], more);
    second.subscribe(ledgers[1].clone()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while first.positions().iter().count() != 2 || second.positions().iter().count() != 2 {
        assert!(Instant::now() < deadline, "the group did not settle: {:?}", ledgers[1].told.lock());
        for source in [&mut first, &mut second] {
            let mut records = Records::default();
            source.poll(&mut records, 100, usize::MAX, Duration::from_millis(50)).unwrap();
            commit(&records);
        }
    }
    let told = ledgers[0].told.lock().clone();
    assert_eq!(
        told.iter().filter(|(what, _)| *what == "revoked").map(|(_, partitions)| partitions.len()).sum::<usize>(),
        2
    );
    // Cooperative: the other two were never taken away.
    assert!(told.iter().all(|(what, _)| *what != "lost"), "{told:?}");
    assert_eq!(second.positions().iter().map(|(_, _, offset)| offset).collect::<Vec<_>>(), [50, 50]);

    fill(&broker.bootstrap(), "t", 4, 10);
    while seen.lock().iter().sum::<u32>() < 240 {
        assert!(Instant::now() < deadline, "not all records came");
        for source in [&mut first, &mut second] {
            let mut records = Records::default();
            source.poll(&mut records, 100, usize::MAX, Duration::from_millis(50)).unwrap();
            commit(&records);
        }
    }
    first.close();
    while second.positions().iter().count() != 4 {
        assert!(Instant::now() < deadline, "the second did not take over");
        second.poll(&mut Records::default(), 100, usize::MAX, Duration::from_millis(50)).unwrap();
    }
    assert!(seen.lock().iter().all(|count| *count == 1), "each record exactly once");
}

#[test]
fn partitions_are_not_taken_while_records_are_in_the_readers_hands() {
    let broker = EmbeddedBroker::start(&[("t", 2)]).unwrap();
    fill(&broker.bootstrap(), "t", 2, 10);
    let more = "properties: {session.timeout.ms: '6000', heartbeat.interval.ms: '200'}";
    let ledger = Arc::new(Ledger::default());
    let mut first = open(&broker.bootstrap(), &["t"], more);
    first.subscribe(ledger.clone()).unwrap();
    let mut records = read(&mut first, 20);
    let mut second = open(&broker.bootstrap(), &["t"], more);
    second.subscribe(Arc::new(Ledger::default())).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        assert!(Instant::now() < deadline, "no rebalance came");
        second.poll(&mut Records::default(), 100, usize::MAX, Duration::from_millis(20)).unwrap();
        if first.poll(&mut records, 100, usize::MAX, Duration::from_millis(20)).unwrap().rebalancing {
            break;
        }
    }
    assert!(ledger.told.lock().iter().all(|(what, _)| *what != "revoked"));
    assert!(first.poll(&mut records, 100, usize::MAX, Duration::from_millis(20)).unwrap().rebalancing);
    records.clear();
    while ledger.told.lock().iter().all(|(what, _)| *what != "revoked") {
        assert!(Instant::now() < deadline, "it was never told");
        second.poll(&mut Records::default(), 100, usize::MAX, Duration::from_millis(20)).unwrap();
        first.poll(&mut records, 100, usize::MAX, Duration::from_millis(20)).unwrap();
        records.clear();
    }
}

#[test]
fn dead_letters_carry_the_record_and_why_it_was_refused() {
    let broker = EmbeddedBroker::start(&[("t", 1), ("dlq", 1)]).unwrap();
    let headers: Vec<Header> = vec![("own".into(), Some(b"1".to_vec()))];
    let sender = producer(&broker.bootstrap());
    let message = Message { topic: "t", partition: Some(0), ..Message::default() };
    sender.send(Message { key: Some(b"k0"), value: Some(b"good"), ..message }).unwrap();
    sender
        .send(Message { key: Some(b"k1"), value: Some(b"\xffbad"), headers: &headers, timestamp: Some(42), ..message })
        .unwrap();
    sender.flush(Duration::from_secs(10)).unwrap();
    let kafka = kafka(&broker.bootstrap(), &["t"], "");
    let mut source = KafkaSource::open(&kafka, &job(), SourceOptions::default()).unwrap();
    source.assign_all(&Positions::default()).unwrap();
    let records = read(&mut source, 2);

    let settings = frazil_model::DeadLetters { topic: "dlq".into(), bootstrap: None };
    let letters = DeadLetters::open(&settings, &kafka).unwrap();
    let rejected = Rejected { row: 1, stage: Stage::Decode, reason: "not Avro".into(), schema_id: Some(9) };
    letters.send(Letter::new(&records, &rejected, &job())).unwrap();
    letters.flush(Duration::from_secs(10)).unwrap();

    let mut source = open(&broker.bootstrap(), &["dlq"], "");
    source.assign_all(&Positions::default()).unwrap();
    let letter = read(&mut source, 1);
    assert_eq!((letter.key(0), letter.value(0)), (Some(b"k1".as_slice()), Some(b"\xffbad".as_slice())));
    let text: Vec<_> = letter
        .headers(0)
        .iter()
        .map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value.as_ref().unwrap())))
        .collect();
    assert_eq!(
        text,
        [
            "own=1",
            "frazil.stage=decode",
            "frazil.reason=not Avro",
            "frazil.topic=t",
            "frazil.partition=0",
            "frazil.offset=1",
            "frazil.timestamp=42",
            "frazil.schema-id=9",
            "frazil.job=job"
        ]
    );
}

#[test]
fn letters_that_cannot_be_delivered_are_counted_and_delivered_when_kafka_is_back() {
    let broker = EmbeddedBroker::start(&[("dlq", 1)]).unwrap();
    let producer = producer(&broker.bootstrap());
    producer.check_topic("dlq", Duration::from_secs(5)).unwrap();
    broker.set_down(true);
    for _ in 0..3 {
        producer.send(Message { topic: "dlq", value: Some(b"v"), ..Message::default() }).unwrap();
    }
    let error = producer.flush(Duration::from_millis(300)).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Source, true));
    assert!(error.to_string().starts_with("3 message(s) were not delivered within 300 ms"), "{error}");
    broker.set_down(false);
    producer.flush(Duration::from_secs(10)).unwrap();
    let mut source = open(&broker.bootstrap(), &["dlq"], "");
    source.assign_all(&Positions::default()).unwrap();
    read(&mut source, 3);
}

#[test]
fn closing_while_the_broker_is_away_does_not_hang() {
    let broker = EmbeddedBroker::start(&[("t", 1)]).unwrap();
    fill(&broker.bootstrap(), "t", 1, 10);
    let mut source = open(&broker.bootstrap(), &["t"], "");
    source.subscribe(Arc::new(Ledger::default())).unwrap();
    read(&mut source, 10);
    broker.set_down(true);
    let begin = Instant::now();
    source.close();
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}
