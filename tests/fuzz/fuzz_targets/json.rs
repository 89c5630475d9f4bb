//! HCL's JSON form and the API's JSON: a file that starts with `{`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if bytes.trim_ascii_start().starts_with(b"{") {
        fuzz::check("a.nomad", bytes);
    } else {
        fuzz::check("a.nomad", &[b"{", bytes].concat());
    }
});
