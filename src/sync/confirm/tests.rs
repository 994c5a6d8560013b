//! What tags and operators may make of a window, against plain definitions.

use alloy::primitives::B256;

use super::*;
use crate::domain::{Tag, Tier};

const MAX_AGE: Duration = Duration::from_mins(30);
const NOW: Millis = 10_000_000;

fn block(number: u64, branch: u8) -> BlockRef {
    let mut hash = B256::repeat_byte(branch);
    hash.0[..8].copy_from_slice(&number.to_be_bytes());
    BlockRef { number, hash }
}

/// Our blocks from 10 to 20.
fn window() -> Window {
    let mut window = Window::new(&[], 100);
    (10..=20).for_each(|number| window.push(block(number, 1)));
    window
}

fn heard(number: u64, branch: u8) -> TagHeard {
    TagHeard::Block(block(number, branch), NOW)
}

#[test]
fn a_tag_counts_only_where_its_block_is_ours_and_young() {
    let window = window();
    let standing = |heard: &[TagHeard], now| {
        let mut watch = TagWatch::default();
        for heard in heard {
            watch.hear(&window, *heard);
        }
        watch.standing((&window, now, MAX_AGE))
    };
    assert_eq!(standing(&[], NOW), Ok(None));
    assert_eq!(standing(&[heard(15, 1)], NOW), Ok(Some(block(15, 1))));
    assert_eq!(standing(&[heard(15, 2)], NOW), Err(Stall::Foreign));
    assert_eq!(standing(&[heard(21, 1)], NOW), Ok(None), "we are behind it");
    assert_eq!(standing(&[heard(9, 1)], NOW), Ok(None), "below what is kept");
    let limit = NOW + 30 * 60_000;
    assert_eq!(standing(&[heard(15, 1)], limit), Ok(Some(block(15, 1))));
    assert_eq!(standing(&[heard(15, 1)], limit + 1), Err(Stall::Old));
    assert_eq!(standing(&[TagHeard::Absent], NOW), Err(Stall::Absent));
    assert_eq!(
        standing(&[TagHeard::Absent, heard(15, 1)], NOW),
        Ok(Some(block(15, 1)))
    );
}

#[test]
fn a_tag_that_goes_back_is_believed_to_have_when_it_is_said_twice_and_heals() {
    let window = window();
    let mut watch = TagWatch::default();
    let mut after = |number| {
        watch.hear(&window, heard(number, 1));
        watch.standing((&window, NOW, MAX_AGE))
    };
    assert_eq!(after(15), Ok(Some(block(15, 1))));
    assert_eq!(after(12), Ok(Some(block(15, 1))), "another endpoint lags");
    assert_eq!(after(16), Ok(Some(block(16, 1))));
    assert_eq!(after(12), Ok(Some(block(16, 1))));
    assert_eq!(after(13), Err(Stall::Backwards));
    assert_eq!(after(16), Ok(Some(block(16, 1))), "it is where it was");
}

#[test]
fn a_tag_does_not_go_back_from_a_block_that_was_never_ours() {
    let window = window();
    let mut watch = TagWatch::default();
    for lie in [heard(18, 2), heard(1_000_000, 2)] {
        watch.hear(&window, lie);
        for _ in 0..3 {
            watch.hear(&window, heard(15, 1));
            assert_eq!(watch.standing((&window, NOW, MAX_AGE)), Ok(Some(block(15, 1))));
        }
    }
}

fn said(operator: &str, heard: TagHeard) -> TagSaid {
    (operator.into(), heard)
}

/// Where a tag stands of which two of the operators must say the same.
fn shared(said: &[TagSaid]) -> Result<Option<BlockRef>, Stall> {
    let window = window();
    let mut tag = SharedTag::new(2);
    tag.hear(&window, said);
    tag.standing((&window, NOW, MAX_AGE))
}

#[test]
fn a_tag_stands_where_enough_operators_have_it() {
    let one = said("a", heard(18, 1));
    assert_eq!(shared(&[]), Ok(None));
    assert_eq!(
        shared(std::slice::from_ref(&one)),
        Ok(None),
        "the other was not heard of yet"
    );
    let both = |other| shared(&[one.clone(), said("b", other)]);
    assert_eq!(both(heard(15, 1)), Ok(Some(block(15, 1))), "the lower of two");
    assert_eq!(both(heard(20, 1)), Ok(Some(block(18, 1))));
    assert_eq!(both(heard(25, 1)), Ok(None), "we are behind the other");
    assert_eq!(
        both(heard(20, 2)),
        Err(Stall::Foreign),
        "one alone has it among ours"
    );
    assert_eq!(both(TagHeard::Absent), Err(Stall::Unshared));
    let again = [one.clone(), said("a", heard(19, 1))];
    assert_eq!(shared(&again), Ok(None), "one that says it twice is one");
}

#[test]
fn a_tag_is_held_up_by_no_operator_that_others_make_up_for() {
    for lie in [heard(12, 2), heard(16, 2), heard(1_000_000, 2), TagHeard::Absent] {
        let [a, b] = [said("a", heard(18, 1)), said("b", heard(15, 1))];
        assert_eq!(shared(&[a, b, said("c", lie)]), Ok(Some(block(15, 1))), "{lie:?}");
    }
}

#[test]
fn a_chain_has_no_tag_where_enough_operators_know_none_and_nobody_one() {
    let absent = |operator| said(operator, TagHeard::Absent);
    assert_eq!(shared(&[absent("a")]), Err(Stall::Unshared), "so says one");
    assert_eq!(shared(&[absent("a"), absent("b")]), Err(Stall::Absent));
    let known = said("c", heard(15, 1));
    assert_eq!(shared(&[absent("a"), absent("b"), known]), Err(Stall::Unshared));
}

