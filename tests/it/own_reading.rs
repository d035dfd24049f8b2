//! The tests' own reading of binary values, without a server: what all other expectations rest on.

use crate::support::values::{date, exponent_of, float, numeric, timestamp};

#[test]
fn values_read_as_postgresql_writes_them() {
    assert_eq!(date(0), "2000-01-01");
    assert_eq!(date(-10_957), "1970-01-01");
    assert_eq!(date(8_825), "2024-02-29");
    assert_eq!(timestamp(-1), "1999-12-31 23:59:59.999999");
    assert_eq!(exponent_of("0.00012"), -4);
    for (value, text) in [
        (1.0, "1"),
        (0.1, "0.1"),
        (1e20, "1e+20"),
        (-1.5e-7, "-1.5e-07"),
    ] {
        assert_eq!(float(&value, value), text);
    }
}

#[test]
fn a_numeric_keeps_its_scale() {
    // 12345.6700: groups 1, 2345, 6700; weight 1; scale 4.
    let raw = [0, 3, 0, 1, 0, 0, 0, 4, 0, 1, 9, 41, 26, 44];
    assert_eq!(numeric(&raw).expect("it is whole"), "12345.6700");
    // 0.0005: one group 5 of weight -1; scale 4.
    let raw = [0, 1, 255, 255, 64, 0, 0, 4, 0, 5];
    assert_eq!(numeric(&raw).expect("it is whole"), "-0.0005");
}
