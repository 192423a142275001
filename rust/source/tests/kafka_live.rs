//! What only a real broker can show: transactions, starts by time, deleted records, new partitions, throughput.
//! Runs where `FRAZIL_TEST_KAFKA` names a bootstrap address. The throughput can be varied: `FRAZIL_TEST_KAFKA_MB`
//! (volume), `…_COMPRESSION`, `…_TOPIC` (read one that is there), `…_QUEUE_MB` (prefetch), `…_PROPERTIES` (`{name: 'value'}`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use frazil_model::{ErrorKind, JobName, Kafka, Positions, Records, Result};
use frazil_source::{Assignment, Compression, DeadLetters, KafkaSource, Message, Producer, SourceOptions};
use rand::{Rng, RngCore};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

struct Live {
    bootstrap: String,
    runtime: tokio::runtime::Runtime,
    admin: AdminClient<DefaultClientContext>,
}

/// The broker, or nothing where there is none.
fn live() -> Option<Live> {
    let Ok(bootstrap) = std::env::var("FRAZIL_TEST_KAFKA") else {
        eprintln!("skipped: FRAZIL_TEST_KAFKA is not set");
        return None;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let admin = ClientConfig::new().set("bootstrap.servers", &bootstrap).create().unwrap();
    Some(Live { bootstrap, runtime, admin })
}

impl Live {
    /// A new topic with a name of its own.
    fn topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> String {
        let name = format!("{name}-{:08x}", rand::rng().random::<u32>());
        let mut topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
        topic.config = settings.to_vec();
        for result in self.runtime.block_on(self.admin.create_topics([&topic], &AdminOptions::new())).unwrap() {
            result.unwrap();
        }
        name
    }

    fn kafka(&self, topics: &[&str], more: &str) -> Kafka {
        let text = format!("{{topics: [{}], bootstrap: '{}', {more}}}", topics.join(", "), self.bootstrap);
        frazil_model::read("source.kafka", frazil_model::yaml(&text).unwrap()).unwrap()
    }

    fn open(&self, topics: &[&str], more: &str) -> KafkaSource {
        let job: JobName = format!("live-{:08x}", rand::rng().random::<u32>()).parse().unwrap();
        KafkaSource::open(&self.kafka(topics, more), &job, SourceOptions::default()).unwrap()
    }

    /// Sends `count` records with the timestamps `first_ms`, `first_ms + 1`, ….
    fn fill(&self, topic: &str, partition: i32, count: i64, first_ms: i64) {
        let producer = Producer::open(&self.kafka(&[topic], ""), None, "live", Compression::Lz4, 8 << 20).unwrap();
        for number in 0..count {
            let value = number.to_string();
            producer
                .send(Message {
                    topic,
                    partition: Some(partition),
                    value: Some(value.as_bytes()),
                    timestamp: Some(first_ms + number),
                    ..Message::default()
                })
                .unwrap();
        }
        producer.flush(Duration::from_secs(30)).unwrap();
    }

    fn transactional(&self) -> BaseProducer {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .set("transactional.id", format!("live-{:08x}", rand::rng().random::<u32>()))
            .create()
            .unwrap();
        producer.init_transactions(Duration::from_secs(30)).unwrap();
        producer
    }
}

fn transaction(producer: &BaseProducer, topic: &str, partition: i32, values: std::ops::Range<u32>, commit: bool) {
    producer.begin_transaction().unwrap();
    for value in values {
        let value = format!("{value}-{commit}");
        producer.send(BaseRecord::<(), str>::to(topic).partition(partition).payload(&value)).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
    if commit {
        producer.commit_transaction(Duration::from_secs(30)).unwrap();
    } else {
        producer.abort_transaction(Duration::from_secs(30)).unwrap();
    }
}

fn positions(entries: &[(&str, i32, i64)]) -> Positions {
    let mut positions = Positions::default();
    for (topic, partition, offset) in entries {
        positions.set(topic, *partition, *offset);
    }
    positions
}

/// Reads until the positions are at `ends`.
fn read_to(source: &mut KafkaSource, ends: &Positions) -> Records {
    let mut records = Records::default();
    let deadline = Instant::now() + Duration::from_secs(30);
    while source.positions() != *ends {
        assert!(Instant::now() < deadline, "stands at {:?}, expected {ends:?}", source.positions());
        source.poll(&mut records, usize::MAX, usize::MAX, Duration::from_millis(50)).unwrap();
    }
    records
}

#[test]
fn aborted_records_are_never_seen_and_markers_are_covered() {
    let Some(live) = live() else { return };
    let (a, b) = (live.topic("txn-a", 2, &[]), live.topic("txn-b", 2, &[]));
    let producer = live.transactional();
    transaction(&producer, &a, 0, 0..10, true); // 0..10, marker 10
    transaction(&producer, &a, 0, 10..20, false); // 11..21, marker 21
    transaction(&producer, &a, 1, 0..5, true); // 0..5, marker 5
    transaction(&producer, &b, 0, 0..7, false); // nothing but an aborted transaction: 0..7, marker 7
    live.fill(&b, 1, 3, 0);

    let mut source = live.open(&[&a, &b], "");
    let ends = source.high_watermarks().unwrap();
    assert_eq!(ends, positions(&[(&a, 0, 22), (&a, 1, 6), (&b, 0, 8), (&b, 1, 3)]));
    source.assign_all(&Positions::default()).unwrap();
    let begin = Instant::now();
    let records = read_to(&mut source, &ends);
    println!("read to the end behind markers in {:?}", begin.elapsed());
    assert_eq!(records.len(), 10 + 5 + 3);
    assert!((0..records.len()).all(|row| !records.value(row).unwrap().ends_with(b"false")));
    let covered: Vec<_> = records
        .ranges()
        .iter()
        .map(|(topic, partition, range)| (topic.to_owned(), partition, range.start, range.end))
        .collect();
    assert_eq!(covered, [(a.clone(), 0, 0, 22), (a.clone(), 1, 0, 6), (b.clone(), 0, 0, 8), (b.clone(), 1, 0, 3)]);

    // From the middle of an aborted transaction, and with an open one behind it that hides what follows.
    producer.begin_transaction().unwrap();
    producer.send(BaseRecord::<(), str>::to(&a).partition(0).payload("open")).unwrap();
    producer.flush(Duration::from_secs(30)).unwrap();
    live.fill(&a, 0, 4, 0);
    let from = positions(&[(&a, 0, 15), (&a, 1, 6), (&b, 0, 3), (&b, 1, 3)]);
    assert_eq!(source.high_watermarks().unwrap(), ends);
    source.assign_all(&from).unwrap();
    let records = read_to(&mut source, &ends);
    assert_eq!(records.len(), 0);
    assert_eq!(records.ranges().len(), (22 - 15) + (8 - 3));
    producer.commit_transaction(Duration::from_secs(30)).unwrap();
    let ends = source.high_watermarks().unwrap();
    assert_eq!(ends.get(&a, 0), Some(28));
    assert_eq!(read_to(&mut source, &ends).len(), 5);
}

#[test]
fn a_read_of_many_records_ends_behind_an_aborted_tail() {
    let Some(live) = live() else { return };
    let topic = live.topic("tail", 3, &[]);
    let producer = live.transactional();
    for partition in 0..3 {
        live.fill(&topic, partition, 20_000, 0);
        transaction(&producer, &topic, partition, 0..5000, false);
    }
    let mut source = live.open(&[&topic], "");
    source.assign_all(&Positions::default()).unwrap();
    let ends = source.high_watermarks().unwrap();
    assert_eq!(ends.get(&topic, 2), Some(25_001));
    assert_eq!(read_to(&mut source, &ends).len(), 60_000);
}

#[test]
fn a_time_starts_at_the_first_record_at_or_after_it() {
    let Some(live) = live() else { return };
    let topic = live.topic("time", 2, &[]);
    let base = 1_777_000_000_000; // 2026-04-24T03:06:40Z
    live.fill(&topic, 0, 100, base);
    live.fill(&topic, 1, 10, base - 1000);
    let mut source = live.open(&[&topic], "start: {timestamp: '2026-04-24T03:06:40.040Z'}");
    let starts = source.start_positions(&Positions::default()).unwrap();
    // Partition 1 has nothing so late: it starts at its end.
    assert_eq!(starts, positions(&[(&topic, 0, 40), (&topic, 1, 10)]));
    source.assign_all(&starts).unwrap();
    let ends = source.high_watermarks().unwrap();
    let records = read_to(&mut source, &ends);
    assert_eq!((records.len(), records.timestamp(0)), (60, Some(base + 40)));
}

#[test]
fn deleted_records_are_named_as_a_gap() {
    let Some(live) = live() else { return };
    let topic = live.topic("gone", 2, &[]);
    live.fill(&topic, 0, 100, 0);
    live.fill(&topic, 1, 100, 0);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, Offset::Offset(30)).unwrap();
    live.runtime.block_on(live.admin.delete_records(&list, &AdminOptions::new())).unwrap();

    let mut source = live.open(&[&topic], "");
    let ledger = positions(&[(&topic, 0, 12), (&topic, 1, 12)]);
    let gone = source.check_retained(&ledger).unwrap();
    let gone: Vec<_> = gone.iter().map(|(_, partition, range)| (partition, range.start, range.end)).collect();
    assert_eq!(gone, [(0, 12, 30)]);
    assert!(source.check_retained(&positions(&[(&topic, 0, 30)])).unwrap().is_empty());
    assert_eq!(source.start_positions(&Positions::default()).unwrap(), positions(&[(&topic, 0, 30), (&topic, 1, 0)]));
    // Not looked at before: the read itself stops and says it.
    source.assign_all(&ledger).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let error = loop {
        assert!(Instant::now() < deadline);
        if let Err(error) = source.poll(&mut Records::default(), usize::MAX, usize::MAX, Duration::from_millis(100)) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::OffsetsLost);
    assert!(error.to_string().contains(&format!("{topic} [0]: 12 to 30")), "{error}");
}

struct FromNowhere;

impl Assignment for FromNowhere {
    fn assigned(&self, _: &[(String, i32)]) -> Result<Positions> {
        Ok(Positions::default())
    }
    fn revoked(&self, _: &[(String, i32)]) {}
    fn lost(&self, _: &[(String, i32)]) {}
}

#[test]
fn a_new_partition_of_a_running_job_is_read_from_its_first_record() {
    let Some(live) = live() else { return };
    let topic = live.topic("grow", 1, &[]);
    live.fill(&topic, 0, 10, 0);
    let mut source = live.open(&[&topic], "start: latest, properties: {topic.metadata.refresh.interval.ms: '1000'}");
    source.subscribe(Arc::new(FromNowhere)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut records = Records::default();
    while source.positions() != positions(&[(&topic, 0, 10)]) {
        assert!(Instant::now() < deadline);
        source.poll(&mut records, 1000, usize::MAX, Duration::from_millis(50)).unwrap();
    }
    let more = NewPartitions::new(&topic, 2);
    for result in live.runtime.block_on(live.admin.create_partitions([&more], &AdminOptions::new())).unwrap() {
        result.unwrap();
    }
    live.fill(&topic, 1, 5, 0);
    while source.positions() != positions(&[(&topic, 0, 10), (&topic, 1, 5)]) {
        assert!(Instant::now() < deadline, "stands at {:?}", source.positions());
        source.poll(&mut records, 1000, usize::MAX, Duration::from_millis(50)).unwrap();
    }
    assert_eq!(records.len(), 5);
    // Of a stream, too, nothing is left to read behind a marker, so the lag goes to 0.
    transaction(&live.transactional(), &topic, 0, 0..1, true);
    while source.positions() != positions(&[(&topic, 0, 12), (&topic, 1, 5)]) {
        assert!(Instant::now() < deadline, "stands at {:?}", source.positions());
        source.poll(&mut records, 1000, usize::MAX, Duration::from_millis(50)).unwrap();
    }
    assert_eq!(source.lag(&source.positions())[&topic].values().sum::<i64>(), 0);
    source.commit_group(&source.positions());
    source.close();
}

/// A broker with SASL (PLAIN, user `admin`, password `right`) that creates topics by itself.
#[test]
fn refused_credentials_are_said_soon_and_right_ones_let_in() {
    let Ok(bootstrap) = std::env::var("FRAZIL_TEST_KAFKA_SASL") else {
        eprintln!("skipped: FRAZIL_TEST_KAFKA_SASL is not set");
        return;
    };
    let kafka = |password: &str| -> Kafka {
        let security = format!("{{mechanism: PLAIN, username: admin, password: {password}}}");
        let text = format!("{{topics: [sasl], bootstrap: '{bootstrap}', security: {security}}}");
        frazil_model::read("source.kafka", frazil_model::yaml(&text).unwrap()).unwrap()
    };
    let job: JobName = "sasl".parse().unwrap();
    let letters = frazil_model::DeadLetters { topic: "sasl".into(), bootstrap: None };
    let begin = Instant::now();
    for error in [
        KafkaSource::open(&kafka("hunter2"), &job, SourceOptions::default()).err().unwrap(),
        DeadLetters::open(&letters, &kafka("hunter2")).err().unwrap(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
        println!("{error}");
    }
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    DeadLetters::open(&letters, &kafka("right")).unwrap();
    KafkaSource::open(&kafka("right"), &job, SourceOptions::default()).unwrap();
}

/// CPU seconds of all threads of this process.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

#[test]
fn throughput() {
    let Some(live) = live() else { return };
    let megabytes: usize = std::env::var("FRAZIL_TEST_KAFKA_MB").map_or(100, |text| text.parse().unwrap());
    let name = std::env::var("FRAZIL_TEST_KAFKA_TOPIC").ok();
    let compression = match std::env::var("FRAZIL_TEST_KAFKA_COMPRESSION").as_deref() {
        Ok("lz4") => Compression::Lz4,
        Ok("zstd") => Compression::Zstd,
        _ => Compression::None,
    };
    let topic = name.clone().unwrap_or_else(|| {
        let topic = live.topic("fast", 4, &[]);
        let producer = Producer::open(&live.kafka(&[&topic], ""), None, "live", compression, 64 << 20).unwrap();
        let mut value = vec![0; 1024];
        rand::rng().fill_bytes(&mut value);
        let (begin, cpu) = (Instant::now(), cpu_seconds());
        for number in 0..megabytes * 1024 {
            value[..8].copy_from_slice(&number.to_le_bytes());
            let partition = Some((number / 64 % 4) as i32);
            producer.send(Message { topic: &topic, partition, value: Some(&value), ..Message::default() }).unwrap();
        }
        producer.flush(Duration::from_secs(120)).unwrap();
        println!("produced {megabytes} MiB in {:?}, {:.2} CPU-s; topic {topic}", begin.elapsed(), cpu_seconds() - cpu);
        topic
    });
    let mebibytes: usize = std::env::var("FRAZIL_TEST_KAFKA_QUEUE_MB").map_or(32, |text| text.parse().unwrap());
    let options = SourceOptions { queue_bytes: mebibytes << 20, ..SourceOptions::default() };
    let more = std::env::var("FRAZIL_TEST_KAFKA_PROPERTIES").unwrap_or_default();
    let kafka = live.kafka(&[&topic], &format!("properties: {{{more}}}"));
    let mut source = KafkaSource::open(&kafka, &"throughput".parse().unwrap(), options).unwrap();
    source.assign_all(&Positions::default()).unwrap();
    let ends = source.high_watermarks().unwrap();
    let (begin, cpu) = (Instant::now(), cpu_seconds());
    let (mut records, mut count, mut bytes, mut calls) = (Records::default(), 0, 0, 0);
    while source.positions() != ends {
        assert!(begin.elapsed() < Duration::from_secs(300));
        source.poll(&mut records, 20_000, 16 << 20, Duration::from_millis(100)).unwrap();
        count += records.len();
        bytes += records.bytes();
        calls += 1;
        records.clear();
    }
    let (wall, cpu) = (begin.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let gigabytes = bytes as f64 / 1e9;
    println!(
        "consumed {count} records, {gigabytes:.2} GB in {wall:.2} s ({calls} calls): {:.0} MB/s, {cpu:.2} CPU-s, {:.2} CPU-s per GB",
        gigabytes * 1000.0 / wall,
        cpu / gigabytes
    );
    if name.is_none() {
        assert_eq!(count, megabytes * 1024);
    }
}
