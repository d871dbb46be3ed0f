//! Paths with placeholders. What stands for one is percent-encoded and stays inside its segment, or inside its value of
//! the query; no request leaves the host or the path of the base URL.

use percent_encoding::{percent_decode_str, utf8_percent_encode};
use url::Url;

use super::template::{Absent, Template, Values};
use crate::remote::client::SEGMENT;

/// A path below the base URL and its query.
#[derive(Debug)]
pub(crate) struct PathTemplate {
    segments: Vec<Template>,
    query: Vec<(String, Template)>,
}

/// Why there is no URL.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PathError {
    /// There is nothing for a placeholder.
    Absent(Absent),
    /// What stands for a placeholder is empty or would walk up the path.
    Segment,
}

impl From<Absent> for PathError {
    fn from(absent: Absent) -> Self {
        Self::Absent(absent)
    }
}

impl PathTemplate {
    /// Reads a path such as `/v1/secrets/{{ name }}?force=true`; the error is a sentence.
    pub(crate) fn parse(text: &str, allowed: &[&str]) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix('/') else { return Err("a path begins with a /".to_owned()) };
        if text.contains(['#', '\\']) || text.chars().any(char::is_control) {
            return Err("a path holds no #, no backslash and no control characters".to_owned());
        }
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let segments = path.split('/').map(|segment| segment_template(segment, allowed)).collect::<Result<_, _>>()?;
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if name.contains("{{") {
                return Err("the name of a query parameter holds no placeholder".to_owned());
            }
            Ok((decoded(name)?, Template::parse(&decoded(value)?, allowed)?))
        };
        let query = query.into_iter().flat_map(|query| query.split('&')).filter(|part| !part.is_empty());
        Ok(Self { segments, query: query.map(pair).collect::<Result<_, String>>()? })
    }

    /// Whether it holds a placeholder of that name.
    pub(crate) fn uses(&self, name: &str) -> bool {
        self.segments.iter().chain(self.query.iter().map(|(_, value)| value)).any(|template| template.uses(name))
    }

    /// The URL below the base URL.
    pub(crate) fn url(&self, base: &Url, values: Values<'_>) -> Result<Url, PathError> {
        let mut path = base.path().trim_end_matches('/').to_owned();
        for segment in &self.segments {
            let text = segment.render(values, |text, out| out.extend(utf8_percent_encode(text, SEGMENT)))?;
            if walks(&text) || (text.is_empty() && !segment.is_fixed()) {
                return Err(PathError::Segment);
            }
            path.push('/');
            path.push_str(&text);
        }
        let mut url = base.clone();
        url.set_path(&path);
        // The URL's own rules must not have changed what was put together.
        if url.path().matches('/').count() != path.matches('/').count() {
            return Err(PathError::Segment);
        }
        if !self.query.is_empty() {
            let mut pairs = url.query_pairs_mut();
            for (name, value) in &self.query {
                pairs.append_pair(name, &value.text(values)?);
            }
        }
        Ok(url)
    }
}

fn segment_template(segment: &str, allowed: &[&str]) -> Result<Template, String> {
    let template = Template::parse(segment, allowed)?;
    if walks(segment) {
        return Err("a path does not walk up with . or ..".to_owned());
    }
    if template.is_fixed() && segment.contains(|c: char| c.is_whitespace() || !c.is_ascii() || "\"<>^`{|}".contains(c))
    {
        return Err("a path is written as in a URL, percent-encoded where that is needed".to_owned());
    }
    Ok(template)
}

/// Whether a segment walks up the path, in whatever spelling.
fn walks(segment: &str) -> bool {
    let plain = percent_decode_str(segment).decode_utf8_lossy();
    matches!(&*plain, "." | "..")
}

