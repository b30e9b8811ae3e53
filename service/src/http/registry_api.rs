//! The part of Confluent's Schema Registry API that reads (its API reference, v1): consumers that are pointed here
//! decode the topics as they are. Whatever would write is refused in the registry's own words.

use crate::registry::{Registry, SchemaOfId};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use serde::Deserialize;
use serde_json::{Value, json};
use tributary_schemas::history::SchemaRecord;

const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// The registry's error codes.
const SUBJECT_NOT_FOUND: u32 = 40401;
const VERSION_NOT_FOUND: u32 = 40402;
const SCHEMA_NOT_FOUND: u32 = 40403;
const INVALID_SCHEMA: u32 = 42201;
const INVALID_VERSION: u32 = 42202;
const OPERATION_NOT_PERMITTED: u32 = 42205;

type Answer = Result<Value, Refusal>;

struct Refusal {
    code: u32,
    message: String,
}

fn refuse<T>(code: u32, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { code, message: message.into() })
}

pub(super) fn routes(registry: Registry) -> Router {
    Router::new()
        .route("/subjects", get(subjects).fallback(read_only))
        .route("/subjects/{subject}", get(no_such_page).post(look_up).fallback(read_only))
        .route("/subjects/{subject}/versions", get(versions).fallback(read_only))
        .route("/subjects/{subject}/versions/{version}", get(version).fallback(read_only))
        .route("/subjects/{subject}/versions/{version}/schema", get(version_schema).fallback(read_only))
        .route("/schemas/types", get(|| async { reply(Ok(json!(["AVRO"]))) }).fallback(read_only))
        .route("/schemas/ids/{id}", get(by_id).fallback(read_only))
        .route("/schemas/ids/{id}/schema", get(schema_by_id).fallback(read_only))
        .route("/schemas/ids/{id}/subjects", get(subjects_by_id).fallback(read_only))
        .route("/schemas/ids/{id}/versions", get(versions_by_id).fallback(read_only))
        .route("/config", get(config).fallback(read_only))
        .route("/config/{subject}", get(config).fallback(read_only))
        .route("/mode", get(mode).fallback(read_only))
        .route("/mode/{subject}", get(mode).fallback(read_only))
        .route("/compatibility/{*rest}", any(read_only))
        .with_state(registry)
}

fn reply(answer: Answer) -> Response {
    let (status, body) = match answer {
        Ok(body) => (StatusCode::OK, body),
        Err(Refusal { code, message }) => {
            // A code is the HTTP status followed by two digits, or the status alone.
            let status = if code >= 1_000 { code / 100 } else { code };
            let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
            (
                status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                json!({"error_code": code, "message": message}),
            )
        }
    };
    (status, [(header::CONTENT_TYPE, CONTENT_TYPE)], body.to_string()).into_response()
}

/// Any other path.
pub(super) async fn not_found(uri: Uri) -> Response {
    reply(refuse(404, format!("HTTP 404 Not Found: {}", uri.path())))
}

async fn no_such_page(uri: Uri) -> Response {
    not_found(uri).await
}

async fn read_only(method: Method) -> Response {
    if [Method::POST, Method::PUT, Method::DELETE, Method::PATCH].contains(&method) {
        let why = "this registry is READONLY: schemas are registered by the task's capture";
        return reply(refuse(OPERATION_NOT_PERMITTED, why));
    }
    reply(refuse(405, "HTTP 405 Method Not Allowed"))
}

async fn subjects(State(registry): State<Registry>) -> Response {
    reply(Ok(json!(registry.subjects())))
}

async fn versions(State(registry): State<Registry>, Path(subject): Path<String>) -> Response {
    let numbers = registry.versions(&subject);
    reply(if numbers.is_empty() { no_subject(&subject) } else { Ok(json!(numbers)) })
}

async fn version(
    State(registry): State<Registry>,
    Path((subject, version)): Path<(String, String)>,
) -> Response {
    reply(find(&registry, &subject, &version).map(|record| whole(&record)))
}

async fn version_schema(
    State(registry): State<Registry>,
    Path((subject, version)): Path<(String, String)>,
) -> Response {
    match find(&registry, &subject, &version) {
        Ok(record) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], record.schema).into_response(),
        Err(refusal) => reply(Err(refusal)),
    }
}

/// `?subject=` of the requests for an id.
#[derive(Deserialize)]
struct OfSubject {
    subject: Option<String>,
}

async fn by_id(
    State(registry): State<Registry>,
    Path(id): Path<String>,
    Query(OfSubject { subject }): Query<OfSubject>,
) -> Response {
    reply(find_id(&registry, &id, subject.as_deref()).map(|record| json!({"schema": record.schema})))
}

