#!/usr/bin/env bash
# The kernel tests on emulated 64-bit ARM processors, one for each NEON set; and that the whole engine compiles for them.
set -euo pipefail
cd "$(dirname "$0")/../../.."

TARGET=aarch64-unknown-linux-gnu
COMPILER=aarch64-linux-gnu-gcc
EMULATOR=qemu-aarch64
LIBRARIES=/usr/aarch64-linux-gnu

# With --install, gets what is missing; what it cannot get, the check after it names.
install_tools() {
    local packages=() sudo
    command -v $COMPILER >/dev/null && [[ -d $LIBRARIES/lib ]] || packages+=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
    command -v $EMULATOR >/dev/null || packages+=(qemu-user)
    if ((${#packages[@]})); then
        sudo=$([[ $(id -u) == 0 ]] || echo sudo)
        $sudo apt-get update -q && $sudo apt-get install -q -y --no-install-recommends "${packages[@]}" || true
    fi
    has_target || rustup target add $TARGET || true
}

has_target() {
    [[ -d $(rustc --print target-libdir --target $TARGET) ]]
}

check_tools() {
    local missing=()
    command -v $COMPILER >/dev/null || missing+=("$COMPILER (Debian: gcc-aarch64-linux-gnu)")
    [[ -d $LIBRARIES/lib ]] || missing+=("$LIBRARIES (Debian: libc6-dev-arm64-cross)")
    command -v $EMULATOR >/dev/null || missing+=("$EMULATOR (Debian: qemu-user)")
    has_target || missing+=("Rust's standard library for $TARGET (rustup target add $TARGET)")
    ((${#missing[@]})) || return 0
    echo "error: the ARM kernels were NOT tested; missing:" >&2
    printf '  %s\n' "${missing[@]}" >&2
    exit 3
}

# Tests on a processor, which must have the sets named.
test_on() {
    local processor=$1 sets=$2
    shift 2
    echo "==> $processor: $sets"
    SYNAPSE_TEST_KERNELS=$sets CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="$EMULATOR -L $LIBRARIES -cpu $processor" \
        cargo test --quiet --package synapse-kernels --target $TARGET "$@"
}

[[ ${1:-} != --install ]] || install_tools
check_tools
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=$COMPILER
# The oracles are loops, too slow to emulate unoptimized.
export CARGO_PROFILE_DEV_OPT_LEVEL=1
test_on max neon-i8mm,neon-dotprod,neon,portable --lib --tests
# Older processors stop at instructions of a newer set; only products have any.
test_on neoverse-n1 neon-dotprod,neon,portable --test sets --test matmul -- kernel_sets sets_agree
test_on cortex-a72 neon,portable --test sets --test matmul -- kernel_sets sets_agree
echo "==> the engine compiles for $TARGET"
cargo check --quiet --package synapse-engine --target $TARGET
