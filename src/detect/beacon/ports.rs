//! Ports that protocols have, by registration (IANA) or by custom.

use crate::event::Protocol;

/// TLS that could hold anything: the web, control planes, collectors, what else has a port for it.
const TLS_PORTS: &[u16] = &[
    443, 465, 563, 587, 853, 989, 990, 993, 995, 2376, 2379, 4317, 4318, 5061, 5223, 6443, 6514,
    8443, 9200, 9443,
];

/// The database, broker or directory whose clients speak TLS from the first byte on this port, by
/// registration or (Redis, Kafka, MongoDB, Cassandra) by its documentation.
pub(super) const fn tls_service(port: u16) -> Option<&'static str> {
    Some(match port {
        636 | 3269 => "LDAP",
        4222 => "NATS",
        5432 => "PostgreSQL",
        5671 => "AMQP",
        6379 | 6380 => "Redis",
        8883 => "MQTT",
        9042 | 9142 => "Cassandra",
        9093 | 9094 => "Kafka",
        27017 => "MongoDB",
        _ => return None,
    })
}

/// Whether a protocol is where it usually is; `None` where it has no port of its own.
pub(super) fn is_usual(app: &Protocol, port: u16) -> Option<bool> {
    let ports: &[u16] = match app.name {
        "http" | "websocket" => &[80, 8000, 8080],
        "http2" | "grpc" => &[80, 8080, 4317, 50051],
        "tls" => {
            return Some(TLS_PORTS.contains(&port) || tls_service(port).is_some());
        }
        "quic" => &[443, 8443],
        "amqp" => &[5671, 5672],
        "bgp" => &[179],
        "cassandra" => &[9042],
        "ceph" => &[3300, 6789],
        "fluent" => &[24224],
        "ftp" => &[20, 21],
        "git" => &[9418],
        "graphite" => &[2003],
        "imap" => &[143, 993],
        "kafka" => &[9092, 9093],
        "ldap" => &[389, 3268],
        "memcached" => &[11211],
        "mongodb" => &[27017],
        "mqtt" => &[1883, 8883],
        "mysql" => &[3306],
        "nats" => &[4222],
        "nfs" | "rpc" => &[111, 2049],
        "openvpn" => &[1194],
        "pgsql" => &[5432],
        "pop3" => &[110, 995],
        "redis" => &[6379],
        "rsync" => &[873],
        "sip" => &[5060],
        "smtp" => &[25, 465, 587, 2525],
        "snmp" => &[161, 162],
        "ssh" => &[22, 2222],
        "statsd" => &[8125],
        "stun" => &[3478, 19302],
        "syslog" => &[514, 601],
        "tds" => &[1433],
        "tns" => &[1521],
        "wireguard" => &[51820],
        "xmpp" => &[5222, 5269],
        "zookeeper" => &[2181],
        _ => return None,
    };
    Some(ports.contains(&port))
}
