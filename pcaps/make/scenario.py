"""One scenario: a container, what runs in it, and the truth about its traffic."""
import contextlib, json, os, random, re, signal, threading, time, traceback
import cap
from lab import Lab
from typist import Typist, writer  # noqa: F401 (scenarios import it from here)


class Scenario:
    def __init__(
        self, lab, name, container, story, tool="", hard=False, background=None, bulk=False
    ):
        self.lab, self.name, self.story, self.tool, self.hard, self.background = (
            lab,
            name,
            story,
            tool,
            hard,
            background,
        )
        self.r = random.Random(name)
        self.pod = lab.pod(container)
        self.findings, self.stops, self.checks, self.threads = [], [], [], []
        self.error = None

    # what runs
    def typist(self, put, pace=1.0):
        return Typist(put, self.name, pace)

    def thread(self, f, *a):
        t = threading.Thread(target=f, args=a, daemon=True)
        t.start()
        self.threads.append(t)
        return t

    def until(self, seconds):
        """Lets the rest run until so many seconds after the start of the capture."""
        time.sleep(max(0, self.t0 + seconds - time.time()))

    def finding(self, cls, dst, dport, proto="tcp", note="", rule=None, **more):
        self.findings.append(
            dict(cls=cls, dst=dst, dport=dport, proto=proto, note=note, rule=rule, **more)
        )

    def bad(self, ip):
        return self.lab.public(ip)

    def run(self, body, out, form):
        raw = f"{self.lab.dir}/{self.name.replace('/', '_')}.pcap"
        stop = self.pod.capture(raw)
        self.t0 = time.time()
        try:
            body(self)
        except Exception:
            self.error = traceback.format_exc()
        time.sleep(1)
        stop()
        for f in self.stops:
            with contextlib.suppress(Exception):
                f()
        self.pod.stop()
        self.save(cap.read(raw), out, form)
        os.unlink(raw)

    # what is written
    def match(self, f):
        import ipaddress

        b = lambda a: ipaddress.ip_address(a).packed if a else None
        mine = {b(self.pod.ip4), b(self.pod.ip6)}
        proto = {"tcp": 6, "udp": 17, "icmp": 1}[f["proto"]]

        def is_it(k):
            if k[2] != proto:
                return False
            if f.get("direction") == "inbound":
                return {k[0], k[1]} & mine and b(f["src"]) in k[:2] and f["dport"] in k[3:5]
            if b(f["dst"]) not in k[:2]:
                return False
            return f["dport"] is None or (k[4] if k[1] == b(f["dst"]) else k[3]) == f["dport"]

        return is_it

    def save(self, packets, out, form):
        if getattr(self, "skip", None):  # the capture is to begin later
            packets = [p for p in packets if p[0] >= self.skip]
        packets = cap.own(packets, self.pod.ip4, self.pod.ip6)
        factor = getattr(self, "factor", 1)
        if factor != 1:
            packets = cap.stretch(packets, factor)
        keep = []
        for f in self.findings:
            m = self.match(f)
            hit = [(t, n, d) for t, n, d in packets if (k := cap.parse(d)) and m(k)]
            if f.get("contains"):
                hit = [h for h in hit if f["contains"] in h[2]]
            if not hit:
                self.error = (self.error or "") + f"\nno packets for {f['dst']}:{f['dport']}"
            f["first"], f["last"] = (
                (hit[0][0], hit[-1][0]) if hit else (packets[0][0], packets[-1][0])
            )
            if f.get("since"):
                f["first"] = max(f["first"], f["since"])
            f["packets"], f["bytes"] = len(hit), sum(h[1] for h in hit)
            if f["cls"] != "exfil" or f.get("whole"):
                keep.append(m)
        for what, found in self.checks:
            blob = b"".join(d[54:] for _, _, d in packets)
            if (what in blob) != found:
                self.error = (self.error or "") + f"\ncheck failed: {what} {found}"
        form(self, packets, keep, out)


def truth_json(s, packets, keep, out):
    """The hold-out's form: NAME.pcap and NAME.truth.json."""
    packets, trimmed = cap.cut(packets, keep, only_over=400_000)
    os.makedirs(out, exist_ok=True)
    cap.write(f"{out}/{s.name}.pcap", packets)
    fs = []
    for f in s.findings:
        r = {
            "class": f["cls"],
            "dst": f["dst"],
            "dport": f["dport"],
            "proto": f["proto"],
            "first": f["first"],
            "last": f["last"],
            "note": f["note"],
            "also_ok": f.get("also_ok", []),
            "packets": f["packets"],
            "bytes": f["bytes"],
        }
        for k in ("direction", "src", "domain", "group", "dst_net"):
            if f.get(k):
                r[k] = f[k]
        fs.append(r)
    t = {
        "scenario": s.name,
        "container": s.pod.ip4,
        "container_ip6": s.pod.ip6,
        "container_name": s.pod.name,
        "findings": fs,
        "benign_notes": s.story,
        "hard": s.hard,
        "background": s.background,
        "synthetic": getattr(s, "factor", 1) != 1,
        "duration_s": round(packets[-1][0] - packets[0][0], 1),
        "first_packet": packets[0][0],
        "last_packet": packets[-1][0],
        "packets": len(packets),
        "trimmed_packets": trimmed,
        "size": os.path.getsize(f"{out}/{s.name}.pcap"),
        "checks": [],
        "asserts": [],
        "tool": s.tool,
    }
    if s.error:
        t["error"] = s.error
    if getattr(s, "factor", 1) != 1:
        t["time_factor"] = s.factor
    json.dump(t, open(f"{out}/{s.name}.truth.json", "w"), indent=1)


