//! Reads what the kernel says in `/proc`, and `systemctl` of a unit: text in, numbers out.
//!
//! Formats: proc(5), and `Documentation/accounting/psi.rst` of the kernel.

use std::collections::BTreeMap;

/// `/proc/loadavg`: the averages over one, five and fifteen minutes.
pub fn load(text: &str) -> Option<[f64; 3]> {
    let mut numbers = text.split_whitespace().map(str::parse);
    Some([numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?])
}

/// Memory and swap in KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// All there is.
    pub total: u64,
    /// What programs can have without swapping.
    pub available: u64,
    /// All swap.
    pub swap_total: u64,
    /// Swap that is free.
    pub swap_free: u64,
}

/// `/proc/meminfo`. Kernels before 3.14 have no `MemAvailable`: then it is what is free, buffered and cached.
pub fn memory(text: &str) -> Option<Memory> {
    let value = |name: &str| {
        let line = text.lines().find_map(|it| it.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let spare = || Some(value("MemFree")? + value("Buffers")? + value("Cached")?);
    Some(Memory {
        total: value("MemTotal").filter(|it| *it > 0)?,
        available: value("MemAvailable").or_else(spare)?,
        swap_total: value("SwapTotal").unwrap_or(0),
        swap_free: value("SwapFree").unwrap_or(0),
    })
}

/// `/proc/pressure/*`: share of the last ten seconds in which some, and all, tasks waited, in percent.
pub fn pressure(text: &str) -> Option<(f64, Option<f64>)> {
    let share = |kind: &str| {
        let line = text.lines().find(|it| it.starts_with(kind))?;
        line.split_whitespace().find_map(|it| it.strip_prefix("avg10="))?.parse::<f64>().ok()
    };
    // The cpu line of older kernels has no `full`.
    Some((share("some ")?, share("full ")))
}

/// What an interface has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interface {
    /// Bytes received and sent.
    pub bytes: [u64; 2],
    /// Errors receiving and sending.
    pub errors: [u64; 2],
    /// Packets dropped receiving and sending.
    pub dropped: [u64; 2],
}

/// `/proc/net/dev`, by the interface's name.
pub fn interfaces(text: &str) -> BTreeMap<String, Interface> {
    let mut result = BTreeMap::new();
    for line in text.lines() {
        let Some((name, counters)) = line.split_once(':') else { continue };
        let numbers: Vec<u64> = counters.split_whitespace().map_while(|it| it.parse().ok()).collect();
        if numbers.len() >= 12 {
            let pair = |at: usize| [numbers[at], numbers[at + 8]];
            result.insert(name.trim().to_string(), Interface { bytes: pair(0), errors: pair(2), dropped: pair(3) });
        }
    }
    result
}

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub at: String,
    /// `ext4`, `nfs4`.
    pub kind: String,
    /// What is mounted.
    pub device: String,
    /// Cannot be written.
    pub read_only: bool,
}

/// `/proc/mounts`, without what holds no files of anybody.
pub fn mounts(text: &str) -> Vec<Mount> {
    const HOLLOW: &[&str] = &[
        "autofs",
        "binfmt_misc",
        "bpf",
        "cgroup",
        "cgroup2",
        "configfs",
        "debugfs",
        "devpts",
        "devtmpfs",
        "efivarfs",
        "fusectl",
        "hugetlbfs",
        "iso9660",
        "mqueue",
        "nsfs",
        "overlay",
        "proc",
        "pstore",
        "ramfs",
        "rpc_pipefs",
        "securityfs",
        "selinuxfs",
        "squashfs",
        "sysfs",
        "tracefs",
    ];
    let mut result: Vec<Mount> = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [device, at, kind, options, ..] = fields.as_slice() else { continue };
        if HOLLOW.contains(kind) {
            continue;
        }
        let mount = Mount {
            at: unescape(at),
            kind: (*kind).to_string(),
            device: unescape(device),
            read_only: options.split(',').any(|it| it == "ro"),
        };
        // A later mount hides the one before it; a device mounted twice is one file system.
        result.retain(|it| it.at != mount.at);
        let is_same = |it: &Mount| it.device == mount.device && mount.device.starts_with("/dev/");
        if !result.iter().any(is_same) {
            result.push(mount);
        }
    }
    result
}

