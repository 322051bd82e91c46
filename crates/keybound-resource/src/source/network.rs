use std::net::IpAddr;
use std::str::FromStr;

/// A network of IP addresses, such as `10.1.0.0/16`.
///
/// ```
/// use keybound_resource::source::Network;
///
/// let network: Network = "10.1.0.0/16".parse()?;
/// # Ok::<(), keybound_resource::source::NetworkError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// In bits.
    prefix: u32,
}

impl Network {
    /// Parses an address, a slash and the length of the prefix in bits. `None` for anything else, also if the address has bits behind the
    /// prefix, or is one of version 4 in the form of version 6 (`::ffff:10.1.0.0`): addresses of peers are compared in the form of
    /// version 4.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        if !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let prefix: u32 = prefix.parse().ok()?;
        let network = Self { address, prefix };
        let is_whole = prefix <= length(address) && bits(address) == network.bits_of(address);
        let is_canonical = address.to_canonical() == address;
        (is_whole && is_canonical).then_some(network)
    }

    pub(super) fn of_address(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self {
            address,
            prefix: length(address),
        }
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        length(address) == length(self.address) && self.bits_of(address) == bits(self.address)
    }

    /// The bits of an address that belong to the prefix.
    fn bits_of(&self, address: IpAddr) -> u128 {
        let behind = length(self.address).saturating_sub(self.prefix);
        // A shift by all bits is none.
        bits(address) & u128::MAX.checked_shl(behind).unwrap_or_default()
    }
}

/// The text is not a network: see [`Network::parse`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the address of a network, a slash and the length of its prefix")]
pub struct NetworkError(String);

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        Self::parse(text).ok_or_else(|| NetworkError(text.to_owned()))
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

fn length(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contains_the_addresses_with_its_prefix() {
        for (network, inside, outside) in [
            ("10.1.0.0/16", "10.1.255.255", "10.2.0.0"),
            ("10.1.2.3/32", "10.1.2.3", "10.1.2.2"),
            ("0.0.0.0/0", "255.255.255.255", "::"),
            ("192.0.2.128/25", "192.0.2.200", "192.0.2.127"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::/0", "ffff::", "0.0.0.0"),
        ] {
            let parsed = Network::parse(network).unwrap();
            assert!(parsed.contains(inside.parse().unwrap()), "{network}");
            assert!(!parsed.contains(outside.parse().unwrap()), "{network}");
        }
    }

    #[test]
    fn rejects_other_texts() {
        for text in [
            "",
            "/",
            "10.0.0.0",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "10.0.0.0/+8",
            "10.0.0.0/8/8",
            "10.0/8",
            "::/129",
            "2001:db8::1/64",
            " 10.0.0.0/8",
            "a/8",
            "::ffff:10.0.0.0/104",
            "::ffff:10.0.0.7/128",
            "::ffff:0:0/96",
        ] {
            assert_eq!(Network::parse(text), None, "{text}");
            let error = text.parse::<Network>().unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }
}
