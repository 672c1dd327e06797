#!/usr/bin/env bash
# A private containerd for tests: CRI, the CNI bridge plugin, and one image made here of busybox.
#   containerd.sh install      the Debian packages that it needs, where they are missing
#   containerd.sh up FOLDER    starts it; everything it keeps is in FOLDER, its socket is FOLDER/c.sock
#   containerd.sh stop FOLDER  ends it alone, as an upgrade does: containers run on, the socket's file is gone
#   containerd.sh start FOLDER starts it again
#   containerd.sh down FOLDER  ends what `up` and its clients started, by id, and removes FOLDER
# Needs root. Nothing is downloaded but by `install`. The image, localhost/busybox:1, is the sandbox's too.
set -euo pipefail

command=${1:?install, up, stop, start or down}
if [ "$command" = install ]; then
    missing=()
    command -v containerd >/dev/null || missing+=(containerd)
    command -v runc >/dev/null || missing+=(runc)
    command -v ip >/dev/null || missing+=(iproute2)
    [ -x /usr/lib/cni/bridge ] || missing+=(containernetworking-plugins)
    # Only a static busybox runs without libraries beside it.
    dpkg -s busybox-static >/dev/null 2>&1 || missing+=(busybox-static)
    if [ ${#missing[@]} -gt 0 ]; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            "${missing[@]}" </dev/null >/dev/null
    fi
    exit 0
fi

folder=$(realpath -m "${2:?a folder}")
# Names of interfaces are short: a checksum makes this one our own.
bridge=vwt$(printf %s "$folder" | cksum | cut -d' ' -f1 | head -c 9)

make_image() {
    local root=$folder/image/root
    mkdir -p "$root"/{bin,etc,tmp,proc,sys,dev}
    cp "$(command -v busybox)" "$root/bin/busybox"
    local applet
    for applet in cat env hostname id ip ls nc nslookup ping ps sh sleep uname wget; do
        ln -sf busybox "$root/bin/$applet"
    done
    echo 'root:x:0:0:root:/:/bin/sh' >"$root/etc/passwd"
    tar -C "$root" --owner=0 --group=0 -cf "$folder/image/layer.tar" .
    local layer machine
    layer=$(sha256sum "$folder/image/layer.tar" | cut -d' ' -f1)
    machine=$(dpkg --print-architecture)
    cat >"$folder/image/config.json" <<JSON
{"architecture":"$machine","os":"linux","config":{"Cmd":["/bin/sleep","3600"]},
 "rootfs":{"type":"layers","diff_ids":["sha256:$layer"]}}
JSON
    cat >"$folder/image/manifest.json" <<JSON
[{"Config":"config.json","RepoTags":["localhost/busybox:1"],"Layers":["layer.tar"]}]
JSON
    tar -C "$folder/image" -cf "$folder/image.tar" manifest.json config.json layer.tar
    rm -r "$folder/image"
}

up() {
    mkdir -p "$folder"/{cni,logs}
    cat >"$folder/cni/10-test.conflist" <<JSON
{"cniVersion":"0.4.0","name":"$bridge","plugins":[
 {"type":"bridge","bridge":"$bridge","isGateway":true,"ipMasq":false,
  "ipam":{"type":"host-local","dataDir":"$folder/addresses",
          "ranges":[[{"subnet":"${NETWORK:-10.213.90.0/24}"}]],"routes":[{"dst":"0.0.0.0/0"}]}}]}
JSON
    cat >"$folder/config.toml" <<TOML
version = 2
root = "$folder/root"
state = "$folder/state"
[grpc]
  address = "$folder/c.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/busybox:1"
  # Without it, a machine that does not let us lower the score starts nothing.
  restrict_oom_score_adj = true
  # So that what is left over can be found.
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$folder/cni"
TOML
    make_image
    start
    ctr --address "$folder/c.sock" --namespace k8s.io images import "$folder/image.tar" >/dev/null
}

start() {
    setsid containerd --config "$folder/config.toml" >"$folder/log" 2>&1 </dev/null &
    echo $! >"$folder/pid"
    local try
    for try in $(seq 100); do
        if ctr --address "$folder/c.sock" version >/dev/null 2>&1; then break; fi
        [ "$try" -lt 100 ] || {
            tail -n 20 "$folder/log" >&2
            exit 1
        }
        sleep 0.1
    done
}

stop() {
    local id try
    id=$(cat "$folder/pid")
    kill "$id"
    for try in $(seq 100); do
        if ! kill -0 "$id" 2>/dev/null; then break; fi
        sleep 0.1
    done
    rm -f "$folder/c.sock"
}

# Processes whose arguments name our socket: the shims of our containers.
shims() {
    local arguments
    for arguments in /proc/[0-9]*/cmdline; do
        if tr '\0' ' ' <"$arguments" 2>/dev/null | grep -q "^[^ ]*containerd-shim[^ ]* .*-address $folder/c.sock"; then
            basename "$(dirname "$arguments")"
        fi
    done
}

down() {
    [ -f "$folder/pid" ] || exit 0
    set +e
    local task shim mount
    local client=(ctr --address "$folder/c.sock" --namespace k8s.io)
    for task in $("${client[@]}" tasks list --quiet 2>/dev/null); do
        "${client[@]}" tasks kill --signal KILL "$task" >/dev/null 2>&1
    done
    kill "$(cat "$folder/pid")" 2>/dev/null
    # Containers are their shims' children; where containerd was stopped, nobody has killed them yet.
    for shim in $(shims); do
        for task in $(cat /proc/"$shim"/task/*/children 2>/dev/null); do kill -KILL "$task" 2>/dev/null; done
        kill -KILL "$shim" 2>/dev/null
    done
    sleep 0.2
    ip link del "$bridge" 2>/dev/null
    awk -v folder="$folder/" 'index($2, folder) == 1 { print $2 }' /proc/mounts | sort -r |
        while read -r mount; do umount -l "$mount"; done
    rm -rf "$folder"
}

case $command in
up | stop | start | down) "$command" ;;
*)
    echo "containerd.sh: there is no command $command" >&2
    exit 2
    ;;
esac