DETECTOR = {
    "reverse_shell": "reverse_shell",
    "bind_shell": "reverse_shell",
    "beacon": "beacon",
    "exfil": "exfiltration",
}


def toml(s, packets, keep, out):
    """The repository's form: NAME.pcap and NAME.toml."""
    size = lambda ps: 24 + sum(16 + len(d) for _, _, d in ps)
    whole = size(packets)
    for head, snap in ((3000, 96), (1500, 66), (600, 60), (300, 54), (0, 54)):
        if whole <= 180_000:
            break
        packets, _ = cap.cut(
            packets, keep, head=head, snap=snap, bulk_snap=min(snap, 66) if snap > 54 else 54
        )
        if size(packets) <= 220_000:
            break
    if size(packets) > 290_000:
        packets = cap.thin(packets, keep)
    os.makedirs(os.path.dirname(f"{out}/{s.name}"), exist_ok=True)
    cap.write(f"{out}/{s.name}.pcap", packets)
    q = json.dumps
    L = [
        "# Written by pcaps/make/repo.py together with the capture beside it.",
        f"story = {q(s.story)}",
        f"tool = {q(s.tool)}",
        f"container = {q(s.pod.ip4)}",
        f"container_ip6 = {q(s.pod.ip6)}",
        f"container_name = {q(s.pod.name)}",
        f"hard = {q(s.hard)}",
        f"packets = {len(packets)}",
        f"seconds = {round(packets[-1][0] - packets[0][0])}",
    ]
    if getattr(s, "factor", 1) != 1:
        L.append(f"stretched = {s.factor}")
    if s.error:
        L.append(f"error = {q(s.error)}")
    for f in s.findings:
        inbound = f.get("direction") == "inbound"
        L += ["", "[[finding]]", f"detector = {q(DETECTOR[f['cls']])}"]
        if f.get("rule"):
            L.append(f"rule = {q(f['rule'])}")
        L.append(f"peer = {q(f['src'] if inbound else f['dst'])}")
        if f["dport"] is not None:
            L.append(f"port = {f['dport']}")
        L += [
            f"protocol = {q(f['proto'])}",
            f"direction = {q('inbound' if inbound else 'outbound')}",
            f"first = {q(stamp(f['first']))}",
            f"last = {q(stamp(f['last']))}",
            f"note = {q(f['note'])}",
        ]
        if f.get("also_ok"):
            L.append("# Detectors that may name the same peer as well.")
            L.append(f"also = {q([DETECTOR.get(x, x) for x in f['also_ok']])}")
        if f.get("group"):
            L.append("# One finding of the group suffices.")
            L.append(f"group = {q(f['group'])}")
    open(f"{out}/{s.name}.toml", "w").write("\n".join(L) + "\n")


def stamp(t):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(t)) + f".{int(t % 1 * 1e6):06d}Z"


def run_all(lab, todo, out, form, parallel=8):
    """Runs scenario functions (decorated with `scenario`), so many at a time."""
    gate, errors = threading.Semaphore(parallel), []

    def one(spec):
        with gate:
            try:
                with lab.lock:
                    s = Scenario(lab, spec.name, **spec.meta)
                s.run(spec.body, out, form)
                if s.error:
                    errors.append((spec.name, s.error))
                print(
                    f"{time.strftime('%H:%M:%S')} {spec.name}{' ERROR ' + s.error if s.error else ''}",
                    flush=True,
                )
            except Exception:
                errors.append((spec.name, traceback.format_exc()))
                print(spec.name, traceback.format_exc(), flush=True)

    ts = []
    for spec in todo:
        t = threading.Thread(target=one, args=(spec,))
        t.start()
        ts.append(t)
        time.sleep(0.4)
    for t in ts:
        t.join()
    return errors


class Spec:
    def __init__(self, name, body, meta):
        self.name, self.body, self.meta = name, body, meta


ALL = []


def scenario(name, container, story, **meta):
    def wrap(body):
        ALL.append(Spec(name, body, dict(container=container, story=story, **meta)))
        return body

    return wrap


def main(tag, third, zones=(), setup=None, form=truth_json, out=None, argv=None):
    """Command line of a file of scenarios: [REGEX] [--parallel N] [--out DIR] [--list]."""
    import argparse

    ap = argparse.ArgumentParser()
    ap.add_argument("only", nargs="?", default=".")
    ap.add_argument("--parallel", type=int, default=8)
    ap.add_argument("--out", default=out)
    ap.add_argument(
        "--missing",
        action="store_true",
        help="only those without a capture (or with an error in it)",
    )
    ap.add_argument(
        "--tag",
        default=tag,
        help="names the namespaces: runs with different tags may go on at the same time",
    )
    ap.add_argument("--list", action="store_true")
    a = ap.parse_args(argv)
    todo = [s for s in ALL if re.search(a.only, s.name)]
    if a.missing:

        def have(n):
            for e in (".truth.json", ".toml"):
                if os.path.exists(f"{a.out}/{n}{e}"):
                    return not re.search(
                        r'^ ?"?error"? ?[:=]', open(f"{a.out}/{n}{e}").read(), re.M
                    )
            return False

        todo = [s for s in todo if not have(s.name)]
    if a.list:
        for s in todo:
            print(s.name, "|", s.meta["story"])
        return 0
    errors = []
    for bulk in (False, True):
        part = [s for s in todo if bool(s.meta.get("bulk")) == bulk]
        if part:
            with Lab(a.tag, third, zones, delay=not bulk) as lab:
                signal.signal(signal.SIGTERM, lambda *_: (lab.down(), os._exit(1)))
                if setup:
                    setup(lab)
                errors += run_all(lab, part, a.out, form, a.parallel)
    print(f"{len(todo) - len(errors)} made, {len(errors)} failed")
    return 1 if errors else 0
