#!/usr/bin/env python3
"""What `vethwatch node` and `vethwatch sidecar` cost, in network namespaces of this script's own.

    scripts/node-cost.py PATH_OF_VETHWATCH [rest] [rest6] [churn] [rate] [overload] [workers]

rest   memory and processor time of `node` at rest beside 1, 50 and 250 containers without IPv6, as
       Docker makes them
rest6  the same with IPv6: each asks for a router, and the bridge carries that to all others
churn  the same while containers come and go, five a second, each living two seconds, for a minute
rate   the highest rate over one veth at which nothing is dropped, of `node`, `sidecar` and
       `tcpdump -w /dev/null`, each with the same kernel buffer, in turn at every rate

overload  two of `node` that run a quarter of the time, one sparing bulk and one not, beside TCP as fast as
       it goes, in segments of up to 64 KiB and of 1500 bytes: frames dropped, and accounted for a second
       of processor time

workers  one, two and four workers beside two containers that each send the same packets: processor time of
       each thread, and memory

Needs root, iproute2, iperf3, tcpdump, tcpreplay and ethtool; takes three, three, one, about six, one and one
minutes. Ends what it
started, by id, and removes its namespaces. Other work on the machine costs rate, and the ratio less.
"""
import json
import os
import re
import signal
import struct
import subprocess
import sys
import tempfile
import time

BINARY = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "target/release/vethwatch")
PARTS = sys.argv[2:] or ["rest", "rest6", "churn", "rate", "overload", "workers"]
PREFIX = f"vwc{os.getpid()}"
HOST = f"{PREFIX}-host"
GATEWAY = "10.213.0.1"
# A socket that is not there: the machine's own containers are none of ours.
NOWHERE = ["--cri-socket", "/nonexistent", "--docker-socket", "/nonexistent"]
# Nothing dropped in one of so many tries counts: whatever else runs here disturbs some.
TRIES = 4
SECONDS = 3
BUFFER_MIB = {"node": 32, "sidecar": 4}
FOLDER = tempfile.TemporaryDirectory(prefix="vethwatch-cost-")
started, namespaces = [], []


def ip(*words, check=True):
    subprocess.run(["ip", *words], check=check, capture_output=True)


def add_namespace(name):
    ip("netns", "add", name)
    namespaces.append(name)
    ip("-n", name, "link", "set", "lo", "up")


def delete_namespace(name):
    ip("netns", "del", name, check=False)
    namespaces.remove(name)


