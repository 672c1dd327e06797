"""The captures in pcaps/benign."""
import json, time
import benign
from attack import SSH, sshd, terminal, use_key
from lab import end, wait_port
from scenario import scenario, writer

B = "benign/"


def agent(place, name, **o):
    return place.run(["/usr/bin/python3", "/run/lab/tools/agents.py", name, json.dumps(o)])


def postgres(lab, ip=None):
    """One real PostgreSQL for all that need it."""
    with lab.lock:
        if not getattr(lab, "pg", None):
            c, b = lab.cluster, "/usr/lib/postgresql/15/bin"
            ip = lab.svc + ".20.11"
            lab.service(ip)
            lab.name("orders-db.shop.svc.cluster.local", ip)
            c.do(
                f"mkdir -p /pg /var/run/postgresql; chown postgres /pg /var/run/postgresql; setpriv --reuid=106 --regid=109 --clear-groups {b}/initdb -D /pg -A trust -U shop > /dev/null; echo 'host all all all trust' >> /pg/pg_hba.conf",
                cwd="/tmp",
            )
            lab.pg = c.run(
                [f"{b}/postgres", "-D", "/pg", "-h", ip, "-k", "/var/run/postgresql"],
                user=106,
                cwd="/tmp",
            )
            wait_port(c, ip, 5432)
            time.sleep(1)
            c.do(
                f"/usr/lib/postgresql/15/bin/psql -h {ip} -U shop postgres -c 'create table orders as select g id, md5(g::text) ref, (g*7)%900 cents, now()-g*interval $$1 min$$ at from generate_series(1,3000) g'"
            )
    return "orders-db.shop.svc.cluster.local"


PSQL = "/usr/lib/postgresql/15/bin/psql"


@scenario(
    B + "web-busy",
    "web-7b9c6",
    "A busy web container: ingress, probes, APIs over TLS, redis.",
    tool="curl, python3 http.client",
)
def _(s):
    benign.web(s, every=1.5, calls_every=3)
    s.until(60)


@scenario(
    B + "probes", "api-5f6", "Liveness and readiness probes each 5 s and little else.", tool="curl"
)
def _(s):
    benign.serve(s)
    for path in ("livez", "readyz"):
        p = s.lab.node.run(
            f"for i in $(seq 1 60); do curl -s -m 2 -o /dev/null -A kube-probe/1.29 http://{s.pod.ip4}:8080/{path}; sleep 5; done"
        )
        s.stops.append(lambda p=p: end(p))
    s.until(150)


@scenario(
    B + "apt-http",
    "builder-1",
    "apt's way over plain HTTP: an index and 25 packages over one connection.",
    tool="curl",
    bulk=True,
)
def _(s):
    s.lab.site("deb.mirror.example", "151.101.2.132", 80, tls=False, server="Apache")
    s.until(3)
    urls = " ".join(
        f"-o /dev/null http://deb.mirror.example/blob?n={n}"
        for n in [900000] + [s.r.randrange(20000, 700000) for _ in range(25)]
    )
    s.pod.do(f"curl -s -A 'Debian APT-HTTP/1.3 (2.6.1)' {urls}")
    s.until(12)


@scenario(
    B + "pip-tls",
    "train-0",
    "A package index and three wheels over TLS, 25 MB.",
    tool="curl",
    bulk=True,
)
def _(s):
    s.lab.site("files.pyhosted.example", "199.232.64.223")
    s.until(2)
    for n in (40000, 12000000, 400000, 13000000):
        s.pod.do(f"curl -s -A 'pip/24.0' -o /dev/null 'https://files.pyhosted.example/blob?n={n}'")
    s.until(10)


