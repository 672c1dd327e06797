"""What containers do all day: threads and programs that scenarios mix in."""
from lab import end, wait_port


def world(lab):
    """Sites and services that every scenario may use."""
    v = lab.svc
    for name, ip in (
        ("api.stripe-pay.example", "151.101.64.176"),
        ("api.mailgrid.example", "167.89.115.53"),
        ("flags.togglehub.example", "34.107.204.85"),
        ("storage.cloudobj.example", "52.216.88.14"),
        ("cdn.assets-edge.example", "104.18.22.41"),
        ("ingest.errtrack.example", "34.120.195.249"),
    ):
        lab.site(name, ip)
    lab.site("catalog.shop.svc.cluster.local", v + ".12.20", 80, tls=False)
    lab.site("auth.shop.svc.cluster.local", v + ".40.7", 8080, tls=False)
    lab.service(v + ".33.5")
    lab.name("cache.shop.svc.cluster.local", v + ".33.5")
    lab.cluster.run(
        [
            "redis-server",
            "--bind",
            v + ".33.5",
            "--port",
            "6379",
            "--save",
            "",
            "--protected-mode",
            "no",
        ]
    )
    lab.public("162.159.200.1", "162.159.200.123")
    lab.name("time.cloudclock.example", "162.159.200.1", "162.159.200.123")
    for a in ("162.159.200.1", "162.159.200.123"):
        lab.outside.run(["/usr/bin/python3", "/run/lab/tools/ntpd.py", a])
    wait_port(lab.cluster, v + ".33.5", 6379)


def serve(s, port=8080):
    """The container's own web service."""
    p = s.pod.run(
        ["/usr/bin/python3", "/run/lab/tools/httpd.py", s.pod.ip4, str(port)],
        env={"OPTS": '{"page": 1200}'},
    )
    wait_port(s.pod, s.pod.ip4, port)
    return p


def ingress(s, port=8080, every=2.0, seconds=600, source=None):
    """Requests from the ingress controller (keep-alive) and the kubelet's probes, both from the node."""
    p = s.lab.node.run(
        [
            "/usr/bin/python3",
            "/run/lab/tools/ingress.py",
            s.pod.ip4,
            str(port),
            str(every),
            str(seconds),
            s.name,
        ]
    )
    q = s.lab.node.run(
        f"for i in $(seq 1 200); do curl -s -m 2 -o /dev/null -A kube-probe/1.29 http://{s.pod.ip4}:{port}/healthz; sleep 10; done"
    )
    s.stops += [lambda: end(p), lambda: end(q)]


def calls(s, urls, every=7.0, seconds=600, user=None):
    """Calls of APIs by the application: at random times, by name."""
    s.pod.run(
        ["/usr/bin/python3", "/run/lab/tools/calls.py", str(every), str(seconds), s.name, *urls],
        user=user,
    )


def cache(s, every=1.5, seconds=600):
    """redis commands over one connection."""
    s.pod.run(
        [
            "/usr/bin/python3",
            "/run/lab/tools/rediscli.py",
            "cache.shop.svc.cluster.local",
            str(every),
            str(seconds),
            s.name,
        ]
    )


def ntp(s, poll=4):
    """chrony as a client."""
    s.pod.write(
        "/etc/chrony.conf",
        f"server time.cloudclock.example minpoll {poll} maxpoll {poll + 1} iburst\ndriftfile /tmp/drift\ncmdport 0\npidfile /tmp/chronyd.pid\n",
    )
    s.pod.run(["chronyd", "-x", "-d", "-u", "root", "-f", "/etc/chrony.conf"])


APIS = [
    "https://api.stripe-pay.example/v1/charges",
    "https://api.mailgrid.example/v3/mail/send#post:900",
    "https://flags.togglehub.example/sdk/latest-all",
    "http://catalog.shop.svc.cluster.local/items",
    "http://auth.shop.svc.cluster.local:8080/verify#post:300",
]


def web(s, every=2.0, calls_every=6.0, seconds=600, port=8080):
    """All of it: a busy web container."""
    serve(s, port)
    ingress(s, port, every, seconds)
    calls(s, APIS, calls_every, seconds)
    cache(s, 2.0, seconds)


def light(s, seconds=600):
    """A container with little to do."""
    serve(s)
    ingress(s, 8080, 8.0, seconds)
    calls(s, APIS[3:] + APIS[:1], 15.0, seconds)
