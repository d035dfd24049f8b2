//! The variables from outside: set, shown, reset.
use super::*;

#[test]
fn a_variable_is_set_shown_and_reset_by_any_spelling() {
    let mut variables = Variables::default();
    assert_eq!(variables.get("timezone").unwrap(), "UTC");
    variables.set("TIMEZONE", Some("Asia/Kolkata")).unwrap();
    assert_eq!(variables.get("TimeZone").unwrap(), "Asia/Kolkata");
    variables.set("TimeZone", None).unwrap();
    assert_eq!(variables.get("time zone").unwrap(), "UTC");
    variables.set("my.own", Some("x")).unwrap();
    assert_eq!(variables.get("my.own").unwrap(), "x");
}

#[test]
fn what_is_wrong_is_said() {
    let mut variables = Variables::default();
    let code = |result: Result<()>| result.unwrap_err().state().code();
    assert_eq!(code(variables.set("statement_timeot", Some("1"))), "42704");
    assert_eq!(
        code(variables.set("statement_timeout", Some("soon"))),
        "22023"
    );
    assert_eq!(code(variables.set("timezone", Some("Mars/Base"))), "22023");
    assert_eq!(code(variables.set("server_version", Some("16"))), "55P02");
    assert_eq!(code(variables.set("jit", Some("maybe"))), "22023");
    assert_eq!(
        code(variables.set("client_encoding", Some("LATIN1"))),
        "22023"
    );
    let hint = variables.get("statement_timeot").unwrap_err();
    assert_eq!(
        hint.hint_text(),
        Some("Perhaps you meant \"statement_timeout\".")
    );
}

#[test]
fn times_have_units() {
    let mut variables = Variables::default();
    for (given, shown, millis) in [
        ("250", "250ms", 250),
        ("1.5 s", "1500ms", 1_500),
        ("2min", "2min", 120_000),
    ] {
        variables.set("statement_timeout", Some(given)).unwrap();
        assert_eq!(variables.get("statement_timeout").unwrap(), shown);
        assert_eq!(
            variables.statement_timeout(),
            Some(Duration::from_millis(millis))
        );
    }
    variables.set("statement_timeout", Some("0")).unwrap();
    assert_eq!(variables.statement_timeout(), None);
}

#[test]
fn what_set_local_covered_comes_back() {
    let mut variables = Variables::default();
    variables.set_initial("application_name", "psql").unwrap();
    variables.set("application_name", Some("a")).unwrap();
    variables.set_local("application_name", Some("b")).unwrap();
    variables.set_local("application_name", Some("c")).unwrap();
    assert_eq!(variables.get("application_name").unwrap(), "c");
    variables.uncover();
    assert_eq!(variables.get("application_name").unwrap(), "a");
    variables.reset("application_name").unwrap();
    assert_eq!(variables.get("application_name").unwrap(), "psql");
}

#[test]
fn the_list_is_sorted() {
    let names: Vec<String> = DEFINITIONS
        .iter()
        .map(|d| d.name.to_ascii_lowercase())
        .collect();
    assert!(names.is_sorted(), "{names:?}");
}
