"""Small well-behaved programs: agents.py NAME OPTIONS-AS-JSON."""
import http.client, json, os, random, socket, ssl, sys, threading, time, urllib.parse

name, o = sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
r = random.Random(o.get("seed", 1))
ctx = ssl.create_default_context()
LINES = [
    "+ cargo build --locked",
    "   Compiling serde v1.0.197",
    "   Compiling tokio v1.36.0",
    "   Compiling storefront v0.4.1 (/builds/shop/storefront)",
    "    Finished dev in 41.2s",
    "+ cargo test",
    "running 41 tests",
    "test cart::adds_items ... ok",
    "test cart::removes_items ... ok",
    "test checkout::charges_once ... ok",
    "$ docker build -t registry/shop:1 .",
    "Step 4/11 : RUN pip install -r requirements.txt",
    "Collecting flask==3.0.2",
    "Uploading artifacts...",
    "section_end:1707:script",
    "Job succeeded",
]


def connect(url):
    p = urllib.parse.urlparse(url)
    return (
        http.client.HTTPSConnection(p.hostname, p.port, timeout=60, context=ctx)
        if p.scheme == "https"
        else http.client.HTTPConnection(p.hostname, p.port, timeout=60)
    ), p


def ci():
    """Polls for jobs each `every` s; each third poll brings a job whose log goes out in pieces, as it is written."""
    n = 0
    while True:
        c, p = connect(o["url"])
        c.request(
            "POST",
            "/api/v4/jobs/request",
            json.dumps(
                {
                    "token": "glrt-%020x" % r.getrandbits(80),
                    "info": {"version": "16.9.1", "executor": "docker"},
                }
            ),
            {"User-Agent": "gitlab-runner 16.9.1", "Content-Type": "application/json"},
        )
        c.getresponse().read()
        n += 1
        if n % 3 == 2:
            at = 0
            for _ in range(r.randrange(8, 20)):
                b = "".join(r.choice(LINES) + "\n" for _ in range(r.choice([1, 1, 2, 3, 8])))
                c.request(
                    "PATCH",
                    "/api/v4/jobs/%d/trace" % (4000 + n),
                    b,
                    {
                        "User-Agent": "gitlab-runner 16.9.1",
                        "Content-Range": f"{at}-{at + len(b)}",
                        "Content-Type": "text/plain",
                    },
                )
                c.getresponse().read()
                at += len(b)
                time.sleep(r.lognormvariate(0.3, 0.6))
        c.close()
        time.sleep(o.get("every", 5))


def chunked():
    """One HTTPS POST whose chunks are a job's log lines as they come."""
    c, p = connect(o["url"])

    def lines():
        end = time.time() + o["seconds"]
        while time.time() < end:
            yield "".join(
                time.strftime("%H:%M:%S ") + r.choice(LINES) + "\n"
                for _ in range(r.choice([1, 1, 1, 2, 5]))
            ).encode()
            time.sleep(r.lognormvariate(0, 0.9))

    c.request(
        "POST",
        p.path,
        lines(),
        {"Content-Type": "text/plain", "User-Agent": "runner/2.314"},
        encode_chunked=True,
    )
    c.getresponse().read()


def lease():
    """Leader election: renews a lease each `every` s over one kept connection, reads it in between."""
    c, p = connect(o["url"])
    i = 0
    while True:
        h = {
            "User-Agent": "controller/v1.29 leader-election",
            "Authorization": "Bearer %0512x" % random.getrandbits(2000),
            "Accept": "application/json",
        }
        path = "/apis/coordination.k8s.io/v1/namespaces/shop/leases/controller"
        c.request("GET", path, headers=h)
        c.getresponse().read()
        c.request(
            "PUT",
            path,
            json.dumps(
                {
                    "kind": "Lease",
                    "spec": {
                        "holderIdentity": socket.gethostname(),
                        "renewTime": time.time(),
                        "leaseTransitions": 3,
                    },
                }
            ),
            h,
        )
        c.getresponse().read()
        i += 1
        time.sleep(o.get("every", 2))


def push():
    """Metrics: POST of about `size` bytes each `every` s (jitter as given), by name, `keep` or a new connection each time."""
    c = None
    while True:
        try:
            if c is None:
                c, p = connect(o["url"])
            c.request(
                o.get("method", "POST"),
                p.path,
                os.urandom(
                    max(20, int(o.get("size", 1200) * r.lognormvariate(0, o.get("spread", 0.1))))
                ),
                {
                    "Content-Type": o.get("type", "application/x-protobuf"),
                    "User-Agent": o.get("agent", "OTel-OTLP-Exporter-Python/1.23.0"),
                    **o.get("headers", {}),
                },
            )
            c.getresponse().read()
            if not o.get("keep"):
                c.close()
                c = None
        except (OSError, http.client.HTTPException):
            c = None
        time.sleep(o.get("every", 10) * (1 + r.uniform(-o.get("jitter", 0), o.get("jitter", 0))))


def poll():
    """Long-poll: GET that the server answers after `t` s, over and over on one connection."""
    c, p = connect(o["url"])
    while True:
        c.request(
            "GET",
            f"{p.path}?t={o['t'] * r.uniform(0.2, 1):.2f}",
            headers={"User-Agent": o.get("agent", "python-requests/2.31.0")},
        )
        c.getresponse().read()


