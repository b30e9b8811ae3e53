//! Why the cluster did not do what was tried: errors of the client enter, a [`Refusal`] leaves, which says whether it is a
//! matter of rights and whether it may pass. What may pass is tried again for a while.

use super::kafka::Refusal;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::time::{Duration, Instant};
use tributary_service::kafka::{ReadError, error_code};
use tributary_service::transient::Transient;

/// How long is waited between two attempts.
const REST: Duration = Duration::from_millis(100);

impl Refusal {
    /// What reading a topic to its end came to.
    pub(super) fn from_read(action: &'static str, error: &ReadError) -> Self {
        match error {
            ReadError::Kafka { error, .. } => refusal(action, error),
            other => {
                Self { action, reason: other.to_string(), denied: false, transient: other.is_transient() }
            }
        }
    }
}

pub(super) fn refusal(action: &'static str, error: &KafkaError) -> Refusal {
    let code = error_code(error);
    let text = match error {
        KafkaError::Transaction(inner) => inner.string(),
        KafkaError::AdminOp(code) => code.to_string(),
        other => other.to_string(),
    };
    let transient = error.is_transient();
    match code {
        Some(code) => Refusal { reason: text, transient, ..refused(action, code) },
        None => Refusal { action, reason: text, denied: false, transient },
    }
}

/// The same about a topic that is new: a cluster that is busy has brokers that do not know it yet, and one that is starting
/// does not know all of its brokers.
pub(super) fn refusal_of_new_topic(action: &'static str, error: &KafkaError) -> Refusal {
    use RDKafkaErrorCode as Code;
    let unknown = matches!(
        error_code(error),
        Some(
            Code::UnknownTopic
                | Code::UnknownTopicOrPartition
                | Code::InvalidProducerIdMapping
                | Code::InvalidReplicationFactor
        )
    );
    let refusal = refusal(action, error);
    Refusal { transient: refusal.transient || unknown, ..refusal }
}

/// Tries again while the refusal may pass by itself, for `limit` at most.
pub(super) fn patiently<T>(
    limit: Duration,
    mut attempt: impl FnMut() -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let deadline = Instant::now() + limit;
    loop {
        match attempt() {
            Err(refusal) if refusal.transient && Instant::now() < deadline => std::thread::sleep(REST),
            outcome => return outcome,
        }
    }
}

pub(super) fn refused(action: &'static str, code: RDKafkaErrorCode) -> Refusal {
    use RDKafkaErrorCode as Code;
    let denied = matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
    );
    let transient = KafkaError::Global(code).is_transient();
    Refusal { action, reason: code.to_string(), denied, transient }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_does_not_know_a_new_topic_yet_is_asked_again() {
        let unknown = KafkaError::MessageProduction(RDKafkaErrorCode::UnknownTopicOrPartition);
        let busy = refusal_of_new_topic("a", &unknown);
        assert!(busy.transient && !busy.denied);
        assert!(!refusal("a", &unknown).transient, "of a topic that is old it means what it says");
        let mut answers = vec![Ok(7), Err(busy.clone()), Err(busy.clone())];
        assert_eq!(patiently(Duration::from_secs(60), || answers.pop().unwrap()), Ok(7));
        // The same of an administrative request, which says it in another way.
        for code in [RDKafkaErrorCode::CoordinatorLoadInProgress, RDKafkaErrorCode::InvalidReplicationFactor]
        {
            assert!(refusal_of_new_topic("a", &KafkaError::AdminOp(code)).transient, "{code}");
        }
        let few = KafkaError::AdminOp(RDKafkaErrorCode::InvalidReplicationFactor);
        assert!(!refusal("a", &few).transient);
        assert!(refusal("a", &KafkaError::AdminOp(RDKafkaErrorCode::TopicAuthorizationFailed)).denied);
        let denied = refusal_of_new_topic(
            "a",
            &KafkaError::MessageProduction(RDKafkaErrorCode::TransactionalIdAuthorizationFailed),
        );
        let mut answers = vec![Ok(7), Err(denied.clone())];
        assert_eq!(patiently(Duration::from_secs(60), || answers.pop().unwrap()), Err(denied));
        assert_eq!(patiently(Duration::ZERO, || Err::<(), _>(busy.clone())), Err(busy));
    }
}
