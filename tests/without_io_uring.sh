#!/usr/bin/env bash
# Runs tests where io_uring is forbidden, as it is in Docker. The tests and their servers then write without it.
#
#   bash tests/without_io_uring.sh              scenes of faults that take half a minute
#   bash tests/without_io_uring.sh COMMAND…     this command, such as `bash tests/autobahn.sh`
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tests/tools.sh

scenes=(departures:: farewells:: floods:: panics:: stalls::)

find_cargo
if (($# == 0)); then
    set -- cargo test --workspace --all-features --test faults -- "${scenes[@]}"
fi
cargo build --workspace --all-features --examples
"${CARGO_TARGET_DIR:-target}/debug/examples/without_io_uring" "$@"
