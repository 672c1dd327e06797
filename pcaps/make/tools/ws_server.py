"""A websocket server (TLS): ws_server.py ADDRESS PORT CERT KEY MODE. MODE `stdin`: what arrives on standard input goes out as messages, one per read;
`echo EVERY N`: answers each message; `push EVERY BYTES`: sends a message each EVERY seconds; `chat SEED`: people who answer; `shell`: a pty with bash."""
import asyncio, json, os, random, ssl, sys, websockets

ip, port, cert, key, mode = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5]
rest = sys.argv[6:]
ctx = None
if cert != "-":
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(cert, key)
    ctx.set_alpn_protocols(["http/1.1"])
opts = json.loads(os.environ.get("OPTS") or "{}")
TALK = [
    "ok",
    "sure, one sec",
    "lgtm",
    "did you see the alert from last night?",
    "I'll check the logs",
    "thanks!",
    "can we move the meeting to 3?",
    "deploying now",
    "hm, that looks odd",
    "yes please",
    "the build is green again",
    "let me ask Dana",
    "done",
    "👍",
    "what was the ticket number?",
    "haha",
]


async def handler(ws, *a):
    async def drain():
        async for m in ws:
            if mode == "echo" and random.random() < float(rest[0] if rest else 1):
                await ws.send(
                    json.dumps(
                        {
                            "type": "ack",
                            "x": os.urandom(int(rest[1]) if len(rest) > 1 else 10).hex(),
                        }
                    )
                )
            if mode == "stdin" and os.environ.get("SHOW"):
                print(m)

    t = asyncio.ensure_future(drain())
    try:
        if mode == "stdin":
            loop = asyncio.get_running_loop()
            rd = asyncio.StreamReader()
            await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(rd), sys.stdin)
            while True:
                b = await rd.read(4096)
                if not b:
                    break
                await ws.send(
                    json.dumps({"type": "stdin", "data": b.decode()}) if opts.get("json") else b
                )
        elif mode == "push":
            while True:
                await ws.send(
                    json.dumps(
                        {
                            "type": "metrics",
                            "series": [
                                random.random()
                                for _ in range(
                                    max(1, int(int(rest[1]) * random.uniform(0.8, 1.2)) // 20)
                                )
                            ],
                        }
                    )
                )
                await asyncio.sleep(float(rest[0]))
        elif mode == "chat":
            while True:
                await asyncio.sleep(random.lognormvariate(1.9, 0.7))
                await ws.send(json.dumps({"type": "typing", "user": "dana"}))
                await asyncio.sleep(random.uniform(0.8, 4))
                await ws.send(
                    json.dumps(
                        {
                            "type": "message",
                            "user": "dana",
                            "ts": random.random(),
                            "text": random.choice(TALK),
                        }
                    )
                )
        elif mode == "shell":
            t.cancel()
            await pty_shell(ws)
        await t
    except (websockets.ConnectionClosed, asyncio.CancelledError):
        pass


async def pty_shell(ws):
    import pty

    pid, fd = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execvp("bash", ["bash", "-i"])
    loop = asyncio.get_running_loop()
    q = asyncio.Queue()
    loop.add_reader(fd, lambda: q.put_nowait(read(fd)))

    async def out():
        while True:
            b = await q.get()
            if not b:
                return await ws.close()
            await ws.send(
                json.dumps(["stdout", b.decode("utf8", "replace")])
                if opts.get("json")
                else b"\x01" + b
            )

    t = asyncio.ensure_future(out())
    async for m in ws:
        os.write(
            fd,
            json.loads(m)[1].encode()
            if opts.get("json")
            else (m[1:] if isinstance(m, bytes) else m.encode()),
        )
    t.cancel()


def read(fd):
    try:
        return os.read(fd, 65536)
    except OSError:
        return b""


async def main():
    async with websockets.serve(handler, ip, port, ssl=ctx, ping_interval=opts.get("ping", 20)):
        await asyncio.Future()


asyncio.run(main())
