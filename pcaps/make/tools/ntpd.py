"""Answers NTP requests: ntpd.py ADDRESS."""
import socket, struct, sys, time

s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 123))


def ts(t):
    t += 2208988800
    return struct.pack(">II", int(t), int(t % 1 * 2**32))


while True:
    q, a = s.recvfrom(512)
    t = time.time()
    if len(q) >= 48:
        s.sendto(
            bytes([0x24, 2, q[2], 0xE9])
            + struct.pack(">II4s", 0x120, 0x180, socket.inet_aton("10.1.2.3"))
            + ts(t - 20)
            + q[40:48]
            + ts(t)
            + ts(time.time()),
            a,
        )