def add_container(number, ipv6=False):
    """A namespace with a veth to the host's bridge, and a process that has the namespace."""
    name = f"{PREFIX}-{number}"
    add_namespace(name)
    if not ipv6:
        subprocess.run(["ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1",
                        "net.ipv6.conf.default.disable_ipv6=1"], check=True)
    ip("-n", HOST, "link", "add", f"v{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
    ip("-n", HOST, "link", "set", f"v{number}", "master", "br0", "up")
    host, low = divmod(number + 256, 250)
    ip("-n", name, "addr", "add", f"10.213.{host}.{low + 1}/16", "dev", "eth0")
    ip("-n", name, "link", "set", "eth0", "up")
    talk = f"for i in 1 2 3; do echo hello >/dev/udp/{GATEWAY}/{1000 + number % 50000}; done; exec sleep 900"
    return name, start(name, "bash", "-c", talk)


def start(namespace, *words, err=subprocess.DEVNULL):
    # Becomes the program, so the number is the program's.
    process = subprocess.Popen(["ip", "netns", "exec", namespace, *words],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=err)
    started.append(process)
    return process


def end(process, number=signal.SIGTERM):
    if process.poll() is None:
        process.send_signal(number)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    started.remove(process)


def cpu_s(process):
    """Processor time it took so far (seconds)."""
    fields = open(f"/proc/{process.pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Watcher:
    """A running `vethwatch`, and what it says."""

    def __init__(self, mode, namespace, *words):
        self.records = os.path.join(FOLDER.name, f"records{len(started)}")
        self.log = os.path.join(FOLDER.name, f"log{len(started)}")
        with open(self.log, "wb") as log:
            self.process = start(namespace, BINARY, mode, "--format", "eve", "--output", self.records,
                                 *(NOWHERE if mode == "node" else []), *words, err=log)
        until(lambda: b"watching" in open(self.log, "rb").read(), 20)

    def memory_mib(self):
        status = open(f"/proc/{self.process.pid}/status").read()
        keys = "VmRSS", "VmHWM", "RssAnon"
        return [int(re.search(rf"{key}:\s+(\d+)", status)[1]) / 1024 for key in keys]

    def cpu_s(self):
        return cpu_s(self.process)

    def dropped(self):
        """Ends it. Returns frames passed, and dropped or not analysed, by its own last count."""
        passed, dropped, _, unanalysed = self.counts()
        return passed, dropped + unanalysed

    def counts(self):
        """Ends it. Returns frames passed, dropped, cut to their headers, and counted only."""
        end(self.process)
        with open(self.records) as records:
            last = [record for line in records if (record := json.loads(line))["event_type"] == "stats"][-1]
        counters = last["vethwatch"]["counters"]
        return (*last["stats"]["capture"].values(), counters["bulk_cut_frames"], counters["bulk_dropped_frames"])


def until(is_so, seconds):
    end_at = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end_at:
            raise SystemExit("node-cost: waited in vain; see the log above")
        time.sleep(0.05)


def host():
    add_namespace(HOST)
    ip("-n", HOST, "link", "add", "br0", "type", "bridge")
    ip("-n", HOST, "addr", "add", f"{GATEWAY}/16", "dev", "br0")
    ip("-n", HOST, "link", "set", "br0", "up")


def say(text):
    print(text, flush=True)


def rest(ipv6=False):
    containers = []
    for wanted in (1, 50, 250):
        while len(containers) < wanted:
            containers.append(add_container(len(containers), ipv6))
        # Until the kernel has told all neighbours of all addresses.
        time.sleep(20)
        watcher = Watcher("node", HOST)
        time.sleep(10)
        before, at = watcher.cpu_s(), time.monotonic()
        time.sleep(20)
        cpu = 100 * (watcher.cpu_s() - before) / (time.monotonic() - at)
        now, peak, own = watcher.memory_mib()
        end(watcher.process)
        say(f"rest{'6' if ipv6 else ''}: {wanted} veths: {now:.1f} MiB resident (peak {peak:.1f}, "
            f"without the kernel's buffer and the program {own:.1f}), {cpu:.2f} % of a core")
    for name, process in containers:
        end(process, signal.SIGKILL)
        delete_namespace(name)


def churn():
    watcher = Watcher("node", HOST)
    alive, number, begin, next_say = [], 1000, time.monotonic(), 10
    before = watcher.cpu_s()
    while (now := time.monotonic() - begin) < 60:
        while alive and now - alive[0][2] > 2:
            name, process, _ = alive.pop(0)
            end(process, signal.SIGKILL)
            delete_namespace(name)
        if now > (number - 1000) / 5:
            name, process = add_container(number)
            alive.append((name, process, now))
            number += 1
        if now > next_say:
            resident, _, own = watcher.memory_mib()
            say(f"churn: {next_say} s, {number - 1000} containers so far: "
                f"{resident:.1f} MiB resident (own {own:.1f})")
            next_say += 10
        time.sleep(0.01)
    cpu = 100 * (watcher.cpu_s() - before) / (time.monotonic() - begin)
    resident, peak, own = watcher.memory_mib()
    for name, process, _ in alive:
        end(process, signal.SIGKILL)
        delete_namespace(name)
    passed, dropped = watcher.dropped()
    say(f"churn: 60 s, {number - 1000} containers: {resident:.1f} MiB resident (peak {peak:.1f}, own "
        f"{own:.1f}), {cpu:.1f} % of a core; {passed} frames, {dropped} dropped")


def conversations(path):
    """A capture of 2,000 interleaved TCP conversations with a web server: 15 packets each, 440 bytes
    on average."""
    def checksum(data):
        total = sum(struct.unpack(f"!{len(data) // 2}H", data))
        total = (total & 0xFFFF) + (total >> 16)
        return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF

    def frame(client, port, outbound, flags, seq, ack, payload):
        ends = [(bytes([10, 213, 1, 8]), port), (bytes([203, 0, 113, client]), 80)]
        (source, source_port), (target, target_port) = ends if outbound else ends[::-1]
        head = struct.pack("!BBHHHBBH", 0x45, 0, 40 + len(payload), 1, 0x4000, 64, 6, 0)
        head = head[:10] + struct.pack("!H", checksum(head + b"\0\0" + source + target)) + b"\0\0"
        head = head[:12] + source + target
        tcp = struct.pack("!HHIIBBHHH", source_port, target_port, seq, ack, 0x50, flags, 64000, 0, 0)
        macs = bytes([2, 0, 0, 0, 0, 1]), bytes([2, 0, 0, 0, 0, 2])
        return b"".join(macs if outbound else macs[::-1]) + b"\x08\x00" + head[:20] + tcp + payload

    request = b"GET /index.html HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: test\r\n\r\n"
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 6000\r\n\r\n"
    body = (answer + b"x" * 6000)[:6000]
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for group in range(20):
            talks = []
            for number in range(100):
                client, port = 1 + number % 200, 20000 + group * 100 + number
                steps = [(True, 2, 1, 0, b""), (False, 18, 1, 2, b""), (True, 16, 2, 2, b""),
                         (True, 24, 2, 2, request)]
                sent = 2 + len(request)
                for piece in range(4):
                    part = body[piece * 1400:(piece + 1) * 1400]
                    steps.append((False, 24, 2 + piece * 1400, sent, part))
                    steps.append((True, 16, sent, 2 + piece * 1400 + len(part), b""))
                steps += [(True, 17, sent, 5602, b""), (False, 17, 5602, sent + 1, b""),
                          (True, 16, sent + 1, 5603, b"")]
                talks.append((client, port, steps))
            for step in range(15):
                for client, port, steps in talks:
                    data = frame(client, port, *steps[step])
                    file.write(struct.pack("<IIII", 1, 0, len(data), len(data)) + data)


def bulk(name, rate):
    """TCP over four connections at `rate` Gbit/s in all; segments of a veth are up to 64 KiB."""
    server = start(HOST, "iperf3", "-s", "-1")
    time.sleep(0.3)
    done = subprocess.run(["ip", "netns", "exec", name, "timeout", "20", "iperf3", "-J", "-c", GATEWAY,
                           "-P", "4", "-t", str(SECONDS), "-b", f"{rate / 4}G"], capture_output=True)
    end(server)
    return json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"] / 1e9


def packets(name, rate):
    """The conversations over and over, at `rate` thousand packets a second."""
    loops = max(1, round(rate * SECONDS / 30))
    done = subprocess.run(["ip", "netns", "exec", name, "timeout", "30", "tcpreplay", "-q", "-i", "eth0",
                           "--preload-pcap", "--pps", str(int(rate * 1000)), "--loop", str(loops), conversations_path],
                          capture_output=True, text=True)
    return float(re.search(r"([\d.]+) pps", done.stdout)[1]) / 1000


def tcpdump(namespace, interface, mib, send):
    log = os.path.join(FOLDER.name, "tcpdump")
    with open(log, "wb") as err:
        # -Z root: it stays what it is, so that it may write and be ended.
        process = start(namespace, "tcpdump", "-Z", "root", "-n", "-i", interface, "-B", str(mib * 1024),
                        "-w", "/dev/null", err=err)
    until(lambda: b"listening on" in open(log, "rb").read(), 10)
    begin = cpu_s(process)
    rate = send()
    time.sleep(0.5)
    cpu = 100 * (cpu_s(process) - begin) / SECONDS
    end(process, signal.SIGINT)
    said = open(log).read()
    return rate, cpu, int(re.search(r"(\d+) packets? dropped by kernel", said)[1])


def vethwatch(mode, namespace, mib, send):
    watcher = Watcher(mode, namespace, "--buffer", str(mib))
    begin = watcher.cpu_s()
    rate = send()
    time.sleep(0.5)
    cpu = 100 * (watcher.cpu_s() - begin) / SECONDS
    return rate, cpu, watcher.dropped()[1]


def rate():
    name, process = add_container(2)
    time.sleep(1)
    for load, unit, rates in ((bulk, "Gbit/s", (2, 4, 6, 8, 12, 16, 20, 24, 32)),
                              (packets, "kpps", (100, 200, 300, 400, 600))):
        for mode, namespace, interface in (("node", HOST, "v2"), ("sidecar", name, "eth0")):
            mib = BUFFER_MIB[mode]
            tools = {"tcpdump": lambda send: tcpdump(namespace, interface, mib, send),
                     mode: lambda send: vethwatch(mode, namespace, mib, send)}
            best, beaten = dict.fromkeys(tools, 0.0), set()
            for asked in rates:
                if len(beaten) == len(tools):
                    break
                for tool, run in tools.items():
                    if tool in beaten:
                        continue
                    tries = []
                    for _ in range(TRIES):
                        tries.append(run(lambda: load(name, asked)))
                        if tries[-1][-1] == 0:
                            best[tool] = max(best[tool], tries[-1][0])
                            break
                    else:
                        beaten.add(tool)
                    told = ", ".join(f"{sent:.1f} at {cpu:.0f} % of a core with {lost} dropped"
                                     for sent, cpu, lost in tries)
                    say(f"  {load.__name__} {asked} {unit} {tool}: {told}")
            ratio = best[mode] / best["tcpdump"] if best["tcpdump"] else 0
            say(f"rate: {load.__name__}, {mib} MiB: without loss {mode} {best[mode]:.1f} {unit}, "
                f"tcpdump {best['tcpdump']:.1f} {unit}, ratio {ratio:.2f}")
    end(process, signal.SIGKILL)
    delete_namespace(name)


def overload():
    name, process = add_container(2)
    whole = os.path.join(FOLDER.name, "whole.toml")
    with open(whole, "w") as file:
        file.write("[capture]\nbulk_cut_share = 1.0\n")
    for segments in ("64 KiB", "1500 bytes"):
        if segments != "64 KiB":
            for namespace, interface in ((name, "eth0"), (HOST, "v2"), (HOST, "br0")):
                subprocess.run(["ip", "netns", "exec", namespace, "ethtool", "-K", interface, "tso", "off",
                                "gso", "off", "gro", "off"], check=True, capture_output=True)
        small = "--buffer", "4"
        watchers = {"sparing": Watcher("node", HOST, *small), "not sparing": Watcher("node", HOST, *small,
                                                                                     "--config", whole)}
        server = start(HOST, "iperf3", "-s", "-1")
        time.sleep(0.5)
        client = start(name, "iperf3", "-c", GATEWAY, "-t", "15")
        while client.poll() is None:
            for number, seconds in ((signal.SIGSTOP, 0.15), (signal.SIGCONT, 0.05)):
                for watcher in watchers.values():
                    watcher.process.send_signal(number)
                time.sleep(seconds)
        started.remove(client)
        end(server)
        for how, watcher in watchers.items():
            cpu = watcher.cpu_s()
            passed, dropped, cut, counted = watcher.counts()
            say(f"overload: segments of {segments}, {how}: {passed} frames, {100 * dropped / passed:.1f} % dropped, "
                f"{cut} cut, {counted} counted only; {cpu:.2f} s, {(passed - dropped) / cpu / 1e6:.1f} million "
                "frames accounted for a second of it")
    end(process, signal.SIGKILL)
    delete_namespace(name)


def threads_s(process):
    """Processor time of each of its threads so far (seconds)."""
    folder, times = f"/proc/{process.pid}/task", {}
    for task in sorted(os.listdir(folder), key=int):
        name, fields = open(f"{folder}/{task}/stat").read().split("(", 1)[1].rsplit(")", 1)
        fields = fields.split()
        times[task, name] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return times


def workers():
    containers = [add_container(number) for number in (2, 3)]
    time.sleep(1)
    for count in (1, 2, 4):
        config = os.path.join(FOLDER.name, f"workers{count}.toml")
        with open(config, "w") as file:
            file.write(f"[capture]\nworkers = {count}\n")
        watcher = Watcher("node", HOST, "--events", "alert,stats", "--config", config)
        time.sleep(1)
        resident, _, own = watcher.memory_mib()
        before = threads_s(watcher.process)
        senders = [start(name, "tcpreplay", "-q", "-i", "eth0", "--preload-pcap", "--pps", "40000", "--loop", "20",
                         conversations_path) for name, _ in containers]
        for sender in senders:
            sender.wait(120)
            started.remove(sender)
        time.sleep(1)
        used = {(task, name): now - before[task, name] for (task, name), now in threads_s(watcher.process).items()}
        passed, dropped = watcher.dropped()
        told = ", ".join(f"{name} {seconds:.2f} s" for (_, name), seconds in used.items() if seconds >= 0.02)
        say(f"workers: {count}: {resident:.1f} MiB at rest (own {own:.1f}); {passed} frames, {dropped} dropped; "
            f"{1e6 * sum(used.values()) / passed:.2f} s of a core for a million ({told})")
    for name, process in containers:
        end(process, signal.SIGKILL)
        delete_namespace(name)


conversations_path = os.path.join(FOLDER.name, "conversations.pcap")
try:
    host()
    if "rate" in PARTS or "workers" in PARTS:
        conversations(conversations_path)
    if "rate" in PARTS:
        rate()
    if "rest" in PARTS:
        rest()
    if "rest6" in PARTS:
        rest(ipv6=True)
    if "churn" in PARTS:
        churn()
    if "overload" in PARTS:
        overload()
    if "workers" in PARTS:
        workers()
finally:
    for process in list(started):
        end(process, signal.SIGKILL)
    for name in list(namespaces):
        delete_namespace(name)
