#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| rts3_fuzz::targets::options(data));
