//! A chat over TLS: `wss://` and `https://` on one port.
//!
//! Run `cargo run --release -p extra-examples --example tls`. The program makes a certificate for `localhost` and
//! prints the path of the file. Use `--cert` and `--key` to serve your own certificate. On SIGHUP the program reads the
//! files again; open connections stay open.

use std::error::Error;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use roomcast::{Handler, Hub, Server, Tls, shutdown_signal};
use tokio::signal::unix::{SignalKind, signal};

/// A chat over TLS.
#[derive(Parser)]
struct Options {
    /// The address to listen on; with port 0 the system chooses a port.
    #[arg(long, default_value = "127.0.0.1:8443")]
    listen: String,
    /// The file of the certificate chain, in PEM [default: a new self-signed certificate].
    #[arg(long, requires = "key")]
    cert: Option<PathBuf>,
    /// The file of the private key, in PEM.
    #[arg(long, requires = "cert")]
    key: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let stop = shutdown_signal();
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
    println!("{}", server.run_until(stop, Duration::from_secs(10)).await);
    Ok(())
}

/// Sends each message to all members of the room.
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
    let mut hangups = signal(SignalKind::hangup()).expect("the SIGHUP handler is installed");
    while hangups.recv().await.is_some() {
        match tls.reload() {
            Ok(()) => println!("certificate reloaded"),
            Err(error) => eprintln!("certificate not reloaded: {error}"),
        }
    }
}

/// Writes a self-signed certificate and its key. Only the owner of the folder may read them.
fn self_signed(folder: &Path) -> Result<(PathBuf, PathBuf), Box<dyn Error>> {
    let made =
        rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    // Removes the files of an earlier run: somebody else might know their key.
    let _ = fs::remove_dir_all(folder);
    fs::DirBuilder::new().mode(0o700).create(folder)?;
    fs::write(&cert, made.cert.pem())?;
    fs::write(&key, made.signing_key.serialize_pem())?;
    Ok((cert, key))
}
