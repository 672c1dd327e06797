#!/usr/bin/env bash
# Runs vethwatch on a kernel that has every kind of interface a container is given: macvlan, ipvlan, netkit, VLAN,
# WireGuard and virtual functions of a network card (SR-IOV), in a virtual machine without a network, once with cgroup
# version 2 and once with 1. Prints what was told of each, and exits with 1 when one is wrong.
#   kernel-interfaces.sh BINARY [FOLDER]
# FOLDER (target/kernel) holds boot/vmlinuz-VERSION and lib/modules/VERSION of Linux 6.7 or newer. Where it is missing,
# they are taken from Debian's packages: of backports on Debian 12, as are qemu (8 or newer, for its `igb`) and iproute2.
# For amd64, as root, two minutes. No part of test.sh: it fetches 110 MB. What plays the node is
# kernel-interfaces-guest.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

binary=$(realpath "${1:?the binary of vethwatch}")
folder=$(realpath -m "${2:-target/kernel}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# An apt of its own, so that the machine's sources stay as they are.
packages() {
    local mirror from=() kernel package
    mkdir -p "$work/lists"
    cat /etc/apt/sources.list >"$work/sources.list" 2>/dev/null || true
    if grep -q '^VERSION_CODENAME=bookworm' /etc/os-release; then
        from=(-t bookworm-backports)
        mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | head -n 1)
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm-backports main" \
            >>"$work/sources.list"
    fi
    cat >"$work/apt.conf" <<CONF
Dir::Etc::sourcelist "$work/sources.list";
Dir::State::lists "$work/lists";
APT::Sandbox::User "root";
CONF
    export APT_CONFIG=$work/apt.conf DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${from[@]}" \
        qemu-system-x86 kmod cpio xz-utils busybox-static binutils </dev/null >/dev/null
    kernel=$(apt-cache "${from[@]}" depends linux-image-amd64 | awk '$1 == "Depends:" { print $2; exit }')
    (cd "$work" && apt-get download -qq "${from[@]}" "$kernel" iproute2)
    mkdir -p "$folder"
    for package in "$work"/*.deb; do dpkg-deb -x "$package" "$folder"; done
    [ -e "$folder/lib" ] || ln -s usr/lib "$folder/lib"
}
[ -d "$folder/boot" ] || packages

version=$(basename "$(echo "$folder"/boot/vmlinuz-*)")
version=${version#vmlinuz-}
root=$work/root
mkdir -p "$root"/{bin,sbin,etc,lib/modules,proc,sys,dev,tmp,run,root}

depmod -b "$folder" "$version"
# Each module after those that it needs; the names' order is that in which the machine loads them.
for module in veth macvlan ipvlan 8021q vxlan wireguard dummy igb igbvf; do
    modprobe -d "$folder" -S "$version" --show-depends "$module"
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | nl -nrz | while read -r place file; do
    case $file in
    *.xz) xz -dc "$file" ;;
    *.zst) zstd -dc "$file" ;;
    *) cat "$file" ;;
    esac >"$root/lib/modules/$place"
done

cp "$(command -v busybox)" "$root/bin/busybox"
for applet in $(busybox --list); do
    case $applet in ip | busybox) ;; *) ln -s busybox "$root/bin/$applet" ;; esac
done
# The packages' `ip` where they are there: an older one knows no netkit.
cp "$(PATH=$folder/bin:$folder/usr/bin:$PATH command -v ip)" "$root/sbin/ip"
strip -g -o "$root/bin/vethwatch" "$binary"
for program in "$root/sbin/ip" "$root/bin/vethwatch"; do ldd "$program"; done |
    grep -o '/[^ ]*' | sort -u | while read -r library; do
        mkdir -p "$root$(dirname "$library")"
        cp -L "$library" "$root$library"
    done
echo 'root:x:0:0:root:/:/bin/sh' >"$root/etc/passwd"
cp scripts/kernel-interfaces-guest.sh "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$work/initrd"

status=0
for cgroup in 2 1; do
    log=$folder/console-cgroup$cgroup.log
    echo "== Linux $version, cgroup version $cgroup"
    timeout 300 qemu-system-x86_64 -M q35 -accel tcg -cpu max -smp 1 -m 1024 -nic none -nographic -no-reboot \
        -device pcie-root-port,id=below -device igb,bus=below,mac=52:54:00:00:00:01 \
        -kernel "$folder/boot/vmlinuz-$version" -initrd "$work/initrd" \
        -append "console=ttyS0 quiet panic=-1 cgroup=$cgroup" </dev/null >"$log" 2>&1 || true
    tr -d '\r' <"$log" | awk -F'|' '
        $1 == "check" && $3 == $4 { printf "ok     %-34s %s\n", $2, $4 }
        $1 == "check" && $3 != $4 { printf "WRONG  %-34s %s, right is %s\n", $2, $4, $3; wrong = 1 }
        $0 == "end" { whole = 1 }
        END { if (!whole) print "WRONG  the machine did not come to the end"; exit wrong || !whole }' ||
        { status=1; echo "       see $log"; }
done
exit $status
