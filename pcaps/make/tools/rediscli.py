"""A redis client over one connection: rediscli.py HOST EVERY_S SECONDS SEED."""
import random, socket, sys, time

host, every, seconds, seed = sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
r, end = random.Random(seed), time.time() + seconds
s = socket.create_connection((host, 6379), 10)
while time.time() < end:
    a = r.choice(
        [
            ["GET", "cart:%d" % r.randrange(999)],
            ["SETEX", "session:%x" % r.getrandbits(64), "1800", "v" * r.randrange(20, 300)],
            ["INCR", "hits"],
            ["PING"],
        ]
    )
    s.sendall(b"*%d\r\n" % len(a) + b"".join(b"$%d\r\n%s\r\n" % (len(x), x.encode()) for x in a))
    s.recv(65536)
    time.sleep(r.expovariate(1 / every))