@scenario(
    B + "redis-pubsub",
    "notify-2",
    "A subscriber that waits, and a publisher at random times.",
    tool="redis-cli 7.0",
)
def _(s):
    s.pod.run(["redis-cli", "-h", "cache.shop.svc.cluster.local", "SUBSCRIBE", "orders", "events"])
    s.pod.run(
        'for i in $(seq 1 60); do redis-cli -h cache.shop.svc.cluster.local PUBLISH orders "{\\"id\\":$RANDOM}"; sleep $((RANDOM % 4)).$RANDOM; done'
    )
    s.until(100)


@scenario(
    B + "psql-human",
    "ops-toolbox",
    "A person at psql, against the in-cluster PostgreSQL.",
    tool="psql 15",
)
def _(s):
    h = postgres(s.lab)
    s.until(2)
    put = terminal(s.pod, f"PAGER=cat {PSQL} -h {h} -U shop postgres")
    s.until(5)
    s.typist(put).keys(
        [
            "\\dt",
            "select count(*) from orders;",
            "select * from orders order by at desc limit 5;",
            "select avg(cents) from orders where id > 2500;",
            "explain select * from orders where ref='x';",
            "\\q",
        ],
        think=2,
    )
    s.until(60)


@scenario(
    B + "db-pool",
    "orders-api-3",
    "Three pooled connections that ask SELECT 1 each 5 s.",
    tool="psql 15 \\watch",
)
def _(s):
    h = postgres(s.lab)
    for i in range(3):
        s.pod.run(f"(echo 'select 1;'; echo '\\watch 5') | {PSQL} -q -h {h} -U shop postgres")
        time.sleep(1.7)
    s.until(110)


@scenario(
    B + "prometheus-scrape",
    "cart-9",
    "A real Prometheus scrapes the container each 10 s.",
    tool="prometheus 2.42",
)
def _(s):
    agent(s.pod, "exporter", port=9100)
    wait_port(s.pod, "", 9100)
    s.lab.cluster.write(
        "/tmp/prom.yml",
        f"global: {{scrape_interval: 10s}}\nscrape_configs:\n- job_name: pods\n  static_configs: [{{targets: ['{s.pod.ip4}:9100']}}]\n",
    )
    p = s.lab.cluster.run(
        "exec prometheus --config.file=/tmp/prom.yml --storage.tsdb.path=/tmp/prom --web.listen-address=127.0.0.1:9090"
    )
    s.stops.append(lambda: end(p))
    s.until(140)


@scenario(
    B + "ntp-chrony", "edge-1", "chrony polls two public servers each 16 s.", tool="chrony 4.3"
)
def _(s):
    benign.ntp(s)
    s.until(200)


@scenario(
    B + "git-ssh",
    "gitops-0",
    "clone, fetch and push over ssh to the in-cluster git host.",
    tool="git 2.39, OpenSSH 9.2",
)
def _(s):
    ip = s.lab.service(s.lab.svc + ".51.22")
    s.lab.name("git.dev.svc.cluster.local", ip)
    sshd(s.lab.cluster, ip)
    use_key(s.pod)
    s.lab.cluster.do("rm -rf /srv/shop.git; git init -q --bare /srv/shop.git")
    s.until(2)
    e = {
        "GIT_SSH_COMMAND": SSH,
        "GIT_AUTHOR_NAME": "ci",
        "GIT_AUTHOR_EMAIL": "ci@shop.example",
        "GIT_COMMITTER_NAME": "ci",
        "GIT_COMMITTER_EMAIL": "ci@shop.example",
    }
    s.pod.do(
        "git init -q /tmp/w; cd /tmp/w; git remote add origin root@git.dev.svc.cluster.local:/srv/shop.git; for i in 1 2 3; do head -c 40000 /dev/urandom | base64 > f$i; git add .; git commit -qm c$i; git push -q origin HEAD:main; sleep 3; git fetch -q; sleep 4; done; git clone -q root@git.dev.svc.cluster.local:/srv/shop.git /tmp/w2",
        env=e,
    )
    s.until(30)


