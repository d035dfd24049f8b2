//! Which hosts a sink may connect to.
//!
//! Invariant: an address is looked at again where it is connected to, so that no name leads around the rules.

use std::error::Error as StdError;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::config::SinkRules;
use crate::error::{Culprit, Error, Result, SqlState};

/// The URL that an option gives, if a sink may send to it as far as its text tells.
///
/// # Errors
/// 22023 when it is no URL of HTTP, 42501 when its host is not allowed.
pub fn check_url(option: &str, text: &str, rules: &SinkRules) -> Result<()> {
    parse(option, text, rules).map(drop)
}

pub(super) fn parse(option: &str, text: &str, rules: &SinkRules) -> Result<Url> {
    let about = |error: Error| error.about(Culprit::Option(option.to_owned()));
    checked(option, text, rules).map_err(about)
}

fn checked(option: &str, text: &str, rules: &SinkRules) -> Result<Url> {
    let invalid = |why: &str| {
        let message = format!("invalid value for option \"{option}\": {why}");
        Error::user(SqlState::InvalidParameterValue, message).hint(format!(
            "For example: {option} = 'https://example.com/hook'."
        ))
    };
    let url = Url::parse(text).map_err(|error| invalid(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid("the URL begins neither with https nor with http"));
    }
    let host = url
        .host_str()
        .ok_or_else(|| invalid("the URL has no host"))?;
    let host = host.trim_matches(['[', ']']).trim_end_matches('.');
    if !is_listed(host, rules) {
        return Err(forbidden(format!("host \"{host}\" is not allowed for sinks")).hint(
            "The server's configuration lists the hosts that sinks may send to: allowed_hosts under [sinks].",
        ));
    }
    let is_local_name =
        host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost");
    let address: Option<IpAddr> = host.parse().ok();
    if is_local_name || address.is_some_and(is_private) {
        private(host, rules)?;
    }
    Ok(url)
}

/// Looks the URL's host up, to tell early what would be refused later; a name that has no address now may
/// have one then.
///
/// # Errors
/// 42501 when it has private addresses only, and these are not allowed.
pub async fn lookup(text: &str, rules: &SinkRules) -> Result<()> {
    let Some(url) = Url::parse(text).ok() else {
        return Ok(());
    };
    let Some(host) = url.host_str() else {
        return Ok(());
    };
    let Ok(found) = tokio::net::lookup_host((host, 0)).await else {
        return Ok(());
    };
    let mut addresses = found.map(|address| address.ip()).peekable();
    match addresses.peek().is_some() && addresses.all(is_private) {
        true => private(host, rules),
        false => Ok(()),
    }
}

fn private(host: &str, rules: &SinkRules) -> Result<()> {
    if rules.allow_private_addresses {
        return Ok(());
    }
    Err(
        forbidden(format!("host \"{host}\" has a private address")).hint(
            "Sinks send to public addresses only, unless the server's configuration says \
             allow_private_addresses = true under [sinks].",
        ),
    )
}

fn forbidden(message: String) -> Error {
    Error::user(SqlState::InsufficientPrivilege, message)
}

/// Whether the configuration lists a host; without a list every host is.
fn is_listed(host: &str, rules: &SinkRules) -> bool {
    let Some(allowed) = &rules.allowed_hosts else {
        return true;
    };
    let host = host.to_ascii_lowercase();
    allowed.iter().any(|pattern| {
        let pattern = pattern.to_ascii_lowercase();
        match pattern.strip_prefix("*.") {
            Some(domain) => host
                .strip_suffix(domain)
                .is_some_and(|before| before.ends_with('.') && before.len() > 1),
            None => host == pattern,
        }
    })
}

