//! Links the kernels at 1 MiB, where boot loaders put them.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=kernel.ld");
    if std::env::var_os("CARGO_FEATURE_BARE_METAL").is_none() {
        return;
    }
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    for argument in ["--no-pie", "-zmax-page-size=4096", "--build-id=none"] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
    println!("cargo::rustc-link-arg-bins=-T{}", Path::new(&folder).join("kernel.ld").display());
}
