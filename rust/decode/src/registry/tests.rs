//! The client against a small HTTP server that answers from a script.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;

use frazil_model::{ErrorKind, Registry as Setting, RegistrySettings};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{Lookup, Registry};

/// Status and body, by path.
type Answers = HashMap<String, Vec<(u16, String)>>;

/// A registry that knows some paths. Of several answers for one path each is given once, the last for ever.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) url: String,
    answers: Arc<Mutex<Answers>>,
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl Server {
    pub(crate) fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Server { url, answers: Arc::default(), asked: Arc::default() };
        let shared = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = shared.clone();
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        server
    }

    fn serve(&self, mut stream: std::net::TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        loop {
            let (mut path, mut authorization) = (String::new(), String::new());
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
                if let Some(rest) = line.strip_prefix("GET ") {
                    path = rest.split(' ').next().unwrap().to_owned();
                } else if line.to_ascii_lowercase().starts_with("authorization: ") {
                    authorization = line[15..].trim().to_owned();
                } else if line == "\r\n" {
                    break;
                }
            }
            self.asked.lock().push((path.clone(), authorization));
            let (status, body) = match self.answers.lock().get_mut(&path) {
                Some(answers) if answers.len() > 1 => answers.remove(0),
                Some(answers) => answers[0].clone(),
                None => (404, json!({"error_code": 40403, "message": "not found"}).to_string()),
            };
            let head = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all((head + &body).as_bytes());
        }
    }

    pub(crate) fn answer(&self, path: &str, status: u16, body: impl ToString) {
        self.answers.lock().entry(path.to_owned()).or_default().push((status, body.to_string()));
    }

    /// Registers a schema under an id and as the newest of a subject.
    pub(crate) fn register(&self, id: i32, subject: &str, schema: &Value) {
        let body = json!({"schema": schema.to_string(), "id": id, "version": id, "subject": subject});
        self.answer(&format!("/schemas/ids/{id}"), 200, &body);
        self.answers.lock().insert(format!("/subjects/{subject}/versions/latest"), vec![(200, body.to_string())]);
    }

    pub(crate) fn asked(&self, path: &str) -> usize {
        self.asked.lock().iter().filter(|(asked, _)| asked == path).count()
    }

    fn open(&self) -> Registry {
        Registry::open(&Setting::Url(self.url.clone()).settings()).unwrap()
    }
}

fn one(registry: &Registry, id: i32) -> frazil_model::Result<Lookup> {
    registry.schemas(&[id]).map(|mut lookups| lookups.remove(0))
}

fn texts(lookup: Lookup) -> Vec<String> {
    match lookup {
        Lookup::Found(texts) => texts.to_vec(),
        Lookup::Unusable(why) => panic!("{why}"),
    }
}

#[test]
fn a_schema_is_asked_for_once() {
    let server = Server::start();
    server.answer("/schemas/ids/7", 200, json!({"schema": "\"long\""}));
    let registry = server.open();
    assert!(!registry.knows(7));
    for _ in 0..3 {
        assert_eq!(texts(one(&registry, 7).unwrap()), ["\"long\""]);
    }
    assert_eq!(server.asked("/schemas/ids/7"), 1);
}

#[test]
fn references_are_fetched_in_depth_each_once_and_stand_before_their_users() {
    let server = Server::start();
    let reference = |subject: &str| json!({"name": subject, "subject": subject, "version": 1});
    server.answer(
        "/schemas/ids/1",
        200,
        json!({"schema": "top", "schemaType": "AVRO", "references": [reference("a b"), reference("c")]}),
    );
    server.answer("/subjects/a%20b/versions/1", 200, json!({"schema": "left", "references": [reference("c")]}));
    server.answer("/subjects/c/versions/1", 200, json!({"schema": "shared", "references": []}));
    assert_eq!(texts(one(&server.open(), 1).unwrap()), ["shared", "left", "top"]);
    assert_eq!(server.asked("/subjects/c/versions/1"), 1);
}

#[test]
fn an_unknown_id_is_no_failure_and_is_not_asked_for_again_at_once() {
    let server = Server::start();
    let registry = server.open();
    for _ in 0..2 {
        let Lookup::Unusable(why) = one(&registry, 9).unwrap() else { panic!("there is no schema 9") };
        assert!(why.contains("no schema with id 9"), "{why}");
    }
    assert_eq!(server.asked("/schemas/ids/9"), 1);
}

