//! The shipped file says what is published, and every mistake in a file is found at once.

use alloy::primitives::Address;

use super::*;
use crate::domain::{Amount, ChainId};

const GB: u64 = 1 << 30;
const MB: u64 = 1 << 20;

fn shipped() -> Catalogue {
    Catalogue::shipped(&[]).unwrap()
}

fn mistakes(text: &str) -> Vec<String> {
    let errors = Catalogue::parse(text, &[]).unwrap_err();
    errors.0.iter().map(ToString::to_string).collect()
}

/// The shipped file with one text replaced by another, which must be there.
fn shipped_with(from: &str, to: &str) -> String {
    assert!(SHIPPED.contains(from), "{from:?} is not in the shipped file");
    SHIPPED.replacen(from, to, 1)
}

/// The only mistake of a text.
fn mistake(text: &str) -> String {
    let mistakes = mistakes(text);
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    mistakes.concat()
}

#[test]
fn the_shipped_limits_are_the_published_ones() {
    let catalogue = shipped();
    let none = Limit::Unlimited;
    let most = Limit::AtMost;
    let table = [
        ("users", [most(10), most(100), none, none]),
        ("channels", [most(5), most(50), none, none]),
        ("storage", [most(GB), most(100 * GB), none, none]),
        ("api_calls", [most(1_000), most(50_000), none, none]),
        ("messages", [most(10_000), none, none, none]),
        (
            "file_upload",
            [most(10 * MB), most(100 * MB), most(500 * MB), most(GB)],
        ),
        ("call_participants", [most(4), most(25), most(100), most(500)]),
        ("stream_minutes", [most(60), most(240), none, none]),
        ("files_uploaded", [none; 4]),
        ("active_users", [none; 4]),
    ];
    for (meter, limits) in table {
        for (plan, limit) in ["free", "pro", "enterprise", "custom"].into_iter().zip(limits) {
            assert_eq!(
                catalogue.plan(plan).unwrap().limits.get(meter),
                Some(&limit),
                "{meter} of {plan}"
            );
        }
    }
    assert_eq!(catalogue.meters().len(), table.len());
}

#[test]
fn the_shipped_features_are_the_published_ones() {
    let catalogue = shipped();
    let free = ["public_channels", "direct_messages", "threads"];
    let pro = [
        "voice_messages",
        "video_calls",
        "screen_sharing",
        "e2ee",
        "integrations",
        "audit_logs",
    ];
    let enterprise = ["sso", "white_label", "priority_support"];
    let added: [&[&str]; 4] = [&free, &pro, &enterprise, &[]];
    let mut expected = BTreeSet::new();
    for (plan, features) in catalogue.plans().iter().zip(added) {
        expected.extend(features.iter().map(ToString::to_string));
        assert_eq!(plan.features, expected, "{}", plan.id);
    }
    assert_eq!(catalogue.features().len(), expected.len());
}

#[test]
fn the_shipped_prices_and_terms_are_the_published_ones() {
    let catalogue = shipped();
    assert_eq!(
        (catalogue.name(), catalogue.subject(), catalogue.currency()),
        ("nchat", Subject::Tenant, "USD")
    );
    assert_eq!(catalogue.denied_status(), 403);
    let order: Vec<&str> = catalogue.plans().iter().map(|plan| plan.id.as_str()).collect();
    assert_eq!(order, ["free", "pro", "enterprise", "custom"]);
    assert_eq!(catalogue.default_plan().unwrap().id.as_str(), "free");
    for (plan, month, year) in [
        ("free", Some("0"), Some("0")),
        ("pro", Some("15"), Some("150")),
        ("enterprise", Some("99"), Some("990")),
        ("custom", None, None),
    ] {
        let found = catalogue.plan(plan).unwrap();
        assert_eq!(
            (found.price.of(Interval::Month), found.price.of(Interval::Year)),
            (month, year)
        );
        let sold = |price: Option<&'static str>| price.filter(|price| *price != "0");
        assert_eq!(
            catalogue.crypto_price(plan, Interval::Month, &token("USDC", "USD")),
            sold(month)
        );
        assert_eq!(
            catalogue.crypto_price(plan, Interval::Year, &token("USDC", "USD")),
            sold(year)
        );
        assert_eq!(found.contact_sales, plan == "custom");
        assert_eq!(found.is_offered(), plan != "free");
    }
    assert_eq!(
        catalogue.plan_for_stripe_price("nchat_enterprise_year"),
        Some((PlanId::from("enterprise"), Interval::Year))
    );
    assert_eq!(catalogue.plan_for_stripe_price("NCHAT_PRO_MONTH"), None);
    let window = |meter: &str| catalogue.meters().get(meter).unwrap().kind;
    assert_eq!(window("messages"), MeterKind::Counter(Window::CalendarMonth));
    assert_eq!(window("storage"), MeterKind::Gauge);
    assert_eq!(window("file_upload"), MeterKind::Static);
}

