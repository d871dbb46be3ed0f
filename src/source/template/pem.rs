//! Takes PEM bundles apart.

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// One block: what it is, and its text from the first dash to the last.
struct Block<'t> {
    label: &'t str,
    text: &'t str,
}

/// The blocks of a bundle. What stands between them is left out.
fn blocks(bundle: &str) -> Result<Vec<Block<'_>>, &'static str> {
    let mut found = Vec::new();
    let mut rest = bundle;
    while let Some(start) = rest.find(BEGIN) {
        let block = &rest[start..];
        let Some((label, body)) = block[BEGIN.len()..].split_once(DASHES) else {
            return Err("a PEM block begins and its first line does not end");
        };
        let Some(end) = body.find(END) else { return Err("a PEM block begins and does not end") };
        let closing = body[end + END.len()..].strip_prefix(label).and_then(|tail| tail.strip_prefix(DASHES));
        let (Some(tail), false) = (closing, label.contains('\n')) else {
            return Err("a PEM block ends as something else than it began");
        };
        if !body[..end].chars().all(|c| c.is_ascii_graphic() || c == ' ' || c == '\n' || c == '\r' || c == '\t') {
            return Err("a PEM block has characters that PEM has not");
        }
        let length = block.len() - tail.len();
        found.push(Block { label, text: &block[..length] });
        rest = tail;
    }
    Ok(found)
}

/// All certificates, in their order.
pub(super) fn certificates(bundle: &str) -> Result<String, &'static str> {
    let mut all = String::new();
    for block in blocks(bundle)?.iter().filter(|block| block.label == "CERTIFICATE") {
        all.push_str(&block.text.replace("\r\n", "\n"));
        all.push('\n');
    }
    if all.is_empty() { Err("there is no certificate in it") } else { Ok(all) }
}

/// The public half of a private key.
pub(super) fn public_key(private: &str) -> Result<String, &'static str> {
    let public = crate::source::generate::public_half(&private.into());
    match public.as_ref().map(crate::value::SecretValue::expose_str) {
        Ok(Some(text)) => Ok(text.to_owned()),
        _ => Err("is no unencrypted private key in OpenSSH or PKCS#8 PEM form (ed25519, RSA, EC P-256 or P-384)"),
    }
}

/// The private key.
pub(super) fn private_key(bundle: &str) -> Result<String, &'static str> {
    let all = blocks(bundle)?;
    let mut keys = all.iter().filter(|block| block.label == "PRIVATE KEY" || block.label.ends_with(" PRIVATE KEY"));
    match (keys.next(), keys.next()) {
        (Some(key), None) => Ok(key.text.replace("\r\n", "\n") + "\n"),
        (Some(_), Some(_)) => Err("there is more than one private key in it"),
        (None, _) => Err("there is no private key in it"),
    }
}
