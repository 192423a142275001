//! A Kafka broker inside the process: librdkafka's mock cluster. For trying things out and for tests; it keeps about
//! 5 MB of each partition, finds no offsets by time, and forgets everything when it is dropped.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use frazil_model::{Error, ErrorKind, Result};
use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;

enum Command {
    Down(bool),
}

/// A running embedded broker. It listens on a free port of the loopback address.
pub struct EmbeddedBroker {
    bootstrap: String,
    // The mock cluster must stay on the thread that made it, so it lives on one of its own until this is dropped.
    commands: Option<Sender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl EmbeddedBroker {
    /// Starts a broker with these topics and numbers of partitions.
    ///
    /// # Errors
    /// `Config` for a topic that cannot be, `Source` if the broker cannot start.
    pub fn start(topics: &[(&str, i32)]) -> Result<Self> {
        if let Some((topic, count)) = topics.iter().find(|(topic, count)| topic.is_empty() || *count < 1) {
            return Err(Error::new(
                ErrorKind::Config,
                format!("expected a topic's name and at least one partition, found '{topic}' with {count}"),
            ));
        }
        let topics: Vec<(String, i32)> = topics.iter().map(|(topic, count)| ((*topic).to_owned(), *count)).collect();
        let (commands, orders) = channel();
        let (tell, started) = channel();
        let thread = std::thread::Builder::new()
            .name("frazil-broker".to_owned())
            .spawn(move || {
                let cluster = match create(&topics) {
                    Ok(cluster) => cluster,
                    Err(error) => return tell.send(Err(error)).unwrap_or(()),
                };
                if tell.send(Ok(cluster.bootstrap_servers())).is_ok() {
                    serve(&cluster, &orders);
                }
            })
            .map_err(|error| Error::new(ErrorKind::Source, "the embedded broker got no thread").caused_by(error))?;
        let failed =
            |error: KafkaError| Error::new(ErrorKind::Source, "the embedded broker could not start").caused_by(error);
        let bootstrap = started
            .recv()
            .map_err(|_| Error::new(ErrorKind::Internal, "the embedded broker's thread ended"))?
            .map_err(failed)?;
        Ok(EmbeddedBroker { bootstrap, commands: Some(commands), thread: Some(thread) })
    }

    /// Its address, for `source.kafka.bootstrap`.
    pub fn bootstrap(&self) -> String {
        self.bootstrap.clone()
    }

    /// Cuts all connections and refuses new ones, or accepts them again: an outage, for tests.
    pub fn set_down(&self, down: bool) {
        if let Some(commands) = &self.commands {
            // The thread lives as long as this sender.
            let _ = commands.send(Command::Down(down));
        }
    }
}

fn create(
    topics: &[(String, i32)],
) -> Result<MockCluster<'static, rdkafka::producer::DefaultProducerContext>, KafkaError> {
    let cluster = MockCluster::new(1)?;
    for (topic, partitions) in topics {
        cluster.create_topic(topic, *partitions, 1)?;
    }
    Ok(cluster)
}

fn serve<C: rdkafka::ClientContext>(cluster: &MockCluster<'_, C>, orders: &Receiver<Command>) {
    while let Ok(Command::Down(down)) = orders.recv() {
        let result = if down { cluster.broker_down(-1) } else { cluster.broker_up(-1) };
        if let Err(error) = result {
            log::warn!(target: "frazil::kafka", "the embedded broker did not obey: {error}");
        }
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        drop(self.commands.take());
        if let Some(thread) = self.thread.take() {
            // It can only have failed with a panic of its own, which it has reported.
            let _ = thread.join();
        }
    }
}
