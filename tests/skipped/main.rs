//! Prints the tests that a plain `cargo test` leaves out, and how to run them. This program is not a test and
//! cannot fail.

fn main() {
    // Tools that ask each test program for a list of its tests get an empty list.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    println!(
        "\nLeft out by `cargo test`: the tests of the other packages of this workspace. They need Redis, Chromium, nginx,\n\
         HAProxy, openssl, network namespaces or more crates. `bash tests/run.sh` installs the programs that are missing\n\
         and runs all tests; `bash tests/run.sh --no-install` runs the tests that this machine can run.\n"
    );
}
