"""An implant's callbacks, by options in JSON (first argument).

url | tcp "host:port" | udp "host:port" | dns "zone"; period, jitter, kind ("uniform": period*(1±jitter), "minus": period*(1-U(0,jitter))), n, miss (share
of beats left out), post (bytes), keep (one connection for all), agent, form ("length": 4-byte length and payload; "line": JSON lines), insecure, tls (tcp)."""
import base64, http.client, json, os, random, socket, ssl, struct, sys, time, urllib.parse

o = json.loads(sys.argv[1])
r = random.Random(o.get("seed", 1))
period, jitter = o["period"], o.get("jitter", 0)
ctx = ssl.create_default_context()
if o.get("insecure"):
    ctx.check_hostname, ctx.verify_mode = False, ssl.CERT_NONE
if o.get("alpn"):
    ctx.set_alpn_protocols(o["alpn"])
conn = None
hid = "%016x" % random.getrandbits(64)


def http_beat(i):
    global conn
    p = urllib.parse.urlparse(o["url"])
    if conn is None:
        C = http.client.HTTPSConnection if p.scheme == "https" else http.client.HTTPConnection
        conn = C(
            p.hostname, p.port, timeout=10, **({"context": ctx} if p.scheme == "https" else {})
        )
    h = {
        "User-Agent": o.get(
            "agent",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:121.0) Gecko/20100101 Firefox/121.0",
        )
    }
    if o.get("host"):
        h["Host"] = o["host"]
    if o.get("cookie"):
        h["Cookie"] = "SESSIONID=" + base64.urlsafe_b64encode(os.urandom(o["cookie"])).decode()
    n = o.get("post", 0)
    if n:
        conn.request("POST", p.path, os.urandom(int(n * r.uniform(0.9, 1.1))), h)
    else:
        conn.request("GET", p.path + (f"?id={hid}" if o.get("id") else ""), headers=h)
    a = conn.getresponse()
    d = a.read()
    if len(d) > 2:  # a task: work, then its result
        time.sleep(r.uniform(0.2, 0.8))
        conn.request("POST", p.path, os.urandom(r.randrange(300, 2500)), h)
        conn.getresponse().read()
    if not o.get("keep"):
        conn.close()
        conn = None


sock = None


def tcp_open():
    global sock
    host, _, port = o["tcp"].rpartition(":")
    sock = socket.create_connection((host, int(port)), o.get("timeout", 10))
    if o.get("tls"):
        sock = ctx.wrap_socket(sock, server_hostname=o.get("sni", host))
    sock.settimeout(5)
    send(
        os.urandom(o.get("hello", 90))
        if o.get("form") != "line"
        else json.dumps({"op": "hello", "host": socket.gethostname(), "id": hid}).encode()
    )


def send(b):
    if o.get("form") == "line":
        sock.sendall(b + b"\n")
    else:
        sock.sendall(struct.pack(">I", len(b)) + b)


def tcp_beat(i):
    global sock
    if sock is None:
        tcp_open()
    send(
        json.dumps({"op": "ping", "n": i}).encode()
        if o.get("form") == "line"
        else os.urandom(o.get("size", 12))
    )
    if o.get("silent"):
        return
    d = sock.recv(65536)
    if len(d) > o.get("task_over", 40):
        time.sleep(r.uniform(0.3, 1))
        send(
            os.urandom(r.randrange(200, 3000))
            if o.get("form") != "line"
            else json.dumps(
                {
                    "op": "result",
                    "out": base64.b64encode(os.urandom(r.randrange(100, 1500))).decode(),
                }
            ).encode()
        )
    if not o.get("keep"):
        sock.close()
        sock = None


us = None


def udp_beat(i):
    global us
    host, _, port = o["udp"].rpartition(":")
    if us is None or not o.get("keep", True):
        us = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        us.settimeout(2)
    us.sendto(os.urandom(o.get("size", 48)), (host.strip("[]"), int(port)))
    if not o.get("silent"):
        us.recv(4096)


def dns_beat(i):
    host = "%s.%s" % (
        "%x" % r.getrandbits(o.get("bits", 32)) if o.get("bits", 32) else hid[:8],
        o["dns"],
    )
    if o.get("type") == "TXT":
        q = (
            struct.pack(">HHHHHH", r.randrange(65536), 0x100, 1, 0, 0, 0)
            + b"".join(bytes([len(l)]) + l.encode() for l in host.split("."))
            + b"\0\0\x10\0\1"
        )
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(3)
        s.sendto(q, (open("/etc/resolv.conf").read().split()[1], 53))
        s.recv(4096)
        s.close()
    else:
        socket.getaddrinfo(host + ".", None, socket.AF_INET)


beat = http_beat if "url" in o else tcp_beat if "tcp" in o else udp_beat if "udp" in o else dns_beat
due = time.time() + o.get("delay", 0)
for i in range(o["n"]):
    time.sleep(max(0, due - time.time()))
    if r.random() >= o.get("miss", 0):
        try:
            beat(i)
        except (OSError, http.client.HTTPException):
            conn = sock = None
    step = (
        period * (1 + r.uniform(-jitter, jitter))
        if o.get("kind", "uniform") == "uniform"
        else period * (1 - r.uniform(0, jitter))
    )
    due = (due if o.get("grid") else time.time()) + step
if o.get("hold"):
    time.sleep(o["hold"])
