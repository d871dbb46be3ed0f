//! A description of a REST API, as somebody may write it: it is read or refused with a sentence.

use vaultsecret_operator::api::http::HttpSpec;
use vaultsecret_operator::remote::http::Description;

/// Reads one description.
pub fn run(data: &[u8]) {
    let Ok(spec) = serde_json::from_slice::<HttpSpec>(data) else { return };
    match Description::read(&spec) {
        Ok(description) => drop(description.rules().check_name("a name")),
        Err(error) => assert!(error.0.starts_with("http.")),
    }
}
