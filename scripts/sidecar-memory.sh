#!/usr/bin/env bash
# Memory of `vethwatch sidecar` at rest, under bulk transfer and under a flood of flows, between two
# network namespaces of its own. Needs root, iproute2, iperf3 and python3; takes twenty seconds.
# Usage: scripts/sidecar-memory.sh [PATH OF vethwatch]
set -euo pipefail
vethwatch=${1:-target/release/vethwatch}
pod=vethwatch-m$$ other=vethwatch-n$$
records=$(mktemp)
trap 'ip netns del $pod; ip netns del $other; rm -f "$records"' EXIT
for name in $pod $other; do ip netns add $name; done
ip link add eth0 netns $pod type veth peer name eth0 netns $other
ip -n $pod addr add 10.213.9.1/24 dev eth0
ip -n $other addr add 10.213.9.2/24 dev eth0
for name in $pod $other; do ip -n $name link set eth0 up; done

ip netns exec $pod "$vethwatch" sidecar --format eve --output "$records" &
watcher=$!
report() { awk -v when="$1" '/^VmRSS/ { printf "%s: %.1f MiB resident\n", when, $2 / 1024 }' /proc/$watcher/status; }
sleep 3
report "at rest"
timeout 15 ip netns exec $other iperf3 -s -1 >/dev/null &
sleep 0.5
timeout 12 ip netns exec $pod iperf3 -c 10.213.9.2 -t 6 -P 4 | grep 'SUM.*receiver'
report "after the transfer"
timeout 30 ip netns exec $pod python3 -c '
import socket
for _ in range(2):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("10.213.9.1", 0))
    for port in range(1, 60000): s.sendto(b"x" * 64, ("10.213.9.2", port))'
sleep 1
report "after 120000 flows"
kill -TERM $watcher
wait $watcher
tail -n 1 "$records" | grep -o '"interfaces":\[[^]]*\]'
