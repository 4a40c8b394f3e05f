#!/usr/bin/env bash
# The lock-free parts under model checkers: small models in every interleaving with at most two or three
# preemptions, or without a bound (loom), and whole stories in schedules that are drawn at random (shuttle).
#
#   bash tests/models/run.sh                                2,000 schedules of each story
#   ROOMCAST_SCHEDULES=1000000 bash tests/models/run.sh     a million
#
# Each has a target folder of its own, for it is another build of the crate.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source tests/tools.sh

find_cargo
target=${CARGO_TARGET_DIR:-target}
for checker in loom shuttle; do
    RUSTFLAGS="--cfg roomcast_$checker" cargo test --release --package models \
        --target-dir "$target/$checker" --test "$checker"
done
