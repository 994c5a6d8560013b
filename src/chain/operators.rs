//! What several operators say of the same thing, asked at once. Nothing is decided here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::endpoint::Endpoint;
use super::error::{ChainError, Unproven};
use super::reader::{ChainReader, fetch_header};
use super::rpc::quantity;
use crate::domain::{Header, Tag};

/// What one operator says: the answer of the best of its endpoints that gives one, or the best one's failure.
#[derive(Debug)]
pub struct Said {
    /// Who runs the endpoint.
    pub operator: Arc<str>,
    /// The endpoint's name.
    pub endpoint: Arc<str>,
    /// A header that was recomputed; whether it is on the chain is what is asked.
    pub header: Result<Header, ChainError>,
}

impl ChainReader {
    /// The distinct operators of the chain's endpoints, in the order of their names.
    #[must_use]
    pub fn operators(&self) -> Vec<Arc<str>> {
        self.by_operator().into_keys().collect()
    }

    /// Every operator's newest header.
    pub async fn heads(&self) -> Vec<Said> {
        self.ask_operators(json!(["latest", false]), None).await
    }

    /// Every operator's header at a height.
    pub async fn headers_at(&self, number: u64) -> Vec<Said> {
        self.ask_operators(json!([quantity(number), false]), Some(number))
            .await
    }

    /// The block of a finality tag, by one endpoint's word.
    ///
    /// # Errors
    /// Every endpoint failed, or its header is unproven.
    pub async fn tagged(&self, tag: Tag) -> Result<Header, ChainError> {
        self.try_each(|endpoint| async move {
            fetch_header(&endpoint, "eth_getBlockByNumber", json!([tag.as_str(), false])).await
        })
        .await
    }

    /// Every operator's block of a finality tag.
    pub async fn tags(&self, tag: Tag) -> Vec<Said> {
        self.ask_operators(json!([tag.as_str(), false]), None).await
    }

    /// Asks an endpoint last for a while: enough others have another block at this height than it has.
    pub fn put_aside(&self, endpoint: &str, number: u64) {
        let mut all = self.endpoints().iter();
        if let Some(endpoint) = all.find(|known| known.name() == endpoint) {
            endpoint.put_aside(number, &"other operators agree on another block");
        }
    }

    fn by_operator(&self) -> BTreeMap<Arc<str>, Vec<Endpoint>> {
        let operators = by_rank(&self.endpoints().ranked()).into_iter();
        operators
            .filter_map(|endpoints| {
                let operator = Arc::clone(&endpoints.first()?.identity().operator);
                Some((operator, endpoints))
            })
            .collect()
    }

    async fn ask_operators(&self, params: Value, number: Option<u64>) -> Vec<Said> {
        let params = &params;
        let asked = self
            .by_operator()
            .into_iter()
            .map(|(operator, endpoints)| async move {
                let mut said: Option<Said> = None;
                for endpoint in endpoints {
                    let header = ask(&endpoint, params.clone(), number).await;
                    let answered = header.is_ok();
                    if said.is_none() || answered {
                        said = Some(Said {
                            operator: Arc::clone(&operator),
                            endpoint: Arc::clone(&endpoint.identity().endpoint),
                            header,
                        });
                    }
                    if answered {
                        break;
                    }
                }
                said
            });
        join_all(asked).await.into_iter().flatten().collect()
    }
}

/// Each operator's endpoints, all in the order of `ranked`.
pub(super) fn by_rank(ranked: &[Endpoint]) -> Vec<Vec<Endpoint>> {
    let mut operators: Vec<Vec<Endpoint>> = Vec::new();
    for endpoint in ranked {
        let operator = &endpoint.identity().operator;
        match operators
            .iter_mut()
            .find(|known| known[0].identity().operator == *operator)
        {
            Some(known) => known.push(endpoint.clone()),
            None => operators.push(vec![endpoint.clone()]),
        }
    }
    operators
}

/// Each operator's best endpoint.
pub(super) fn one_of_each(ranked: &[Endpoint]) -> Vec<Endpoint> {
    let operators = by_rank(ranked).into_iter();
    operators
        .filter_map(|endpoints| endpoints.into_iter().next())
        .collect()
}

/// How many distinct operators run them.
pub(super) fn operators_of(endpoints: &[&Endpoint]) -> usize {
    let distinct: BTreeSet<&str> = endpoints.iter().map(|one| &*one.identity().operator).collect();
    distinct.len()
}

/// An endpoint's newest header, or the one at a height.
pub(super) async fn ask(
    endpoint: &Endpoint,
    params: Value,
    number: Option<u64>,
) -> Result<Header, ChainError> {
    if let Some(number) = number {
        endpoint.reaches(number).await?;
    }
    let is_head = params[0] == "latest";
    let header = fetch_header(endpoint, "eth_getBlockByNumber", params).await?;
    match number {
        Some(number) if number != header.number => Err(endpoint.unproven(number, Unproven::OtherBlock)),
        None if is_head => {
            endpoint.saw_latest(&header);
            Ok(header)
        }
        _ => Ok(header),
    }
}
