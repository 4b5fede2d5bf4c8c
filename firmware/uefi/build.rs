//! Keeps the door's file free of everything that differs from one build to the next.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "uefi") {
        // PE header field TimeDateStamp: the linker would take the clock.
        println!("cargo::rustc-link-arg-bins=/TIMESTAMP:0");
        // The debug directory would name the PDB file's path and carry a fresh identifier.
        println!("cargo::rustc-link-arg-bins=/DEBUG:NONE");
    }
}
