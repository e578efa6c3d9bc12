//! Which addresses do not belong to the public internet, for `deny_private`.
//!
//! The blocks are those that IANA's special-purpose registries mark as not globally reachable (RFC 6890 and its
//! updates), multicast, and the IPv6 forms that carry an IPv4 address inside, which are judged by that one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv4 blocks: first address, bits of the prefix.
const BLOCKS_4: &[([u8; 4], u32)] = &[
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

/// IPv6 blocks: the first segments, bits of the prefix.
const BLOCKS_6: &[([u16; 4], u32)] = &[
    ([0x0064, 0xff9b, 0x0001, 0], 48),
    ([0x0100, 0, 0, 0], 64),
    ([0x2001, 0, 0, 0], 23),
    ([0x2001, 0x0db8, 0, 0], 32),
    ([0x3fff, 0, 0, 0], 20),
    ([0x5f00, 0, 0, 0], 16),
    ([0xfc00, 0, 0, 0], 7),
    ([0xfe80, 0, 0, 0], 10),
    ([0xfec0, 0, 0, 0], 10),
    ([0xff00, 0, 0, 0], 8),
];

/// True for an address of this machine, a private network, or a block with a special purpose.
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(it) => is_private_4(it),
        IpAddr::V6(it) => is_private_6(it),
    }
}

fn is_private_4(address: Ipv4Addr) -> bool {
    let bits = address.to_bits();
    BLOCKS_4.iter().any(|(first, prefix)| (bits ^ Ipv4Addr::from(*first).to_bits()) >> (32 - prefix) == 0)
}

fn is_private_6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let low = Ipv4Addr::from(((u32::from(segments[6])) << 16) | u32::from(segments[7]));
    match segments {
        // Unspecified, loopback, IPv4-compatible, IPv4-mapped.
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] => segments[5] == 0 || is_private_4(low),
        // IPv4-translated (RFC 2765).
        [0, 0, 0, 0, 0xffff, 0, ..] => is_private_4(low),
        // NAT64.
        [0x0064, 0xff9b, 0, 0, 0, 0, ..] => is_private_4(low),
        // 6to4.
        [0x2002, high, next, ..] => is_private_4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(next))),
        _ => {
            let bits = address.to_bits();
            BLOCKS_6.iter().any(|([a, b, c, d], prefix)| {
                let first = Ipv6Addr::new(*a, *b, *c, *d, 0, 0, 0, 0).to_bits();
                (bits ^ first) >> (128 - prefix) == 0
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_private_address_is_seen() {
        for text in [
            "127.0.0.1",
            "10.1.2.3",
            "169.254.169.254",
            "100.100.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "::1",
            "::",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "fd00::1",
            "fe80::1",
            "ff02::1",
            "2001:db8::1",
        ] {
            assert!(is_private(text.parse().expect("an address")), "{text}");
        }
        for text in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"] {
            assert!(!is_private(text.parse().expect("an address")), "{text}");
        }
    }
}