/// True for an address that is not one of the public internet's.
pub(super) fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => is_private_v6(address),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let protocols = (a, b, c) == (192, 0, 0);
    let benchmarks = a == 198 && (18..20).contains(&b);
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || shared
        || protocols
        || benchmarks
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    if let Some(inner) = address.to_ipv4_mapped() {
        return is_private_v4(inner);
    }
    let words = address.segments();
    let inner = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    // Addresses that stand for those of the older family: NAT64, 6to4, and the form that nobody uses.
    match words {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => return is_private_v4(inner(high, low)),
        [0x64, 0xff9b, ..] => return true,
        [0x2002, high, low, ..] => return is_private_v4(inner(high, low)),
        [0, 0, 0, 0, 0, 0, ..] => return true,
        _ => {}
    }
    let unique_local = words[0] & 0xfe00 == 0xfc00;
    let link_local = words[0] & 0xffc0 == 0xfe80;
    let site_local = words[0] & 0xffc0 == 0xfec0;
    let documentation = words[0] == 0x2001 && words[1] == 0xdb8;
    let teredo = words[0] == 0x2001 && words[1] == 0;
    address.is_multicast() || unique_local || link_local || site_local || documentation || teredo
}

/// Looks names up, and leaves out the addresses that a sink may not connect to.
#[derive(Debug)]
pub(super) struct Resolver {
    pub(super) allow_private: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found: Vec<SocketAddr> = found.collect();
            let allowed = found
                .iter()
                .filter(|address| allow_private || !is_private(address.ip()));
            let allowed: Vec<SocketAddr> = allowed.copied().collect();
            if allowed.is_empty() && !found.is_empty() {
                let text = format!("host \"{}\" has a private address", name.as_str());
                return Err(Box::<dyn StdError + Send + Sync>::from(text));
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(allowed: Option<&[&str]>, allow_private_addresses: bool) -> SinkRules {
        let owned = |hosts: &[&str]| hosts.iter().map(|host| (*host).to_owned()).collect();
        SinkRules {
            allowed_hosts: allowed.map(owned),
            allow_private_addresses,
        }
    }

    #[test]
    fn private_addresses_are_known_in_all_their_forms() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "198.18.0.1",
            "::1",
            "::",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(is_private(private.parse().unwrap()), "{private}");
        }
        for public in [
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "1.1.1.1",
            "2606:4700::1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::",
        ] {
            assert!(!is_private(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn a_private_host_is_refused_however_it_is_written() {
        for text in [
            "http://127.0.0.1:8080/x",
            "http://localhost/",
            "http://LOCALHOST./",
            "http://a.localhost/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://[::1]/",
            "http://[::ffff:10.0.0.1]/",
            "https://169.254.169.254/latest/meta-data",
        ] {
            let error = check_url("url", text, &rules(None, false)).unwrap_err();
            assert_eq!(error.state(), SqlState::InsufficientPrivilege, "{text}");
            assert!(error.hint_text().is_some());
            check_url("url", text, &rules(None, true)).unwrap();
        }
    }

    #[test]
    fn only_listed_hosts_are_allowed_when_there_is_a_list() {
        let rules = rules(Some(&["hooks.slack.com", "*.Example.com"]), false);
        for text in [
            "https://hooks.slack.com/x",
            "https://HOOKS.slack.com/x",
            "https://a.example.com/",
            "https://a.b.example.com./",
        ] {
            check_url("url", text, &rules).unwrap();
        }
        for text in [
            "https://example.com/",
            "https://badexample.com/",
            "https://slack.com/",
            "https://hooks.slack.com.evil.org/",
            "https://hooks.slack.com@evil.org/",
        ] {
            let error = check_url("url", text, &rules).unwrap_err();
            assert_eq!(error.state(), SqlState::InsufficientPrivilege, "{text}");
        }
    }

    #[test]
    fn what_is_no_url_of_http_is_refused() {
        for text in [
            "",
            "example.com",
            "ftp://example.com",
            "file:///etc/passwd",
            "http://",
        ] {
            let error = check_url("url", text, &rules(None, true)).unwrap_err();
            assert_eq!(error.state(), SqlState::InvalidParameterValue, "{text}");
        }
    }
}
