//! Payments, reversals and reinstatements in any order, against the same account kept the slow way: a calendar of days, and
//! a sum that is counted again from nothing after each event.

use super::super::random::Random;
use super::super::timeline::tests::by_hand;
use super::tests::{DAY, charge, tenant, usd};
use super::*;

const GRACE_DAYS: i64 = 3;
const REVERSAL_DAYS: i64 = 2;
const PLANS: [(&str, u64); 3] = [("starter", 8), ("pro", 25), ("business", 75)];
/// The first day of a long month, so that ends of months are met on the way.
const FIRST_DAY: i64 = 20_088;

/// What happened to a charge so far, in words rather than in the state that the fold reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Waits,
    /// In the block of this day.
    Paid(i64),
    /// The block of this day is gone, since that day.
    Gone(i64, i64),
    Over,
}

/// One charge, as a person would note it down.
#[derive(Debug, Clone)]
struct Note {
    plan: &'static str,
    price: u64,
    quoted: i64,
    credit: i64,
    unused: i64,
    received: u64,
    fate: Fate,
}

impl Note {
    fn due(&self) -> u64 {
        let off = i64::try_from(self.price).unwrap() - self.credit - self.unused;
        u64::try_from(off).unwrap()
    }

    /// The charge as it would be stored.
    fn charge(&self, order: usize) -> Charge {
        let paid_at = match self.fate {
            Fate::Paid(day) | Fate::Gone(day, _) => Some(day * DAY),
            Fate::Waits | Fate::Over => None,
        };
        let mut charge = charge(&format!("chg_{order:03}"), self.plan, self.price, paid_at);
        charge.state = match self.fate {
            Fate::Waits => ChargeState::Open,
            Fate::Paid(_) => ChargeState::Paid,
            Fate::Gone(..) => ChargeState::Reversed,
            Fate::Over => ChargeState::Closed,
        };
        charge.terms.created_at = self.quoted * DAY;
        charge.terms.due = Amount::from(self.due());
        charge.terms.quote.asked = Amount::from(self.due());
        charge.terms.quote.credit = usd(self.credit);
        charge.terms.quote.unused = usd(self.unused);
        charge.totals.confirmed = Amount::from(self.received);
        charge.reversed_at = match self.fate {
            Fate::Gone(_, since) => Some(since * DAY),
            _ => None,
        };
        charge.closed_at = (self.fate == Fate::Over).then_some(self.quoted * DAY);
        charge
    }
}

/// The charges that count on the calendar, in the order in which they were paid.
fn on_calendar(notes: &[Note], today: i64, with_graces: bool) -> Vec<Purchase> {
    let counts = |note: &Note| match note.fate {
        Fate::Paid(_) => true,
        Fate::Gone(_, since) => with_graces && today < since + REVERSAL_DAYS,
        Fate::Waits | Fate::Over => false,
    };
    let charges = notes.iter().enumerate().filter(|(_, note)| counts(note));
    let mut purchases: Vec<Purchase> = charges
        .map(|(order, note)| Purchase {
            value: usd(i64::try_from(note.price).unwrap()),
            ..purchase(&note.charge(order), &[]).unwrap()
        })
        .collect();
    purchases.sort_by_key(|purchase| (purchase.paid_at, purchase.charge.clone()));
    purchases
}

/// What a plan's source must be: its state, with the first and the last day of its run.
fn expected(notes: &[Note], plan: &str, today: i64) -> (SourceState, Option<(i64, i64)>) {
    let runs = |with_graces| {
        let purchases = on_calendar(notes, today, with_graces);
        let (days, _) = by_hand(&purchases, GRACE_DAYS);
        let mut runs: Vec<(i64, i64)> = Vec::new();
        for (day, of) in days {
            if purchases[of].plan.as_str() != plan {
                continue;
            }
            match runs.last_mut().filter(|(_, last)| last + 1 == day) {
                Some((_, last)) => *last = day,
                None => runs.push((day, day)),
            }
        }
        runs
    };
    let holds = |(first, last): &&(i64, i64)| (*first..=*last).contains(&today);
    let (certain, with_graces) = (runs(false), runs(true));
    if let Some(run) = certain.iter().find(holds) {
        return (SourceState::Active, Some(*run));
    }
    if let Some(run) = with_graces.iter().find(holds) {
        return (SourceState::PastDue, Some(*run));
    }
    match certain.iter().find(|(first, _)| *first > today) {
        Some(run) => (SourceState::Pending, Some(*run)),
        None => (SourceState::Ended, certain.last().copied()),
    }
}

