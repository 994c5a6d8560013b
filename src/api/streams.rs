//! A charge's changes as server-sent events: what it is at once, then each change, until nothing can change any more.
//!
//! Each stream holds a seat, of which there are so many for all and so many for one charge. It is woken by the engine, asks
//! the database only where the charge's row changed, and ends at once when the service stops.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::asker::{NamedInHeaders, NamedInQuery, Viewer};
use super::extract::Id;
use super::problem::Problem;
use crate::domain::{ChargeId, ChargeState};
use crate::engine::{ChargeView, FollowedCharge};

/// Streams of one charge: a payer's tabs and devices, and the backend.
const MAX_OF_A_CHARGE: usize = 8;

/// How often a comment shows that the stream is alive; proxies end connections that are silent for a minute.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// A stream ends after this long, and its reader comes back for where it was.
const LONGEST: Duration = Duration::from_hours(1);

/// How long a reader waits before it comes back.
const RETRY: Duration = Duration::from_secs(2);

/// What ends the answers that would go on: put into each request by whoever serves.
#[derive(Debug, Clone)]
pub(super) struct Stopping(pub(super) CancellationToken);

/// The seats of the streams that are open.
#[derive(Debug)]
pub(super) struct Seats {
    most: usize,
    taken: Mutex<HashMap<ChargeId, usize>>,
}

/// A seat, free again when this is dropped.
#[derive(Debug)]
struct Seat {
    seats: Arc<Seats>,
    charge: ChargeId,
}

impl Seats {
    /// So many for all charges together.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            taken: Mutex::default(),
        })
    }

    fn take(self: &Arc<Self>, charge: &ChargeId) -> Result<Seat, Problem> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.get(charge).is_some_and(|of_it| *of_it >= MAX_OF_A_CHARGE) {
            return Err(Problem::too_many_streams(MAX_OF_A_CHARGE));
        }
        if taken.values().sum::<usize>() >= self.most {
            let detail = "too many event streams are open; try again, or ask for the charge itself";
            return Err(Problem::unavailable("STREAMS_EXHAUSTED", detail));
        }
        *taken.entry(charge.clone()).or_default() += 1;
        Ok(Seat {
            seats: Arc::clone(self),
            charge: charge.clone(),
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_it) = taken.get_mut(&self.charge) {
            *of_it -= 1;
            if *of_it == 0 {
                taken.remove(&self.charge);
            }
        }
    }
}

/// One reader's stream.
struct Stream {
    charge: FollowedCharge,
    for_holder: bool,
    /// The view that the reader has.
    told: Option<ChargeView>,
    is_over: bool,
    ends_at: Instant,
    stopping: CancellationToken,
    _seat: Seat,
}

/// Names a view, so that a reader that comes back is told nothing twice: the charge's sequence, and what may differ within.
fn mark(view: &ChargeView) -> String {
    let confirmations = view.confirmations.unwrap_or_default();
    format!("{}.{}.{confirmations}", view.sequence, view.state)
}

/// Whether nothing of a charge can change any more.
fn is_over(view: &ChargeView) -> bool {
    match view.state {
        ChargeState::Closed => true,
        ChargeState::Paid => view.finalized == view.confirmed,
        _ => false,
    }
}

impl Stream {
    fn view(&self) -> ChargeView {
        let view = self.charge.view();
        if self.for_holder {
            view.without_people()
        } else {
            view
        }
    }

    /// The next event; none at the end.
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        while !self.is_over {
            let view = self.view();
            if self.told.as_ref() != Some(&view) {
                let event = Event::default().event("charge").id(mark(&view)).retry(RETRY);
                let event = event.json_data(&view).ok()?;
                self.told = Some(view);
                return Some((Ok(event), self));
            }
            if is_over(&view) {
                self.is_over = true;
                return Some((Ok(Event::default().event("end").data("over")), self));
            }
            tokio::select! {
                () = self.stopping.cancelled() => return None,
                () = tokio::time::sleep_until(self.ends_at) => return None,
                // A reader that comes back reads from whatever answers then.
                changed = self.charge.changed() => changed.ok()?,
            }
        }
        None
    }
}

/// A charge's changes, as they happen
///
/// Server-sent events. Each `charge` holds the charge as it is: once at the beginning, then when it or its confirmations
/// change. Its `id` begins with the charge's `sequence`; a reader that comes back with it as `Last-Event-ID` is told only
/// what is new. `end` says that nothing will change any more; who comes back after it is answered 204. At most eight
/// streams of a charge are open at once (429), and so many in all as `server.max_event_streams` says (503).
#[utoipa::path(
    get,
    path = "/api/billing/crypto/charge/{id}/events",
    operation_id = "follow_charge",
    tag = "crypto",
    params(
        ("id" = String, Path, description = "The charge"),
        ("Last-Event-ID" = Option<String>, Header, description = "The `id` of the last event that was read"),
        NamedInQuery,
        NamedInHeaders
    ),
    responses(
        (status = 200, description = "Events, each with a charge", content_type = "text/event-stream", body = ChargeView),
        (status = 204, description = "Nothing will change any more")
    )
)]
pub(super) async fn events(
    State(app): State<Shared>,
    viewer: Viewer,
    stopping: Option<Extension<Stopping>>,
    headers: HeaderMap,
    Id(id): Id<ChargeId>,
) -> Result<Response, Problem> {
    let tenant = viewer.tenant()?;
    let seat = app.seats.take(&id)?;
    let mut stream = Stream {
        charge: app.engine.follow(&id, tenant.as_ref()).await?,
        for_holder: tenant.is_none(),
        told: None,
        is_over: false,
        ends_at: Instant::now() + LONGEST,
        stopping: stopping.map_or_else(CancellationToken::new, |Extension(Stopping(token))| token),
        _seat: seat,
    };
    let now = stream.view();
    if !viewer.may_see(now.user_id.as_deref()) {
        return Err(Problem::not_found("charge"));
    }
    let last = headers.get("last-event-id").map(HeaderValue::as_bytes);
    if last == Some(mark(&now).as_bytes()) {
        if is_over(&now) {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        stream.told = Some(now);
    }
    // The second is what nginx asks for so as not to hold events back.
    let headers = [(CACHE_CONTROL.as_str(), "no-store"), ("x-accel-buffering", "no")];
    let events = futures_util::stream::unfold(stream, Stream::next);
    let events = Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT));
    Ok((headers, events).into_response())
}