#[test]
fn plans_are_found_by_id_and_alias_in_any_case() {
    let catalogue = shipped();
    for name in ["pro", "PRO", "professional", "Professional"] {
        assert_eq!(catalogue.plan(name).unwrap().id.as_str(), "pro");
    }
    assert!(catalogue.plan("gold").is_none());
    assert!(catalogue.plan("").is_none());
    assert_eq!(
        catalogue.crypto_price("Professional", Interval::Month, &token("USDT", "USD")),
        Some("15")
    );
}

#[test]
fn stripe_prices_from_the_environment_go_first_and_the_file_s_are_kept() {
    let extra =
        |plan: &str, interval: &str, price: &str| (plan.to_owned(), interval.to_owned(), price.to_owned());
    let catalogue = Catalogue::shipped(&[
        extra("PRO", "monthly", "price_live"),
        extra("pro", "month", "price_test"),
        extra("pro", "YEARLY", "nchat_pro_year"),
    ])
    .unwrap();
    let prices = &catalogue.plan("pro").unwrap().stripe;
    assert_eq!(prices.month, ["price_live", "price_test", "nchat_pro_month"]);
    assert_eq!(prices.year, ["nchat_pro_year"]);
    for price in ["price_live", "price_test", "nchat_pro_month"] {
        assert_eq!(
            catalogue.plan_for_stripe_price(price),
            Some((PlanId::from("pro"), Interval::Month))
        );
    }
    let errors = Catalogue::shipped(&[
        extra("gold", "month", "price_1"),
        extra("pro", "week", "price_2"),
        extra("pro", "month", "nchat_enterprise_month"),
        extra("pro", "month", ""),
    ])
    .unwrap_err()
    .to_string();
    for expected in [
        "stripe_prices[0] names the unknown plan \"gold\": the plans are free, pro, enterprise, custom",
        "stripe_prices[1] has the interval \"week\"",
        "which already sells \"pro\" by the month",
        "must be a price id or lookup key",
    ] {
        assert!(errors.contains(expected), "{expected} is not in {errors}");
    }
}

#[test]
fn the_way_up_is_the_lowest_plan_on_offer() {
    let catalogue = shipped();
    let upgrade = |above, users| {
        let plan = catalogue.upgrade(above, |plan| plan.limits["users"].allows(users));
        plan.map(|plan| plan.id.as_str())
    };
    assert_eq!(upgrade(None, 1), Some("pro"), "free is given, not sold");
    assert_eq!(upgrade(Some(0), 100), Some("pro"));
    assert_eq!(upgrade(Some(0), 101), Some("enterprise"));
    assert_eq!(upgrade(Some(20), 101), Some("custom"), "by contract counts");
    assert_eq!(upgrade(Some(30), 1), None);
}

