# Python packages for scripts of this project; to be sourced behind tools.sh.

# A virtual environment with exactly these packages, made anew where it has others or was moved: `venv FOLDER
# PACKAGE==VERSION…`. Debian keeps the module ensurepip, and with it working environments, in a package of its own.
venv() {
    local folder=$1
    shift
    if [[ $("$folder/bin/pip" freeze 2>/dev/null) == "$(printf '%s\n' "$@" | sort)" ]]; then
        return
    fi
    python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages python3-venv
    echo "installing $*"
    rm -rf "$folder"
    python3 -m venv "$folder"
    "$folder/bin/pip" install --quiet --disable-pip-version-check "$@"
}
