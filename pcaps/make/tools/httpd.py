"""A plain HTTP/1.1 server for the lab: httpd.py ADDRESS PORT [CERT KEY]. Options as JSON in $OPTS.

GET /blob?n=BYTES sends that much, GET /poll?t=S answers after S seconds, GET /stream?t=S&every=S sends chunks, PUT and POST swallow what comes;
everything else is a page of `page` bytes. `tasks`: a list of replies handed out in turn ("" is 204). `server`: the Server header."""
import http.server, json, os, random, socket, ssl, sys, time, urllib.parse

O = json.loads(os.environ.get("OPTS") or "{}")
PAGE, TASKS = O.get("page", 3000), O.get("tasks")
BLOB = os.urandom(1 << 20)
count = [0]


class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = O.get("server", "nginx/1.24.0"), ""
    wbufsize = 65536
    timeout = 900

    def log_message(self, *a):
        pass

    def body(self):
        n = self.headers.get("Content-Length")
        got = 0
        if n is not None:
            n = int(n)
            while got < n:
                b = self.rfile.read1(min(1 << 18, n - got))
                if not b:
                    break
                got += len(b)
        elif "chunked" in self.headers.get("Transfer-Encoding", ""):
            while True:
                k = int(self.rfile.readline().split(b";")[0] or b"0", 16)
                self.rfile.read(k) if k else None
                self.rfile.readline()
                got += k
                if not k:
                    break
        return got

    def reply(self, code, data=b"", kind="application/json"):
        self.send_response(code)
        self.send_header("Content-Type", kind)
        if code != 204:
            self.send_header("Content-Length", str(len(data)))
        for k, v in O.get("headers", {}).items():
            self.send_header(k, v)
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def task(self):
        i = count[0]
        count[0] += 1
        t = TASKS[i % len(TASKS)] if isinstance(TASKS, list) else TASKS.get(str(i), "")
        if isinstance(t, int):
            t = "".join(random.choice("abcdefghijklmnop0123456789+/") for _ in range(t))
        self.reply(200, t.encode(), "text/plain") if t else self.reply(204)

    def do_GET(self):
        u = urllib.parse.urlparse(self.path)
        q = dict(urllib.parse.parse_qsl(u.query))
        if u.path == "/blob":
            left = int(q["n"])
            self.send_response(200)
            self.send_header("Content-Length", str(left))
            self.send_header("Content-Type", "application/octet-stream")
            self.end_headers()
            rate = float(q.get("rate", O.get("rate", 12e6)))
            t, sent = time.time(), 0
            while left > 0:
                k = min(left, 1 << 17)
                self.wfile.write(BLOB[:k])
                left -= k
                sent += k
                ahead = sent / rate - (time.time() - t)
                if ahead > 0:
                    time.sleep(ahead)
            return self.wfile.flush()
        if u.path == "/poll":
            time.sleep(float(q["t"]))
            return self.reply(
                200, json.dumps({"events": [], "cursor": random.randrange(1 << 40)}).encode()
            )
        if u.path == "/stream":
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            end = time.time() + float(q["t"])
            while time.time() < end:
                b = (
                    b"data: "
                    + json.dumps(
                        {
                            "t": time.time(),
                            "v": [random.random() for _ in range(int(q.get("n", 3)))],
                        }
                    ).encode()
                    + b"\n\n"
                )
                self.wfile.write(b"%x\r\n%s\r\n" % (len(b), b))
                self.wfile.flush()
                time.sleep(
                    random.expovariate(1 / float(q["every"]))
                    if q.get("random")
                    else float(q["every"])
                )
            self.wfile.write(b"0\r\n\r\n")
            return self.wfile.flush()
        if TASKS is not None:
            return self.task()
        n = max(80, int(PAGE * random.lognormvariate(0, O.get("spread", 0.4))))
        self.reply(
            200,
            json.dumps({"id": random.randrange(10**9), "items": BLOB[: n // 2].hex()}).encode(),
        )

    def do_POST(self):
        self.body()
        if O.get("slow"):
            time.sleep(random.uniform(0, O["slow"]))
        if TASKS is not None:
            return self.task()
        self.reply(
            O.get("post_code", 200), b"" if O.get("post_code") == 204 else b'{"status":"ok"}'
        )

    do_PUT = do_PATCH = do_DELETE = do_POST

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


class S(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    address_family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET

    def server_bind(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = sys.argv[1], int(sys.argv[2])

    def finish_request(self, request, client_address):
        if CTX:
            request.settimeout(900)
            request = CTX.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)

    def handle_error(self, *a):
        pass


CTX = None
if len(sys.argv) > 3:
    CTX = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CTX.load_cert_chain(sys.argv[3], sys.argv[4])
    if O.get("alpn"):
        CTX.set_alpn_protocols(O["alpn"])
    if O.get("tls12"):
        CTX.maximum_version = ssl.TLSVersion.TLSv1_2
S((sys.argv[1], int(sys.argv[2])), H).serve_forever()
