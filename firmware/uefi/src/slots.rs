//! Which payload file the door takes, and what it says when it can't.

use handoff::Refusal;
use uefi::{CStr16, cstr16};

/// One place on the volume that a payload may lie in.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// From the root of the volume that the door was loaded from.
    pub path: &'static CStr16,
    /// There is no such file, and nobody handed a payload over either.
    pub missing: Refusal,
    /// The file is there, and reading it failed.
    pub unreadable: Refusal,
}

/// A slot at a path, with sentences that name it.
macro_rules! slot {
    ($path:tt) => {
        Slot {
            path: cstr16!($path),
            missing: Refusal {
                what: concat!(
                    "There is no Hearth payload: the disk that this program was started from has no file ",
                    $path,
                    ", and the boot loader handed none over."
                ),
                remedy: "Write the Hearth image to the disk again, or give the boot loader the file a.payload \
                         as initrd.",
            },
            unreadable: Refusal {
                what: concat!("The disk that this program was started from can't read the file ", $path, "."),
                remedy: "Write the Hearth image to the disk again; if that does not help, use another disk.",
            },
        }
    };
}

/// The first slot.
pub const A: Slot = slot!("\\hearth\\a.payload");

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn the_sentences_name_the_path_that_is_opened() {
        let path = A.path.to_string();
        assert_eq!(path, r"\hearth\a.payload");
        assert!(A.missing.what.contains(&path) && A.unreadable.what.contains(&path));
    }
}
