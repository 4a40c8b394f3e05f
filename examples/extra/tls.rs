//! A chat room over TLS: `wss://` and `https://` on one port.
//!
//! ```text
//! cargo run --release -p extra-examples --example tls
//! ```
//!
//! makes a certificate for `localhost`, says where it is, and serves; `--cert` and `--key` name one of
//! yours. On SIGHUP the files are read again, and connections go on.

use std::error::Error;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use roomcast::{Handler, Hub, Server, Tls, shutdown_signal};
use tokio::signal::unix::{SignalKind, signal};

/// A chat room over TLS.
#[derive(Parser)]
struct Options {
    /// The address to listen on; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:8443")]
    listen: String,
    /// The certificate chain, PEM.
    #[arg(long, requires = "key")]
    cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, requires = "cert")]
    key: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let told_to_end = shutdown_signal();
    let options = Options::parse();
    let (cert, key) = match options.cert.zip(options.key) {
        Some(files) => files,
        None => self_signed(&std::env::temp_dir().join("roomcast-tls-example"))?,
    };
    let tls = Tls::from_pem_files(&cert, &key)?;
    let hub = Hub::<String>::new();
    let server =
        Server::bind(&options.listen).await?.tls(&tls).route("/{room}", hub.handle(chat(&hub)))?;
    println!("listening on wss://{}", server.local_addr()?);
    println!("certificate: {}", cert.display());
    tokio::spawn(reload_on_hangup(tls));
    println!("{}", server.run_until(told_to_end, Duration::from_secs(10)).await);
    Ok(())
}

/// Everybody in a room gets what anybody in it says.
fn chat(hub: &Hub<String>) -> impl Handler<String> + use<> {
    hub.handlers()
        .on_connect(async |conn| {
            conn.join(conn.param("room")).await?;
            Ok(())
        })
        .on_message(async |conn, text| {
            conn.hub().to_room(conn.param("room"), &text).await?;
            Ok(())
        })
}

async fn reload_on_hangup(tls: Tls) {
    let mut hangups = signal(SignalKind::hangup()).expect("a handler for SIGHUP");
    while hangups.recv().await.is_some() {
        match tls.reload() {
            Ok(()) => println!("certificate read again"),
            Err(error) => eprintln!("certificate not read again: {error}"),
        }
    }
}

/// Writes a certificate that nobody trusts yet, with its key, which is for its owner alone.
fn self_signed(folder: &Path) -> Result<(PathBuf, PathBuf), Box<dyn Error>> {
    let made =
        rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    // One of an earlier run, of which somebody else might have the key.
    let _ = fs::remove_dir_all(folder);
    fs::DirBuilder::new().mode(0o700).create(folder)?;
    fs::write(&cert, made.cert.pem())?;
    fs::write(&key, made.signing_key.serialize_pem())?;
    Ok((cert, key))
}
