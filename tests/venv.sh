# Python packages for the scripts of this project. Source this file after tools.sh.

# Creates a virtual environment with exactly these packages: `venv FOLDER PACKAGE==VERSION…`. An environment that has
# other packages, or that was moved, is created again. Debian has the module ensurepip, which virtual environments need,
# in a separate package.
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
