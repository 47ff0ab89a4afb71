#![no_main]

use coliseum::fuzz;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    coliseum_fuzz::judge(bytes, fuzz::id_file, fuzz::reseal::ends_in_checksum);
    coliseum_fuzz::judge(bytes, fuzz::fingerprint_key, fuzz::reseal::ends_in_checksum);
});
