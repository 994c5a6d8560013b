//! The description of the API, made from the code: `/openapi.json`, and the file beside this one that a test compares.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Content, OpenApi as Document, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;

use super::guard::Guard;
use super::problem::ProblemView;
use super::{ALIASES, Shared, table};

/// What is the same for every route.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "tollgate",
        description = "Who has paid, and who holds what. Amounts are decimal text, times RFC 3339 in UTC, chains a \
                       number and CAIP-2, addresses checksummed (EIP-55). A refusal is application/problem+json with \
                       a stable code."
    ),
    components(schemas(ProblemView)),
    modifiers(&Keys)
)]
struct Common;

/// The two ways to show a key, and the one to show a user's token.
struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme("bearer", bearer);
        let header = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("x-api-key")));
        components.add_security_scheme("apiKey", header);
        let mut token = Http::new(HttpAuthScheme::Bearer);
        token.bearer_format = Some("JWT".to_owned());
        token.description =
            Some("A token of the chat product's end user; the list names the role it needs".to_owned());
        components.add_security_scheme("userToken", SecurityScheme::Http(token));
    }
}

/// The document.
pub(super) fn build() -> Document {
    let mut all = OpenApiRouter::<Shared>::with_openapi(Common::openapi());
    for (guard, routes) in table() {
        let (_, mut document) = routes.split_for_parts();
        for item in document.paths.paths.values_mut() {
            for operation in operations(item) {
                describe(operation, guard);
            }
        }
        all.get_openapi_mut().merge(document);
    }
    let mut document = all.into_openapi();
    for (alias, path) in ALIASES {
        let Some(mut item) = document.paths.paths.get(path).cloned() else {
            continue;
        };
        for operation in operations(&mut item) {
            operation.operation_id = operation.operation_id.take().map(|id| format!("{id}_alias"));
            operation.summary = Some(format!("The same as {path}"));
        }
        document.paths.paths.insert(alias.to_owned(), item);
    }
    document
}

/// The document as text, a line for each value so that a change of it can be read.
pub(super) fn text() -> String {
    build().to_pretty_json().unwrap_or_default()
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem {
        get,
        put,
        post,
        delete,
        patch,
        ..
    } = item;
    [get, put, post, delete, patch].into_iter().flatten()
}

/// What a route's guard asks for, and how every route refuses.
fn describe(operation: &mut Operation, guard: Guard) {
    if let Some((security, needed)) = needs(guard) {
        operation.security = Some(security);
        let before = operation.description.take();
        operation.description = Some(before.map_or(needed.clone(), |before| format!("{before}\n\n{needed}")));
    }
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response
            && response.description.is_empty()
        {
            "The answer".clone_into(&mut response.description);
        }
    }
    let problem = Content::new(Some(RefOr::Ref(Ref::from_schema_name("Problem"))));
    let refusal = ResponseBuilder::new()
        .description("A refusal")
        .content("application/problem+json", problem);
    let responses = &mut operation.responses.responses;
    responses.insert("default".to_owned(), RefOr::T(refusal.build()));
}

/// The ways to be let in, and the same in words; `None` where nothing is asked.
fn needs(guard: Guard) -> Option<(Vec<SecurityRequirement>, String)> {
    let (scopes, role) = match guard {
        Guard::Open | Guard::Public | Guard::Webhook => return None,
        Guard::Key(scopes) => (scopes, None),
        Guard::Caller(scopes, role) | Guard::Capability(scopes, role) => (scopes, Some(role)),
    };
    let key = |name| SecurityRequirement::new::<_, [&str; 0], &str>(name, []);
    let mut ways = vec![key("bearer"), key("apiKey")];
    let words: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
    let mut needed = format!("a key with the scope {}", words.join(" or "));
    if let Some(role) = role {
        ways.push(SecurityRequirement::new("userToken", [role.as_str()]));
        needed = format!("{needed}, or a user's token with the role {role}");
    }
    if matches!(guard, Guard::Capability(..)) {
        ways.push(SecurityRequirement::default());
        return Some((
            ways,
            format!("Needs nothing; who shows who they are needs {needed}."),
        ));
    }
    Some((ways, format!("Needs {needed}.")))
}

/// This description of the API
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "show_openapi",
    tag = "health",
    responses((status = 200, description = "An OpenAPI 3.1 document", content_type = "application/json", body = Object))
)]
pub(super) async fn show(State(app): State<Shared>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], app.document.clone())
}
