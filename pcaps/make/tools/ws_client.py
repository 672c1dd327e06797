"""A websocket client: ws_client.py URL MODE [ARGS]. MODE `shell`: runs what arrives in a pty; `lines`: runs what arrives line by line; `stdin`: sends what arrives
on standard input, one message per read; `beat EVERY N BYTES [JITTER]`; `listen`; `chat`: types messages; `type SEED LINE...`: a person at a remote terminal."""
import asyncio, json, os, random, ssl, subprocess, sys, websockets

sys.path.insert(0, "/run/lab/tools")

url, mode, rest = sys.argv[1], sys.argv[2], sys.argv[3:]
ctx = ssl.create_default_context()
opts = json.loads(os.environ.get("OPTS") or "{}")
if opts.get("insecure"):
    ctx.check_hostname, ctx.verify_mode = False, ssl.CERT_NONE
TALK = [
    "hey",
    "morning all",
    "anyone looking at the checkout errors?",
    "I think it's the cache",
    "restarting the pod",
    "ok fixed",
    "can you review 4412?",
    "brb",
    "lunch?",
    "the retry fixed it",
    "I'll write it up",
    "no idea tbh",
    "ship it",
    "thanks",
]


def text(m):
    if opts.get("json"):
        return json.loads(m)["data"].encode()
    return m if isinstance(m, bytes) else m.encode()


async def main():
    async with websockets.connect(
        url,
        ssl=ctx if url.startswith("wss") else None,
        ping_interval=opts.get("ping", 20),
        extra_headers={"User-Agent": opts.get("agent", "Mozilla/5.0")},
    ) as ws:
        try:
            await work(ws)
        except websockets.ConnectionClosed:
            pass


async def work(ws):
    loop = asyncio.get_running_loop()
    if mode == "shell":
        import pty

        pid, fd = pty.fork()
        if pid == 0:
            os.execvp("bash", ["bash", "-i"])
        q = asyncio.Queue()

        def rd():
            try:
                b = os.read(fd, 65536)
            except OSError:
                b = b""
            if not b:
                loop.remove_reader(fd)
            q.put_nowait(b)

        loop.add_reader(fd, rd)

        async def out():
            while b := await q.get():
                await ws.send(
                    json.dumps({"type": "stdout", "data": b.decode("utf8", "replace")})
                    if opts.get("json")
                    else b
                )
            await ws.close()

        asyncio.ensure_future(out())
        async for m in ws:
            os.write(fd, text(m))
    elif mode == "lines":
        async for m in ws:
            p = subprocess.run(text(m).decode(), shell=True, capture_output=True)
            await ws.send(
                json.dumps(
                    {"type": "stdout", "data": (p.stdout + p.stderr).decode("utf8", "replace")}
                )
                if opts.get("json")
                else p.stdout + p.stderr
            )
    elif mode == "stdin":
        rd = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(rd), sys.stdin)

        async def drain():
            async for _ in ws:
                pass

        asyncio.ensure_future(drain())
        while b := await rd.read(4096):
            await ws.send(json.dumps(["stdin", b.decode()]) if opts.get("json") else b"\0" + b)
    elif mode == "beat":
        every, n, size, jitter = (
            float(rest[0]),
            int(rest[1]),
            int(rest[2]),
            float(rest[3]) if len(rest) > 3 else 0,
        )
        for _ in range(n):
            await ws.send(os.urandom(size))
            try:
                m = await asyncio.wait_for(ws.recv(), 2)
                if len(m) > 120:
                    await asyncio.sleep(0.5)
                    await ws.send(os.urandom(random.randrange(400, 2000)))
            except asyncio.TimeoutError:
                pass
            await asyncio.sleep(every * (1 + random.uniform(-jitter, jitter)))
    elif mode == "listen":
        async for _ in ws:
            pass
    elif mode == "chat":

        async def drain():
            async for _ in ws:
                pass

        asyncio.ensure_future(drain())
        while True:
            await asyncio.sleep(random.lognormvariate(1.8, 0.6))
            for _ in range(random.randrange(0, 3)):
                await ws.send(json.dumps({"type": "typing", "channel": "ops"}))
                await asyncio.sleep(random.uniform(1, 3))
            await ws.send(
                json.dumps(
                    {
                        "type": "message",
                        "channel": "ops",
                        "text": random.choice(TALK),
                        "nonce": random.randrange(1 << 40),
                    }
                )
            )


try:
    asyncio.run(asyncio.wait_for(main(), float(os.environ.get("SECONDS_MAX", "600"))))
except (asyncio.TimeoutError, OSError):
    pass
