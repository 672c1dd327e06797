# Tasks; `just` lists them.
_default:
    @just --list

# Every check and test, as continuous integration runs them
test:
    scripts/test.sh

# What the compiler and the linter say
check:
    cargo clippy --all-targets -- -D warnings
    cargo check --no-default-features

# Write deploy/vethwatch.toml anew from the code's doc comments and defaults
config:
    VETHWATCH_UPDATE=1 cargo test --quiet --test config_file

# Accept changed snapshots
snapshots:
    INSTA_UPDATE=always cargo test --quiet
    git diff --stat -- '*.snap'