@scenario(
    B + "backup-restic",
    "db-backup-0",
    "restic to an in-cluster store over sftp: the nightly backup, where it always goes.",
    tool="restic 0.14",
    bulk=True,
)
def _(s):
    ip = s.lab.service(s.lab.svc + ".52.9")
    s.lab.name("backup.infra.svc.cluster.local", ip)
    sshd(s.lab.cluster, ip)
    use_key(s.pod)
    s.pod.write(
        "/root/.ssh/config", "Host *\n StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n"
    )
    s.pod.do("mkdir -p /data/db; head -c 15000000 /dev/urandom > /data/db/base.dat")
    e = {
        "RESTIC_PASSWORD": "x",
        "RESTIC_REPOSITORY": "sftp:root@backup.infra.svc.cluster.local:/tmp/restic",
    }
    s.pod.do("restic -q init; restic -q backup /data/db", env=e)
    s.until(15)
    s.pod.do("head -c 200000 /dev/urandom >> /data/db/base.dat; restic -q backup /data/db", env=e)
    s.until(25)
    s.lab.cluster.do("rm -rf /tmp/restic")


@scenario(
    B + "mqtt",
    "iot-bridge-0",
    "mosquitto_sub with keepalive 10 s at an outside broker, a publish now and then.",
    tool="mosquitto 2.0",
)
def _(s):
    ip = s.lab.public("18.194.33.70")
    s.lab.name("mqtt.devicecloud.example", ip)
    s.lab.outside.write("/etc/mq.conf", f"listener 1883 {ip}\nallow_anonymous true\n")
    s.lab.outside.run(["mosquitto", "-c", "/etc/mq.conf"])
    wait_port(s.lab.outside, ip, 1883)
    s.pod.run(["mosquitto_sub", "-h", "mqtt.devicecloud.example", "-k", "10", "-t", "site/4/#"])
    s.pod.run(
        'for i in $(seq 1 30); do mosquitto_pub -h mqtt.devicecloud.example -t site/4/temp -m "{\\"c\\":$((RANDOM % 40))}"; sleep $((5 + RANDOM % 9)); done'
    )
    s.until(140)


@scenario(
    B + "http2-calls",
    "gateway-4",
    "HTTP/2 in clear text to an in-cluster service, two requests a second over one connection.",
    tool="h2load and nghttpd 1.52",
)
def _(s):
    ip = s.lab.service(s.lab.svc + ".61.3")
    s.lab.name("pricing.shop.svc.cluster.local", ip)
    s.lab.cluster.run(["nghttpd", "--no-tls", "-a", ip, "-d", "/var/www/html", "50051"])
    wait_port(s.lab.cluster, ip, 50051)
    s.pod.run(
        [
            "h2load",
            "-p",
            "h2c",
            "-n",
            "180",
            "-c",
            "1",
            "-m",
            "1",
            "--rps",
            "2",
            "http://pricing.shop.svc.cluster.local:50051/index.html",
        ]
    )
    s.until(90)


@scenario(
    B + "ci-runner",
    "runner-x7",
    "A CI runner asks for jobs each 5 s and sends each job's log as it grows.",
    tool="python3 http.client",
    hard=True,
)
def _(s):
    s.lab.site("gitlab.corp-build.example", "192.0.2.80")
    agent(s.pod, "ci", url="https://gitlab.corp-build.example", every=5, seed=s.name)
    s.until(140)


@scenario(
    B + "ci-log-stream",
    "actions-runner-1",
    "A job's log as one chunked POST over HTTPS.",
    tool="python3 http.client",
)
def _(s):
    s.lab.site("pipelines.codehost.example", "192.0.2.91")
    s.until(2)
    agent(s.pod, "chunked", url="https://pipelines.codehost.example/log", seconds=75, seed=s.name)
    s.until(85)


