# npm packages for the tests of this project. Source this file after tools.sh.

# Installs exactly these packages, which have no dependencies: `npm_packages FOLDER PACKAGE@VERSION…`.
npm_packages() {
    local folder=$1
    shift
    if [[ $(cat "$folder/node_modules/packages" 2>/dev/null) == "$*" ]]; then
        return
    fi
    echo "installing $*"
    rm -rf "$folder/node_modules"
    npm install --prefix "$folder" --ignore-scripts --no-audit --no-fund --no-save --loglevel error "$@"
    echo "$*" >"$folder/node_modules/packages"
}
