//! TLS for a Redis server.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::folder::Folder;

/// For loopback by its address. It is no authority, which a client would refuse as a server's own.
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

/// A certificate for loopback, signed by itself, and its key.
pub(crate) struct Certificate {
    folder: Folder,
}

impl Certificate {
    /// Makes one by `openssl`.
    pub(crate) fn new() -> Self {
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
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    pub(crate) fn key_path(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }
}
