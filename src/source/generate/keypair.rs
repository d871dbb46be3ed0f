//! Key pairs: the private half is the generated value, the public half is computed from it and never stored apart.

use p256::pkcs8::{EncodePrivateKey as _, EncodePublicKey as _, LineEnding};
use rand::CryptoRng;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::{RsaPrivateKey, RsaPublicKey};
use ssh_key::private::{Ed25519Keypair, KeypairData, RsaKeypair};
use zeroize::Zeroizing;

use super::GenerateError;
use crate::api::vault_secret::{Curve, EcKey, RsaKey, SshKey, SshKeyType};
use crate::value::SecretValue;

/// Sizes of an RSA key, in bits, that are made: below it is broken, above it takes minutes.
const RSA_BITS: [u32; 3] = [2048, 3072, 4096];

/// A value is no private key that a public half can be computed from. Says nothing of what it is instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value is no unencrypted private key in OpenSSH or PKCS#8 PEM form (ed25519, RSA, EC P-256 or P-384)")]
pub struct NotAPrivateKey;

/// Whether a key of that policy can be made.
pub(super) fn check_bits(field: &'static str, bits: Option<u32>) -> Result<usize, GenerateError> {
    let bits = bits.unwrap_or(3072);
    match RSA_BITS.contains(&bits) {
        true => Ok(bits as usize),
        false => Err(GenerateError::KeySize { field }),
    }
}

/// A private key in OpenSSH form.
pub(super) fn ssh_key<R: CryptoRng + ?Sized>(spec: &SshKey, rng: &mut R) -> Result<SecretValue, GenerateError> {
    let mut rng = bridge(rng);
    let pair = match spec.key_type.unwrap_or_default() {
        SshKeyType::Ed25519 => KeypairData::from(Ed25519Keypair::random(&mut rng)),
        SshKeyType::Rsa => {
            let bits = check_bits("sshKey.keySize", spec.key_size)?;
            KeypairData::from(RsaKeypair::random(&mut rng, bits).map_err(|_| GenerateError::Failed)?)
        }
    };
    let comment = spec.comment.clone().unwrap_or_default();
    let key = ssh_key::PrivateKey::new(pair, comment).map_err(|_| GenerateError::Failed)?;
    let text = key.to_openssh(ssh_key::LineEnding::LF).map_err(|_| GenerateError::Failed)?;
    Ok(SecretValue::from(text.as_str()))
}

/// A private key in PKCS#8 PEM form.
pub(super) fn rsa_key<R: CryptoRng + ?Sized>(spec: &RsaKey, rng: &mut R) -> Result<SecretValue, GenerateError> {
    let bits = check_bits("rsaKey.keySize", spec.key_size)?;
    let key = RsaPrivateKey::new(&mut bridge(rng), bits).map_err(|_| GenerateError::Failed)?;
    pem(rsa::pkcs8::EncodePrivateKey::to_pkcs8_pem(&key, LineEnding::LF).ok())
}

/// A private key in PKCS#8 PEM form.
pub(super) fn ec_key<R: CryptoRng + ?Sized>(spec: &EcKey, rng: &mut R) -> Result<SecretValue, GenerateError> {
    let mut rng = bridge(rng);
    pem(match spec.curve.unwrap_or_default() {
        Curve::P256 => p256::SecretKey::random(&mut rng).to_pkcs8_pem(LineEnding::LF).ok(),
        Curve::P384 => p384::SecretKey::random(&mut rng).to_pkcs8_pem(LineEnding::LF).ok(),
    })
}

