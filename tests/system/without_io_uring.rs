//! Runs a command that cannot use io_uring, nor can the processes that it starts: see `tests/without_io_uring.sh`.

#[cfg(target_os = "linux")]
fn main() {
    use std::env;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    let mut arguments = env::args_os().skip(1);
    let program = arguments.next().expect("the first argument is a program");
    support::io_uring::forbid_new_rings();
    let error = Command::new(&program).args(arguments).exec();
    panic!("{}: {error}", program.display());
}

#[cfg(not(target_os = "linux"))]
fn main() {
    panic!("io_uring is a part of Linux");
}
