#!/usr/bin/env bash
# The Autobahn test suite against the echo example: each case must end as tests/autobahn/expected.txt
# says.
#
#   bash tests/autobahn.sh
#
# The suite is the PyPI package kosoku, which runs the cases of the original under a Python that is
# still maintained. It is installed into a virtual environment below the target folder. On Debian the
# package that makes such environments is installed where it is missing, as root or by sudo.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tests/tools.sh

# The results that are expected are those of this version.
suite=kosoku==0.1.0

target=${CARGO_TARGET_DIR:-target}
venv=$target/autobahn/venv
results=$target/autobahn/results.txt
expected=tests/autobahn/expected.txt

# Ten times what a busy machine needs.
seconds_max=300

main() {
    find_cargo
    install_venv
    install_suite
    # With the features of the tests, so that nothing is compiled twice.
    cargo build --workspace --all-features --example echo
    run_suite
    compare
}

# Debian keeps the module ensurepip, and with it working environments, in a package of its own.
install_venv() {
    python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages python3-venv
}

install_suite() {
    # An environment knows its path: one that was moved is made anew.
    if [[ $("$venv/bin/pip" freeze 2>/dev/null) == "$suite" ]]; then
        return
    fi
    echo "installing $suite"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "$suite"
}

run_suite() {
    echo "running the suite"
    timeout "$seconds_max" "$venv/bin/python" tests/autobahn/run.py \
        "$target/debug/examples/echo" >"$results" || die "the suite did not run to its end"
}

compare() {
    local differences
    if differences=$(diff --unified=0 --label expected --label found \
        <(grep --invert-match '^#' "$expected") "$results"); then
        echo "$(wc --lines <"$results") cases as expected"
    else
        echo "$differences"
        die "cases differ from $expected"
    fi
}

main "$@"
