//! Which parameters a route's query may hold: those that its description names. One that is misspelt would otherwise be
//! passed over, and the answer be another than was asked for.

use std::collections::{BTreeSet, HashMap};

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::{OpenApi as Document, RefOr};

use super::problem::Problem;

/// The most of a name that is not known that is repeated, in characters.
const MAX_SHOWN_CHARS: usize = 64;

/// The names that each route knows, by its path and method.
#[derive(Debug)]
pub(super) struct Known(HashMap<(String, Method), BTreeSet<String>>);

impl Known {
    /// From the description of the API. The page for payers and the probes are left out: links and load balancers add what
    /// they like.
    pub(super) fn new(document: &Document) -> Self {
        let paths = document.paths.paths.iter();
        let paths = paths.filter(|(path, _)| path.starts_with("/api/"));
        let of_path = |(path, item): (&String, &PathItem)| {
            let methods = [
                (Method::GET, &item.get),
                (Method::PUT, &item.put),
                (Method::POST, &item.post),
                (Method::DELETE, &item.delete),
                (Method::PATCH, &item.patch),
            ];
            let described = methods.into_iter().filter_map(|(method, operation)| {
                let names = operation.as_ref().map(names)?;
                Some(((path.clone(), method), names))
            });
            described.collect::<Vec<_>>()
        };
        Self(paths.flat_map(of_path).collect())
    }

    /// Refuses a request with a parameter that its route does not know, naming the first.
    pub(super) fn judge(&self, request: &Request) -> Result<(), Problem> {
        let path = request.extensions().get::<MatchedPath>();
        let (Some(path), Some(query)) = (path, request.uri().query()) else {
            return Ok(());
        };
        let method = match request.method() {
            &Method::HEAD => Method::GET,
            method => method.clone(),
        };
        let Some(known) = self.0.get(&(path.as_str().to_owned(), method)) else {
            return Ok(());
        };
        let mut given = url::form_urlencoded::parse(query.as_bytes());
        match given.find(|(name, _)| !known.contains(name.as_ref())) {
            None => Ok(()),
            Some((name, _)) => {
                let name: String = name.chars().take(MAX_SHOWN_CHARS).collect();
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let known = match known.as_slice() {
                    [] => "none".to_owned(),
                    known => known.join(", "),
                };
                let detail =
                    format!("{name:?} is not a parameter of this route's query; known here: {known}");
                Err(Problem::malformed("UNKNOWN_PARAMETER", detail).at(name))
            }
        }
    }
}

fn names(operation: &Operation) -> BTreeSet<String> {
    let parameters = operation.parameters.iter().flatten();
    let in_query = parameters.filter_map(|parameter| match parameter {
        RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query => Some(parameter.name.clone()),
        RefOr::T(_) | RefOr::Ref(_) => None,
    });
    in_query.collect()
}
