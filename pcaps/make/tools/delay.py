"""Joins two network namespaces by a pair of tun devices named wan0 and delays what passes: 8 to 120 ms of round trip, fixed by the outside address.

    delay.py NEAR FAR
"""
import ctypes, fcntl, heapq, os, random, select, struct, sys, time, zlib

libc = ctypes.CDLL(None, use_errno=True)


def tun(ns):
    fd = os.open(f"/run/netns/{ns}", os.O_RDONLY)
    if libc.setns(fd, 0x40000000):
        raise OSError(ctypes.get_errno(), "setns")
    os.close(fd)
    t = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(
        t, 0x400454CA, struct.pack("16sH", b"wan0", 0x0001 | 0x1000)
    )  # TUNSETIFF: IFF_TUN | IFF_NO_PI
    return t


near, far = tun(sys.argv[1]), tun(sys.argv[2])
print("ready", flush=True)
delays, queue, last, n = {}, [], {}, 0


def delay(p, out):
    """Half the round trip of the outside address of a packet, in seconds."""
    a = (
        p[16:20]
        if p[0] >> 4 == 4 and out
        else p[12:16]
        if p[0] >> 4 == 4
        else p[24:40]
        if out
        else p[8:24]
    )
    d = delays.get(a)
    if d is None:
        if len(delays) > 100000:
            delays.clear()
        d = delays[a] = 0.004 + (zlib.crc32(a) % 1000) / 1000 * 0.056
    return a, d


while True:
    now = time.monotonic()
    while queue and queue[0][0] <= now:
        _, _, fd, p = heapq.heappop(queue)
        try:
            os.write(fd, p)
        except OSError:
            pass
    wait = max(0, queue[0][0] - now) if queue else 5
    for fd in select.select([near, far], [], [], wait)[0]:
        for _ in range(64):
            try:
                p = os.read(fd, 70000)
            except OSError:
                break
            if not p or p[0] >> 4 not in (4, 6):
                continue
            a, d = delay(p, fd == near)
            due = max(time.monotonic() + d * random.uniform(1, 1.06), last.get((a, fd), 0))
            last[(a, fd)] = due
            n += 1
            heapq.heappush(queue, (due, n, far if fd == near else near, p))
