//! What librdkafka tells a client: logs, errors, statistics, and the tokens that it asks for.

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use frazil_model::{Kafka, Positions, Secret};
use parking_lot::Mutex;
use rdkafka::client::OAuthToken;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Statistics, TopicPartitionList};

use crate::error::{Meaning, meaning};
use crate::rebalance::Rebalance;

/// A token is given to librdkafka for this long: a file that holds it is read again before.
const TOKEN_LIFETIME: Duration = Duration::from_secs(300);

/// How the connection to Kafka does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Whether at least one broker is connected, as far as is known.
    pub connected: bool,
    /// The last error that was reported since all was well.
    pub last_error: Option<String>,
}

/// The callbacks of one librdkafka client, and what they have left for the thread that drives it.
pub(crate) struct Client {
    token: Option<(String, Secret)>,
    health: Mutex<Health>,
    /// Text of the first refusal of the credentials, until it is taken.
    refused: Mutex<Option<String>>,
    /// Last known end of each partition that is being fetched.
    ends: Mutex<Positions>,
    rebalances: Mutex<VecDeque<Rebalance>>,
    rebalancing: AtomicBool,
    closing: AtomicBool,
}

impl Client {
    pub(crate) fn new(kafka: &Kafka) -> Self {
        let oauth = kafka.security.mechanism.as_deref().is_some_and(|name| name.eq_ignore_ascii_case("OAUTHBEARER"));
        let user = kafka.security.username.as_ref().and_then(|user| user.resolve().ok()).unwrap_or_default();
        Client {
            token: kafka.security.password.clone().filter(|_| oauth).map(|token| (user, token)),
            health: Mutex::default(),
            refused: Mutex::default(),
            ends: Mutex::default(),
            rebalances: Mutex::default(),
            rebalancing: AtomicBool::new(false),
            closing: AtomicBool::new(false),
        }
    }

    pub(crate) fn health(&self) -> Health {
        self.health.lock().clone()
    }

    /// Something came from a broker: all is well.
    pub(crate) fn well(&self) {
        *self.health.lock() = Health { connected: true, last_error: None };
    }

    pub(crate) fn take_refused(&self) -> Option<String> {
        self.refused.lock().take()
    }

    pub(crate) fn ends(&self) -> parking_lot::MutexGuard<'_, Positions> {
        self.ends.lock()
    }

    pub(crate) fn rebalancing(&self) -> bool {
        self.rebalancing.load(Ordering::Acquire)
    }

    pub(crate) fn next_rebalance(&self) -> Option<Rebalance> {
        let mut waiting = self.rebalances.lock();
        let next = waiting.pop_front();
        self.rebalancing.store(!waiting.is_empty(), Ordering::Release);
        next
    }

    pub(crate) fn retry_rebalance(&self, rebalance: Rebalance) {
        self.rebalances.lock().push_front(rebalance);
        self.rebalancing.store(true, Ordering::Release);
    }

    /// From now on partitions are given back at once, without asking the pipeline.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }
}

impl ClientContext for Client {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        if code == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        log::warn!(target: "frazil::kafka", "{reason}");
        let mut health = self.health.lock();
        if code == Some(RDKafkaErrorCode::AllBrokersDown) {
            health.connected = false;
            // A consequence: what was reported before it says why.
            health.last_error.get_or_insert_with(|| reason.to_owned());
        } else {
            health.last_error = Some(reason.to_owned());
        }
        if code.is_some_and(|code| meaning(code) == Meaning::Unauthorized) {
            self.refused.lock().get_or_insert_with(|| reason.to_owned());
        }
    }

    fn stats(&self, statistics: Statistics) {
        let connected = statistics.brokers.values().any(|broker| broker.state == "UP");
        let mut health = self.health.lock();
        health.connected = connected;
        if connected {
            health.last_error = None;
        }
        drop(health);
        let mut ends = self.ends.lock();
        for (topic, partition, end) in statistics.topics.values().flat_map(|topic| {
            topic.partitions.values().map(|partition| (&topic.topic, partition.partition, partition.ls_offset))
        }) {
            // Partition -1 holds what has no partition yet; a negative end is not known yet.
            if partition >= 0 && end > ends.get(topic, partition).unwrap_or(-1) {
                ends.set(topic, partition, end);
            }
        }
    }

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn StdError>> {
        let (user, secret) = self.token.as_ref().ok_or("source.kafka.security.password: expected the bearer token")?;
        let until = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)? + TOKEN_LIFETIME;
        Ok(OAuthToken {
            token: secret.resolve()?,
            principal_name: user.clone(),
            lifetime_ms: i64::try_from(until.as_millis())?,
        })
    }
}

impl ConsumerContext for Client {
    /// Only notes what librdkafka asks for and answers it in the next call of `poll`: when the pipeline is told that
    /// partitions go, no record of them is in a half-filled `Records` that it cannot see.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let given = code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Acquire) {
            let result = match (consumer.rebalance_protocol(), given) {
                (RebalanceProtocol::Cooperative, true) => consumer.incremental_assign(&TopicPartitionList::new()),
                (RebalanceProtocol::Cooperative, false) => consumer.incremental_unassign(list),
                _ => consumer.unassign(),
            };
            if let Err(error) = result {
                log::warn!(target: "frazil::kafka", "partitions could not be given back while closing: {error}");
            }
            return;
        }
        let partitions = list.elements().iter().map(|part| (part.topic().to_owned(), part.partition())).collect();
        self.rebalances.lock().push_back(Rebalance { given, lost: consumer.assignment_lost(), partitions });
        self.rebalancing.store(true, Ordering::Release);
    }
}
