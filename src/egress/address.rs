//! Which IP addresses may be connected to.
//!
//! Sources: the IANA special-purpose registries for IPv4 and IPv6 (RFC 6890 and its successors). What is not plainly on
//! the public internet is not public: of IPv6 only `2000::/3` counts, less its special blocks, because addresses that
//! translate or tunnel to IPv4 (mapped, NAT64, 6to4, Teredo) would carry a private address past the check.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where an address leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// The public internet.
    Global,
    /// This machine or the operator's own network: only where private networks are allowed.
    Private,
    /// Link-local, metadata services, multicast, reserved: never.
    Never,
}

/// Metadata services of clouds whose addresses stand in ranges that would otherwise be allowed.
const METADATA_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(100, 100, 100, 200)];
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x254),
];

pub(super) fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => reach_v4(address),
            None => reach_v6(address),
        },
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    if METADATA_V4.contains(&address) {
        return Reach::Never;
    }
    match address.octets() {
        [10 | 127, ..] | [100, 64..=127, ..] | [172, 16..=31, ..] | [192, 168, ..] => Reach::Private,
        // This network; link-local; protocol assignments; documentation; 6to4 relays; benchmarking; multicast, reserved.
        [0 | 224..=255, ..]
        | [169, 254, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [192, 31, 196, _]
        | [192, 52, 193, _]
        | [192, 175, 48, _]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => Reach::Never,
        _ => Reach::Global,
    }
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    if METADATA_V6.contains(&address) {
        return Reach::Never;
    }
    if address == Ipv6Addr::LOCALHOST {
        return Reach::Private;
    }
    match address.segments() {
        [0xfc00..=0xfdff, ..] => Reach::Private,
        // Protocol assignments with Teredo and benchmarking (`2001::/23`); documentation; 6to4.
        [0x2001, 0..=0x01ff | 0x0db8, ..] | [0x2002, ..] | [0x3fff, 0..=0x0fff, ..] => Reach::Never,
        [0x2000..=0x3fff, ..] => Reach::Global,
        _ => Reach::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_special_range_is_known_at_both_ends() {
        let table: &[(Reach, &str)] = &[
            (
                Reach::Global,
                "1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 \
                 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.0.3.0 192.167.255.255 \
                 192.169.0.0 198.17.255.255 198.20.0.0 203.0.112.255 203.0.114.0 223.255.255.255",
            ),
            (
                Reach::Global,
                "2001:200::1 2606:4700:4700::1111 2a00:1450::1 2003::1 3ffe::1 ::ffff:8.8.8.8",
            ),
            (
                Reach::Private,
                "10.0.0.0 10.255.255.255 127.0.0.1 127.255.255.255 100.64.0.0 100.127.255.255 172.16.0.0 \
                 172.31.255.255 192.168.0.0 192.168.255.255",
            ),
            (
                Reach::Private,
                "::1 fc00:: fdff:ffff::1 ::ffff:127.0.0.1 ::ffff:10.1.2.3 ::ffff:192.168.0.1",
            ),
            (
                Reach::Never,
                "0.0.0.0 0.255.255.255 169.254.0.0 169.254.169.254 192.0.0.0 192.0.0.192 192.0.2.1 192.88.99.1 \
                 198.18.0.0 198.19.255.255 198.51.100.7 203.0.113.9 224.0.0.1 239.255.255.255 240.0.0.1 \
                 255.255.255.255 168.63.129.16 100.100.100.200",
            ),
            (
                Reach::Never,
                ":: ::7f00:1 ::ffff:169.254.169.254 ::ffff:0.0.0.0 64:ff9b::8.8.8.8 64:ff9b::10.0.0.1 \
                 64:ff9b:1::1 100::1 100:0:0:1::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:2::1 2001:10::1 \
                 2001:1ff::1 2001:db8::1 2002:0a00:0001:: 2002:7f00:1:: 3fff::1 3fff:fff::1 5f00::1 \
                 4000::1 fe80::1 febf::1 fec0::1 ff02::1 ff0e::1 fd00:ec2::254 fd20:ce::254",
            ),
        ];
        for (expected, addresses) in table {
            for text in addresses.split_whitespace() {
                assert_eq!(reach(text.parse().unwrap()), *expected, "{text}");
            }
        }
    }
}
