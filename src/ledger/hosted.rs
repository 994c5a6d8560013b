//! What is known of a checkout's payment, given all that was ever said of it.
//!
//! Reports come in any order and more than once. What has arrived only grows, what was sent back only grows, and of
//! attempts to pay the last one stands: so the outcome is the same whatever the order.

use crate::domain::{Amount, Heard, HostedPayment, HostedState};

/// `before` with one more report.
#[must_use]
pub fn hear(before: &HostedPayment, heard: &Heard) -> HostedPayment {
    let mut after = before.clone();
    match heard.state {
        HostedState::Paid | HostedState::Refunded => {
            after.refunded = before.refunded.max(heard.refunded);
            let evidence = (heard.at, heard.event.clone());
            let is_earlier = || before.evidence.as_ref().is_none_or(|known| evidence < *known);
            let is_news =
                heard.received > before.received || (heard.received == before.received && is_earlier());
            if is_news && !heard.received.is_zero() {
                after.received = heard.received;
                after.evidence = Some(evidence);
            }
        }
        state => {
            let under_way = match state {
                HostedState::Pending => heard.received,
                _ => Amount::ZERO,
            };
            let (known, known_at) = before.attempt;
            if (heard.at, state) > (known_at, known) {
                after.attempt = (state, heard.at);
                after.pending = under_way;
            } else if (heard.at, state) == (known_at, known) {
                after.pending = before.pending.max(under_way);
            }
        }
    }
    after
}

/// Something of a checkout that its charge counts, net of what was sent back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    /// When it arrived, or was seen.
    pub(super) at: i64,
    /// What is left of it.
    pub(super) net: Amount,
    /// What had arrived.
    pub(super) gross: Amount,
    /// Whether it arrived; else it is under way.
    pub(super) arrived: bool,
}

/// What a checkout contributes, if anything.
pub(super) fn share(hosted: &HostedPayment) -> Option<Share> {
    if let Some((at, _)) = hosted.evidence {
        return Some(Share {
            at,
            net: hosted.received.saturating_sub(hosted.refunded),
            gross: hosted.received,
            arrived: true,
        });
    }
    let (state, at) = hosted.attempt;
    (state == HostedState::Pending).then_some(Share {
        at,
        net: hosted.pending,
        gross: hosted.pending,
        arrived: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CheckoutKey, CheckoutService};

    fn opened() -> HostedPayment {
        HostedPayment {
            key: CheckoutKey {
                service: CheckoutService::CoinbaseBusiness,
                reference: "1".to_owned(),
            },
            charge: "c".parse().unwrap(),
            url: "https://pay.example".to_owned(),
            currency: "USDC".to_owned(),
            asked: Amount::from(15),
            opened_at: 100,
            attempt: (HostedState::Open, 100),
            pending: Amount::ZERO,
            received: Amount::ZERO,
            evidence: None,
            refunded: Amount::ZERO,
        }
    }

    fn heard(state: HostedState, at: i64, (received, refunded): (u64, u64), event: &str) -> Heard {
        Heard {
            state,
            at,
            received: Amount::from(received),
            refunded: Amount::from(refunded),
            event: event.to_owned(),
        }
    }

    fn after(reports: &[&Heard]) -> HostedPayment {
        reports
            .iter()
            .fold(opened(), |known, report| hear(&known, report))
    }

    /// Every order of `reports`.
    fn orders<'a>(reports: &[&'a Heard]) -> Vec<Vec<&'a Heard>> {
        if reports.is_empty() {
            return vec![Vec::new()];
        }
        let mut all = Vec::new();
        for index in 0..reports.len() {
            let mut rest = reports.to_vec();
            let first = rest.remove(index);
            for mut order in orders(&rest) {
                order.insert(0, first);
                all.push(order);
            }
        }
        all
    }

    #[test]
    fn reports_end_the_same_in_every_order_and_twice() {
        let reports = [
            heard(HostedState::Pending, 110, (14, 0), "a"),
            heard(HostedState::Failed, 120, (0, 0), "b"),
            heard(HostedState::Pending, 110, (15, 0), "c"),
            heard(HostedState::Paid, 130, (10, 0), "d"),
            heard(HostedState::Paid, 140, (15, 0), "e"),
            heard(HostedState::Refunded, 150, (15, 5), "f"),
        ];
        let reports: Vec<&Heard> = reports.iter().collect();
        let expected = after(&reports);
        assert_eq!(expected.state(), HostedState::Paid);
        assert_eq!(
            (expected.received, expected.refunded),
            (Amount::from(15), Amount::from(5))
        );
        assert_eq!(expected.evidence, Some((140, "e".to_owned())));
        assert_eq!(expected.attempt, (HostedState::Failed, 120));
        for order in orders(&reports) {
            let again = order.iter().rev().chain(&order);
            assert_eq!(after(&again.copied().collect::<Vec<_>>()), expected, "{order:?}");
        }
    }

    #[test]
    fn money_that_arrived_is_not_undone_by_a_failure() {
        let paid = heard(HostedState::Paid, 120, (15, 0), "a");
        let failed = heard(HostedState::Failed, 130, (0, 0), "b");
        let expired = heard(HostedState::Expired, 140, (0, 0), "c");
        let all = after(&[&failed, &paid, &expired]);
        assert_eq!((all.state(), all.received), (HostedState::Paid, Amount::from(15)));
        assert_eq!(after(&[&failed]).state(), HostedState::Failed);
        assert_eq!(after(&[&failed, &expired]).state(), HostedState::Expired);
        // A created event that comes last is older than all of them.
        let created = heard(HostedState::Open, 100, (0, 0), "d");
        assert_eq!(after(&[&failed, &created]), after(&[&failed]));
    }

    #[test]
    fn what_is_under_way_is_forgotten_when_it_fails() {
        let pending = heard(HostedState::Pending, 110, (15, 0), "a");
        let under_way = share(&after(&[&pending])).unwrap();
        assert_eq!((under_way.net, under_way.arrived), (Amount::from(15), false));
        let failed = heard(HostedState::Failed, 120, (0, 0), "b");
        assert_eq!(share(&after(&[&pending, &failed])), None);
        assert_eq!(share(&opened()), None);
    }

    #[test]
    fn a_refund_takes_back_what_it_says() {
        let paid = heard(HostedState::Paid, 120, (15, 0), "a");
        let part = heard(HostedState::Refunded, 130, (15, 6), "b");
        let all = heard(HostedState::Refunded, 140, (15, 15), "c");
        let left = |reports: &[&Heard]| {
            let after = after(reports);
            let share = share(&after).unwrap();
            (after.state(), share.net, share.gross)
        };
        let fifteen = Amount::from(15);
        assert_eq!(
            left(&[&paid, &part]),
            (HostedState::Paid, Amount::from(9), fifteen)
        );
        assert_eq!(
            left(&[&all, &part, &paid]),
            (HostedState::Refunded, Amount::ZERO, fifteen)
        );
        // One that is heard of before the payment says that there was one.
        assert_eq!(left(&[&all]), (HostedState::Refunded, Amount::ZERO, fifteen));
    }
}
