//! TLS for a Redis server.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::folder::Folder;

/// A request for a certificate of the loopback address. Not a CA certificate, because clients refuse a CA certificate
/// of a server.
const REQUEST: &str = "
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = localhost
[extensions]
basicConstraints = critical, CA:FALSE
subjectAltName = IP:127.0.0.1, DNS:localhost
";

/// A private certificate authority.
pub struct Authority {
    folder: Folder,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Creates an authority. Errors of clients that do not trust the authority show its name.
    pub fn new(name: &str) -> Self {
        let folder = Folder::new();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("there is randomness");
        let certificate = params.self_signed(&key).expect("the key can sign");
        fs::write(folder.path().join("authority.pem"), certificate.pem()).expect("it is ours");
        Self { folder, issuer: Issuer::new(params, key) }
    }

    /// Its own certificate as PEM.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    pub fn pem(&self) -> Vec<u8> {
        fs::read(self.path()).expect("it was written")
    }

    /// Signs a certificate for loopback, for a server or a client.
    pub fn sign(&self) -> Certificate {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let params = CertificateParams::new(names).expect("the names can be read");
        let key = KeyPair::generate().expect("there is randomness");
        let signed = params.signed_by(&key, &self.issuer).expect("the authority can sign");
        let certificate = Certificate { folder: Folder::new() };
        fs::write(certificate.path(), signed.pem()).expect("the folder is ours");
        fs::write(certificate.key_path(), key.serialize_pem()).expect("the folder is ours");
        certificate
    }
}

/// A certificate for loopback and its key. The certificate is self-signed unless an [`Authority`] signed it.
pub struct Certificate {
    folder: Folder,
}

impl Certificate {
    /// Creates a certificate with `openssl`.
    pub fn new() -> Self {
        let certificate = Self { folder: Folder::new() };
        let request = certificate.folder.path().join("request");
        fs::write(&request, REQUEST).expect("the folder is ours");
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        command.args(["-noenc", "-days", "2", "-config"]).arg(request);
        command.arg("-out").arg(certificate.path()).arg("-keyout").arg(certificate.key_path());
        let output = command.output().expect("there is an openssl on the PATH");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        certificate
    }

    /// The certificate as PEM: for the server, and for clients to trust.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    /// The certificate and its key as PEM.
    pub fn pem(&self) -> [Vec<u8>; 2] {
        [self.path(), self.key_path()].map(|path| fs::read(path).expect("it was written"))
    }

    pub fn key_path(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }
}