/// A text of the shipped file, what is written in its place, and what is said of it.
const MISTAKES: &[(&str, &str, &str)] = &[
    (
        "users = 10\n",
        "",
        "plans.free.limits.users is missing: write a number or \"unlimited\"",
    ),
    (
        "users = 10\n",
        "users = -1\n",
        "plans.free.limits.users must not be negative: write \"unlimited\"",
    ),
    (
        "users = 10\n",
        "users = 10\nbots = 1\n",
        "plans.free.limits.bots names an unknown meter",
    ),
    (
        "\"1 GB\"\napi",
        "\"1 gigabyte\"\napi",
        "plans.free.limits.storage must be a size such as \"100 GB\"",
    ),
    (
        "extends = \"free\"",
        "extends = \"fre\"",
        "plans.pro.extends names the unknown plan \"fre\"",
    ),
    (
        "default_plan = \"free\"",
        "default_plan = \"fre\"",
        "default_plan names the unknown plan \"fre\"",
    ),
    (
        "default_plan = \"free\"",
        "default_plan = \"pro\"",
        "default_plan names \"pro\", which is sold",
    ),
    (
        "rank = 20",
        "rank = 10",
        "plans.pro.rank is 10, as is that of \"enterprise\"",
    ),
    (
        "rank = 20",
        "rank = -20",
        "plans.enterprise.rank must be a whole number from 0",
    ),
    (
        "rank = 20\n",
        "",
        "plans.enterprise.rank must be a whole number from 0",
    ),
    (
        "\"professional\"",
        "\"Free\"",
        "plans.pro.aliases[0] is \"Free\", which already names the plan \"free\"",
    ),
    (
        "\"nchat_pro_year\"",
        "\"nchat_pro_month\"",
        "plans.pro.stripe.year[0] is \"nchat_pro_month\", which already",
    ),
    (
        "\"sso\", ",
        "\"ssso\", ",
        "plans.enterprise.features[0] names the unknown feature \"ssso\"",
    ),
    (
        "crypto = { month = \"15\"",
        "crypto = { month = 15",
        "plans.pro.crypto.month must be in quotes",
    ),
    (
        "crypto = { month = \"15\"",
        "crypto = { month = \"0\"",
        "plans.pro.crypto.month must be above zero",
    ),
    (
        "crypto = { month = \"15\"",
        "crypto = { month = \"1e3\"",
        "plans.pro.crypto.month must be a non-negative",
    ),
    (
        "contact_sales = true",
        "contact_sales = true\ncrypto = { year = \"1\" }",
        "plans.custom.crypto.year belongs",
    ),
    (
        "type = \"gauge\"\n",
        "type = \"gage\"\n",
        "meters.users.type must be \"counter\", \"gauge\" or \"static\"",
    ),
    (
        "window = \"calendar_month\"",
        "",
        "meters.api_calls.window is missing",
    ),
    (
        "window = \"calendar_month\"",
        "window = \"rolling:0d\"",
        "meters.api_calls.window must be",
    ),
    (
        "type = \"gauge\"\n",
        "type = \"gauge\"\nwindow = \"day\"\n",
        "meters.users.window belongs to a counter",
    ),
    (
        "currency = \"USD\"",
        "currency = \"usd\"",
        "currency must be an ISO 4217 code",
    ),
    ("subject = \"tenant\"", "", "subject must be \"tenant\""),
    ("name = \"Pro\"", "", "plans.pro.name is missing"),
    (
        "# denied_status = 402",
        "denied_status = 404",
        "denied_status must be 402 or 403, not 404",
    ),
];

#[test]
fn each_mistake_names_its_place_and_the_way_out() {
    for (from, to, expected) in MISTAKES {
        let found = mistakes(&shipped_with(from, to)).join("\n");
        assert!(found.contains(expected), "{expected:?} is not in {found:?}");
    }
}

#[test]
fn what_serde_refuses_is_told_with_its_line() {
    let found = mistake(&shipped_with("rank = 10", "rank = 10\ncolour = \"red\""));
    let line = SHIPPED.lines().position(|line| line == "rank = 10").unwrap() + 2;
    assert!(
        found.starts_with(&format!("line {line} unknown field `colour`")),
        "{found}"
    );
    assert!(mistake("plans = [").starts_with("line 1 "));
}

#[test]
fn a_circle_is_told_once_and_hides_no_other_mistake() {
    let text = shipped_with("rank = 0\n", "rank = 0\nextends = \"enterprise\"\n");
    let text = text.replace("currency = \"USD\"", "currency = \"\"");
    assert_eq!(
        mistakes(&text),
        [
            "plans.enterprise.extends goes in a circle: enterprise → pro → free → enterprise",
            "currency must be an ISO 4217 code such as \"USD\"",
        ]
    );
    let own = mistake(&shipped_with("extends = \"enterprise\"", "extends = \"custom\""));
    assert_eq!(own, "plans.custom.extends goes in a circle: custom → custom");
}

#[test]
fn all_mistakes_are_told_at_once() {
    assert!(mistakes("").len() >= 4);
    let text = SHIPPED
        .replace("users = 10\n", "")
        .replace("rank = 20", "rank = 10")
        .replace("\"500 MB\"", "[]");
    assert_eq!(mistakes(&text).len(), 3);
}

