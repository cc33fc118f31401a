//! Link options of the cdylib.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // mod_perl unloads and loads Perl again on a graceful restart; a library with thread-locals
    // must stay mapped.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    // Programs linked to it ask for the major version of their build; Perl loads it by its path.
    let major = env!("CARGO_PKG_VERSION_MAJOR");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,librts3.so.{major}");
}
