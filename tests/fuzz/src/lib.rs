//! What all targets have in common.

/// Gives the decoder the bytes as they are, and once more with their checksums made right, since random changes never
/// get behind a checksum that holds.
pub fn judge(bytes: &[u8], decode: impl Fn(&[u8]) -> bool, reseal: impl Fn(&mut [u8])) {
    decode(bytes);
    let mut sealed = bytes.to_vec();
    reseal(&mut sealed);
    if sealed != bytes {
        decode(&sealed);
    }
}
