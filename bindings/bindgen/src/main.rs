//! `uniffi-bindgen`: writes the Swift and Kotlin sources for a built `headwater_ffi` library.

fn main() {
    uniffi::uniffi_bindgen_main();
}
