//! Links the door low and without relocations, and names the payload that it carries.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=pvh.ld");
    println!("cargo::rerun-if-env-changed=HEARTH_PAYLOAD");
    if std::env::var_os("CARGO_FEATURE_BARE_METAL").is_none() {
        return;
    }
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    for argument in ["--no-pie", "-zmax-page-size=4096", "--build-id=none"] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
    println!("cargo::rustc-link-arg-bins=-T{}", Path::new(&folder).join("pvh.ld").display());
    let payload = std::env::var("HEARTH_PAYLOAD")
        .expect("HEARTH_PAYLOAD is not set: build this door with `cargo hearth image`");
    println!("cargo::rerun-if-changed={payload}");
}
