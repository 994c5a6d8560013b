//! One question, asked of one endpoint after another until one answers. One that is silent for longer than it usually takes
//! is not waited for: the next is asked beside it, and the first answer is taken.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::timeout;

use super::endpoint::Endpoint;
use super::error::ChainError;

/// The first answer of `endpoints`, or the failure of the first of them; none where there are no endpoints. Each is waited
/// for alone as long as `patience` says.
pub(super) async fn first_answer<T, F>(
    endpoints: Vec<Endpoint>,
    patience: impl Fn(&Endpoint) -> Duration,
    ask: impl Fn(Endpoint) -> F,
) -> Result<T, Option<ChainError>>
where
    F: Future<Output = Result<T, ChainError>>,
{
    let mut failure: Option<(usize, ChainError)> = None;
    let mut asked = FuturesUnordered::new();
    let mut waiting = endpoints.into_iter().enumerate();
    loop {
        let next = waiting.next();
        let silent = next.as_ref().map(|(_, endpoint)| endpoint.clone());
        if let Some((place, endpoint)) = next {
            let asking = ask(endpoint);
            asked.push(async move { (place, asking.await) });
        }
        let answer = match silent.filter(|_| waiting.len() > 0) {
            Some(endpoint) => {
                let Ok(answer) = timeout(patience(&endpoint), asked.next()).await else {
                    endpoint.was_silent();
                    continue;
                };
                answer
            }
            None => asked.next().await,
        };
        match answer {
            Some((_, Ok(value))) => return Ok(value),
            Some((_, Err(error))) if error.is_reverted() => return Err(Some(error)),
            Some((place, Err(error))) => {
                tracing::debug!(%error, "an endpoint failed a read");
                if failure.as_ref().is_none_or(|(first, _)| place < *first) {
                    failure = Some((place, error));
                }
            }
            None => return Err(failure.map(|(_, error)| error)),
        }
    }
}