/// The public half of a private key: one line of `authorized_keys` for an OpenSSH key, SPKI PEM for a PKCS#8 one. The same
/// private key has the same public half for ever.
///
/// # Errors
/// When the value is no private key of a kind that can be generated here, or is encrypted.
pub fn public_half(private: &SecretValue) -> Result<SecretValue, NotAPrivateKey> {
    let text = private.expose_str().ok_or(NotAPrivateKey)?;
    if text.contains("OPENSSH PRIVATE KEY") {
        let key = ssh_key::PrivateKey::from_openssh(text).map_err(|_| NotAPrivateKey)?;
        return key.public_key().to_openssh().map(SecretValue::from).map_err(|_| NotAPrivateKey);
    }
    let public = if let Ok(key) = RsaPrivateKey::from_pkcs8_pem(text) {
        RsaPublicKey::from(&key).to_public_key_pem(LineEnding::LF)
    } else if let Ok(key) = p256::SecretKey::from_pkcs8_pem(text) {
        key.public_key().to_public_key_pem(LineEnding::LF)
    } else if let Ok(key) = p384::SecretKey::from_pkcs8_pem(text) {
        key.public_key().to_public_key_pem(LineEnding::LF)
    } else {
        return Err(NotAPrivateKey);
    };
    public.map(SecretValue::from).map_err(|_| NotAPrivateKey)
}

fn pem(text: Option<Zeroizing<String>>) -> Result<SecretValue, GenerateError> {
    text.map(|text| SecretValue::from(text.as_str())).ok_or(GenerateError::Failed)
}

/// The key crates take random numbers by an older trait than ours: a stream cipher that is seeded from ours gives them.
fn bridge<R: CryptoRng + ?Sized>(rng: &mut R) -> ChaCha20Rng {
    let mut seed = Zeroizing::new([0_u8; 32]);
    rng.fill_bytes(seed.as_mut());
    ChaCha20Rng::from_seed(*seed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    fn rng(seed: u64) -> StdRng {
        StdRng::seed_from_u64(seed)
    }

    fn text(value: &SecretValue) -> &str {
        value.expose_str().unwrap()
    }

    #[test]
    fn an_ed25519_key_is_in_openssh_form_with_its_comment_and_its_public_half_is_one_line() {
        let spec = SshKey { comment: Some("deploy@shop".into()), ..SshKey::default() };
        let private = ssh_key(&spec, &mut rng(1)).unwrap();
        assert!(text(&private).starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n"));
        let public = public_half(&private).unwrap();
        assert!(text(&public).starts_with("ssh-ed25519 AAAA"), "{}", text(&public));
        assert!(text(&public).ends_with(" deploy@shop"));
        assert_eq!(text(&public).lines().count(), 1);
    }

    #[test]
    fn every_kind_has_a_public_half_that_stays_the_same() {
        let rsa_ssh = SshKey { key_type: Some(SshKeyType::Rsa), key_size: Some(2048), ..SshKey::default() };
        for (private, begins) in [
            (ssh_key(&rsa_ssh, &mut rng(2)).unwrap(), "ssh-rsa AAAA"),
            (rsa_key(&RsaKey { key_size: Some(2048) }, &mut rng(3)).unwrap(), "-----BEGIN PUBLIC KEY-----"),
            (ec_key(&EcKey::default(), &mut rng(4)).unwrap(), "-----BEGIN PUBLIC KEY-----"),
            (ec_key(&EcKey { curve: Some(Curve::P384) }, &mut rng(5)).unwrap(), "-----BEGIN PUBLIC KEY-----"),
        ] {
            let public = public_half(&private).unwrap();
            assert!(text(&public).starts_with(begins));
            assert_eq!(public, public_half(&private).unwrap());
            assert!(!text(&public).contains("PRIVATE"));
        }
    }

    #[test]
    fn two_keys_are_two_keys() {
        let spec = SshKey::default();
        assert_ne!(ssh_key(&spec, &mut rng(1)).unwrap(), ssh_key(&spec, &mut rng(2)).unwrap());
    }

    #[test]
    fn a_size_that_is_not_made_is_refused_with_the_field() {
        let error = rsa_key(&RsaKey { key_size: Some(1024) }, &mut rng(1)).unwrap_err();
        assert_eq!(error.to_string(), "generate.rsaKey.keySize must be 2048, 3072 or 4096");
    }

    #[test]
    fn what_is_no_private_key_has_no_public_half_and_the_error_does_not_show_it() {
        for bad in ["hunter2", "", "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY-----\n"]
        {
            let error = public_half(&SecretValue::from(bad)).unwrap_err();
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
