//! The page of the chat and the JavaScript client, in a headless Chromium that is driven through
//! `chromedriver`. `bash tests/run.sh` installs both if they are missing.
//!
//! The tests start server, driver and browser as processes, which end with the tests, also when a test fails.

mod driver;
mod heartbeats;
mod messages;
mod page;
mod returning;
mod scripted;
mod stage;
