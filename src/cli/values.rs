//! Flags' values: durations, addresses, lists of namespaces.

use std::net::SocketAddr;
use std::time::Duration;

pub(super) use crate::api::duration::parse as duration;

/// A duration that is not zero.
pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be more than 0".to_owned()),
        duration => Ok(duration),
    }
}

/// An address to listen on; `:8080` means every IPv4 address of the machine.
pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    let full = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    full.parse().map_err(|_| format!("`{text}` is not an address and a port; write it like 0.0.0.0:8080"))
}

/// Where an HTTP server is.
pub(super) fn endpoint(text: &str) -> Result<url::Url, String> {
    let wrong = || format!("`{text}` is not the address of a collector; write it like http://collector:4318");
    let url: url::Url = text.parse().map_err(|_| wrong())?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() { Ok(url) } else { Err(wrong()) }
}

/// Namespaces separated by commas, sorted, each once. Nothing at all means every namespace.
pub(super) fn namespaces(text: &str) -> Result<Vec<String>, String> {
    let mut list =
        text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(namespace).collect::<Result<Vec<_>, _>>()?;
    list.sort_unstable();
    list.dedup();
    if list.is_empty() && text.contains(',') {
        return Err(format!("`{text}` names no namespace; leave the flag out for all of them"));
    }
    Ok(list)
}

/// Name of a namespace.
pub(super) fn namespace(text: &str) -> Result<String, String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = !text.is_empty() && text.len() <= 63 && text.chars().all(inner);
    if fits && !text.starts_with('-') && !text.ends_with('-') {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not the name of a namespace"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, millis) in [
            ("15m", 900_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("1.5s", 1500),
            ("0", 0),
            ("0s", 0),
            ("6h", 21_600_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_an_example() {
        for text in
            ["", "15", "m", "-5m", "+5m", "5 m", "1d", "1h30", "1..5s", "99999999999999999999h", "nan", "infs", "1e3s"]
        {
            let error = duration(text).expect_err(text);
            assert!(error.contains(&format!("`{text}`")) && error.contains("1h30m"), "{error}");
        }
        assert_eq!(positive_duration("0s"), Err("must be more than 0".to_owned()));
    }

    #[test]
    fn namespaces_are_a_list_or_all() {
        assert_eq!(namespaces(""), Ok(vec![]));
        assert_eq!(namespaces("shop, blog,shop,"), Ok(vec!["blog".to_owned(), "shop".to_owned()]));
        for text in [",", "Shop", "shop blog", "-a", "a-", "a/b", "*"] {
            assert!(namespaces(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_needs_a_port() {
        assert_eq!(listen(":9"), Ok(SocketAddr::from(([0, 0, 0, 0], 9))));
        assert_eq!(listen("127.0.0.1:0"), Ok(SocketAddr::from(([127, 0, 0, 1], 0))));
        assert!(listen("[::]:8080").expect("IPv6").is_ipv6());
        for text in ["8080", "localhost:8080", "0.0.0.0", "0.0.0.0:99999", ""] {
            assert!(listen(text).is_err(), "{text}");
        }
    }
}
