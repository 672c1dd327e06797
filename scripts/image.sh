#!/usr/bin/env bash
# Builds the image by deploy/Dockerfile with whatever can (docker, podman, buildah) and checks what is in
# it: one program that needs no other file, runs as a user that is not root, and has its capability.
# Usage: scripts/image.sh [NAME, otherwise vethwatch:VERSION] [FURTHER ARGUMENTS OF `build`…]
#        CHECK_ONLY=1 scripts/image.sh NAME     one that was built before
# Needs root, to look at the file's capability and to run it with the image as its root.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
image=${1:-vethwatch:$version}
[ $# -eq 0 ] || shift

for tool in docker podman buildah; do
    # The client of docker may be there without its engine.
    if "$tool" info >/dev/null 2>&1; then break; fi
    tool=
done
[ -n "$tool" ] || { echo "image: no docker, podman or buildah works here" >&2; exit 2; }
[ -n "${CHECK_ONLY:-}" ] || "$tool" build -f deploy/Dockerfile -t "$image" "$@" .

root=$(mktemp -d)
chmod 755 "$root"
trap 'rm -rf "$root"' EXIT
if [ "$tool" = buildah ]; then
    container=$(buildah from --pull-never "$image")
    tar -C "$(buildah mount "$container")" --xattrs --xattrs-include='*' -c . | tar -C "$root" --xattrs --xattrs-include='*' -x
    buildah rm "$container" >/dev/null
else
    container=$("$tool" create "$image")
    "$tool" export "$container" | tar -C "$root" --xattrs --xattrs-include='*' -x
    "$tool" rm "$container" >/dev/null
fi
echo "== files"
# Runtimes add empty files and folders to mount on.
(cd "$root" && find . -type f -size +0 -printf '%s\t%P\n')
[ "$(cd "$root" && find . -type f -size +0 ! -path './licenses/*' -printf '%P ')" = "vethwatch " ] ||
    { echo "image: there is more in it than the program and the licences" >&2; exit 1; }

echo "== capability of the file"
python3 - "$root/vethwatch" <<'PY'
import os, struct, sys
# struct vfs_ns_cap_data of linux/capability.h; NET_RAW is number 13.
magic, permitted = struct.unpack_from("<II", os.getxattr(sys.argv[1], "security.capability"))
assert magic & 1 and permitted == 1 << 13, (hex(magic), hex(permitted))
print("cap_net_raw=ep")
PY

echo "== runs in it"
# As a runtime does: procfs is there, and a network of its own.
mkdir -p "$root/proc"
unshare --mount --net bash -euo pipefail -c '
    mount -t proc proc "$1/proc"
    ip link set lo up
    run() { timeout --preserve-status "$1" chroot --userspec=65534:65534 "$root" /vethwatch "${@:2}"; }
    root=$1
    run 5 --version
    run 5 config >/dev/null
    run 20 replay --format table - <pcaps/reverse-shell.pcap | sed -n 1p
    # Not root, and captures: loopback is always there.
    run 2 sidecar --interface lo --loopback --events stats | tail -n 1 | cut -c -100
' bash "$root"