/// Blanks stand as octal: `\040`.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|_| *first == b'\\').and_then(|it| std::str::from_utf8(it).ok());
        match octal.and_then(|it| u8::from_str_radix(it, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// True for a file system that is somewhere else and may hang.
pub fn is_remote(kind: &str) -> bool {
    const REMOTE: &[&str] = &["nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "glusterfs", "afs", "9p", "lustre"];
    REMOTE.contains(&kind) || kind.starts_with("fuse.")
}

/// `/proc/net/tcp` and `tcp6`: what listens, as address in hexadecimal and port.
pub fn listening(text: &str) -> Vec<(String, u16)> {
    let listener = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next()?;
        // 0A is TCP_LISTEN.
        let state = fields.nth(1)?;
        let (address, port) = local.split_once(':')?;
        (state == "0A").then(|| Some((address.to_string(), u16::from_str_radix(port, 16).ok()?)))?
    };
    text.lines().skip(1).filter_map(listener).collect()
}

/// What `systemctl show` says of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unit {
    /// `loaded`, `not-found`.
    pub load: String,
    /// `active`, `failed`, `activating`.
    pub active: String,
    /// `running`, `exited`, `auto-restart`.
    pub sub: String,
    /// `success`, `exit-code`, `oom-kill`.
    pub result: String,
    /// How often systemd has started it again.
    pub restarts: u64,
    /// Exit code of its main process, when that is gone.
    pub status: i32,
}

/// `KEY=VALUE` lines of `systemctl show`.
pub fn unit(text: &str) -> Unit {
    let value = |name: &str| {
        let line = text.lines().find_map(|it| it.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().trim().to_string()
    };
    Unit {
        load: value("LoadState"),
        active: value("ActiveState"),
        sub: value("SubState"),
        result: value("Result"),
        restarts: value("NRestarts").parse().unwrap_or(0),
        status: value("ExecMainStatus").parse().unwrap_or(0),
    }
}

/// Resident memory of a process in KiB, from `/proc/PID/status`; kernel threads have none.
pub fn resident(text: &str) -> u64 {
    let line = text.lines().find_map(|it| it.strip_prefix("VmRSS:"));
    line.and_then(|it| it.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_and_memory_of_a_real_host() {
        assert_eq!(load("3.68 3.23 2.42 6/139 14687\n"), Some([3.68, 3.23, 2.42]));
        assert_eq!(load(""), None);
        let text = "MemTotal:       24684092 kB\nMemFree:        13488128 kB\nMemAvailable:   21829740 kB\nBuffers:           12672 kB\nCached:          8219492 kB\nSwapCached:            0 kB\nSwapTotal:       2097148 kB\nSwapFree:        1048574 kB\n";
        let wanted = Memory { total: 24_684_092, available: 21_829_740, swap_total: 2_097_148, swap_free: 1_048_574 };
        assert_eq!(memory(text), Some(wanted));
        let old = text.replace("MemAvailable:   21829740 kB\n", "");
        assert_eq!(memory(&old).map(|it| it.available), Some(13_488_128 + 12_672 + 8_219_492));
        assert_eq!(memory("nothing"), None);
    }

    #[test]
    fn pressure_with_and_without_full() {
        let text = "some avg10=2.62 avg60=2.52 avg300=2.07 total=551383957\nfull avg10=0.50 avg60=0.66 avg300=0.66 total=396447175\n";
        assert_eq!(pressure(text), Some((2.62, Some(0.5))));
        assert_eq!(pressure("some avg10=63.23 avg60=57.56 avg300=49.52 total=3\n"), Some((63.23, None)));
    }

    #[test]
    fn interfaces_with_counters_that_touch_their_name() {
        let text = "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    lo:1485215087 1539707    0    0    0     0          0         0 1485215087 1539707    0    0    0     0       0          0\n  eth0: 354368043   17171    1    2    0     0          0         0  1127706   10975    3    4    0     0       0          0\n";
        let found = interfaces(text);
        assert_eq!(found.len(), 2);
        let eth0 = Interface { bytes: [354_368_043, 1_127_706], errors: [1, 3], dropped: [2, 4] };
        assert_eq!((found["eth0"], found["lo"].bytes[0]), (eth0, 1_485_215_087));
    }

    #[test]
    fn only_mounts_that_hold_files_and_each_once() {
        let text = "proc /proc proc rw,relatime 0 0\n/dev/vda / ext4 rw,relatime,discard 0 0\ntmpfs /dev/shm tmpfs rw 0 0\n/dev/vda /mnt/again ext4 rw 0 0\n/dev/vdb /mnt/my\\040disk xfs ro,relatime 0 0\nnas:/export /data nfs4 rw,hard 0 0\n";
        let found = mounts(text);
        let shown: Vec<_> = found.iter().map(|it| (it.at.as_str(), it.read_only, is_remote(&it.kind))).collect();
        assert_eq!(
            shown,
            [("/", false, false), ("/dev/shm", false, false), ("/mnt/my disk", true, false), ("/data", false, true)]
        );
    }

    #[test]
    fn listeners_and_not_connections() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   0: 00000000:07E8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 248 1 00000000857c4b68 100 0 0 10 0\n   1: 0100007F:A9BB 0100007F:E274 06 00000000:00000000 03:00000B98 00000000     0        0 0 3 00000000066b0aa0\n";
        assert_eq!(listening(text), [("00000000".to_string(), 2024)]);
    }

    #[test]
    fn a_unit_that_is_restarted_again_and_again() {
        let text = "Result=exit-code\nNRestarts=7\nExecMainStatus=3\nLoadState=loaded\nActiveState=activating\nSubState=auto-restart\n";
        let found = unit(text);
        assert_eq!(
            (found.active.as_str(), found.sub.as_str(), found.restarts, found.status),
            ("activating", "auto-restart", 7, 3)
        );
        assert_eq!(unit("").active, "");
        assert_eq!(resident("Name:\tnginx\nVmRSS:\t   12345 kB\n"), 12_345);
    }
}