fn opinion(operator: &str, blocks: &[BlockRef]) -> Opinion {
    Opinion {
        operator: operator.into(),
        endpoint: format!("{operator}-1").into(),
        blocks: blocks.to_vec(),
    }
}

#[test]
fn what_enough_operators_name_is_agreed_with_all_below_it() {
    let window = window();
    let mut council = Council::new(2);
    assert_eq!(council.agreement(&window), Agreement::Nothing);
    assert!(council.hear(&window, &[opinion("a", &[block(20, 1)])]).is_empty());
    assert_eq!(
        council.agreement(&window),
        Agreement::Nothing,
        "one is not enough"
    );
    // One that lags covers what it names; one that is ahead names our tip too.
    council.hear(&window, &[opinion("b", &[block(17, 1)])]);
    assert_eq!(council.agreement(&window), Agreement::UpTo(block(17, 1)));
    council.hear(&window, &[opinion("c", &[block(25, 1), block(20, 1)])]);
    assert_eq!(council.agreement(&window), Agreement::UpTo(block(20, 1)));
    assert_eq!(council.discord(), None);
    // What it named once it has named, whatever a lagging node behind it says.
    council.hear(&window, &[opinion("a", &[block(12, 1)])]);
    assert_eq!(council.agreement(&window), Agreement::UpTo(block(20, 1)));
    assert_eq!(Council::new(1).agreement(&window), Agreement::Unasked);
}

#[test]
fn a_contradiction_withdraws_a_vouch_is_counted_once_and_heals() {
    let window = window();
    let mut council = Council::new(2);
    council.hear(
        &window,
        &[opinion("a", &[block(20, 1)]), opinion("b", &[block(20, 1)])],
    );
    let lie = [opinion("b", &[block(18, 2)])];
    assert_eq!(council.hear(&window, &lie), ["b-1".into()]);
    assert!(council.hear(&window, &lie).is_empty(), "the same lie again");
    assert!(council.outvoted(&window).is_empty(), "one against one");
    assert_eq!(council.agreement(&window), Agreement::Nothing);
    let words = council.discord().unwrap();
    assert!(
        words.contains("b (b-1) has another block 18") && words.contains("nothing new counts"),
        "{words}"
    );
    // Its head is above ours, and the block at our tip is another.
    council.hear(&window, &[opinion("b", &[block(30, 1), block(20, 3)])]);
    assert_eq!(council.agreement(&window), Agreement::Nothing);
    council.hear(&window, &[opinion("b", &[block(19, 1)])]);
    assert_eq!(council.agreement(&window), Agreement::UpTo(block(19, 1)));
    assert_eq!(council.discord(), None);
    council.hear(&window, &lie);
    council.hear(&window, &[opinion("c", &[block(17, 1)])]);
    assert!(council.outvoted(&window).is_empty(), "they agree below it");
    council.hear(&window, &[opinion("c", &[block(20, 1)])]);
    assert_eq!(council.outvoted(&window), [("b-1".into(), block(18, 2))]);
}

#[test]
fn a_vouch_for_a_block_that_was_reorganised_away_is_void() {
    let mut window = window();
    let mut council = Council::new(2);
    council.hear(
        &window,
        &[opinion("a", &[block(20, 1)]), opinion("b", &[block(20, 1)])],
    );
    window.truncate(17);
    (18..=21).for_each(|number| window.push(block(number, 2)));
    assert_eq!(council.agreement(&window), Agreement::Nothing);
    council.hear(
        &window,
        &[opinion("a", &[block(18, 2)]), opinion("b", &[block(21, 2)])],
    );
    assert_eq!(council.agreement(&window), Agreement::UpTo(block(18, 2)));
}

#[test]
fn silence_is_no_vouch_and_is_named() {
    let window = window();
    let mut council = Council::new(2);
    council.hear(
        &window,
        &[opinion("a", &[block(20, 1)]), opinion("b", &[block(16, 1)])],
    );
    for _ in 0..3 {
        assert_eq!(council.discord(), None);
        council.hear(&window, &[opinion("b", &[])]);
    }
    assert_eq!(council.agreement(&window), Agreement::UpTo(block(16, 1)));
    assert!(council.discord().unwrap().contains("b does not answer"));
    assert!(!council.is_content(), "one of two is too few");
    council.hear(&window, &[opinion("c", &[block(16, 1)])]);
    assert!(council.is_content(), "two of three are enough");
    assert!(council.discord().is_some(), "it is named all the same");
}

#[test]
fn only_a_tag_that_a_tier_waits_for_stalls_a_chain() {
    let window = window();
    let mut tags = Tags::new(1);
    tags.finalized.hear(&window, &[said("a", TagHeard::Absent)]);
    let clocked = (&window, NOW, MAX_AGE);
    let by_depth = Finality::of_confirmations(3);
    assert_eq!(stalled(&by_depth, &tags, clocked), None);
    let tagged = Finality::new(vec![Tier {
        tag: Some(Tag::Finalized),
        ..Tier::of_confirmations(1)
    }]);
    let words = stalled(&tagged.unwrap(), &tags, clocked).unwrap();
    assert!(words.starts_with("the tag finalized is not known"), "{words}");
    assert_eq!(
        evidence(&tags, &Council::new(1), clocked),
        Evidence::default(),
        "what has no tag is final by its depth"
    );
}
