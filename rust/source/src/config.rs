//! librdkafka's settings from the job document. Secrets are looked up here, at the last moment, and go nowhere else.

use frazil_model::{Error, JobName, Kafka, KafkaSecurity, Result, SecurityProtocol};
use rdkafka::ClientConfig;

const MECHANISMS: [&str; 4] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"];

/// The consumer group of a job.
pub(crate) fn group(kafka: &Kafka, job: &JobName) -> String {
    kafka.group.clone().unwrap_or_else(|| format!("frazil-{job}"))
}

/// What consumers and producers share: where the brokers are, and how to prove who we are.
fn common(kafka: &Kafka, bootstrap: &str, client_id: &str) -> Result<ClientConfig> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("client.id", client_id)
        .set("socket.keepalive.enable", "true")
        // New partitions, and partitions that moved, are seen within this time.
        .set("topic.metadata.refresh.interval.ms", "10000")
        .set("reconnect.backoff.max.ms", "2000");
    secure(&mut config, &kafka.security)?;
    Ok(config)
}

fn secure(config: &mut ClientConfig, security: &KafkaSecurity) -> Result<()> {
    let tls = security.ca.is_some() || security.certificate.is_some() || security.key.is_some();
    let protocol = security.protocol.unwrap_or(match (security.mechanism.is_some(), tls) {
        (false, false) => SecurityProtocol::Plaintext,
        (true, false) => SecurityProtocol::SaslPlaintext,
        (false, true) => SecurityProtocol::Ssl,
        (true, true) => SecurityProtocol::SaslSsl,
    });
    let sasl = matches!(protocol, SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl);
    config.set(
        "security.protocol",
        match protocol {
            SecurityProtocol::Plaintext => "plaintext",
            SecurityProtocol::Ssl => "ssl",
            SecurityProtocol::SaslPlaintext => "sasl_plaintext",
            SecurityProtocol::SaslSsl => "sasl_ssl",
        },
    );
    let field = "source.kafka.security.mechanism";
    let expected = MECHANISMS.join(", ");
    match &security.mechanism {
        Some(mechanism) if sasl => {
            let mechanism = mechanism.to_ascii_uppercase();
            if !MECHANISMS.contains(&mechanism.as_str()) {
                return Err(Error::config(field, format!("expected one of {expected}, found '{mechanism}'")));
            }
            config.set("sasl.mechanism", &mechanism);
            // A token is not a setting: `Client` hands it over when librdkafka asks, again and again.
            if mechanism != "OAUTHBEARER" {
                for (key, secret) in [("sasl.username", &security.username), ("sasl.password", &security.password)] {
                    if let Some(secret) = secret {
                        config.set(key, secret.resolve()?);
                    }
                }
            }
        }
        Some(_) => {
            return Err(Error::config(field, "is set, but source.kafka.security.protocol says not to use SASL"));
        }
        None if sasl || security.username.is_some() || security.password.is_some() => {
            return Err(Error::config(field, format!("expected one of {expected}, because SASL is asked for")));
        }
        None => {}
    }
    let files = [
        ("ssl.ca.location", &security.ca),
        ("ssl.certificate.location", &security.certificate),
        ("ssl.key.location", &security.key),
    ];
    for (key, path) in files {
        if let Some(path) = path {
            config.set(key, path);
        }
    }
    if let Some(password) = &security.key_password {
        config.set("ssl.key.password", password.resolve()?);
    }
    Ok(())
}

fn pass_through(config: &mut ClientConfig, kafka: &Kafka) -> Result<()> {
    for (key, value) in &kafka.properties {
        config.set(key, value.resolve()?);
    }
    Ok(())
}

/// The settings of the consumer, whose prefetched records (all partitions together) stay within `queue_bytes`.
pub(crate) fn consumer(kafka: &Kafka, job: &JobName, queue_bytes: usize) -> Result<ClientConfig> {
    let mut config = common(kafka, &kafka.bootstrap, &format!("frazil-{job}"))?;
    // The queue is looked at before each fetch, and one fetch from each broker may still be on its way: half of the
    // budget for what is queued, the other half for what arrives. The queue is one for all partitions, because they
    // are never split into queues of their own.
    let queued = (queue_bytes / 2).max(1 << 20);
    // Small fetches stay in the processor's caches until they are copied: measured, 16 MiB is better than 50.
    let fetch = (queue_bytes / 4).clamp(1 << 20, 16 << 20);
    config
        .set("queued.max.messages.kbytes", (queued >> 10).min(2_097_151).to_string())
        // Each queued record costs about 300 bytes on top of its own: bounds the memory of very small records.
        .set("queued.min.messages", (queued >> 10).clamp(1000, 10_000_000).to_string())
        .set("fetch.max.bytes", fetch.to_string())
        .set("message.max.bytes", "1000000")
        .set("fetch.message.max.bytes", (fetch / 4).clamp(1 << 20, 2 << 20).to_string())
        // An answer waits until it is worth it, but never for long.
        .set("fetch.min.bytes", "65536")
        .set("fetch.wait.max.ms", "50")
        // How long a full queue stops fetching: the default of 1 s would starve a fast reader.
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.error.backoff.ms", "100")
        .set("statistics.interval.ms", "2000")
        .set("check.crcs", "false");
    pass_through(&mut config, kafka)?;
    config
        .set("group.id", group(kafka, job))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "false")
        .set("allow.auto.create.topics", "false")
        .set("partition.assignment.strategy", "cooperative-sticky");
    Ok(config)
}

/// The settings of the small consumer that finds out whether a partition's tail holds any record.
pub(crate) fn tail(consumer: &ClientConfig) -> ClientConfig {
    let mut config = consumer.clone();
    config
        .set("enable.partition.eof", "true")
        .set("queued.max.messages.kbytes", "1024")
        .set("queued.min.messages", "1000")
        .set("fetch.message.max.bytes", "1048576")
        .set("fetch.max.bytes", "2097152")
        .set("statistics.interval.ms", "0")
        .remove("group.instance.id");
    config
}

/// The settings of a producer: nothing is lost or doubled by its own retries.
pub(crate) fn producer(kafka: &Kafka, bootstrap: &str, client_id: &str, queue_bytes: usize) -> Result<ClientConfig> {
    let mut config = common(kafka, bootstrap, client_id)?;
    config
        .set("queue.buffering.max.kbytes", (queue_bytes >> 10).clamp(1024, 2_097_151).to_string())
        .set("queue.buffering.max.messages", "1000000")
        // Whether a record is too large is for the topic to say: it came out of Kafka.
        .set("message.max.bytes", "100000000")
        .set("linger.ms", "5")
        .set("batch.size", "1000000")
        .set("message.timeout.ms", "60000");
    pass_through(&mut config, kafka)?;
    config.set("acks", "all").set("enable.idempotence", "true");
    Ok(config)
}
