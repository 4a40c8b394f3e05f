//! `ws` on Node.js, with a compressor for each connection: see `node_ws.js`. Needs `node` and `npm`.

use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Result;

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/sockets/contestants/node_ws.js");

/// Where the package is installed.
const FOLDER: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/ws");

const PACKAGE: &str = "ws@8.23.0";

/// Serves. `keeps_windows`: whether a message may refer to the messages before.
pub(crate) fn serve(addr: IpAddr, keeps_windows: bool) -> Result<()> {
    install()?;
    // In place of this process, so that the parent measures the right one.
    let error = Command::new("node")
        .env("NODE_PATH", Path::new(FOLDER).join("node_modules"))
        .args([PROGRAM, &addr.to_string(), if keeps_windows { "on" } else { "alone" }])
        .exec();
    Err(format!("node does not start: {error}").into())
}

fn install() -> Result<()> {
    if Path::new(FOLDER).join("node_modules/ws").exists() {
        return Ok(());
    }
    std::fs::create_dir_all(FOLDER)?;
    // The output of this process belongs to the parent.
    let status = Command::new("npm")
        .args(["install", "--no-save", "--prefix", FOLDER, PACKAGE])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()?;
    if status.success() { Ok(()) } else { Err(format!("npm has not installed {PACKAGE}").into()) }
}
