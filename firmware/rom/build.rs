//! Links the door by `rom.ld`: its program in low RAM, its first instructions at the top of 4 GiB.

fn main() {
    let directory = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    println!("cargo::rerun-if-changed=rom.ld");
    println!("cargo::rustc-link-arg-bins=-T{directory}/rom.ld");
    // The program runs where it is linked; nobody would apply relocations.
    println!("cargo::rustc-link-arg-bins=--no-pie");
    println!("cargo::rustc-link-arg-bins=-zmax-page-size=4096");
}
