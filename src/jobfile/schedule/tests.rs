use proptest::prelude::*;

use super::*;

fn schedule(specs: &[&str], zone: &str) -> Schedule {
    let specs = specs.iter().map(|spec| (*spec).to_owned()).collect();
    let periodic = Periodic { specs, time_zone: zone.to_owned(), ..Periodic::default() };
    Schedule::of(&periodic).expect("a schedule")
}

fn at(text: &str) -> Timestamp {
    Timestamp::from_secs(text.parse::<jiff::Timestamp>().expect("a time").as_second())
}

fn text(at: Timestamp) -> String {
    jiff::Timestamp::from_second(at.whole_seconds()).expect("a time").to_string()
}

/// The times from one to another.
fn times(schedule: &Schedule, from: &str, to: &str) -> Vec<String> {
    let to = at(to);
    let mut all = Vec::new();
    let mut last = at(from);
    while let Some(next) = schedule.next(last).filter(|next| *next <= to) {
        all.push(text(next));
        last = next;
    }
    all
}

#[test]
fn the_earliest_of_several_counts() {
    let both = schedule(&["0 3 * * *", "30 1 * * *"], "UTC");
    assert_eq!(
        times(&both, "2026-01-01T00:00:00Z", "2026-01-02T02:00:00Z"),
        ["2026-01-01T01:30:00Z", "2026-01-01T03:00:00Z", "2026-01-02T01:30:00Z"]
    );
    assert_eq!(both.latest(at("2026-01-01T03:00:00Z")), Some(at("2026-01-01T03:00:00Z")));
    assert_eq!(both.latest(at("2026-01-01T02:59:59Z")), Some(at("2026-01-01T01:30:00Z")));
    assert_eq!(schedule(&[], "UTC").next(Timestamp::ZERO), None);
}

#[test]
fn a_run_in_the_hour_that_is_left_out_comes_right_after_it() {
    // 2:00 became 3:00 at 01:00 UTC.
    let berlin = schedule(&["30 2 * * *"], "Europe/Berlin");
    assert_eq!(
        times(&berlin, "2026-03-28T00:00:00Z", "2026-03-30T12:00:00Z"),
        ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
    );
    let often = schedule(&["*/30 * * * *"], "Europe/Berlin");
    assert_eq!(
        times(&often, "2026-03-29T00:00:00Z", "2026-03-29T02:00:00Z"),
        [
            "2026-03-29T00:30:00Z",
            "2026-03-29T01:00:00Z",
            "2026-03-29T01:30:00Z",
            "2026-03-29T02:00:00Z"
        ]
    );
}

#[test]
fn a_run_in_the_hour_that_comes_twice_comes_once() {
    // 3:00 became 2:00 at 01:00 UTC.
    let berlin = schedule(&["30 2 * * *"], "Europe/Berlin");
    assert_eq!(
        times(&berlin, "2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z"),
        ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
    );
    let often = schedule(&["*/30 * * * *"], "Europe/Berlin");
    assert_eq!(times(&often, "2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z").len(), 4);
}

#[test]
fn seconds_and_years() {
    let each = schedule(&["* * * * * * *"], "UTC");
    let now = Timestamp(1_700_000_000_500_000_000);
    assert_eq!(each.next(now), Some(Timestamp::from_secs(1_700_000_001)));
    assert_eq!(each.latest(now), Some(Timestamp::from_secs(1_700_000_000)));
    let once = schedule(&["0 0 1 1 * 2030"], "UTC");
    assert_eq!(once.next(now), Some(at("2030-01-01T00:00:00Z")));
    assert_eq!(once.next(at("2030-01-01T00:00:00Z")), None);
    assert_eq!(schedule(&["0 0 30 2 *"], "UTC").next(now), None);
}

#[test]
fn says_what_is_wrong() {
    let wrong = |spec: &str, zone: &str| {
        let periodic =
            Periodic { spec: spec.to_owned(), time_zone: zone.to_owned(), ..Periodic::default() };
        Schedule::of(&periodic).expect_err("is wrong")
    };
    assert!(wrong("0 25 * * *", "UTC").contains("`25` is no hour"));
    assert_eq!(wrong("@daily", "Europe/Bonn"), "there is no time zone `Europe/Bonn`");
}

proptest! {
    /// Forwards and backwards meet the same times, whatever clocks do.
    #[test]
    fn no_time_lies_between_two_that_follow_each_other(
        start in 1_700_000_000_i64..1_900_000_000,
        spec in prop::sample::select(vec![
            "30 2 * * *", "*/7 * * * *", "0 3 * * 1-5", "15 1,2,3 * * sun", "0 0 L * *", "59 23 1 1 *", "* 2 * * *",
        ]),
        zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
    ) {
        let schedule = schedule(&[spec], zone);
        let start = Timestamp::from_secs(start);
        let next = schedule.next(start).expect("there is always one");
        prop_assert!(next > start);
        prop_assert_eq!(schedule.latest(next), Some(next), "{} {}", text(start), text(next));
        let before = schedule.latest(start).expect("there is always one");
        prop_assert!(before <= start);
        prop_assert_eq!(schedule.next(before), Some(next), "{} {} {}", text(before), text(start), text(next));
    }
}
