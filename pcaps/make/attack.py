"""The other end of shells, beacons and uploads."""
import json, time
from lab import wait_port
from typist import writer

SURVEY = [
    "id",
    "uname -a",
    "pwd",
    "ls -la",
    "cat /etc/passwd",
    "env",
    "ps aux",
    "cat /app/config.yaml",
    "ls /var/log",
    "df -h",
    "cat /proc/1/status | head -20",
    "ls -la /root",
]


def listener(s, kind, ip, port, name=None, cert="self"):
    """Starts a real listener at the attacker's address; returns a function that types bytes into it."""
    s.bad(ip)
    o = s.lab.outside
    if name:
        s.lab.name(name, ip)
    crt, key = (
        s.lab.cert(name or ip, self_signed=cert == "self")
        if kind in ("ncat-tls", "socat-tls", "openssl", "wss", "openssl-alpn")
        else ("", "")
    )
    pem = crt[:-4] + ".pem"
    six = ":" in ip
    cmd = {
        "nc": ["nc.traditional", "-lnp", str(port), "-s", ip],
        "nco": ["nc.openbsd", "-ln"] + (["-6"] if six else []) + [ip, str(port)],
        "ncat": ["ncat", "-ln"] + (["-6"] if six else []) + [ip, str(port)],
        "ncat-tls": ["ncat", "-ln", "--ssl", "--ssl-cert", crt, "--ssl-key", key, ip, str(port)],
        "socat": [
            "socat",
            "STDIO",
            (f"TCP6-LISTEN:{port},bind=[{ip}]" if six else f"TCP-LISTEN:{port},bind={ip}")
            + ",reuseaddr",
        ],
        "socat-tls": [
            "socat",
            "STDIO",
            (
                f"OPENSSL-LISTEN:{port},pf=ip6,bind=[{ip}]"
                if six
                else f"OPENSSL-LISTEN:{port},bind={ip}"
            )
            + f",reuseaddr,cert={pem},verify=0",
        ],
        "openssl": [
            "openssl",
            "s_server",
            "-quiet",
            "-accept",
            f"{ip}:{port}",
            "-cert",
            crt,
            "-key",
            key,
        ],
        "openssl-alpn": [
            "openssl",
            "s_server",
            "-quiet",
            "-accept",
            f"{ip}:{port}",
            "-cert",
            crt,
            "-key",
            key,
            "-alpn",
            "http/1.1,h2",
        ],
        "wss": [
            "/usr/bin/python3",
            "/run/lab/tools/ws_server.py",
            ip,
            str(port),
            crt,
            key,
            "stdin",
        ],
    }[kind]
    p = o.run(
        cmd,
        pipe=True,
        env={"OPTS": json.dumps({"json": True, "ping": None})} if kind == "wss" else None,
    )
    s.listener = p
    wait_port(o, ip, port)
    return writer(p)


def wait_for_shell(s, ip, port, seconds=20):
    """Until a connection to the listener stands."""
    import subprocess

    t = time.time() + seconds
    while time.time() < t:
        if subprocess.run(
            [
                "ip",
                "netns",
                "exec",
                s.pod.ns,
                "ss",
                "-Htn",
                "state",
                "established",
                f"dport = :{port}",
            ],
            stdout=subprocess.PIPE,
        ).stdout.strip():
            return
        time.sleep(0.2)
    raise RuntimeError("no shell came")


def beacon(s, user=None, **opts):
    s.pod.run(
        ["/usr/bin/python3", "/run/lab/tools/beacon.py", json.dumps({"seed": s.name, **opts})],
        user=user,
    )


def c2(s, kind, ip, port, tls=None, **opts):
    s.bad(ip)
    crt = list(s.lab.cert(tls, self_signed=True)) if tls else []
    p = s.lab.outside.run(
        ["/usr/bin/python3", "/run/lab/tools/c2.py", kind, ip, str(port), *crt],
        env={"OPTS": json.dumps(opts)},
    )
    if kind == "tcp":
        wait_port(s.lab.outside, ip, port)
    else:
        time.sleep(0.5)
    return p


def secrets(s, mb, path="/data/dump.tar.gz"):
    """A file worth stealing (random bytes: compressed)."""
    s.pod.do(f"head -c {int(mb * 1e6)} /dev/urandom > {path}")
    return path


def sshd(place, ip, port=22, shell_user="root"):
    """A real OpenSSH server; the lab's key logs in."""
    lab = place.lab
    pub = open(lab.dir + "/pki/id.pub").read()
    for home in ("/root", "/home/deploy"):
        place.write(home + "/.ssh/authorized_keys", pub, 0o600)
        place.write(home + "/.ssh/id_ed25519", open(lab.dir + "/pki/id").read(), 0o600)
    place.do(
        "chown -R deploy:deploy /home/deploy; cp /run/lab/pki/host /etc/ssh_host; chmod 600 /etc/ssh_host; mkdir -p /run/sshd"
    )
    p = place.run(
        [
            "/usr/sbin/sshd",
            "-D",
            "-e",
            "-f",
            "/dev/null",
            "-h",
            "/etc/ssh_host",
            "-p",
            str(port),
            "-o",
            f"ListenAddress={ip}",
            "-o",
            "UsePAM=no",
            "-o",
            "StrictModes=no",
            "-o",
            "PidFile=none",
            "-o",
            "GatewayPorts=yes",
            "-o",
            "AllowTcpForwarding=yes",
            "-o",
            "Subsystem=sftp internal-sftp",
            "-o",
            "PrintMotd=no",
        ]
    )
    wait_port(place, ip, port)
    return p


SSH = "ssh -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"


def use_key(place, path="/root/.ssh/id_ed25519"):
    """Gives a place the lab's ssh key as a client."""
    place.write(path, open(place.lab.dir + "/pki/id").read(), 0o600)


def terminal(place, cmd, **kw):
    """Runs an interactive program on a pty of its own; returns a function that presses keys."""
    p = place.run(
        [
            "/usr/bin/python3",
            "/run/lab/tools/pty_run.py",
            *(["bash", "-c", cmd] if isinstance(cmd, str) else cmd),
        ],
        pipe=True,
        **kw,
    )
    return writer(p)
