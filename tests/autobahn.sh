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
    cargo build --all-features --example echo
    run_suite
    compare
}

die() {
    echo "tests/autobahn.sh: $*" >&2
    exit 1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

find_cargo() {
    # A fresh installation is not on the PATH of shells that were there before it.
    have cargo || PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
    have cargo || die "cargo is missing: install Rust, see https://rustup.rs"
}

# Debian keeps the module ensurepip, and with it working environments, in a package of its own.
install_venv() {
    if python3 -c 'import ensurepip, venv' 2>/dev/null; then
        return
    fi
    have apt-get || die "there is no apt-get here: install by hand what the Debian package" \
        "python3-venv holds"
    echo "installing python3-venv"
    as_root apt-get update
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --no-install-recommends python3-venv
}

as_root() {
    if ((EUID == 0)); then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "neither root nor sudo, for: $*"
    fi
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
