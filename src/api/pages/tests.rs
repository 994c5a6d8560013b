use super::*;

#[test]
fn nothing_built_in_ends_its_element() {
    assert!(!SCRIPT.to_ascii_lowercase().contains("</script") && !SCRIPT.contains("<!--"));
    assert!(!STYLE.to_ascii_lowercase().contains("</style"));
}

#[test]
fn chains_and_times_are_written_for_people() {
    for (name, expected) in [
        ("ethereum", "Ethereum"),
        ("arbitrum-sepolia", "Arbitrum Sepolia"),
        ("bsc", "BSC"),
        ("eip155:5", "Eip155:5"),
    ] {
        assert_eq!(people_call(name), expected);
    }
    assert_eq!(in_words("2026-01-31T16:05:00.000Z"), "2026-01-31 16:05 UTC");
}

#[test]
fn every_place_has_a_value() {
    let places = PAY
        .split("{{")
        .skip(1)
        .map(|rest| rest.split("}}").next().unwrap());
    let source = include_str!("mod.rs");
    for place in places.filter(|place| !place.starts_with(['?', '+'])) {
        assert!(source.contains(&format!("\"{place}\" =>")), "{place}");
    }
}
