"""The other end of beacon.py's tcp and udp: c2.py tcp|udp ADDRESS PORT [CERT KEY]. Answers each beat with a few bytes, each `every`-th with a task ($OPTS)."""
import json, os, socket, ssl, struct, sys, threading

o = json.loads(os.environ.get("OPTS") or "{}")
kind, ip, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
fam = socket.AF_INET6 if ":" in ip else socket.AF_INET
if kind == "udp":
    s = socket.socket(fam, socket.SOCK_DGRAM)
    s.bind((ip, port))
    i = 0
    while True:
        d, a = s.recvfrom(4096)
        i += 1
        s.sendto(
            os.urandom(o.get("task", 300) if i % o.get("every", 9) == 0 else o.get("reply", 32)), a
        )
ctx = None
if len(sys.argv) > 4:
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(sys.argv[4], sys.argv[5])
l = socket.create_server((ip, port), family=fam, reuse_port=False)


def serve(c):
    try:
        if ctx:
            c = ctx.wrap_socket(c, server_side=True)
        f, i = c.makefile("rwb"), 0
        while True:
            d = (
                f.readline()
                if o.get("form") == "line"
                else (lambda h: h and f.read(struct.unpack(">I", h)[0]))(f.read(4))
            )
            if not d:
                return
            if i and i % 1 == 0 and len(d) > o.get("result_over", 150):
                continue
            n = o.get("task", 200) if i and i % o.get("every", 8) == 0 else o.get("reply", 8)
            b = (
                (
                    json.dumps(
                        {"op": "task" if n > 50 else "pong", "d": os.urandom(n // 2).hex()}
                    ).encode()
                    + b"\n"
                )
                if o.get("form") == "line"
                else struct.pack(">I", n) + os.urandom(n)
            )
            f.write(b)
            f.flush()
            i += 1
    except (OSError, struct.error):
        pass


while True:
    c, _ = l.accept()
    threading.Thread(target=serve, args=(c,), daemon=True).start()
