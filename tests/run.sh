#!/usr/bin/env bash
# The test command: installs what the tests need and this machine lacks, and runs them all.
#
#   bash tests/run.sh [arguments of `cargo test`]
#
# On Debian it installs a linker, Chromium, chromedriver, Redis, HAProxy, nginx, openssl and iproute2 where
# they are missing, as root or by sudo. Tests start the servers that they need; those that some systems start
# with the packages are left alone. The last line is the sum of all test binaries:
# `N passed, N failed, N skipped`. A build that fails, or a test binary that crashes, counts as one
# failure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tests/tools.sh

main() {
    find_cargo
    install_missing
    raise_descriptor_limit
    run_tests "$@"
}

install_missing() {
    local packages=()
    have cc || packages+=(gcc libc6-dev)
    have chromedriver || packages+=(chromium-driver)
    have chromium || have google-chrome || packages+=(chromium)
    have redis-server && have redis-cli || packages+=(redis-server)
    have haproxy || [[ -x /usr/sbin/haproxy ]] || packages+=(haproxy)
    have nginx || [[ -x /usr/sbin/nginx ]] || packages+=(nginx-light)
    have openssl || packages+=(openssl)
    have ip || packages+=(iproute2)
    install_packages "${packages[@]}"
    have chromedriver || die "no chromedriver on the PATH, even with the package chromium-driver"
    have redis-server || die "no redis-server on the PATH, even with the package redis-server"
}

# A connection is a descriptor, and two where the client is a process of ours as well. Shells often
# start with 1,024; only root may go past the hard limit, and not in each container.
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
    # Global, for the trap. Temporary files of the tests go into it too, and with it.
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    mkdir "$scratch/tmp"
    local log=$scratch/log status=0
    TMPDIR=$scratch/tmp cargo test --all-features --no-fail-fast "$@" 2>&1 | tee "$log" || status=$?

    # test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; …
    local passed failed skipped
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
