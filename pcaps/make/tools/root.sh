# Makes a container's file tree on a tmpfs, enters it and waits. Runs as process 1 of new mount, uts, ipc and pid namespaces.
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755,size=900m tmpfs "$ROOT"
cd "$ROOT"
mkdir -p usr etc proc dev sys tmp root home/deploy run/sshd run/lab var/log var/lib var/tmp var/www/html srv app data opt mnt
chmod 1777 tmp var/tmp
mount --bind /usr usr; mount -o remount,ro,bind usr
mount -t tmpfs -o mode=755 tmpfs usr/local
mkdir -p usr/local/bin usr/local/sbin usr/local/lib
for l in bin sbin lib lib64; do ln -s usr/$l $l; done
mount --bind "$LAB" run/lab
for f in nsswitch.conf ld.so.cache ld.so.conf ld.so.conf.d protocols services mime.types alternatives localtime debian_version php login.defs pam.d security shells \
  bash.bashrc inputrc perl lftp.conf mysql ssl/openssl.cnf ssh/moduli vim terminfo lua mosquitto; do
  [ -e /etc/$f ] && mkdir -p etc/$(dirname $f) && cp -a /etc/$f etc/$(dirname $f)/ || true
done
ln -sf ../usr/lib/os-release etc/os-release
mkdir -p etc/ssl/certs && cp "$LAB/pki/ca.crt" etc/ssl/certs/ca-certificates.crt
cat > etc/passwd <<E
root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
bin:x:2:2:bin:/bin:/usr/sbin/nologin
sys:x:3:3:sys:/dev:/usr/sbin/nologin
mail:x:8:8:mail:/var/mail:/usr/sbin/nologin
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
backup:x:34:34:backup:/var/backups:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
sshd:x:101:65534::/run/sshd:/usr/sbin/nologin
app:x:999:999:application:/app:/bin/sh
mysql:x:105:108::/nonexistent:/bin/false
postgres:x:106:109::/var/lib/postgresql:/bin/bash
redis:x:107:110::/var/lib/redis:/usr/sbin/nologin
mosquitto:x:108:111::/var/lib/mosquitto:/usr/sbin/nologin
_chrony:x:110:113::/var/lib/chrony:/usr/sbin/nologin
deploy:x:1000:1000:Deploy:/home/deploy:/bin/bash
E
sed 's/^\([^:]*\):x:\([0-9]*\):\([0-9]*\):.*/\1:x:\3:/' etc/passwd > etc/group
sed 's/^\([^:]*\):.*/\1:*:19800:0:99999:7:::/' etc/passwd > etc/shadow; chmod 640 etc/shadow
echo "$NAME" > etc/hostname
printf '127.0.0.1\tlocalhost\n::1\tlocalhost\n' > etc/hosts
[ -n "$NAMESERVER" ] && printf 'nameserver %s\nsearch %s\noptions ndots:5\n' "$NAMESERVER" "$SEARCH" > etc/resolv.conf
hostname "$NAME"
mount -t proc proc proc
mount -t sysfs sysfs sys 2>/dev/null || true
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
for d in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do IFS=: read n a b <<< $d; mknod -m 666 dev/$n c $a $b; done
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts; ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd; ln -s /proc/self/fd/0 dev/stdin; ln -s /proc/self/fd/1 dev/stdout; ln -s /proc/self/fd/2 dev/stderr
cat > app/config.yaml <<E
service: storefront
listen: 0.0.0.0:8080
database: postgres://shop:shop-db-pass@orders-db.shop.svc.cluster.local:5432/shop
cache: redis://cache.shop.svc.cluster.local:6379/0
E
printf 'import http.server\n' > app/server.py; printf 'flask==3.0.2\ngunicorn==21.2.0\npsycopg2==2.9.9\n' > app/requirements.txt
echo '<h1>It works</h1>' > var/www/html/index.html
for i in $(seq 1 40); do echo "2026-02-11T08:$((10 + i)):01Z INFO request id=$((i * 7919)) path=/cart status=200 ms=$((i % 9 + 3))"; done > var/log/app.log
cat > usr/local/bin/uname <<'E'
#!/bin/sh
case "$1" in -a) echo "Linux $(cat /etc/hostname) 6.1.0-28-amd64 #1 SMP PREEMPT_DYNAMIC Debian 6.1.119-1 (2024-11-22) x86_64 GNU/Linux";; -r) echo 6.1.0-28-amd64;; *) exec /usr/bin/uname "$@";; esac
E
chmod 755 usr/local/bin/uname
mkdir -p home/deploy/.ssh root/.ssh; chmod 700 root/.ssh home/deploy/.ssh; chown -R 1000:1000 home/deploy; chown -R 999:999 app; chown 33:33 var/www
echo ready
exec > /dev/null 2>&1
exec chroot "$ROOT" /bin/sleep 36000