@scenario(
    B + "kubectl-exec",
    "ops-shell-0",
    "An operator in this container runs `kubectl exec` through the API server: a websocket in TLS; keys go out, the screen comes back.",
    tool="python3 websockets 10.4",
)
def _(s):
    c, k = s.lab.cert("kubernetes.default.svc.cluster.local", s.lab.svc + ".0.1")
    p = s.lab.cluster.run(
        [
            "/usr/bin/python3",
            "/run/lab/tools/ws_server.py",
            s.lab.svc + ".0.1",
            "443",
            c,
            k,
            "shell",
        ]
    )
    wait_port(s.lab.cluster, s.lab.svc + ".0.1", 443)
    s.stops.append(lambda: end(p))
    s.until(2)
    q = s.pod.run(
        [
            "/usr/bin/python3",
            "/run/lab/tools/ws_client.py",
            "wss://kubernetes.default.svc.cluster.local/api/v1/namespaces/shop/pods/web-0/exec?command=bash&stdin=true&tty=true",
            "stdin",
        ],
        pipe=True,
        env={"OPTS": '{"agent": "kubectl/v1.29.2"}'},
    )
    s.until(4)
    s.typist(writer(q)).keys(
        ["ls -la /app", "cat /app/config.yaml", "ps aux", "df -h", "exit"], think=2
    )
    s.until(50)


@scenario(
    B + "ssh-out",
    "admin-box-0",
    "A person in this container works on a company bastion by ssh.",
    tool="OpenSSH 9.2",
)
def _(s):
    ip = s.lab.public("192.0.2.22")
    s.lab.name("bastion.corp-net.example", ip)
    sshd(s.lab.outside, ip)
    use_key(s.pod)
    s.until(2)
    put = terminal(s.pod, f"{SSH} -t deploy@bastion.corp-net.example")
    s.until(5)
    s.typist(put).keys(
        ["uptime", "ls -la", "df -h", "cat /etc/hosts", "ps aux | head", "exit"], think=2
    )
    s.until(50)


@scenario(
    B + "ssh-in",
    "jump-target-0",
    "sshd in the container; an administrator comes in from the node's side.",
    tool="OpenSSH 9.2",
    hard=True,
)
def _(s):
    sshd(s.pod, s.pod.ip4)
    use_key(s.lab.node)
    s.until(2)
    put = terminal(s.lab.node, f"{SSH} -t deploy@{s.pod.ip4}")
    s.until(4)
    s.typist(put).keys(
        ["id", "ls -la /app", "tail /var/log/app.log", "ps aux", "df -h", "exit"], think=2
    )
    s.until(50)


@scenario(
    B + "chat-wss",
    "chatbot-1",
    "A chat client on a websocket in TLS: people type, people answer.",
    tool="python3 websockets 10.4",
    hard=True,
)
def _(s):
    ip = s.lab.public("34.236.18.7")
    s.lab.name("ws.teamtalk.example", ip)
    c, k = s.lab.cert("ws.teamtalk.example")
    s.lab.outside.run(["/usr/bin/python3", "/run/lab/tools/ws_server.py", ip, "443", c, k, "chat"])
    wait_port(s.lab.outside, ip, 443)
    s.pod.run(
        ["/usr/bin/python3", "/run/lab/tools/ws_client.py", "wss://ws.teamtalk.example/rtm", "chat"]
    )
    s.until(110)


@scenario(
    B + "log-shipping",
    "checkout-2",
    "JSON log lines over one TCP connection to the in-cluster collector.",
    tool="python3 sockets",
)
def _(s):
    ip = s.lab.service(s.lab.svc + ".70.4")
    s.lab.name("fluentd.logging.svc.cluster.local", ip)
    agent(s.lab.cluster, "sink", ip=ip, port=24224, ack=40)
    wait_port(s.lab.cluster, ip, 24224)
    agent(
        s.pod, "tcplog", host="fluentd.logging.svc.cluster.local", port=24224, rate=6, seed=s.name
    )
    s.until(90)


@scenario(
    B + "leader-election",
    "controller-0",
    "A controller renews its lease at the API server each 2 s over one TLS connection.",
    tool="python3 http.client",
)
def _(s):
    s.lab.site(
        "kube-api.default.svc.cluster.local", s.lab.service(s.lab.svc + ".0.2"), 443, page=900
    )
    agent(s.pod, "lease", url="https://kube-api.default.svc.cluster.local", every=2, seed=s.name)
    s.until(70)


