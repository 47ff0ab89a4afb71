#![no_main]

use coliseum::fuzz;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    coliseum_fuzz::judge(bytes, fuzz::names, fuzz::reseal::names);
});
