//! The page of the chat and the client that it uses, in a headless Chromium that is driven
//! through `chromedriver`. `bash tests/run.sh` installs both where they are missing.
//!
//! Server, driver and browser are processes of these tests, and end with them, also when they fail.

#[path = "browser/driver.rs"]
mod driver;
#[path = "browser/heartbeats.rs"]
mod heartbeats;
#[path = "browser/messages.rs"]
mod messages;
#[path = "browser/page.rs"]
mod page;
mod programs;
#[cfg(not(feature = "redis"))]
#[path = "servers/proxy.rs"]
#[expect(dead_code, reason = "the tests of the backplane use more of it")]
mod proxy;
#[path = "browser/returning.rs"]
mod returning;
#[path = "browser/scripted.rs"]
mod scripted;
#[cfg(feature = "redis")]
#[expect(dead_code, unused_imports, reason = "the tests of the backplane use more of it")]
mod servers;
#[path = "browser/stage.rs"]
mod stage;
#[cfg(feature = "redis")]
#[path = "hub/support.rs"]
#[expect(dead_code, unused_imports, reason = "the tests of the hub use more of it")]
mod support;
