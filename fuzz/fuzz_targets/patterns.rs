#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| obol_fuzz::targets::routing::patterns(data));
