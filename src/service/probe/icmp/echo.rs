//! Echo requests and replies (RFC 792, RFC 4443), and what their times add up to.

use std::time::Duration;

/// Requests of one run and the round trip times of those that were answered, in the order of the requests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pings {
    /// Requests sent.
    pub sent: u16,
    /// Times of the replies.
    pub times: Vec<Duration>,
}

/// What the times add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// The shortest.
    pub least: Duration,
    /// The mean.
    pub mean: Duration,
    /// The longest.
    pub most: Duration,
    /// Mean difference between one and the next.
    pub jitter: Duration,
}

impl Pings {
    /// Share that was not answered, in percent.
    pub fn loss(&self) -> f64 {
        let answered = f64::from(u16::try_from(self.times.len()).unwrap_or(u16::MAX).min(self.sent));
        if self.sent == 0 { 100.0 } else { (1.0 - answered / f64::from(self.sent)) * 100.0 }
    }

    /// The times; `None` when nothing was answered.
    pub fn summary(&self) -> Option<Times> {
        let (least, most) = (*self.times.iter().min()?, *self.times.iter().max()?);
        let count = u32::try_from(self.times.len()).ok()?;
        let steps = self.times.windows(2).map(|it| it[0].abs_diff(it[1]));
        let jitter = steps.sum::<Duration>() / (count - 1).max(1);
        Some(Times { least, mean: self.times.iter().sum::<Duration>() / count, most, jitter })
    }
}

/// Bytes before what an echo carries.
const HEADER: usize = 8;

/// Writes an echo request with `size` bytes behind the header, which begin with a token of ours.
///
/// A datagram socket puts its own number in place of the identifier and corrects the checksum; it is right all the same.
pub fn request(is_v6: bool, sequence: u16, token: u64, size: u16) -> Vec<u8> {
    let mut packet = vec![0; HEADER + usize::from(size)];
    packet[0] = if is_v6 { 128 } else { 8 };
    packet[6..8].copy_from_slice(&sequence.to_be_bytes());
    for (at, byte) in packet[HEADER..].iter_mut().enumerate() {
        *byte = if at < 8 { token.to_be_bytes()[at] } else { at as u8 };
    }
    if !is_v6 {
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

/// The sequence number of a reply to one of our requests; `None` for everything else.
pub fn reply(is_v6: bool, packet: &[u8], token: u64) -> Option<u16> {
    let wanted = if is_v6 { 129 } else { 0 };
    let is_ours = *packet.first()? == wanted && packet.get(HEADER..HEADER + 8)? == token.to_be_bytes();
    is_ours.then(|| u16::from_be_bytes([packet[6], packet[7]]))
}

/// The internet checksum (RFC 1071).
fn checksum(packet: &[u8]) -> u16 {
    let words = packet.chunks(2).map(|it| u32::from(u16::from_be_bytes([it[0], it.get(1).copied().unwrap_or(0)])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Reads what `ping` printed: iputils, busybox and the BSDs. `None` when it is none of them.
pub fn parse_ping(text: &str) -> Option<Pings> {
    let summary = text.lines().find(|it| it.contains("packets transmitted"))?;
    let sent = summary.split_whitespace().next()?.parse().ok()?;
    let mut times = Vec::new();
    for line in text.lines() {
        // A reply that comes twice is one reply.
        let Some((_, rest)) = line.split_once("time=").filter(|_| !line.contains("(DUP!)")) else { continue };
        let number = rest.split_whitespace().next().unwrap_or_default().trim_end_matches("ms");
        let Ok(ms) = number.parse::<f64>() else { continue };
        times.push(Duration::try_from_secs_f64(ms / 1e3).ok()?);
    }
    times.truncate(usize::from(sent));
    Some(Pings { sent, times })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_replies_to_our_own_requests_count() {
        for is_v6 in [false, true] {
            let mut packet = request(is_v6, 7, 0x0102_0304_0506_0708, 56);
            assert_eq!(packet.len(), 64);
            assert_eq!(reply(is_v6, &packet, 0x0102_0304_0506_0708), None, "a request is no reply");
            packet[0] = if is_v6 { 129 } else { 0 };
            assert_eq!(reply(is_v6, &packet, 0x0102_0304_0506_0708), Some(7));
            assert_eq!(reply(is_v6, &packet, 1), None);
            assert_eq!(reply(is_v6, &packet[..12], 0x0102_0304_0506_0708), None);
        }
    }

    #[test]
    fn the_checksum_over_a_whole_packet_is_nothing() {
        let packet = request(false, 3, 99, 57);
        assert_eq!(checksum(&packet), 0);
        // RFC 1071's own example.
        assert_eq!(!checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
    }

    #[test]
    fn what_ping_prints_is_understood() {
        let us = Duration::from_micros;
        let iputils = "PING 127.0.0.1 (127.0.0.1) 56(84) bytes of data.\n64 bytes from 127.0.0.1: icmp_seq=1 ttl=64 time=0.031 ms\n64 bytes from 127.0.0.1: icmp_seq=1 ttl=64 time=0.090 ms (DUP!)\n64 bytes from 127.0.0.1: icmp_seq=2 ttl=64 time=0.040 ms\n\n--- 127.0.0.1 ping statistics ---\n3 packets transmitted, 2 received, +1 duplicates, 33.3333% packet loss, time 402ms\nrtt min/avg/max/mdev = 0.031/0.036/0.040/0.003 ms\n";
        assert_eq!(parse_ping(iputils), Some(Pings { sent: 3, times: vec![us(31), us(40)] }));
        let busybox = "PING 10.0.0.1 (10.0.0.1): 56 data bytes\n64 bytes from 10.0.0.1: seq=0 ttl=64 time=0.061 ms\n\n--- 10.0.0.1 ping statistics ---\n1 packets transmitted, 1 packets received, 0% packet loss\nround-trip min/avg/max = 0.061/0.061/0.061 ms\n";
        assert_eq!(parse_ping(busybox), Some(Pings { sent: 1, times: vec![us(61)] }));
        let lost =
            "--- 192.0.2.1 ping statistics ---\n3 packets transmitted, 0 received, 100% packet loss, time 2040ms\n";
        assert_eq!(parse_ping(lost).map(|it| it.loss()), Some(100.0));
        assert_eq!(parse_ping("ping: socket: Operation not permitted"), None);
    }
}