/// What the other published tables need and the shipped one does not use.
#[test]
fn the_format_carries_the_other_published_tables() {
    let catalogue = Catalogue::parse(
        r#"
        name = "bots"
        subject = "community"
        currency = "EUR"
        denied_status = 402
        features = { branding = "Branding" }
        [meters]
        messages = { name = "Messages", type = "counter", window = "day" }
        requests = { name = "API requests", type = "counter", window = "minute" }
        replies = { name = "AI replies", type = "counter", window = "rolling:30d" }
        period = { name = "Calls", type = "counter", window = "billing_period" }
        tokens = { name = "Tokens", type = "counter", window = "lifetime", cost = { price = "3", per = 1_000_000 } }
        [plans.starter]
        name = "Starter"
        rank = 1
        price = { month = "29", year = "290" }
        stripe = { month = ["price_live", "price_test"] }
        limits = { messages = 50, requests = 20, replies = 10_000, period = 0, tokens = "unlimited" }
        [plans.contract]
        name = "Contract"
        rank = 2
        extends = "starter"
        contact_sales = true
        features = ["branding"]
        "#,
        &[],
    )
    .unwrap();
    assert!(catalogue.default_plan().is_none());
    assert_eq!(
        (
            catalogue.denied_status(),
            catalogue.subject(),
            catalogue.currency()
        ),
        (402, Subject::Community, "EUR")
    );
    let windows: Vec<MeterKind> = catalogue.meters().values().map(|meter| meter.kind).collect();
    assert_eq!(
        windows,
        [
            Window::Day,
            Window::BillingPeriod,
            Window::Rolling { days: 30 },
            Window::Minute,
            Window::Lifetime
        ]
        .map(MeterKind::Counter)
    );
    let cost = catalogue.meters()["tokens"].cost.as_ref().unwrap();
    assert_eq!((cost.price.as_str(), cost.per), ("3", 1_000_000));
    assert_eq!(
        catalogue.crypto_price("starter", Interval::Month, &token("USDC", "USD")),
        None
    );
    assert_eq!(
        catalogue.plan("contract").unwrap().limits["period"],
        Limit::AtMost(0)
    );
}

fn token(symbol: &str, unit: &str) -> Token {
    Token {
        chain: ChainId(1),
        address: Address::ZERO,
        symbol: symbol.to_owned(),
        unit: unit.to_owned(),
        decimals: 18,
        dust: Amount::from(1),
    }
}

#[test]
fn a_price_on_chain_is_of_a_currency_or_by_token() {
    let text = include_str!("../../../config/plans.toml").replace(
        "crypto = { month = \"15\", year = \"150\" }",
        "crypto = { month = { USDC = \"15\", ETH = \"0.005000000000000001\", EUR = \"14\" }, year = \"150\" }",
    );
    let catalogue = Catalogue::parse(&text, &[]).unwrap();
    let month = |symbol, unit| catalogue.crypto_price("pro", Interval::Month, &token(symbol, unit));
    assert_eq!(month("USDC", "USD"), Some("15"));
    assert_eq!(month("ETH", "ETH"), Some("0.005000000000000001"));
    assert_eq!(month("EURC", "EUR"), Some("14"), "by its unit");
    assert_eq!(month("USDT", "USD"), None);
    let year = |symbol, unit| catalogue.crypto_price("pro", Interval::Year, &token(symbol, unit));
    assert_eq!((year("USDT", "USD"), year("ETH", "ETH")), (Some("150"), None));
    for (wrong, place) in [
        ("{ month = {} }", "plans.pro.crypto.month"),
        ("{ month = { ETH = \"0\" } }", "plans.pro.crypto.month.ETH"),
        ("{ month = { ETH = 1 } }", "plans.pro.crypto.month.ETH"),
        ("{ month = \"0.0000001\" }", "plans.pro.crypto.month"),
    ] {
        let text = include_str!("../../../config/plans.toml").replace(
            "crypto = { month = \"15\", year = \"150\" }",
            &format!("crypto = {wrong}"),
        );
        let refused = Catalogue::parse(&text, &[]).unwrap_err();
        assert_eq!(refused.0[0].path, place, "{refused}");
    }
}
