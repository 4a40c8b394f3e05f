# What the scripts of this project share; to be sourced, from the top folder.

die() {
    echo "$0: $*" >&2
    exit 1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

# A fresh installation is not on the PATH of shells that were there before it. Behind what is there: the
# PATH may have a cargo of choice in front.
find_cargo() {
    PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
    have cargo || die "cargo is missing: install Rust, see https://rustup.rs"
}

# Debian packages, where there is apt-get; as root or by sudo.
install_packages() {
    if (($# == 0)); then
        return
    fi
    have apt-get || die "there is no apt-get here: install by hand what the Debian packages $* hold"
    echo "installing $*"
    as_root apt-get update
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --no-install-recommends "$@"
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
