//! The page of the chat and the client that it uses, in a headless Chromium that is driven
//! through `chromedriver`. `bash tests/run.sh` installs both where they are missing.
//!
//! Server, driver and browser are processes of these tests, and end with them, also when they fail.

mod driver;
mod heartbeats;
mod messages;
mod page;
mod returning;
mod scripted;
mod stage;
