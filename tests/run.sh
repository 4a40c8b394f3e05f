#!/usr/bin/env bash
# The test command: installs missing programs that the tests need, and runs all tests of all packages of the workspace,
# except the model checkers (tests/models/run.sh).
#
#   bash tests/run.sh [arguments of `cargo test`]
#   bash tests/run.sh --no-install [arguments of `cargo test`]
#
# On Debian it installs a linker, Chromium, chromedriver, Firefox, Redis, openssl, iproute2, nginx, HAProxy, Node.js and
# Python if they are missing, as root or by sudo. Packages of npm and PyPI go into the target folder. With --no-install
# it installs nothing: it reports which programs are missing, and skips the tests that need them. Tests start the
# servers that they need; servers of the system are not used. The last line is the sum of all test programs: `N passed,
# N failed, N skipped`. A build that fails, or a test program that crashes, counts as one failure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tests/tools.sh
source tests/npm.sh
source tests/venv.sh
source tests/system/real_clients/packages.sh

# The programs that each test program needs.
needs=(
    "browser chromedriver chromium redis-server redis-cli"
    "deploy nginx haproxy redis-server"
    "real_clients chromium firefox-esr node"
    "redis redis-server redis-cli openssl"
)

# Parts of the names of single tests that need a program.
need_ip=(far:: network::checks::)
need_python=(hub_accepts_messages_signed_by_the_documented_python_code)
need_unshare=(examples_end_as_the_first_process_of_a_container)

main() {
    local installs=true
    if [[ ${1:-} == --no-install ]]; then
        installs=false
        shift
    fi
    # Debian's folders of nginx, HAProxy and ip are not on the PATH of every user.
    PATH="$PATH:/usr/sbin:/sbin"
    find_cargo
    arguments=("$@")
    left_out=()
    skips=()
    if $installs; then
        install_missing
    else
        leave_out_missing
    fi
    raise_descriptor_limit
    run_tests
}

install_missing() {
    install_programs cc chromedriver chromium redis-server redis-cli openssl ip nginx haproxy python3 unshare \
        firefox-esr node npm
    install_client_packages
    has chromedriver || die "no chromedriver on the PATH, even with the package chromium-driver"
    has redis-server || die "no redis-server on the PATH, even with the package redis-server"
}

# Fills `left_out` with the test programs to skip, and `skips` with parts of the names of tests to skip.
leave_out_missing() {
    has cc || die "no C linker on the PATH; the Debian package gcc has one"
    local line program missing
    for line in "${needs[@]}"; do
        missing=()
        for program in ${line#* }; do
            has "$program" || missing+=("$program")
        done
        if ((${#missing[@]} > 0)); then
            echo "left out: all tests of ${line%% *}; missing: ${missing[*]}"
            left_out+=("${line%% *}")
        fi
    done
    if ! has_client_packages; then
        echo "left out: all tests of real_clients; missing: its packages of npm and PyPI"
        left_out+=(real_clients)
    fi
    has ip || leave_out ip "${need_ip[@]}"
    has python3 || leave_out python3 "${need_python[@]}"
    has unshare && unshare --pid --fork true 2>/dev/null ||
        leave_out "unshare, or the permission to use it" "${need_unshare[@]}"
}

leave_out() {
    echo "left out: the tests ${*:2}; missing: $1"
    skips+=("${@:2}")
}

# Raises the limit of open descriptors. A connection needs a descriptor at each end, and many shells start with a limit
# of 1,024. Only root may exceed the hard limit, and not in every container.
raise_descriptor_limit() {
    local hard
    hard=$(ulimit -Hn)
    if [[ $hard != unlimited ]] && ((hard < 65536)); then
        ulimit -Hn 65536 2>/dev/null || true
    fi
    ulimit -Sn "$(ulimit -Hn)" 2>/dev/null || true
    echo "open descriptors: at most $(ulimit -Sn)"
}

run_tests() {
    # Global, for the trap. Temporary files of the tests go into this folder, too, and are deleted with it.
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    mkdir "$scratch/tmp"
    log=$scratch/log
    : >"$log"
    local status=0
    # Tests start the examples. `cargo test` does not build these where it is given names of tests.
    cargo build --workspace --all-features --examples || status=$?
    if ((status != 0)); then
        echo "the examples were not built"
    elif ((${#left_out[@]} == 0 || ${#arguments[@]} > 0)); then
        cargo_test "${arguments[@]}" || status=$?
    else
        # Everything that `cargo test` runs by default, except the test programs that are left out.
        # shellcheck disable=SC2046 # words
        cargo_test --lib $(selected) || status=$?
        cargo_test --doc || status=$?
    fi
    sum_up "$status"
}

# Runs `cargo test` with these arguments; arguments after `--` are for the test programs.
cargo_test() {
    local before=() behind=() skip
    while (($# > 0)) && [[ $1 != -- ]]; do
        before+=("$1")
        shift
    done
    for skip in "${skips[@]}"; do
        behind+=(--skip "$skip")
    done
    TMPDIR=$scratch/tmp cargo test --workspace --all-features --no-fail-fast "${before[@]}" \
        -- "${@:2}" "${behind[@]}" 2>&1 | tee -a "$log"
}

# Prints the arguments that select the test programs that are not left out.
selected() {
    local program name
    for program in tests/*/main.rs tests/system/*/main.rs; do
        name=$(basename "$(dirname "$program")")
        [[ " ${left_out[*]} " == *" $name "* ]] || echo "--test $name"
    done
}

sum_up() {
    local status=$1 passed failed skipped
    # test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; …
    read -r passed failed skipped < <(awk '
        /^test result: / { passed += $4; failed += $6; skipped += $8 }
        END { print passed + 0, failed + 0, skipped + 0 }' "$log")
    if ((status != 0 && failed == 0)); then
        echo "cargo test failed with status $status, outside of a test: counted as one failure"
        failed=1
    fi
    echo
    echo "$passed passed, $failed failed, $skipped skipped"
    if ((failed > 0 && status == 0)); then
        status=1
    fi
    exit "$status"
}

main "$@"
