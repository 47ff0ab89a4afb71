//! A stream of bits, and the two codes that the index writes into it. Lowest bit first.
//!
//! A *Rice code* with parameter `k` is the value's upper part in unary (zeros, then a one) and its lower `k` bits; it is
//! near the entropy for the gaps of values that are spread evenly. A *gamma code* is the length of a number in unary
//! and the bits below its highest; 1 takes one bit.

/// Bits that end too early or hold a number that does not fit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub &'static str);

/// The Rice parameter for the gaps of `count` values spread over `universe`: about log2(mean gap x ln 2).
pub(super) fn rice_parameter(universe: u32, count: u32) -> u32 {
    let mean = u64::from(universe / count.max(1));
    (mean * 11 / 16).checked_ilog2().unwrap_or(0)
}

#[derive(Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits that do not fill a byte yet, fewer than 8.
    pending: u64,
    pending_bits: u32,
}

impl BitWriter {
    /// Appends the lowest `bits` bits of `value`, at most 32; those above must be zero.
    fn push(&mut self, value: u32, bits: u32) {
        self.pending |= u64::from(value) << self.pending_bits;
        self.pending_bits += bits;
        while self.pending_bits >= 8 {
            self.bytes.push(self.pending as u8);
            self.pending >>= 8;
            self.pending_bits -= 8;
        }
    }

    fn unary(&mut self, mut zeros: u32) {
        while zeros >= 31 {
            self.push(0, 31);
            zeros -= 31;
        }
        self.push(1 << zeros, zeros + 1);
    }

    pub(super) fn rice(&mut self, value: u32, parameter: u32) {
        self.unary(value >> parameter);
        self.push(value & ((1 << parameter) - 1), parameter);
    }

    /// `value` is at least 1.
    pub(super) fn gamma(&mut self, value: u32) {
        let bits = value.ilog2();
        self.unary(bits);
        self.push(value ^ (1 << bits), bits);
    }

    pub(super) fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes so far, the last one padded with zeros; the writer is empty again.
    pub(super) fn take(&mut self) -> Vec<u8> {
        if self.pending_bits > 0 {
            self.bytes.push(self.pending as u8);
        }
        (self.pending, self.pending_bits) = (0, 0);
        std::mem::take(&mut self.bytes)
    }
}

pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    /// Bits read.
    position: usize,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> BitReader<'a> {
        BitReader { bytes, position: 0 }
    }

    pub(super) fn left_bits(&self) -> usize {
        self.bytes.len() * 8 - self.position
    }

    /// The next bits, lowest first, zeros after the end; at least 57 of them where so many are left.
    fn window(&self) -> u64 {
        let rest = &self.bytes[self.position / 8..];
        let word = match rest.first_chunk::<8>() {
            Some(bytes) => u64::from_le_bytes(*bytes),
            None => {
                let mut bytes = [0; 8];
                bytes[..rest.len()].copy_from_slice(rest);
                u64::from_le_bytes(bytes)
            }
        };
        word >> (self.position % 8)
    }

    /// The next `bits` bits, at most 32.
    fn take(&mut self, bits: u32) -> Result<u32, Malformed> {
        if bits as usize > self.left_bits() {
            return Err(Malformed("bits end inside a number"));
        }
        let value = self.window() & ((1 << bits) - 1);
        self.position += bits as usize;
        Ok(value as u32)
    }

    fn unary(&mut self) -> Result<u32, Malformed> {
        let mut zeros = 0usize;
        loop {
            let seen = self.window().trailing_zeros() as usize;
            if seen < 57 {
                if seen >= self.left_bits() {
                    return Err(Malformed("bits end inside a unary number"));
                }
                self.position += seen + 1;
                return u32::try_from(zeros + seen).map_err(|_| Malformed("unary number over 32 bits"));
            }
            if self.left_bits() <= 57 {
                return Err(Malformed("bits end inside a unary number"));
            }
            // The bits above the 57th may be those that the shift brought in.
            zeros += 57;
            self.position += 57;
        }
    }

    pub(super) fn rice(&mut self, parameter: u32) -> Result<u32, Malformed> {
        let upper = self.unary()?;
        if upper.leading_zeros() < parameter {
            return Err(Malformed("Rice number over 32 bits"));
        }
        Ok(upper << parameter | self.take(parameter)?)
    }

    pub(super) fn gamma(&mut self) -> Result<u32, Malformed> {
        let bits = self.unary()?;
        if bits > 31 {
            return Err(Malformed("gamma number over 32 bits"));
        }
        Ok(1 << bits | self.take(bits)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_number_comes_back(numbers in prop::collection::vec((0u32..1 << 28, 17u32..=28), 0..200)) {
            let mut writer = BitWriter::default();
            for (value, parameter) in &numbers {
                writer.rice(*value, *parameter);
                writer.gamma(value + 1);
            }
            writer.rice(500, 0);
            let bytes = writer.take();
            prop_assert_eq!(writer.len_bytes(), 0);
            let mut reader = BitReader::new(&bytes);
            for (value, parameter) in &numbers {
                prop_assert_eq!(reader.rice(*parameter), Ok(*value));
                prop_assert_eq!(reader.gamma(), Ok(value + 1));
            }
            prop_assert_eq!(reader.rice(0), Ok(500));
            prop_assert!(reader.left_bits() < 8);
            prop_assert!(reader.rice(0).is_err());
        }

        #[test]
        fn any_bytes_are_read_to_their_end_or_refused(
            bytes in prop::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..64),
            parameter in 0u32..=28,
        ) {
            let mut reader = BitReader::new(&bytes);
            while reader.rice(parameter).is_ok() {}
            let mut reader = BitReader::new(&bytes);
            while reader.gamma().is_ok() {}
        }
    }

    #[test]
    fn a_number_that_does_not_fit_is_refused() {
        let mut bytes = vec![0u8; 8];
        bytes.push(0xff);
        assert_eq!(BitReader::new(&bytes).rice(28), Err(Malformed("Rice number over 32 bits")));
        assert_eq!(BitReader::new(&bytes).gamma(), Err(Malformed("gamma number over 32 bits")));
    }

    #[test]
    fn the_parameter_fits_the_mean_gap() {
        assert_eq!(rice_parameter(190_000, 190_000), 0);
        assert_eq!(rice_parameter(190_000, 24_000), 2);
        assert_eq!(rice_parameter(190_000, 1), 16);
        assert_eq!(rice_parameter(1, 1), 0);
        assert_eq!(rice_parameter(0, 0), 0);
    }
}
