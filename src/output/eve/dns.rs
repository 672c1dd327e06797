//! DNS records, as version 3 of Suricata's format has them.

use super::json::{self, key, raw};
use crate::container::Container;
use crate::event::{DnsData, DnsMessage};

/// Writes what follows `proto`, and ends the line.
pub(super) fn write(
    buffer: &mut Vec<u8>,
    message: &DnsMessage,
    containers: &[Option<&Container>; 2],
) {
    if message.response {
        raw!(buffer, ",\"dns\":{\"version\":3,\"type\":\"response\",\"id\":");
    } else {
        raw!(buffer, ",\"dns\":{\"version\":3,\"type\":\"request\",\"id\":");
    }
    json::number(buffer, message.id);
    flags(buffer, message.flags);
    key!(buffer, "rcode");
    match rcode(message.rcode) {
        Some(name) => json::name(buffer, name),
        None => number_name(buffer, "RCODE", message.rcode),
    }
    for (place, question) in message.questions.iter().enumerate() {
        if place == 0 {
            raw!(buffer, ",\"queries\":[{\"rrname\":");
        } else {
            raw!(buffer, ",{\"rrname\":");
        }
        json::string(buffer, &question.name);
        rrtype(buffer, question.qtype);
        buffer.push(b'}');
    }
    if !message.questions.is_empty() {
        buffer.push(b']');
    }
    for (place, answer) in message.answers.iter().enumerate() {
        if place == 0 {
            raw!(buffer, ",\"answers\":[{\"rrname\":");
        } else {
            raw!(buffer, ",{\"rrname\":");
        }
        json::string(buffer, &answer.name);
        rrtype(buffer, answer.rtype);
        key!(buffer, "ttl");
        json::number(buffer, answer.ttl_s);
        key!(buffer, "rdata");
        match &answer.data {
            DnsData::Address(ip) => json::ip(buffer, *ip),
            DnsData::Name(text) | DnsData::Text(text) => json::string(buffer, text),
        }
        buffer.push(b'}');
    }
    if !message.answers.is_empty() {
        buffer.push(b']');
    }
    buffer.push(b'}');
    super::containers(buffer, containers);
    raw!(buffer, ",\"vethwatch\":{\"bytes\":");
    json::number(buffer, message.bytes);
    if message.authorities > 0 {
        key!(buffer, "authorities");
        json::number(buffer, message.authorities);
    }
    if message.additionals > 0 {
        key!(buffer, "additionals");
        json::number(buffer, message.additionals);
    }
    if message.truncated {
        raw!(buffer, ",\"truncated\":true");
    }
    super::sides(buffer, containers);
    raw!(buffer, "}}\n");
}

/// The flags word in hexadecimal, and each flag that is set by its name (RFC 1035, section 4.1.1).
fn flags(buffer: &mut Vec<u8>, flags: u16) {
    raw!(buffer, ",\"flags\":\"");
    let digits = (16 - flags.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        let [_, low] = json::hex_pair((flags >> (4 * digit) & 15) as u8);
        buffer.push(low);
    }
    buffer.push(b'"');
    if flags & 0x8000 != 0 {
        raw!(buffer, ",\"qr\":true");
    }
    if flags & 0x0400 != 0 {
        raw!(buffer, ",\"aa\":true");
    }
    if flags & 0x0200 != 0 {
        raw!(buffer, ",\"tc\":true");
    }
    if flags & 0x0100 != 0 {
        raw!(buffer, ",\"rd\":true");
    }
    if flags & 0x0080 != 0 {
        raw!(buffer, ",\"ra\":true");
    }
    if flags & 0x0040 != 0 {
        raw!(buffer, ",\"z\":true");
    }
    key!(buffer, "opcode");
    json::number(buffer, (flags >> 11 & 15) as u8);
}

fn rrtype(buffer: &mut Vec<u8>, number: u16) {
    key!(buffer, "rrtype");
    match type_name(number) {
        Some(name) => json::name(buffer, name),
        None => number_name(buffer, "TYPE", number),
    }
}

/// `"TYPE65280"`, as RFC 3597 writes what has no name.
fn number_name(buffer: &mut Vec<u8>, prefix: &'static str, number: u16) {
    buffer.push(b'"');
    buffer.extend_from_slice(prefix.as_bytes());
    json::number(buffer, number);
    buffer.push(b'"');
}

/// Names of the IANA registry "Resource Record (RR) TYPEs", those met in practice.
const fn type_name(number: u16) -> Option<&'static str> {
    Some(match number {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        10 => "NULL",
        12 => "PTR",
        13 => "HINFO",
        15 => "MX",
        16 => "TXT",
        24 => "SIG",
        25 => "KEY",
        28 => "AAAA",
        29 => "LOC",
        33 => "SRV",
        35 => "NAPTR",
        37 => "CERT",
        39 => "DNAME",
        41 => "OPT",
        43 => "DS",
        44 => "SSHFP",
        46 => "RRSIG",
        47 => "NSEC",
        48 => "DNSKEY",
        49 => "DHCID",
        50 => "NSEC3",
        51 => "NSEC3PARAM",
        52 => "TLSA",
        53 => "SMIMEA",
        59 => "CDS",
        60 => "CDNSKEY",
        61 => "OPENPGPKEY",
        63 => "ZONEMD",
        64 => "SVCB",
        65 => "HTTPS",
        99 => "SPF",
        249 => "TKEY",
        250 => "TSIG",
        251 => "IXFR",
        252 => "AXFR",
        255 => "ANY",
        256 => "URI",
        257 => "CAA",
        _ => return None,
    })
}

/// Names of the IANA registry "DNS RCODEs".
const fn rcode(number: u16) -> Option<&'static str> {
    Some(match number {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        7 => "YXRRSET",
        8 => "NXRRSET",
        9 => "NOTAUTH",
        10 => "NOTZONE",
        16 => "BADVERS",
        17 => "BADKEY",
        18 => "BADTIME",
        19 => "BADMODE",
        20 => "BADNAME",
        21 => "BADALG",
        22 => "BADTRUNC",
        23 => "BADCOOKIE",
        _ => return None,
    })
}