/// What the tenant must have in credit.
fn expected_credit(notes: &[Note], today: i64) -> Credit {
    let purchases = on_calendar(notes, today, false);
    let (_, returned) = by_hand(&purchases, GRACE_DAYS);
    let mut sum = returned.into_iter().fold(Credit::ZERO, Credit::plus);
    for note in notes {
        let received = i64::try_from(note.received).unwrap();
        let due = i64::try_from(note.due()).unwrap();
        let change = match note.fate {
            Fate::Paid(_) => received - due - note.credit - note.unused,
            // Nothing was delivered: the money is the tenant's, and so is what was set aside.
            Fate::Over => received,
            Fate::Waits | Fate::Gone(..) => -note.credit.max(0),
        };
        sum = sum.plus(usd(change));
    }
    sum
}

/// Lets something happen on `today`.
fn live(random: &mut Random, notes: &mut Vec<Note>, today: i64) {
    if notes.is_empty() || (notes.len() < 6 && random.below(3) == 0) {
        let (plan, price) = random.pick(&PLANS);
        notes.push(Note {
            plan,
            price,
            quoted: today,
            credit: random.pick(&[0, 0, 3, -3]),
            unused: random.pick(&[0, 0, 4]),
            received: 0,
            fate: Fate::Waits,
        });
    }
    let which = usize::try_from(random.below(u64::try_from(notes.len()).unwrap())).unwrap();
    let note = &mut notes[which];
    let extra = random.pick(&[0, 0, 2]);
    (note.fate, note.received) = match (note.fate, random.below(4)) {
        (Fate::Waits, 0) => (Fate::Over, random.pick(&[0, 5])),
        (Fate::Waits, _) => (Fate::Paid(today), note.due() + extra),
        (Fate::Paid(day), 0) => (Fate::Paid(day), note.received + 1),
        (Fate::Paid(day), _) => (Fate::Gone(day, today), 0),
        // Back where it was, or in a later block.
        (Fate::Gone(day, _), 0) => (Fate::Paid(day), note.due() + extra),
        (Fate::Gone(..), _) => (Fate::Paid(today), note.due()),
        (Fate::Over, _) => (Fate::Over, note.received),
    };
}

fn assert_as_noted(random: &mut Random, notes: &[Note], today: i64) -> Account {
    let mut charges: Vec<Charge> = notes
        .iter()
        .enumerate()
        .map(|(order, note)| note.charge(order))
        .collect();
    random.shuffle(&mut charges);
    let graces = Graces {
        renewal_ms: GRACE_DAYS * DAY,
        reversal_ms: REVERSAL_DAYS * DAY,
    };
    let account = fold_account(&tenant(), &charges, &[], (None, graces), today * DAY);
    for source in &account.sources {
        let (state, run) = expected(notes, source.plan.as_str(), today);
        assert_eq!(source.state, state, "{} on day {today}: {notes:?}", source.plan);
        let period = source.period_start.zip(source.period_end);
        let run = run.map(|(first, last)| (first * DAY, (last + 1) * DAY));
        assert_eq!(period, run, "{} on day {today}: {notes:?}", source.plan);
    }
    let credit = account.credit.values().copied().fold(Credit::ZERO, Credit::plus);
    assert_eq!(credit, expected_credit(notes, today), "on day {today}: {notes:?}");
    account
}

#[test]
fn any_history_comes_to_what_a_person_would_note_down() {
    let mut random = Random::new(11);
    let mut met: BTreeMap<String, usize> = BTreeMap::new();
    let mut owed = 0;
    for _ in 0..1_500 {
        let (mut notes, mut today) = (Vec::new(), FIRST_DAY);
        for _ in 0..12 {
            live(&mut random, &mut notes, today);
            let account = assert_as_noted(&mut random, &notes, today);
            let sum = account.credit.values().copied().fold(Credit::ZERO, Credit::plus);
            owed += usize::from(sum.is_owed());
            for source in account.sources {
                *met.entry(source.state.as_str().to_owned()).or_default() += 1;
            }
            today += i64::try_from(random.below(12)).unwrap();
        }
    }
    for state in ["active", "past_due", "pending", "ended"] {
        assert!(
            met.get(state).is_some_and(|times| *times > 200),
            "{state}: {met:?}"
        );
    }
    assert!(owed > 200, "{owed}");
}