#[test]
fn many_unknown_ids_are_asked_for_together_and_do_not_push_schemas_out() {
    let server = Server::start();
    server.answer("/schemas/ids/1", 200, json!({"schema": "s"}));
    let registry = server.open();
    let ids: Vec<i32> = (1..200).collect();
    let lookups = registry.schemas(&ids).unwrap();
    assert_eq!(lookups.len(), ids.len());
    assert!(
        matches!(&lookups[0], Lookup::Found(_))
            && matches!(&lookups[198], Lookup::Unusable(why) if why.contains("id 199"))
    );
    (0..2 * super::MOST_UNUSABLE as i32).for_each(|id| registry.keep(1000 + id, &Lookup::Unusable(String::new())));
    assert!(registry.cache.lock().len() <= super::MOST_UNUSABLE && registry.knows(1));
}

#[test]
fn a_failing_registry_is_asked_again_and_then_a_retryable_error() {
    let server = Server::start();
    server.answer("/schemas/ids/1", 503, "{}");
    server.answer("/schemas/ids/1", 429, "{}");
    server.answer("/schemas/ids/1", 200, json!({"schema": "s"}));
    server.answer("/schemas/ids/2", 500, "{}");
    let registry = server.open();
    assert_eq!(texts(one(&registry, 1).unwrap()), ["s"]);
    assert_eq!(server.asked("/schemas/ids/1"), 3);
    let error = one(&registry, 2).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Catalog, true), "{error}");
    assert!(server.asked("/schemas/ids/2") > 1);
}

#[test]
fn what_is_no_registry_and_what_refuses_us_stops_the_job() {
    let server = Server::start();
    server.answer("/schemas/ids/1", 404, "<html>nginx</html>");
    server.answer("/schemas/ids/2", 401, json!({"error_code": 401, "message": "no"}));
    server.answer("/schemas/ids/3", 200, "<html>welcome</html>");
    let registry = server.open();
    for (id, kind) in [(1, ErrorKind::Config), (2, ErrorKind::Unauthorized), (3, ErrorKind::Catalog)] {
        let error = one(&registry, id).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (kind, false), "{error}");
    }
}

#[test]
fn a_registry_that_is_down_is_a_retryable_error() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let registry = Registry::open(&Setting::Url(format!("http://{free}")).settings()).unwrap();
    let error = one(&registry, 1).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Catalog, true), "{error}");
}

#[test]
fn credentials_are_sent_and_never_shown() {
    let settings = |extra: Value| {
        let server = Server::start();
        let mut settings = json!({"url": format!("{}/apis/ccompat/v7/", server.url)});
        settings.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        (server, serde_json::from_value::<RegistrySettings>(settings).unwrap())
    };
    let path = "/apis/ccompat/v7/schemas/ids/1";
    for (extra, header) in [
        (json!({"username": "u", "password": "hidden"}), "Basic dTpoaWRkZW4="),
        (json!({"token": "hidden"}), "Bearer hidden"),
    ] {
        let (server, settings) = settings(extra);
        server.answer(path, 403, "{}");
        let error = one(&Registry::open(&settings).unwrap(), 1).unwrap_err();
        assert_eq!(server.asked.lock()[0], (path.to_owned(), header.to_owned()));
        assert!(!format!("{error:?}").contains("hidden"), "{error:?}");
    }
}

#[test]
fn protobuf_is_refused_by_name() {
    let server = Server::start();
    server.answer("/schemas/ids/1", 200, json!({"schema": "message A {}", "schemaType": "PROTOBUF"}));
    let Lookup::Unusable(why) = one(&server.open(), 1).unwrap() else { panic!("it is no Avro") };
    assert!(why.contains("PROTOBUF"), "{why}");
}

#[test]
fn a_wrong_url_or_certificate_file_names_its_setting() {
    let open =
        |settings: Value| Registry::open(&serde_json::from_value::<RegistrySettings>(settings).unwrap()).err().unwrap();
    assert!(open(json!({"url": "registry:8081"})).to_string().contains("decode.avro.registry.url"));
    assert!(open(json!({"url": "http://a", "ca": "/nowhere.pem"})).to_string().contains("decode.avro.registry.ca"));
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ways_of_waiting_work_within_a_runtime_and_from_many_threads() {
    let server = Server::start();
    server.register(5, "s", &json!("long"));
    let registry = Arc::new(server.open());
    assert_eq!(registry.newest("s").await.unwrap().as_ref(), ["\"long\""]);
    let error = registry.newest("t").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    // On a worker thread of the runtime itself, which must not block, but must not hang or panic either.
    assert_eq!(texts(one(&registry, 5).unwrap()), ["\"long\""]);
    let tasks: Vec<_> = (6..20)
        .map(|id| {
            server.answer(&format!("/schemas/ids/{id}"), 200, json!({"schema": "s"}));
            let registry = registry.clone();
            tokio::task::spawn_blocking(move || texts(one(&registry, id).unwrap()))
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), ["s"]);
    }
}
