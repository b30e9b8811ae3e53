//! `tls` of a section of the configuration, as clients take it.

use native_tls::{Certificate, Identity, TlsConnector};
use openssl::pkcs12::Pkcs12;
use openssl::pkey::PKey;
use openssl::x509::X509;
use std::path::Path;
use tributary_config::{TlsConfig, TlsMode};

/// What the files have to be, for whoever corrects the configuration.
pub const FILES: &str = "ca, cert and key are PEM files, key in PKCS #8";

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
        builder.identity(Identity::from_pkcs12(&archive, "").map_err(|error| error.to_string())?);
    }
    builder.build().map(Some).map_err(|error| error.to_string())
}

/// The client's certificate and key as a PKCS #12 archive without a password, as MySQL's driver takes them.
///
/// # Errors
/// Which file cannot be read, or is not what it should be.
pub fn client_archive(tls: &TlsConfig) -> Result<Option<Vec<u8>>, String> {
    let archive = |cert: &[u8], key: &[u8]| {
        let (key, cert) = (PKey::private_key_from_pem(key)?, X509::from_pem(cert)?);
        Pkcs12::builder().name("tributary").pkey(&key).cert(&cert).build2("")?.to_der()
    };
    match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => archive(&read(cert)?, &read(key)?)
            .map(Some)
            .map_err(|error| format!("{} and {}: {error}", cert.display(), key.display())),
        (None, None) => Ok(None),
        _ => Err("cert and key go together".to_owned()),
    }
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
