#!/usr/bin/env bash
# Runs every check and test, and installs what they need. Continuous integration runs this too.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/prepare.sh

log=$(mktemp)
trap 'rm -f "$log"' EXIT
skipped=0

step() { printf '\n== %s\n' "$*"; }
skip() {
    echo "skipped: $*"
    skipped=$((skipped + 1))
}

# A toolchain without these is no reason to run no tests; in continuous integration it is.
optional() {
    local component=$1
    shift
    if cargo "$component" --version >/dev/null 2>&1 || [ "${CI:-}" = true ]; then
        step cargo "$component" "$@"
        cargo "$component" "$@"
    else
        skip "cargo $component is not installed; rustup component add $component"
    fi
}
optional fmt --check
optional clippy --locked --all-targets --quiet -- -D warnings

step the engine alone, without what reads files or interfaces
cargo check --locked --no-default-features --quiet

# The manifests are rendered as a cluster would; any kubectl does.
if ! command -v kubectl >/dev/null && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    step kubectl
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        kubernetes-client </dev/null >/dev/null || echo "kubectl cannot be installed"
fi

# A test that does not find what it needs prints `skipped: ` and why, and passes. One that needs root
# or a network namespace is marked `ignored`, with that reason, and nothing else is.
tests() {
    cargo test --locked --no-fail-fast "$@" 2>&1 | tee -a "$log" || status=1
}
# Whether programs can be run in a network namespace.
namespaces() {
    bash -c 'ip netns add "$0" && ip netns exec "$0" true
        works=$?; ip netns del "$0"; exit $works' "vethwatch-t$$" 2>/dev/null
}
status=0
step tests
tests
ignored=$(awk '/^test result:/ { ignored += $8 } END { print ignored + 0 }' "$log")
if [ "$ignored" -gt 0 ] && [ "$(id -u)" -eq 0 ]; then
    step tests that need root
    needed=()
    command -v ip >/dev/null || needed+=(iproute2)
    command -v python3 >/dev/null || needed+=(python3)
    if [ ${#needed[@]} -gt 0 ]; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            "${needed[@]}" </dev/null >/dev/null
    fi
    # A chroot, or a container without privileges, may have none.
    if namespaces; then
        tests -- --ignored
    else
        skip "$ignored tests that need network namespaces, which cannot be used here"
        skipped=$((skipped - 1 + ignored))
    fi
elif [ "$ignored" -gt 0 ]; then
    skip "$ignored tests that need root or network namespaces; run this as root"
    skipped=$((skipped - 1 + ignored))
fi

skipped=$((skipped + $(grep -c 'skipped: ' "$log" || true)))
awk -v skipped="$skipped" '
    /^test result:/ { passed += $4; failed += $6 }
    END { printf "\nvethwatch: %d passed, %d failed, %d skipped\n", passed, failed, skipped }
' "$log"
exit "$status"
