#!/usr/bin/env bash
# Runs the Autobahn test suite against the example `echo`. The result of each case must match
# tests/autobahn/expected.txt.
#
#   bash tests/autobahn.sh          the cases of the gate: all but the large ones, see tests/autobahn/run.py
#   bash tests/autobahn.sh --long   the large ones as well, with an echo of the release profile
#   bash tests/autobahn.sh '9.*'    the cases that these patterns name
#
# The suite is the PyPI package kosoku, which runs the original cases under a maintained version of Python. The script
# installs it into a virtual environment below the target folder. On Debian it installs the package for virtual
# environments if it is missing, as root or by sudo.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tests/tools.sh
source tests/venv.sh

# The expected results belong to this version.
suite=kosoku==0.1.0

target=${CARGO_TARGET_DIR:-target}
venv_folder=$target/autobahn/venv
results=$target/autobahn/results.txt
expected=tests/autobahn/expected.txt

# Several times as long as a busy machine needs.
seconds_max=1800

main() {
    find_cargo
    venv "$venv_folder" "$suite"
    build "$@"
    run_suite "$@"
    compare
}

build() {
    if [[ ${1:-} == --long ]]; then
        profile=release
        cargo build --release -p extra-examples --example echo
    else
        profile=debug
        # With the features of the tests, so that crates are not compiled twice.
        cargo build --workspace --all-features --example echo
    fi
}

run_suite() {
    local began=$SECONDS
    echo "running the suite"
    timeout "$seconds_max" "$venv_folder/bin/python" tests/autobahn/run.py "$target/$profile/examples/echo" "$@" \
        >"$results" || die "the suite failed or ran longer than $seconds_max s"
    echo "the suite took $((SECONDS - began)) s"
}

compare() {
    local differences
    if differences=$(diff --unified=0 --label expected --label found \
        <(awk 'NR == FNR { ran[$1]; next } $1 in ran' "$results" "$expected") "$results"); then
        echo "$(wc --lines <"$results") cases as expected"
    else
        echo "$differences"
        die "cases differ from $expected"
    fi
}

main "$@"
