//! `tls` of a section of the configuration, as clients take it.

use native_tls::{Certificate, Identity, TlsConnector};
use openssl::error::ErrorStack;
use openssl::pkcs12::Pkcs12;
use openssl::pkey::PKey;
use openssl::stack::Stack;
use openssl::x509::X509;
use std::path::Path;
use tributary_config::{TlsConfig, TlsMode};

/// What to do about files that cannot be used.
pub const FILES: &str = "correct the files: ca is PEM or DER; cert, with the certificates between it and the authority, and key \
                         are PEM, key without a pass phrase";

/// A connector for a client that makes its own connections; `None` for plain TCP.
///
/// # Errors
/// Which file cannot be read, or is not what it should be.
pub fn connector(tls: &TlsConfig) -> Result<Option<TlsConnector>, String> {
    if tls.mode == TlsMode::Disable {
        return Ok(None);
    }
    let mut builder = TlsConnector::builder();
    builder.danger_accept_invalid_certs(tls.mode == TlsMode::Require);
    builder.danger_accept_invalid_hostnames(tls.mode != TlsMode::VerifyFull);
    if let Some(ca) = &tls.ca {
        for certificate in authorities(&read(ca)?).map_err(|error| format!("{}: {error}", ca.display()))? {
            builder.add_root_certificate(certificate);
        }
        builder.disable_built_in_roots(true);
    }
    if let Some(archive) = client_archive(tls)? {
        let identity = Identity::from_pkcs12(&archive, "");
        builder.identity(identity.map_err(|error| format!("the client's certificate and key: {error}"))?);
    }
    builder.build().map(Some).map_err(|error| error.to_string())
}

/// The client's certificates and key as a PKCS #12 archive without a password, as MySQL's driver takes them.
///
/// # Errors
/// Which file cannot be read, or is not what it should be.
pub fn client_archive(tls: &TlsConfig) -> Result<Option<Vec<u8>>, String> {
    match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => archive(&read(cert)?, &read(key)?)
            .map(Some)
            .map_err(|error| format!("{} and {}: {error}", cert.display(), key.display())),
        (None, None) => Ok(None),
        _ => Err("cert and key go together".to_owned()),
    }
}

fn archive(cert: &[u8], key: &[u8]) -> Result<Vec<u8>, String> {
    let chain = X509::stack_from_pem(cert).map_err(|error| error.to_string())?;
    let (leaf, between) = chain.split_first().ok_or("there is no certificate")?;
    // OpenSSL would ask whoever sits at the terminal for a pass phrase.
    let key = PKey::private_key_from_pem_callback(key, |_| Ok(0))
        .map_err(|error| format!("the key cannot be read, or has a pass phrase: {error}"))?;
    let built = || {
        let mut others = Stack::new()?;
        between.iter().try_for_each(|certificate| others.push(certificate.clone()))?;
        Pkcs12::builder().name("tributary").pkey(&key).cert(leaf).ca(others).build2("")?.to_der()
    };
    built().map_err(|error: ErrorStack| error.to_string())
}

/// One certificate as DER, or any number of them as PEM.
fn authorities(bytes: &[u8]) -> Result<Vec<Certificate>, native_tls::Error> {
    Certificate::from_der(bytes).map(|one| vec![one]).or_else(|_| Certificate::stack_from_pem(bytes))
}

/// The content of a file.
///
/// # Errors
/// With its name.
pub fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use openssl::asn1::Asn1Time;
    use openssl::hash::MessageDigest;
    use openssl::pkey::Private;
    use openssl::rsa::Rsa;
    use openssl::symm::Cipher;
    use openssl::x509::X509Name;

    fn certificate(key: &PKey<Private>, name: &str) -> Vec<u8> {
        let mut subject = X509Name::builder().unwrap();
        subject.append_entry_by_text("CN", name).unwrap();
        let subject = subject.build();
        let mut builder = X509::builder().unwrap();
        builder.set_subject_name(&subject).unwrap();
        builder.set_issuer_name(&subject).unwrap();
        builder.set_pubkey(key).unwrap();
        builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
        builder.sign(key, MessageDigest::sha256()).unwrap();
        builder.build().to_pem().unwrap()
    }

    #[test]
    fn a_client_shows_the_certificates_between_it_and_the_authority_and_is_asked_for_no_pass_phrase() {
        let rsa = Rsa::generate(2048).unwrap();
        let key = PKey::from_rsa(rsa.clone()).unwrap();
        let cert = [certificate(&key, "client"), certificate(&key, "between")].concat();
        for pem in [key.private_key_to_pem_pkcs8().unwrap(), rsa.private_key_to_pem().unwrap()] {
            let parsed = Pkcs12::from_der(&archive(&cert, &pem).unwrap()).unwrap().parse2("").unwrap();
            assert!(parsed.cert.is_some() && parsed.pkey.is_some());
            assert_eq!(parsed.ca.map_or(0, |chain| chain.len()), 1);
        }
        let encrypted = key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_128_cbc(), b"secret").unwrap();
        assert!(archive(&cert, &encrypted).unwrap_err().contains("has a pass phrase"));
        assert!(archive(b"", &rsa.private_key_to_pem().unwrap()).is_err());
    }
}
