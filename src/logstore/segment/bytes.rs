//! Reading a file's bytes at an offset, and those of files that the kernel makes up.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

/// Bytes of a file of the kernel, which says nothing of its size: `/proc/kallsyms` has ten megabytes.
const MAX_KERNEL_FILE_BYTES: u64 = 16 << 20;
/// Bytes read in one go where that is not the reader's choice.
const PIECE_BYTES: usize = 64 * 1024;

/// True for a file that the kernel makes up when it is read: its size says nothing.
pub(super) fn is_kernel_file(file: &File) -> bool {
    const KERNEL_FILE_SYSTEMS: [u32; 4] = [
        0x9fa0,      // proc
        0x6265_6572, // sysfs
        0x6462_6720, // debugfs
        0x7472_6163, // tracefs
    ];
    let kind = |it: rustix::fs::StatFs| u32::try_from(it.f_type & 0xffff_ffff).unwrap_or(0);
    rustix::fs::fstatfs(file).is_ok_and(|it| KERNEL_FILE_SYSTEMS.contains(&kind(it)))
}

/// Reads what the kernel says now, in order, as such files can not be read at an offset. Does not wait for more.
pub(super) fn read_kernel_file(mut file: &File) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let mut text = Vec::new();
    let mut piece = vec![0; PIECE_BYTES];
    while (text.len() as u64) < MAX_KERNEL_FILE_BYTES {
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => text.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The messages of the kernel end so.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if text.is_empty() => return Err(error),
            Err(_) => break,
        }
    }
    Ok(text)
}

pub(super) fn copy_from(text: &[u8], buffer: &mut [u8], start: u64) -> usize {
    let from = usize::try_from(start).unwrap_or(usize::MAX).min(text.len());
    let count = buffer.len().min(text.len() - from);
    buffer[..count].copy_from_slice(&text[from..from + count]);
    count
}

pub(super) fn bytes_at(file: &File, start: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; usize::try_from(length).unwrap_or(0)];
    let filled = read_full(file, &mut buffer, start)?;
    buffer.truncate(filled);
    Ok(buffer)
}

pub(super) fn read_full(file: &File, buffer: &mut [u8], start: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], start + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

pub(super) fn modified_ms(metadata: &Metadata) -> i64 {
    metadata.mtime().saturating_mul(1000).saturating_add(metadata.mtime_nsec() / 1_000_000)
}
