#!/bin/sh
# Sets Synapse Engine up from a checkout, in a virtual environment beside it. Needs no root; may be run again at any time.
set -eu

VENV=.venv
EXTRAS=
START=no

usage() {
    cat <<'TEXT'
Usage: ./install.sh [--up] [--dev] [--help]

Builds Synapse Engine from this checkout and installs it in .venv, with the Python packages it needs.
Nothing outside this folder is changed, apart from the caches of pip and cargo.

  --up     afterwards serve the default model on http://127.0.0.1:6900 (the first time, downloads it)
  --dev    also install what the tests and linters need (large: PyTorch is one of the tests' oracles)
  --help   show this text
TEXT
}

say() { printf '==> %s\n' "$*"; }

fail() {
    printf 'error: %s\n' "$1" >&2
    printf 'hint: %s\n' "$2" >&2
    exit 1
}

read_arguments() {
    for argument in "$@"; do
        case $argument in
            --up) START=yes ;;
            --dev) EXTRAS='[dev,test]' ;;
            --help | -h) usage; exit 0 ;;
            *) usage >&2; fail "unknown argument: $argument" "see the usage above" ;;
        esac
    done
}

check_python() {
    PYTHON=${PYTHON:-python3}
    command -v "$PYTHON" >/dev/null 2>&1 ||
        fail "Python is not installed (looked for $PYTHON)" "install Python 3.10 or later, or set PYTHON to where it is"
    found=$("$PYTHON" -c 'import platform; print(platform.python_version())')
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        fail "Python 3.10 or later is needed, $PYTHON is $found" "install a newer one and run: PYTHON=python3.12 ./install.sh"
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "Python's venv module is missing" "on Debian and Ubuntu: apt install python3-venv"
    say "Python $found"
}

check_rust() {
    # rustup puts cargo here, and a shell that is still open does not know it yet.
    if ! command -v cargo >/dev/null 2>&1 && [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH=$HOME/.cargo/bin:$PATH
    fi
    command -v cargo >/dev/null 2>&1 ||
        fail "the Rust toolchain is not installed (no cargo on PATH)" "install it with rustup (rustup.rs), then run this again"
    needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    found=$(cargo --version | cut -d ' ' -f 2)
    oldest=$(printf '%s\n%s\n' "$needed" "$found" | sort -V | head -n 1)
    [ "$oldest" = "$needed" ] ||
        fail "Rust $needed or later is needed, found $found" "run: rustup update"
    say "Rust $found"
}

make_environment() {
    if [ ! -x "$VENV/bin/python" ]; then
        say "creating the virtual environment $VENV"
        "$PYTHON" -m venv "$VENV"
    fi
    say "fetching the build tool (maturin)"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check 'maturin>=1.9,<2'
}

build_and_install() {
    wheels=$VENV/wheels
    rm -rf "$wheels"
    say "building the engine (a few minutes the first time)"
    "$VENV/bin/maturin" build --release --interpreter "$VENV/bin/python" --out "$wheels"
    set -- "$wheels"/synapse_engine-*.whl
    say "installing it with what it needs"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check "$1$EXTRAS"
    # Its version number may be the same as the last build's.
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps "$1"
}

read_arguments "$@"
cd "$(dirname "$0")"
say "installing Synapse Engine from $PWD"
check_python
check_rust
make_environment
build_and_install
say "done: $("$VENV/bin/synapse" --version)"
echo "    The command is $PWD/$VENV/bin/synapse"
echo "    To call it as 'synapse', run: source $PWD/$VENV/bin/activate"
if [ "$START" = yes ]; then
    say "starting: synapse up"
    exec "$VENV/bin/synapse" up
fi
