# The packages of the clients in tests/system/real_clients. Source this file after tools.sh, npm.sh and venv.sh.

# Chromium and Firefox are Debian packages. `undici` needs Node.js 20.
client_npm_packages=(ws@8.23.0 undici@7.30.2)

# With all their dependencies.
client_python_packages=(
    aiohappyeyeballs==2.7.1 aiohttp==3.14.5 aiosignal==1.4.0 attrs==26.1.0 frozenlist==1.8.0 idna==3.20
    multidict==7.2.1 propcache==0.5.4 typing_extensions==4.16.0 websockets==17.4 yarl==1.25.1
)

client_packages_folder=${CARGO_TARGET_DIR:-target}/real_clients

has_client_packages() {
    [[ -d $client_packages_folder/node_modules && -d $client_packages_folder/venv ]]
}

install_client_packages() {
    npm_packages "$client_packages_folder" "${client_npm_packages[@]}"
    venv "$client_packages_folder/venv" "${client_python_packages[@]}"
}
