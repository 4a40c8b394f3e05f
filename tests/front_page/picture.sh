#!/usr/bin/env bash
# Creates examples/chat.webp, the picture of the README: a recording of the example `chat` in two tabs of Chromium.
#
#   bash tests/front_page/picture.sh
#
# On Debian it installs Chromium and chromedriver if they are missing, as root or by sudo; Pillow, which joins the
# screenshots, goes into a virtual environment below the target folder. Look at the picture before you commit it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source tests/tools.sh
source tests/venv.sh

# Python must not write its cache next to the scripts.
export PYTHONDONTWRITEBYTECODE=1

target=${CARGO_TARGET_DIR:-target}
picture=examples/chat.webp
# Small, because a README is loaded often.
bytes_max=300000

find_cargo
install_programs chromedriver chromium
venv "$target/picture/venv" pillow==13.0.0
cargo build --example chat
said=$(mktemp)
LISTEN=127.0.0.1:0 "$target/debug/examples/chat" >"$said" &
chat=$!
trap 'kill "$chat"; rm -f "$said"' EXIT
for ((tries = 0; tries < 100; tries++)); do
    address=$(sed -n 's|^listening on http://||p' "$said")
    [[ -z $address ]] || break
    sleep 0.1
done
[[ -n $address ]] || die "the chat prints no address"
"$target/picture/venv/bin/python" tests/front_page/picture.py "$address" "$picture"
bytes=$(wc --bytes <"$picture")
echo "$picture: $bytes bytes"
((bytes <= bytes_max)) || die "$picture has more than $bytes_max bytes"