async fn schema_by_id(
    State(registry): State<Registry>,
    Path(id): Path<String>,
    Query(OfSubject { subject }): Query<OfSubject>,
) -> Response {
    match find_id(&registry, &id, subject.as_deref()) {
        Ok(record) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], record.schema).into_response(),
        Err(refusal) => reply(Err(refusal)),
    }
}

async fn subjects_by_id(State(registry): State<Registry>, Path(id): Path<String>) -> Response {
    reply(find_places(&registry, &id).map(|places| {
        let mut subjects: Vec<String> = places.into_iter().map(|(subject, _)| subject).collect();
        subjects.dedup();
        json!(subjects)
    }))
}

async fn versions_by_id(State(registry): State<Registry>, Path(id): Path<String>) -> Response {
    reply(find_places(&registry, &id).map(|places| {
        let places = places.into_iter();
        places.map(|(subject, version)| json!({"subject": subject, "version": version})).collect()
    }))
}

/// Every generation has its own schema, and none is compared with another.
async fn config() -> Response {
    reply(Ok(json!({"compatibilityLevel": "NONE"})))
}

async fn mode() -> Response {
    reply(Ok(json!({"mode": "READONLY"})))
}

/// `POST /subjects/{subject}` asks whether a schema is known; it writes nothing.
async fn look_up(State(registry): State<Registry>, Path(subject): Path<String>, body: Bytes) -> Response {
    reply(look_up_schema(&registry, &subject, &body))
}

fn look_up_schema(registry: &Registry, subject: &str, body: &[u8]) -> Answer {
    let versions = registry.versions(subject);
    if versions.is_empty() {
        return no_subject(subject);
    }
    let asked: Option<Value> = serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|body| serde_json::from_str(body.get("schema")?.as_str()?).ok());
    let Some(asked) = asked else { return refuse(INVALID_SCHEMA, "Input schema is an invalid Avro schema") };
    // Compared as JSON values: white space and the order of attributes say nothing.
    let known =
        |record: &SchemaRecord| serde_json::from_str::<Value>(&record.schema).is_ok_and(|it| it == asked);
    let mut newest_first = versions.iter().rev().filter_map(|version| registry.version(subject, *version));
    match newest_first.find(known) {
        Some(record) => Ok(whole(&record)),
        None => refuse(SCHEMA_NOT_FOUND, "Schema not found"),
    }
}

fn whole(record: &SchemaRecord) -> Value {
    json!({
        "subject": record.subject,
        "version": record.version,
        "id": record.id,
        "schema": record.schema,
    })
}

fn no_subject<T>(subject: &str) -> Result<T, Refusal> {
    refuse(SUBJECT_NOT_FOUND, format!("Subject '{subject}' not found."))
}

fn find(registry: &Registry, subject: &str, version: &str) -> Result<SchemaRecord, Refusal> {
    let Some(latest) = registry.versions(subject).pop() else { return no_subject(subject) };
    let asked = if version == "latest" || version == "-1" { latest.to_string() } else { version.to_owned() };
    match asked.parse::<u32>().ok().filter(|number| (1..=i32::MAX.unsigned_abs()).contains(number)) {
        None => refuse(
            INVALID_VERSION,
            format!(
                "The specified version '{version}' is not a valid version id. Allowed values are between [1, 2^31-1] and the string \"latest\""
            ),
        ),
        Some(number) => match registry.version(subject, number) {
            Some(record) => Ok(record),
            None => refuse(VERSION_NOT_FOUND, format!("Version {number} not found.")),
        },
    }
}

fn find_id(registry: &Registry, id: &str, subject: Option<&str>) -> Result<SchemaRecord, Refusal> {
    match id.parse().map_or(SchemaOfId::None, |id| registry.by_id(id, subject)) {
        SchemaOfId::One(record) => Ok(record),
        SchemaOfId::None => refuse(SCHEMA_NOT_FOUND, format!("Schema {id} not found")),
        SchemaOfId::Several => {
            let why = format!("Schema {id} is another one in each task that is read: name it by ?subject=");
            refuse(SCHEMA_NOT_FOUND, why)
        }
    }
}

fn find_places(registry: &Registry, id: &str) -> Result<Vec<(String, u32)>, Refusal> {
    let places = id.parse().map(|id| registry.places(id)).unwrap_or_default();
    if places.is_empty() { refuse(SCHEMA_NOT_FOUND, format!("Schema {id} not found")) } else { Ok(places) }
}
