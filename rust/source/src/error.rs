//! librdkafka's error codes in Frazil's kinds. Kinds come from codes alone, never from the text of a message.

use frazil_model::{Error, ErrorKind};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::types::RDKafkaConfRes;

/// What an error code means for a running consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// librdkafka mends it by itself (reconnects, asks for metadata again, joins the group again).
    Passing,
    /// Credentials are wrong or not enough.
    Unauthorized,
    /// A topic or partition is not there.
    NotFound,
    /// The position is not in the partition (any more).
    OffsetsLost,
    /// Anything else: the consumer cannot promise that it has not skipped records, so it must not go on.
    Failed,
}

pub(crate) fn meaning(code: Code) -> Meaning {
    match code {
        Code::BrokerTransportFailure
        | Code::Resolve
        | Code::AllBrokersDown
        | Code::OperationTimedOut
        | Code::MessageTimedOut
        | Code::TimedOutQueue
        | Code::WaitingForCoordinator
        | Code::InProgress
        | Code::PreviousInProgress
        | Code::WaitCache
        | Code::Retry
        | Code::NodeUpdate
        | Code::State
        | Code::PollExceeded
        | Code::AssignmentLost
        | Code::NoOffset
        | Code::PartitionEOF
        | Code::BrokerDestroy
        | Code::DestroyBroker
        | Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::RequestTimedOut
        | Code::BrokerNotAvailable
        | Code::ReplicaNotAvailable
        | Code::NetworkException
        | Code::CoordinatorLoadInProgress
        | Code::CoordinatorNotAvailable
        | Code::NotCoordinator
        | Code::IllegalGeneration
        | Code::UnknownMemberId
        | Code::RebalanceInProgress
        | Code::MemberIdRequired
        | Code::OffsetNotAvailable
        | Code::FencedLeaderEpoch
        | Code::UnknownLeaderEpoch
        | Code::PreferredLeaderNotAvailable
        | Code::KafkaStorageError => Meaning::Passing,
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::IllegalSASLState
        | Code::UnsupportedSASLMechanism
        | Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed => Meaning::Unauthorized,
        Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicOrPartition | Code::InvalidTopic => {
            Meaning::NotFound
        }
        Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation => Meaning::OffsetsLost,
        _ => Meaning::Failed,
    }
}

/// An error from an error code: `what` could not be done.
pub(crate) fn from_code(what: &str, code: Code) -> Error {
    let kind = match meaning(code) {
        Meaning::Passing | Meaning::Failed => ErrorKind::Source,
        Meaning::Unauthorized => ErrorKind::Unauthorized,
        Meaning::NotFound => ErrorKind::NotFound,
        Meaning::OffsetsLost => ErrorKind::OffsetsLost,
    };
    let error = Error::new(kind, what).caused_by(code);
    if kind == ErrorKind::Source { error.retryable() } else { error }
}

/// An error of librdkafka: `what` could not be done. Values of settings are left out, they may be secrets.
pub(crate) fn from_kafka(what: &str, error: KafkaError) -> Error {
    match error {
        KafkaError::ClientConfig(result, _, key, _) => {
            let why = match result {
                RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN => "librdkafka knows no such setting",
                _ => "librdkafka refuses the value of this setting",
            };
            Error::config(format!("source.kafka.properties.{key}"), why)
        }
        KafkaError::ClientCreation(why) => {
            Error::new(ErrorKind::Config, format!("{what}: librdkafka refuses the settings: {why}"))
        }
        KafkaError::Subscription(why) | KafkaError::PauseResume(why) | KafkaError::Seek(why) => {
            Error::new(ErrorKind::Source, format!("{what}: {why}")).retryable()
        }
        other => match other.rdkafka_error_code() {
            Some(code) => from_code(what, code),
            None => Error::new(ErrorKind::Source, what).caused_by(other),
        },
    }
}