def get():
    """GET each `every` s, new connection each time."""
    while True:
        try:
            c, p = connect(o["url"])
            c.request(
                "GET",
                p.path + ("?" + p.query if p.query else ""),
                headers={"User-Agent": o.get("agent", "Go-http-client/1.1")},
            )
            c.getresponse().read()
            c.close()
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(o["every"] * (1 + r.uniform(-o.get("jitter", 0), o.get("jitter", 0))))


def upload():
    """A service whose work is uploading: PUT of `mb` megabytes each `every` s, from the start."""
    b = os.urandom(1 << 20)
    while True:
        c, p = connect(o["url"])
        n = int(o["mb"] * r.lognormvariate(0, 0.4) * (1 << 20))

        def data():
            left = n
            while left > 0:
                yield b[: min(left, 65536)]
                left -= 65536
                time.sleep(65536 / o.get("rate", 12e6))

        c.request(
            "PUT",
            "/v/%08x.mp4" % r.getrandbits(32),
            data(),
            {
                "Content-Length": str(((n + 65535) // 65536) * 65536 if False else n),
                "User-Agent": "aws-sdk-go/1.50",
            },
        )
        c.getresponse().read()
        c.close()
        time.sleep(o["every"] * r.uniform(0.6, 1.4))


def statsd():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    a = (socket.gethostbyname(o["host"]), o.get("port", 8125))
    while True:
        s.sendto(
            "\n".join(
                r.choice(["web.requests:%d|c", "web.latency:%d|ms", "cart.size:%d|g"])
                % r.randrange(300)
                for _ in range(r.randrange(1, 6))
            ).encode(),
            a,
        )
        time.sleep(o.get("every", 1) * r.uniform(0.9, 1.1))


def tcplog():
    """Log lines over one TCP (or TLS) connection, `rate` lines a second; the collector acknowledges by chunk where `ack`."""
    s = socket.create_connection((o["host"], o["port"]), 20)
    if o.get("tls"):
        s = ctx.wrap_socket(s, server_hostname=o["host"])
    i = 0
    while True:
        i += 1
        line = {
            "syslog": f"<{r.choice([13, 14, 134])}>1 {time.strftime('%Y-%m-%dT%H:%M:%SZ')} {socket.gethostname()} app {os.getpid()} - - request id={r.getrandbits(40)} status={r.choice([200, 200, 200, 404, 500])} ms={r.randrange(900)}",
            "json": json.dumps(
                {
                    "ts": time.time(),
                    "level": "info",
                    "msg": "handled",
                    "path": r.choice(["/", "/cart", "/items/%d" % r.randrange(999)]),
                    "ms": r.randrange(90),
                }
            ),
        }[o.get("form", "json")]
        s.sendall((f"{len(line)} {line}" if o.get("octets") else line + "\n").encode())
        if o.get("ack") and i % o["ack"] == 0:
            s.recv(100)
        time.sleep(r.expovariate(o.get("rate", 5)))


def exporter():
    """/metrics for a scraper."""
    import http.server

    class H(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *a):
            pass

        def do_GET(self):
            b = "".join(
                f'http_requests_total{{path="/p{i}",code="200"}} {r.randrange(10**6)}\n'
                for i in range(120)
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(b)))
            self.end_headers()
            self.wfile.write(b)

    http.server.ThreadingHTTPServer(("", o.get("port", 9100)), H).serve_forever()


def sink():
    """Takes TCP connections and swallows; `banner` first, `ack` bytes back per chunk, `udp` for datagrams."""
    if o.get("udp"):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind((o["ip"], o["port"]))
        while True:
            d, a = s.recvfrom(65536)
            if o.get("answer"):
                s.sendto(os.urandom(o["answer"]), a)
    l = socket.create_server((o["ip"], o["port"]))
    sctx = None
    if o.get("cert"):
        sctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        sctx.load_cert_chain(o["cert"], "/run/lab/pki/leaf.key")

    def serve(c):
        try:
            if sctx:
                c = sctx.wrap_socket(c, server_side=True)
            if o.get("banner"):
                c.sendall(o["banner"].encode())
            while d := c.recv(1 << 18):
                if o.get("ack"):
                    c.sendall(os.urandom(o["ack"]))
        except OSError:
            pass

    while True:
        c, _ = l.accept()
        threading.Thread(target=serve, args=(c,), daemon=True).start()


def smtpd():
    l = socket.create_server((o["ip"], o.get("port", 25)))

    def serve(c):
        f = c.makefile("rwb")

        def say(x):
            f.write(x.encode() + b"\r\n")
            f.flush()

        say("220 mx1.mail-host.example ESMTP Postfix")
        data = False
        for line in f:
            if data:
                if line.strip() == b".":
                    data = False
                    say("250 2.0.0 Ok: queued as %X" % r.getrandbits(40))
                continue
            v = line[:4].upper().strip()
            if v == b"EHLO":
                say(
                    "250-mx1.mail-host.example\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250 8BITMIME"
                )
            elif v == b"DATA":
                data = True
                say("354 End data with <CR><LF>.<CR><LF>")
            elif v == b"QUIT":
                say("221 2.0.0 Bye")
                break
            else:
                say("250 2.1.0 Ok")
        c.close()

    while True:
        c, _ = l.accept()
        threading.Thread(target=serve, args=(c,), daemon=True).start()


globals()[name]()
