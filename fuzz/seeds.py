#!/usr/bin/env python3
"""Makes seeds for the fuzz targets from captures: fuzz/seeds.py [FOLDER ...], default pcaps/.

decode, engine   the first packets of each capture, as a small pcap file
protocols, tls   what both sides of a flow say, in turns (see `turns` in src/lib.rs)
dns              single messages
Files go to fuzz/corpus/TARGET, named by their content, so that running it twice adds nothing.
"""
import hashlib
import struct
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKETS, PACKET_BYTES = 64, 512
FLOWS, FLOW_TURNS, FLOW_BYTES = 12, 24, 6_000


def seed(target, data):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)


def records(data):
    """Header fields and bytes of each record of a pcap file; link type first."""
    orders = {b"\xd4\xc3\xb2\xa1": ("<", 1), b"\xa1\xb2\xc3\xd4": (">", 1),
              b"\x4d\x3c\xb2\xa1": ("<", 1000), b"\xa1\xb2\x3c\x4d": (">", 1000)}
    if data[:4] not in orders or len(data) < 24:
        return
    order, divisor = orders[data[:4]]
    yield struct.unpack(order + "I", data[20:24])[0]
    at = 24
    while at + 16 <= len(data):
        seconds, fraction, captured, wire = struct.unpack(order + "IIII", data[at:at + 16])
        frame = data[at + 16:at + 16 + captured]
        yield seconds, fraction // divisor, wire, frame
        at += 16 + captured


def transport(frame):
    """Flow, whether from its first sender's side in address order, protocol, payload."""
    kind, ip = frame[12:14], frame[14:]
    while kind in (b"\x81\x00", b"\x88\xa8") and len(ip) > 4:
        kind, ip = ip[2:4], ip[4:]
    if kind == b"\x08\x00" and len(ip) >= 20:
        length = (ip[0] & 15) * 4
        end = struct.unpack(">H", ip[2:4])[0] or len(ip)
        protocol, addresses, upper = ip[9], (ip[12:16], ip[16:20]), ip[length:end]
    elif kind == b"\x86\xdd" and len(ip) >= 40:
        end = 40 + (struct.unpack(">H", ip[4:6])[0] or len(ip))
        protocol, addresses, upper = ip[6], (ip[8:24], ip[24:40]), ip[40:end]
    else:
        return None
    if protocol not in (6, 17) or len(upper) < (20 if protocol == 6 else 8):
        return None
    ports = struct.unpack(">HH", upper[:4])
    payload = upper[(upper[12] >> 4) * 4:] if protocol == 6 else upper[8:]
    ends = [(addresses[0], ports[0]), (addresses[1], ports[1])]
    return (protocol, *sorted(ends)), ends, payload


def of_capture(path):
    parts = records(path.read_bytes())
    link_type = next(parts, None)
    if link_type is None:
        return
    body, flows = b"", {}
    for number, (seconds, fraction, wire, frame) in enumerate(parts):
        if number < PACKETS:
            cut = frame[:PACKET_BYTES]
            body += struct.pack("<IIII", seconds, fraction, len(cut), wire) + cut
        found = transport(frame) if link_type == 1 else None
        if found and found[2]:
            key, (source, destination), payload = found
            if key in flows or len(flows) < FLOWS:
                flow = flows.setdefault(key, (source, destination[1], []))
                flow[2].append((source != flow[0], payload))
    for choice in (0, 3, 6):
        header = struct.pack("<IHHIIII", 0xa1b2c3d4, 2, 4, 0, choice, 65_535, link_type)
        seed("engine", header + body)
    seed("decode", header + body)
    for key, (_, port, turns) in flows.items():
        stream = key[0] == 6
        data = struct.pack(">BH", 0 if stream else 1, port)
        for answer, payload in turns[:FLOW_TURNS]:
            payload = payload[:4_095]
            if len(data) + len(payload) > FLOW_BYTES:
                break
            data += struct.pack(">H", (0x8000 if answer else 0) | len(payload)) + payload
            if not stream and 53 in (key[1][1], key[2][1]):
                seed("dns", payload)
        seed("protocols", data)
        if stream and turns[0][1][:2] == b"\x16\x03":
            seed("tls", data)


def main():
    folders = [Path(name) for name in sys.argv[1:]] or [HERE.parent / "pcaps"]
    for folder in folders:
        for path in sorted(folder.rglob("*.pcap")):
            of_capture(path)
    for folder in sorted((HERE / "corpus").iterdir()):
        print(f"{folder.name}: {len(list(folder.iterdir()))} seeds")


main()
