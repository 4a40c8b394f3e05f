#!/usr/bin/env bash
# Fuzzing: builds all targets and runs each for some seconds, two at a time.
#
#   bash fuzz/run.sh [seconds]        default: 60 seconds for each target
#   SANITIZER=none bash fuzz/run.sh   several times faster, but does not detect memory errors
#
# The targets are in fuzz/fuzz_targets, and what several of them use is in fuzz/src.
# Needs a nightly toolchain. Installs cargo-fuzz and, on Debian, a C++ compiler if they are missing.
# New inputs of a run stay in fuzz/corpus; the seeds are in fuzz/seeds. An input that fails stays in
# fuzz/artifacts, and its output is printed. The last line is the sum: `N executions, N failed`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tests/tools.sh

seconds=${1:-60}
sanitizer=${SANITIZER:-address}
jobs=2

main() {
    [[ $seconds =~ ^[1-9][0-9]*$ ]] || die "the argument must be a number of seconds, not '$seconds'"
    install_missing
    cargo +nightly fuzz build --sanitizer "$sanitizer"
    run_all
    sum_up
}

install_missing() {
    find_cargo
    cargo +nightly --version >/dev/null 2>&1 ||
        die "there is no nightly toolchain: rustup toolchain install nightly --profile minimal"
    # For the build of libFuzzer.
    have c++ || install_packages g++
    cargo fuzz --version >/dev/null 2>&1 && return
    echo "installing cargo-fuzz"
    cargo install cargo-fuzz --locked ||
        die "cargo-fuzz could not be installed: is crates.io reachable?"
}

run_all() {
    mapfile -t targets < <(cargo +nightly fuzz list)
    ((${#targets[@]} > 0)) || die "there are no targets"
    logs=$(mktemp -d)
    trap 'rm -rf "$logs"' EXIT
    local target running=0
    for target in "${targets[@]}"; do
        if ((running == jobs)); then
            wait -n
            ((running -= 1))
        fi
        echo "$target: $seconds seconds"
        run_one "$target" &
        ((running += 1))
    done
    wait
}

# Runs the program directly: two instances of `cargo fuzz run` would wait for each other.
run_one() {
    local target=$1 host options=()
    local corpus=fuzz/corpus/$target artifacts=fuzz/artifacts/$target
    local dictionary=fuzz/dictionaries/$target.dict
    mkdir -p "$corpus" "$artifacts"
    host=$(rustc +nightly --print host-tuple)
    [[ -f $dictionary ]] && options+=(-dict="$dictionary")
    RUST_BACKTRACE=0 ASAN_OPTIONS=detect_odr_violation=0 \
        "fuzz/target/$host/release/$target" "$corpus" "fuzz/seeds/$target" "${options[@]}" \
        -max_total_time="$seconds" -timeout=20 -max_len=4096 -print_final_stats=1 \
        -artifact_prefix="$artifacts/" >"$logs/$target.log" 2>&1 || touch "$logs/$target.failed"
}

sum_up() {
    local target runs sum=0 failed=0
    echo
    for target in "${targets[@]}"; do
        runs=$(awk '/^stat::number_of_executed_units:/ { print $2 }' "$logs/$target.log")
        printf '%-16s %12d executions\n' "$target" "${runs:-0}"
        ((sum += ${runs:-0})) || true
        if [[ -e $logs/$target.failed ]] || ((${runs:-0} == 0)); then
            ((failed += 1))
            show_failure "$target"
        fi
    done
    echo
    echo "$sum executions, $failed failed"
    ((failed == 0))
}

# Prints the output without libFuzzer's progress and its own stack frames. The end of the output names the input file.
show_failure() {
    echo "$1 FAILED:"
    grep -av -e '^#[0-9]' -e '^    #' -e NEW_FUNC -e '^INFO' -e '^stat::' "$logs/$1.log" |
        cut -c -2000 | tail -n 60 || true
    echo "to repeat: cargo +nightly fuzz run --sanitizer $sanitizer $1 <the file named above>"
}

main "$@"
