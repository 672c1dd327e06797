"""An application's outgoing calls: calls.py EVERY_S SECONDS SEED URL... (URL#post:BYTES posts). Mostly new connections, some kept for a few requests."""
import http.client, json, os, random, ssl, sys, time, urllib.parse

every, seconds, seed, urls = float(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4:]
r = random.Random(seed + "calls")
ctx = ssl.create_default_context()
ctx.set_alpn_protocols(["http/1.1"])
end = time.time() + seconds
while time.time() < end:
    time.sleep(r.expovariate(1 / every))
    u, _, opt = r.choice(urls).partition("#")
    p = urllib.parse.urlparse(u)
    try:
        c = (
            http.client.HTTPSConnection(p.hostname, p.port, timeout=20, context=ctx)
            if p.scheme == "https"
            else http.client.HTTPConnection(p.hostname, p.port, timeout=20)
        )
        for _ in range(r.choice([1, 1, 2, 3])):
            h = {
                "User-Agent": "python-requests/2.31.0",
                "Accept": "application/json",
                "Authorization": "Bearer %040x" % r.getrandbits(160),
            }
            if opt.startswith("post:"):
                n = max(10, int(int(opt[5:]) * r.lognormvariate(0, 0.4)))
                c.request(
                    "POST",
                    p.path,
                    json.dumps({"d": os.urandom(n // 2).hex()}),
                    {**h, "Content-Type": "application/json"},
                )
            else:
                c.request("GET", p.path + "?id=%d" % r.randrange(10**6), headers=h)
            c.getresponse().read()
            time.sleep(r.uniform(0.01, 0.3))
        c.close()
    except (OSError, http.client.HTTPException):
        pass
