# Functions that the scripts of this project share. Source this file from the top folder.

die() {
    echo "$0: $*" >&2
    exit 1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

# Adds cargo's folder to the PATH: shells that started before the installation of Rust lack it. The folder goes last, so
# that a cargo that is already on the PATH is preferred.
find_cargo() {
    PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
    have cargo || die "cargo is missing: install Rust, see https://rustup.rs"
}

# The Debian packages of the programs that the scripts need.
declare -A package_of=(
    [cc]="gcc libc6-dev" [chromedriver]=chromium-driver [chromium]=chromium [redis-server]=redis-server
    [redis-cli]=redis-tools [openssl]=openssl [ip]=iproute2 [nginx]=nginx-light [haproxy]=haproxy
    [python3]=python3 [unshare]=util-linux [firefox-esr]=firefox-esr [node]=nodejs [npm]=npm
)

# Like `have`, but accepts Google Chrome as Chromium, and any Firefox as Debian's.
has() {
    have "$1" || { [[ $1 == chromium ]] && have google-chrome; } || { [[ $1 == firefox-esr ]] && have firefox; }
}

# Installs the Debian packages of programs that are missing.
install_programs() {
    local program packages=()
    for program in "$@"; do
        # shellcheck disable=SC2206 # some values are two packages
        has "$program" || packages+=(${package_of[$program]})
    done
    install_packages "${packages[@]}"
}

# Installs Debian packages with apt-get, as root or by sudo.
install_packages() {
    if (($# == 0)); then
        return
    fi
    have apt-get || die "apt-get is missing: install by hand the programs of the Debian packages $*"
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
        die "this command needs root or sudo: $*"
    fi
}
