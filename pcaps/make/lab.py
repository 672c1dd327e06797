"""A small cluster made of network namespaces, in which real programs talk while tcpdump listens at a container's veth.

    container --veth-- [node: bridge, routing] --tun/delay/tun-- [outside: many addresses that look public]
                              |
                              +--veth-- [cluster: services 10.96.0.0/12, the resolver]

Everything lives in namespaces whose names begin with `vwp-`; nothing is changed in the host's own network. Each namespace
with programs has its own file tree (tmpfs over a read-only /usr), host name and process ids: what a shell prints is the
container's, and all of it ends with the holder process.
"""
import contextlib, ctypes, json, os, random, shutil, signal, subprocess, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def sh(cmd, check=True, **kw):
    return subprocess.run(
        cmd,
        shell=isinstance(cmd, str),
        check=check,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **kw,
    )


class Place:
    """A namespace with its own file tree; `run` starts a program in it."""

    def __init__(self, lab, short, hostname, nameserver=None, search=""):
        self.lab, self.ns, self.hostname = lab, f"{lab.prefix}-{short}", hostname
        self.root = f"{lab.dir}/{short}"
        self.children = []
        sh(["ip", "netns", "add", self.ns])
        sh(["ip", "-n", self.ns, "link", "set", "lo", "up"])
        self.sysctl("net.ipv4.tcp_timestamps=0")
        os.makedirs(self.root, exist_ok=True)
        env = dict(
            os.environ,
            ROOT=self.root,
            NAME=hostname,
            LAB=lab.dir,
            NAMESERVER=nameserver or "",
            SEARCH=search,
        )
        self.holder = subprocess.Popen(
            [
                "ip",
                "netns",
                "exec",
                self.ns,
                "unshare",
                "-m",
                "-u",
                "-i",
                "-p",
                "-f",
                "--kill-child=KILL",
                "bash",
                HERE + "/tools/root.sh",
            ],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        line = self.holder.stdout.readline()
        if b"ready" not in line:
            raise RuntimeError(f"{self.ns}: {line + self.holder.stdout.read()}")
        with open(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children") as f:
            self.pid = f.read().split()[0]

    def sysctl(self, *settings):
        sh(["ip", "netns", "exec", self.ns, "sysctl", "-q", "-w", *settings], check=False)

    def ip(self, *args, check=True):
        return sh(["ip", "-n", self.ns, *args], check=check)

    def run(self, cmd, user=None, cwd="/root", env=None, pipe=False, out=None, **kw):
        """Starts `cmd` (a string for sh, or a list). `pipe`: its stdin is ours to write."""
        if isinstance(cmd, str):
            cmd = ["/bin/bash", "-c", cmd]
        e = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "HOSTNAME": self.hostname,
            "LANG": "C.UTF-8",
            "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
            "PYTHONUNBUFFERED": "1",
            "KUBERNETES_SERVICE_HOST": self.lab.svc + ".0.1",
            "KUBERNETES_SERVICE_PORT": "443",
            **(env or {}),
        }
        who = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
        full = [
            "nsenter",
            "-t",
            self.pid,
            "-m",
            "-u",
            "-i",
            "-n",
            "-p",
            "-r",
            "-w",
            "env",
            "-i",
            "-C",
            cwd,
            *[f"{k}={v}" for k, v in e.items()],
            *who,
            *cmd,
        ]
        sink = open(out, "wb") if out else subprocess.DEVNULL
        if os.environ.get("VWP_DEBUG") and not out:
            sink = None
        p = subprocess.Popen(
            full,
            stdin=subprocess.PIPE if pipe else subprocess.DEVNULL,
            stdout=kw.pop("stdout", sink),
            stderr=kw.pop("stderr", subprocess.STDOUT if out else sink),
            start_new_session=True,
            bufsize=0,
            **kw,
        )
        self.children.append(p)
        return p

    def do(self, cmd, timeout=120, **kw):
        """Runs to the end, returns (exit code, output)."""
        p = self.run(cmd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **kw)
        try:
            o, _ = p.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            end(p)
            o, _ = p.communicate()
        return p.returncode, o.decode("utf8", "replace")

    def write(self, path, text, mode=0o644):
        real = f"/proc/{self.pid}/root{path}"
        os.makedirs(os.path.dirname(real), exist_ok=True)
        with open(real, "wb" if isinstance(text, bytes) else "w") as f:
            f.write(text)
        os.chmod(real, mode)

    @contextlib.contextmanager
    def net(self):
        """The calling thread's sockets belong to this namespace inside the block."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        fd = os.open(f"/run/netns/{self.ns}", os.O_RDONLY)
        try:
            if LIBC.setns(fd, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            yield
        finally:
            LIBC.setns(own, CLONE_NEWNET)
            os.close(fd)
            os.close(own)

    def stop(self):
        for p in self.children:
            if p.poll() is None:
                end(p)
        if self.holder.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(self.pid), signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.holder.wait(5)
        sh(["ip", "netns", "del", self.ns], check=False)


def end(p, sig=signal.SIGKILL):
    """Ends a program we started, and its session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(p.pid, sig)
    with contextlib.suppress(subprocess.TimeoutExpired):
        p.wait(3)


class Pod(Place):
    def __init__(self, lab, name, number):
        super().__init__(
            lab,
            f"p{number}",
            name,
            lab.svc + ".0.10",
            "default.svc.cluster.local svc.cluster.local cluster.local",
        )
        self.name, self.number = name, number
        self.ip4, self.ip6 = f"{lab.pods}.{lab.third}.{number}", f"fd00:244:{lab.third}::{number:x}"
        self.veth = f"veth{random.Random(f'{lab.prefix}{number}').randrange(16**8):08x}"
        n = lab.node.ns
        sh(
            [
                "ip",
                "-n",
                n,
                "link",
                "add",
                "name",
                self.veth,
                "type",
                "veth",
                "peer",
                "name",
                "eth0",
                "netns",
                self.ns,
            ]
        )
        sh(["ip", "-n", n, "link", "set", self.veth, "master", "cbr0", "up"])
        self.ip("addr", "add", f"{self.ip4}/24", "dev", "eth0")
        self.sysctl(
            "net.ipv6.conf.eth0.accept_dad=0",
            "net.ipv6.conf.eth0.accept_ra=0",
            "net.ipv6.conf.eth0.router_solicitations=0",
        )
        self.ip("link", "set", "eth0", "up")
        self.ip("addr", "add", f"{self.ip6}/64", "dev", "eth0", "nodad")
        self.ip("route", "add", "default", "via", f"{lab.pods}.{lab.third}.1")
        self.ip("-6", "route", "add", "default", "via", f"fd00:244:{lab.third}::1", check=False)

    def capture(self, path):
        """tcpdump at the host's end of the veth; returns a function that stops it."""
        p = subprocess.Popen(
            [
                "ip",
                "netns",
                "exec",
                self.lab.node.ns,
                "tcpdump",
                "-i",
                self.veth,
                "-s",
                "262144",
                "-U",
                "-B",
                "16384",
                "-Z",
                "root",
                "-w",
                path,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        p.stderr.readline()

        def stop():
            p.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                p.wait(10)
            if p.poll() is None:
                end(p)

        return stop


class Lab:
    """The node, the cluster's services and the outside."""

    pods, svc = (
        "10.244",
        "10.96",
    )  # the first two octets of the pods' and of the services' addresses

    def __init__(self, tag, third, zones=(), delay=True):
        self.prefix, self.third, self.dir = f"vwp-{tag}", third, f"/tmp/vwp-{tag}-{os.getpid()}"
        self.zones, self.delay, self.places, self.used = zones, delay, [], {9}
        self.lock = threading.RLock()
        self.router = None

    def __enter__(self):
        try:
            self.up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(self, *exc):
        self.down()

    def place(self, *a, **k):
        p = Place(self, *a, **k)
        self.places.append(p)
        return p

    def up(self):
        os.makedirs(self.dir + "/hosts", exist_ok=True)
        os.makedirs(self.dir + "/pki", exist_ok=True)
        shutil.copytree(HERE + "/tools", self.dir + "/tools", dirs_exist_ok=True)
        extra = os.environ.get("VWP_TOOLS")
        if extra:
            shutil.copytree(extra, self.dir + "/tools", dirs_exist_ok=True)
        self.ca()
        self.node = self.place("node", "node-1")
        self.outside = self.place("out", "vps-1337")
        self.cluster = self.place("clu", "cluster-svc")
        n, o, c = self.node, self.outside, self.cluster
        n.sysctl(
            "net.ipv4.ip_forward=1",
            "net.ipv6.conf.all.forwarding=1",
            "net.ipv6.conf.default.accept_dad=0",
            "net.ipv4.conf.all.rp_filter=0",
        )
        n.ip("link", "add", "name", "cbr0", "type", "bridge", "mcast_snooping", "0")
        n.ip("link", "set", "cbr0", "address", f"0a:58:0a:f4:{self.third:02x}:01", "up")
        n.ip("addr", "add", f"{self.pods}.{self.third}.1/24", "dev", "cbr0")
        n.ip("-6", "addr", "add", f"fd00:244:{self.third}::1/64", "dev", "cbr0", "nodad")
        sh(
            [
                "ip",
                "-n",
                n.ns,
                "link",
                "add",
                "name",
                "clu0",
                "type",
                "veth",
                "peer",
                "name",
                "eth0",
                "netns",
                c.ns,
            ]
        )
        for p, dev, a in ((n, "clu0", "100.64.0.1/30"), (c, "eth0", "100.64.0.2/30")):
            p.ip("addr", "add", a, "dev", dev)
            p.ip("link", "set", dev, "up")
        n.ip(
            "route",
            "add",
            self.svc + ".0.0/" + ("12" if self.svc == "10.96" else "16"),
            "via",
            "100.64.0.2",
        )
        c.ip("route", "add", "default", "via", "100.64.0.1")
        if self.delay:
            self.router = subprocess.Popen(
                ["/usr/bin/python3", HERE + "/tools/delay.py", n.ns, o.ns],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
            self.router.stdout.readline()
        else:  # frames of up to 64 kB pass whole: small captures of bulk transfers
            sh(
                [
                    "ip",
                    "-n",
                    n.ns,
                    "link",
                    "add",
                    "name",
                    "wan0",
                    "type",
                    "veth",
                    "peer",
                    "name",
                    "wan0",
                    "netns",
                    o.ns,
                ]
            )
        n.ip("addr", "add", "100.64.1.1/30", "dev", "wan0")
        n.ip("link", "set", "wan0", "up")
        o.ip("addr", "add", "100.64.1.2/30", "dev", "wan0")
        o.ip("link", "set", "wan0", "up")
        n.ip("route", "add", "default", "via", "100.64.1.2")
        o.ip("route", "add", "default", "via", "100.64.1.1")
        for p, near, far in ((n, "fd64::1", "fd64::2"), (o, "fd64::2", "fd64::1")):
            p.sysctl("net.ipv6.conf.wan0.accept_dad=0")
            p.ip("-6", "addr", "add", near + "/64", "dev", "wan0", "nodad")
            p.ip("-6", "route", "add", "default", "via", far)
        self.service(self.svc + ".0.10")
        self.service(self.svc + ".0.1")
        conf = [
            "--no-resolv",
            "--no-hosts",
            "--no-daemon",
            "--user=root",
            "--group=root",
            f"--listen-address={self.svc}.0.10",
            "--bind-interfaces",
            "--hostsdir=/run/lab/hosts",
            "--local=/cluster.local/",
            "--local-ttl=30",
            "--log-facility=/dev/null",
            "--max-cache-ttl=5",
            "--cache-size=0",
        ]
        for z, server in self.zones:
            conf.append(f"--server=/{z}/{server}")
        self.name("kubernetes.default.svc.cluster.local", self.svc + ".0.1")
        self.dns = c.run(["dnsmasq", *conf, "--server=100.64.1.2"])
        o.run(
            [
                "dnsmasq",
                "--no-resolv",
                "--no-hosts",
                "--no-daemon",
                "--user=root",
                "--group=root",
                "--listen-address=100.64.1.2",
                "--bind-interfaces",
                "--hostsdir=/run/lab/hosts",
                "--address=/#/",
                "--local-ttl=60",
                "--log-facility=/dev/null",
            ]
        )

    def down(self):
        for p in reversed(self.places):
            with contextlib.suppress(Exception):
                p.stop()
        if self.router:
            end(self.router)
        shutil.rmtree(self.dir, ignore_errors=True)

    def pod(self, name, number=None):
        with self.lock:
            number = number or next(
                i for i in iter(lambda: random.randrange(12, 250), None) if i not in self.used
            )
            self.used.add(number)
        p = Pod(self, name, number)
        self.places.append(p)
        return p

    def public(self, *addresses):
        for a in addresses:
            self.outside.ip(
                "addr",
                "add",
                a + ("/128" if ":" in a else "/32"),
                "dev",
                "lo",
                *(["nodad"] if ":" in a else []),
                check=False,
            )
        return addresses[0]

    def service(self, *addresses):
        for a in addresses:
            self.cluster.ip("addr", "add", a + "/32", "dev", "lo", check=False)
        return addresses[0]

    def name(self, name, *addresses):
        """A name that the resolver knows."""
        tmp = f"{self.dir}/hosts/.{name}"
        with open(tmp, "w") as f:
            f.writelines(f"{a} {name}\n" for a in addresses)
        os.rename(tmp, f"{self.dir}/hosts/{name}")
        time.sleep(0.05)
        return name

    def ca(self):
        d = self.dir + "/pki"
        sh(
            f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 900 -keyout {d}/ca.key -out {d}/ca.crt -subj '/C=US/O=Example Trust/CN=Example Trust E5' 2>/dev/null"
        )
        sh(
            f"ssh-keygen -q -t ed25519 -N '' -f {d}/id && ssh-keygen -q -t ed25519 -N '' -f {d}/host"
        )
        sh(f"openssl ecparam -genkey -name prime256v1 -noout -out {d}/leaf.key")

    def cert(self, name, *more, self_signed=False, days=90):
        """A certificate for a name: paths inside /run/lab."""
        d, key = self.dir + "/pki", name.replace("*", "_").replace(":", "_")
        if not os.path.exists(f"{d}/{key}.crt"):
            san = ",".join(
                ("IP:" if x.replace(".", "").isdigit() or ":" in x else "DNS:") + x
                for x in (name, *more)
            )
            if self_signed:
                sh(
                    f"openssl req -x509 -new -key {d}/leaf.key -days {days} -subj '/CN={name}' -out {d}/{key}.crt"
                )
            else:
                with open(f"{d}/{key}.ext", "w") as f:
                    f.write(
                        f"subjectAltName={san}\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n"
                    )
                with self.lock:
                    sh(
                        f"openssl req -new -key {d}/leaf.key -subj '/CN={name}' -out {d}/{key}.csr && openssl x509 -req -in {d}/{key}.csr -CA {d}/ca.crt -CAkey {d}/ca.key "
                        f"-CAcreateserial -days {days} -extfile {d}/{key}.ext -out {d}/{key}.1 2>/dev/null && cat {d}/{key}.1 {d}/ca.crt > {d}/{key}.crt"
                    )
            sh(f"cat {d}/leaf.key {d}/{key}.crt > {d}/{key}.pem")
        return f"/run/lab/pki/{key}.crt", "/run/lab/pki/leaf.key"

    def site(self, name, ip, port=443, where=None, tls=True, cert=True, **opts):
        """An HTTP(S) server (tools/httpd.py) under a name."""
        where = where or (self.cluster if ip.startswith("10.") else self.outside)
        (self.service if where is self.cluster else self.public)(ip)
        if name:
            self.name(name, ip)
        a = ["/usr/bin/python3", "/run/lab/tools/httpd.py", ip, str(port)]
        if tls:
            a += list(self.cert(name or ip, self_signed=cert == "self"))
        p = where.run(a, env={"OPTS": json.dumps(opts)})
        wait_port(where, ip, port)
        return p


def wait_port(place, ip, port, seconds=10):
    """Waits until something listens (looks in the table of sockets, sends nothing)."""
    t = time.time() + seconds
    while time.time() < t:
        o = sh(["ip", "netns", "exec", place.ns, "ss", "-Hltn", f"sport = :{port}"]).stdout
        if o.strip():
            return True
        time.sleep(0.1)
    raise RuntimeError(f"nothing listens on {ip}:{port}")
