"""An ingress controller: ingress.py ADDRESS PORT EVERY_S SECONDS SEED. Requests at random times over a few kept connections."""
import http.client, random, sys, time

host, port, every, seconds, seed = (
    sys.argv[1],
    int(sys.argv[2]),
    float(sys.argv[3]),
    float(sys.argv[4]),
    sys.argv[5],
)
r = random.Random(seed)
end, conns = time.time() + seconds, []
agents = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/121.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_2 like Mac OS X)",
    "okhttp/4.12.0",
]
while time.time() < end:
    time.sleep(r.expovariate(1 / every))
    if len(conns) < 3:
        conns.append(http.client.HTTPConnection(host, port, timeout=10))
    c = r.choice(conns)
    try:
        for _ in range(r.choice([1, 1, 2, 4])):
            path = r.choice(
                [
                    "/",
                    "/cart",
                    "/api/items?page=%d" % r.randrange(9),
                    "/static/app.%x.js" % r.randrange(1 << 20),
                    "/login",
                ]
            )
            body = (
                "user=%d&note=%s" % (r.randrange(10**6), "x" * r.randrange(200))
                if path == "/login"
                else None
            )
            c.request(
                "POST" if body else "GET",
                path,
                body,
                {
                    "Host": "www.storefront.example",
                    "User-Agent": r.choice(agents),
                    "X-Forwarded-For": "198.51.100.%d" % r.randrange(1, 250),
                    "X-Request-Id": "%032x" % r.getrandbits(128),
                    "Cookie": "sid=%024x" % r.getrandbits(96),
                },
            )
            c.getresponse().read()
    except OSError:
        conns.remove(c)
    except http.client.HTTPException:
        conns.remove(c)