@scenario(
    B + "statsd-otlp",
    "quote-3",
    "statsd datagrams each second, OTLP over HTTP each 10 s, both in the cluster.",
    tool="python3 sockets",
)
def _(s):
    ip = s.lab.service(s.lab.svc + ".71.8")
    s.lab.name("otel.observ.svc.cluster.local", ip)
    agent(s.lab.cluster, "sink", ip=ip, port=8125, udp=True)
    s.lab.site(None, ip, 4318, tls=False)
    agent(s.pod, "statsd", host="otel.observ.svc.cluster.local", seed=s.name)
    agent(
        s.pod,
        "push",
        url="http://otel.observ.svc.cluster.local:4318/v1/metrics",
        every=10,
        seed=s.name,
    )
    s.until(150)


@scenario(
    B + "telemetry-saas",
    "pay-2",
    "Error reports to a named service outside: about 1 kB over HTTPS each 12 s. By its timing a beacon.",
    tool="python3 http.client",
    hard=True,
)
def _(s):
    agent(
        s.pod,
        "push",
        url="https://ingest.errtrack.example/api/14/envelope/",
        every=12,
        size=1000,
        spread=0.3,
        agent="sentry.python/1.40",
        seed=s.name,
    )
    benign.calls(s, benign.APIS, 12)
    s.until(220)


@scenario(
    B + "smtp",
    "mailer-1",
    "Mail to an outside exchanger, a message each few seconds.",
    tool="curl smtp://",
)
def _(s):
    ip = s.lab.public("203.0.113.25")
    s.lab.name("mx1.mail-host.example", ip)
    agent(s.lab.outside, "smtpd", ip=ip)
    wait_port(s.lab.outside, ip, 25)
    s.pod.write(
        "/tmp/m",
        "From: shop@store.example\r\nTo: you@mail-host.example\r\nSubject: Your order\r\n\r\n"
        + "Thank you for your order.\r\n" * 60,
    )
    s.pod.run(
        "for i in $(seq 1 14); do curl -s smtp://mx1.mail-host.example --mail-from shop@store.example --mail-rcpt you@mail-host.example -T /tmp/m; sleep $((2 + RANDOM % 6)); done"
    )
    s.until(80)


@scenario(
    B + "ftp",
    "legacy-sync-0",
    "A person at an ftp client: lists, changes directory, fetches.",
    tool="lftp 4.9, vsftpd 3.0",
)
def _(s):
    ip = s.lab.public("198.51.100.21")
    s.lab.name("ftp.partner.example", ip)
    o = s.lab.outside
    o.do(
        "mkdir -p /srv/ftp/out /var/run/vsftpd/empty; useradd -d /srv/ftp -M ftp 2>/dev/null; echo 'ftp:x:120:125::/srv/ftp:/bin/false' >> /etc/passwd; for i in 1 2 3; do head -c 60000 /dev/urandom > /srv/ftp/out/feed$i.csv; done; chmod a-w /srv/ftp"
    )
    o.write(
        "/etc/vsftpd.conf",
        f"listen=YES\nlisten_address={ip}\nanonymous_enable=YES\nlocal_enable=NO\nanon_root=/srv/ftp\nbackground=NO\nseccomp_sandbox=NO\nisolate_network=NO\n",
    )
    o.run(["vsftpd", "/etc/vsftpd.conf"])
    wait_port(o, ip, 21)
    s.until(2)
    put = terminal(s.pod, "lftp ftp.partner.example")
    s.until(4)
    s.typist(put).keys(
        ["ls", "cd out", "ls -l", "get feed1.csv -o /tmp/f1", "get feed2.csv -o /tmp/f2", "exit"],
        think=2,
        typo=0,
    )
    s.until(45)
