#!/usr/bin/env bash
# Runs the lock-free parts under model checkers. Loom runs small models in every interleaving, with at most two or three
# preemptions or without a bound. Shuttle runs longer scenarios in random schedules.
#
#   bash tests/models/run.sh                                2,000 schedules of each scenario
#   ROOMCAST_SCHEDULES=1000000 bash tests/models/run.sh     a million
#
# Each checker has a target folder of its own, because it needs another build of the crate.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source tests/tools.sh

find_cargo
target=${CARGO_TARGET_DIR:-target}
for checker in loom shuttle; do
    RUSTFLAGS="--cfg roomcast_$checker" cargo test --release --package models \
        --target-dir "$target/$checker" --test "$checker"
done
