//! Address ranges.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A range of addresses: `10.244.0.0/16`, `fd00::/8`, or one address.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    ip: IpAddr,
    prefix: u8,
}

impl Network {
    /// It holds every address of its family.
    pub const fn is_everything(&self) -> bool {
        self.prefix == 0
    }

    /// The address lies in this range.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.ip, ip) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                let host_bits = 32 - u32::from(self.prefix);
                u32::from(network).checked_shr(host_bits) == u32::from(ip).checked_shr(host_bits)
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                let host_bits = 128 - u32::from(self.prefix);
                u128::from(network).checked_shr(host_bits) == u128::from(ip).checked_shr(host_bits)
            }
            _ => false,
        }
    }
}

/// Why a text is no address range.
#[derive(Debug, thiserror::Error)]
pub enum BadNetwork {
    /// It has another form.
    #[error("`{0}` is not an address range; write it as 10.244.0.0/16, fd00::/8 or 192.0.2.7")]
    Form(String),
    /// An address in a range: which of the two is meant?
    #[error(
        "`{given}` has bits behind its prefix; write {range} for the range, or {ip} for the address"
    )]
    HostBits {
        /// As written.
        given: String,
        /// The range that it lies in.
        range: Network,
        /// Its address.
        ip: IpAddr,
    },
}

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let bad = || BadNetwork::Form(text.to_owned());
        let (ip, prefix) = match text.split_once('/') {
            Some((ip, prefix)) => (ip, Some(prefix.parse::<u8>().map_err(|_| bad())?)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| bad())?;
        let widest = if ip.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(widest);
        if prefix > widest {
            return Err(bad());
        }
        let range = Self { ip: first_of(ip, prefix), prefix };
        if range.ip != ip {
            return Err(BadNetwork::HostBits { given: text.to_owned(), range, ip });
        }
        Ok(range)
    }
}

/// The first address of the range that this one lies in.
fn first_of(ip: IpAddr, prefix: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from(u32::from(ip) & mask).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Ipv6Addr::from(u128::from(ip) & mask).into()
        }
    }
}

impl TryFrom<String> for Network {
    type Error = BadNetwork;

    fn try_from(text: String) -> Result<Self, BadNetwork> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_its_range_and_nothing_else() {
        for (network, ip, expected) in [
            ("10.244.0.0/16", "10.244.255.1", true),
            ("10.244.0.0/16", "10.245.0.1", false),
            ("0.0.0.0/0", "203.0.113.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("fd00::/8", "fdff::1", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(ip.parse().unwrap()), expected, "{network} {ip}");
        }
        assert!("10.0.0.0/33".parse::<Network>().is_err());
        for (text, expected) in [
            ("10.0.0.1/8", "10.0.0.0/8"),
            ("10.0.0.1/0", "0.0.0.0/0"),
            ("fd00::1/64", "fd00::/64"),
            ("2001:db8::/0", "::/0"),
        ] {
            let error = text.parse::<Network>().unwrap_err().to_string();
            assert!(error.contains(&format!("write {expected} for the range")), "{error}");
        }
        assert!("fd00::1/128".parse::<Network>().is_ok());
    }
}
