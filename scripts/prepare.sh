#!/usr/bin/env bash
# Installs what building vethwatch needs and this machine lacks: a C linker and libpcap's headers.
# For Debian and Ubuntu; elsewhere it says what to install. Asks nothing.
set -euo pipefail

missing=()
command -v cc >/dev/null || missing+=(gcc libc6-dev)
# What the linker will look for, and where pcap.h stands.
{ [ -e /usr/include/pcap.h ] || [ -e /usr/include/pcap/pcap.h ]; } || missing+=(libpcap-dev)
# Cargo fetches the dependencies over TLS.
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)

if ! command -v cargo >/dev/null; then
    echo "prepare: cargo is not on the PATH; install Rust 1.88 or newer (https://rustup.rs)" >&2
    exit 2
fi
if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "prepare: install these first, by whatever name they have here: ${missing[*]}" >&2
    exit 2
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
        echo "prepare: run as root, or install sudo: apt-get install ${missing[*]}" >&2
        exit 2
    }
    as_root=(sudo)
fi
echo "prepare: installing ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >/dev/null