/// A part of a query as it is meant; placeholders stay.
fn decoded(text: &str) -> Result<String, String> {
    let text = text.replace('+', " ");
    let plain = percent_decode_str(&text).decode_utf8().map_err(|_| "a query is UTF-8, percent-encoded".to_owned())?;
    Ok(plain.into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;

    use super::*;

    fn url(base: &str, path: &str, name: &str) -> Result<String, PathError> {
        let template = PathTemplate::parse(path, &["name", "id"]).unwrap();
        template.url(&base.parse().unwrap(), Values(&[("name", name)])).map(String::from)
    }

    #[test]
    fn a_path_is_below_the_base_url() {
        for (base, path, expected) in [
            ("https://a.example", "/v1/secrets/{{ name }}", "https://a.example/v1/secrets/x%2Fy"),
            ("https://a.example/", "/", "https://a.example/"),
            ("https://a.example:8443/base/", "/s/{{ name }}/", "https://a.example:8443/base/s/x%2Fy/"),
            ("https://a.example", "/s:add/{{name}}.json", "https://a.example/s:add/x%2Fy.json"),
            ("https://a.example", "/s?b=2&a={{ name }}&c", "https://a.example/s?b=2&a=x%2Fy&c="),
            ("https://a.example", "/s%2Ft?q=a%26b+c", "https://a.example/s%2Ft?q=a%26b+c"),
        ] {
            assert_eq!(url(base, path, "x/y").unwrap(), expected);
        }
    }

    #[test]
    fn what_leaves_its_segment_is_not_sent() {
        for (path, name) in [
            ("/s/{{ name }}", ""),
            ("/s/{{ name }}", "."),
            ("/s/{{ name }}/update", ".."),
            ("/s/.{{ name }}", "."),
            ("/s/%2e{{ name }}", "."),
            ("/{{ name }}{{ name }}/x", "."),
        ] {
            assert_eq!(url("https://a.example/base", path, name), Err(PathError::Segment), "{path} {name}");
        }
        assert_eq!(url("https://a.example", "/{{ id }}", "x"), Err(PathError::Absent(Absent("id".to_owned()))));
    }

    #[test]
    fn a_wrong_path_is_one_sentence() {
        for (path, words) in [
            ("v1", "begins with a /"),
            ("", "begins with a /"),
            ("/a#b", "no #"),
            ("/a\\b", "no backslash"),
            ("/a\nb", "control"),
            ("/a/../b", "walk up"),
            ("/a/%2E%2e/b", "walk up"),
            ("/a b", "percent-encoded"),
            ("/{{ value }}", "no placeholder"),
            ("/a?{{ name }}=1", "query parameter"),
            ("/a?x=%ff", "UTF-8"),
        ] {
            let error = PathTemplate::parse(path, &["name"]).unwrap_err();
            assert!(error.contains(words), "{path}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_name_leaves_its_segment(name in "\\PC{0,30}|[./\\\\%?#@:;&= 2eEfF\\n\\t]{0,12}") {
            for base in ["https://a.example", "https://a.example/base/"] {
                if let Ok(text) = url(base, "/s/{{ name }}/update", &name) {
                    let url: Url = text.parse().unwrap();
                    prop_assert_eq!(url.host_str(), Some("a.example"));
                    prop_assert_eq!((url.query(), url.fragment()), (None, None));
                    let below = url.path().strip_prefix("/base").unwrap_or(url.path());
                    let segments: Vec<&str> = below.split('/').collect();
                    prop_assert_eq!((segments.len(), segments[1], segments[3]), (4, "s", "update"), "{}", text);
                    prop_assert_eq!(percent_decode_str(segments[2]).decode_utf8().unwrap(), name.as_str());
                }
                let text = url(base, "/s?q={{ name }}&z=1", &name).unwrap();
                let read: Url = text.parse().unwrap();
                let pairs: Vec<(String, String)> = read.query_pairs().into_owned().collect();
                prop_assert_eq!(pairs, [("q".to_owned(), name.clone()), ("z".to_owned(), "1".to_owned())]);
            }
        }
    }
}
