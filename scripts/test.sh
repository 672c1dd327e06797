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

step tests
cargo test --locked --no-fail-fast 2>&1 | tee "$log"

# Tests that need root or a network namespace are marked `ignored`, with that reason.
needy=$(grep -c '^test .* \.\.\. ignored' "$log" || true)
if [ "$needy" -gt 0 ]; then
    if [ "$(id -u)" -eq 0 ]; then
        step tests that need root
        cargo test --locked --no-fail-fast -- --ignored 2>&1 | tee -a "$log"
    else
        skip "$needy tests that need root or network namespaces; run this as root"
    fi
fi

awk -v skipped="$skipped" '
    /^test result:/ { passed += $4; failed += $6 }
    END { printf "\nvethwatch: %d passed, %d failed, %d skipped\n", passed, failed, skipped }
' "$log"
