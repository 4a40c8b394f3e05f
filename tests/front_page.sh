#!/usr/bin/env bash
# Tests the README as a newcomer uses it: copies each program into a new crate, builds it, and connects clients of other
# projects.
#
#   bash tests/front_page.sh
#
# It also checks that the README is short, that its first program comes early, and that its links are valid. On Debian
# it installs Chromium, chromedriver, Redis and openssl if they are missing, as root or by sudo; the Python package
# `websockets` goes into a virtual environment below the target folder. The crates are outside of the repository; their
# build results stay in the target folder. Each program listens on a port of its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tests/tools.sh
source tests/venv.sh

# Python must not write its cache next to the scripts.
export PYTHONDONTWRITEBYTECODE=1
# Without debug information and incremental builds: 0.6 GB of build results instead of 1.9 GB.
export CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0

# The most lines and words of README.md, as `wc` counts them: with programs and tables.
lines_max=130
words_max=900
# The last line on which the first Rust program and its JavaScript may end.
first_program_line_max=40
# 20 s, in tenths: the machine may be busy.
tries_max=200

target=$(realpath --canonicalize-missing "${CARGO_TARGET_DIR:-target}")/front_page
venv_folder=$target/venv
scratch=
processes=()

main() {
    find_cargo
    check_size
    check_links
    install_missing
    scratch=$(mktemp -d)
    trap clean_up EXIT
    first_program
    fragments
    echo "the README works"
}

clean_up() {
    local process
    for process in "${processes[@]}"; do
        kill "$process" 2>/dev/null || true
    done
    wait
    rm -rf "$scratch"
}

install_missing() {
    install_programs chromedriver chromium redis-server redis-cli openssl
    venv "$venv_folder" websockets==17.4
}

check_size() {
    local lines words ends
    read -r lines words < <(wc --lines --words <README.md)
    ends=$(awk '/^```js/ { inside = 1; next } inside && /^```/ { print NR; exit }' README.md)
    echo "README.md: $lines lines, $words words; its first program ends on line $ends"
    ((lines <= lines_max)) || die "README.md has more than $lines_max lines"
    ((words <= words_max)) || die "README.md has more than $words_max words"
    ((ends <= first_program_line_max)) || die "its first program ends after line $first_program_line_max"
}

check_links() {
    local link links=0
    while read -r link; do
        [[ -e $link ]] || die "README.md links to $link, which does not exist"
        links=$((links + 1))
    done < <(grep --only-matching --perl-regexp '\]\(\K[^)#]+' README.md | grep --invert-match '^http')
    ((links > 0)) || die "no link was found in README.md"
    echo "$links links within the repository are valid"
}

# Prints a code block of README.md: block LANGUAGE NUMBER, counted from 1.
block() {
    awk -v opens="^\`\`\`$1" -v number="$2" '
        !inside && $0 ~ opens { inside = 1; found++; next }
        inside && /^```/ { inside = 0; next }
        inside && found == number' README.md
}

# Prints the dependencies of the README, with this crate instead of the published one, and with more of its features.
dependencies() {
    local crate="path = \"$PWD\""
    [[ -z ${1:-} ]] || crate+=", features = [$1]"
    block toml 1 | sed "s|^roomcast = \"0.1\"|roomcast = { $crate }|"
}

# Creates a crate with `cargo new`, with this project's versions of the dependencies.
new_crate() {
    local folder=$scratch/$1
    cargo new --quiet --vcs none --name newcomer "$folder"
    sed --in-place '/^\[dependencies\]/,$d' "$folder/Cargo.toml"
    cat >>"$folder/Cargo.toml"
    cp Cargo.lock "$folder"
}

# Builds the program on standard input as the crate's main program, and stores the result under a name.
build() {
    local crate=$1 name=$2
    cat >"$scratch/$crate/src/main.rs"
    echo "building: $name"
    cargo build --quiet --manifest-path "$scratch/$crate/Cargo.toml" --target-dir "$target"
    cp "$target/debug/newcomer" "$scratch/$name"
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Starts a command, and waits until a process listens on the port.
start() {
    local port=$1 tries
    shift
    "$@" >"$scratch/output" 2>&1 &
    processes+=($!)
    for ((tries = 0; tries < tries_max; tries++)); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            return
        fi
        kill -0 $! 2>/dev/null || break
        sleep 0.1
    done
    cat "$scratch/output" >&2
    die "nothing listens on port $port: $*"
}

clients() {
    "$venv_folder/bin/python" tests/front_page/clients.py "$@"
}

# Changes the port of a program of the README.
on_port() {
    sed "s|127\.0\.0\.1:8080|127.0.0.1:$1|"
}

first_program() {
    local port
    port=$(free_port)
    dependencies | new_crate first
    block rust 1 | on_port "$port" | build first chat
    block js 1 | on_port "$port" >"$scratch/page.js"
    start "$port" "$scratch/chat"
    clients "ws://127.0.0.1:$port/ws/tea"
    python3 tests/front_page/consoles.py "http://127.0.0.1:$port/" "$scratch/page.js"
}

# Prints the first program, followed by the function of another block; a sed script changes the program to call it.
program_with() {
    local number=$1 port=$2 change=$3 changed
    changed=$(block rust 1 | sed "$change")
    [[ $changed != "$(block rust 1)" ]] || die "nothing to change in the first program for block $number"
    printf '%s\n' "$changed" "" "$(block rust "$number")" | on_port "$port"
}

fragments() {
    { dependencies '"axum", "redis", "tls"' && echo 'axum = "0.8"'; } | new_crate second
    in_axum
    on_two_nodes
    over_tls
}

in_axum() {
    local port bind='axum::serve(tokio::net::TcpListener::bind("127.0.0.1:8080").await?, app(\&hub, chat)).await?;'
    port=$(free_port)
    program_with 2 "$port" "s|{Hub, Server}|Hub|; /let server/d; s|server.run().await;|$bind|" | build second axum
    start "$port" "$scratch/axum"
    clients "ws://127.0.0.1:$port/ws/tea"
}

on_two_nodes() {
    local redis ports=() port
    redis=$(free_port)
    mkdir "$scratch/redis_data"
    start "$redis" redis-server --port "$redis" --bind 127.0.0.1 --save "" --dir "$scratch/redis_data"
    for node in node1 node2; do
        port=$(free_port)
        program_with 3 "$port" 's|Hub::<String>::new()|shared_hub()?|' |
            sed "s|redis://127.0.0.1|&:$redis|; s|use roomcast::{Hub, Server}|use roomcast::Server|" |
            build second "$node"
        start "$port" "$scratch/$node"
        ports+=("$port")
    done
    clients "ws://127.0.0.1:${ports[0]}/ws/tea" "ws://127.0.0.1:${ports[1]}/ws/tea"
}

over_tls() {
    local port
    port=$(free_port)
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost -keyout "$scratch/key.pem" -out "$scratch/cert.pem" 2>/dev/null
    program_with 4 "$port" 's|Server::bind("127.0.0.1:8080").await?|with_tls(&)?|' | build second tls
    start "$port" env --chdir "$scratch" "$scratch/tls"
    SSL_CERT_FILE=$scratch/cert.pem clients "wss://localhost:$port/ws/tea"
}

main "$@"
