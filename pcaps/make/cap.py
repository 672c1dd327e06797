"""Classic pcap files: read, cut bulk payload (the records keep the original lengths), stretch in time, count flows."""
import struct


def read(path):
    b = open(path, "rb").read()
    nano = b[:4] == b"\x4d\x3c\xb2\xa1"
    out, o = [], 24
    while o + 16 <= len(b):
        s, u, c, n = struct.unpack_from("<IIII", b, o)
        if o + 16 + c > len(b):
            break
        out.append((s + u / (1e9 if nano else 1e6), n, b[o + 16 : o + 16 + c]))
        o += 16 + c
    return out


def write(path, packets):
    with open(path, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
        for t, n, d in packets:
            us = round(t * 1e6)
            f.write(struct.pack("<IIII", us // 1000000, us % 1000000, len(d), n) + d)


def address(b):
    import ipaddress

    return str(ipaddress.ip_address(b))


def parse(d):
    """(source, destination, protocol, source port, destination port, payload offset, payload bytes) or None."""
    if len(d) < 34:
        return None
    et = d[12:14]
    if et == b"\x08\x00":
        ihl = (d[14] & 15) * 4
        p, s, t, at, total = (
            d[23],
            d[26:30],
            d[30:34],
            14 + ihl,
            14 + struct.unpack_from(">H", d, 16)[0],
        )
        if struct.unpack_from(">H", d, 16)[0] == 0:
            total = len(d)
    elif et == b"\x86\xdd" and len(d) >= 54:
        p, s, t, at, total = (
            d[20],
            d[22:38],
            d[38:54],
            54,
            54 + (struct.unpack_from(">H", d, 18)[0] or len(d) - 54),
        )
    else:
        return None
    if p == 6 and len(d) >= at + 20:
        sp, dp = struct.unpack_from(">HH", d, at)
        off = at + (d[at + 12] >> 4) * 4
    elif p == 17 and len(d) >= at + 8:
        sp, dp = struct.unpack_from(">HH", d, at)
        off = at + 8
    else:
        return (s, t, p, 0, 0, at, max(0, total - at))
    return (s, t, p, sp, dp, off, max(0, total - off))


def own(packets, *mine):
    """Without what a bridge floods to every port: unicast and ARP between others than these addresses (text)."""
    import ipaddress

    mine = [ipaddress.ip_address(a).packed for a in mine]

    def keep(d):
        if d[12:14] == b"\x08\x06":
            return d[28:32] in mine or d[38:42] in mine
        if d[12:14] == b"\x08\x00":
            return d[26:30] in mine or d[30:34] in mine or d[30] >= 224
        if d[12:14] == b"\x86\xdd":
            return d[22:38] in mine or d[38:54] in mine or d[22] == 0xFE or d[38] == 0xFF
        return True

    return [p for p in packets if keep(p[2])]


def cut(packets, keep=(), head=6000, snap=96, bulk_snap=66, only_over=0):
    """After the first `head` bytes of a flow's direction, keeps `snap` bytes of a packet (`bulk_snap` after ten times that). Flows for which a function in `keep` says yes stay whole."""
    if only_over and sum(len(d) + 16 for _, _, d in packets) <= only_over:
        return packets, 0
    seen, out, n = {}, [], 0
    for t, orig, d in packets:
        k = parse(d)
        if k and not any(f(k) for f in keep):
            have = seen.get(k[:5], 0)
            seen[k[:5]] = have + k[6]
            s = bulk_snap if have > 10 * head else snap
            if have > head and len(d) > s:
                d, n = d[:s], n + 1
        out.append((t, orig, d))
    return out, n


def thin(packets, keep=(), flows=10, snap=160):
    """Packets of flows after the first `flows` between the same ends and server port keep `snap` bytes."""
    seen, out = {}, []
    for t, n, d in packets:
        k = parse(d)
        if k and k[2] == 6 and len(d) > snap and not any(f(k) for f in keep):
            client = max(k[3], k[4])
            ports = seen.setdefault((frozenset(k[:2]), min(k[3], k[4])), {})
            if ports.setdefault(client, len(ports)) >= flows:
                d = d[:snap]
        out.append((t, n, d))
    return out


def stretch(packets, factor, gap=1.2):
    """Bursts of a flow (ended by `gap` seconds of silence) begin `factor` times as late; inside a burst time is real."""
    if not packets:
        return packets
    t0, state, out = packets[0][0], {}, []
    for i, (t, n, d) in enumerate(packets):
        k = parse(d)
        k = tuple(sorted(((k[0], k[3]), (k[1], k[4])))) + (k[2],) if k else d[:14]
        last, shift = state.get(k, (None, 0))
        if last is None or t - last > gap:
            shift = (t - t0) * (factor - 1)
        state[k] = (t, shift)
        out.append((t + shift, i, n, d))
    return [(t, n, d) for t, i, n, d in sorted(out)]
