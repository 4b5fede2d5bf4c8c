//! The initrd: an archive in the kernel's "newc" format (Linux,
//! Documentation/driver-api/early-userspace/buffer-format.rst), not compressed: what is large in it
//! is compressed already.

/// The first program, and how it finds the others.
pub const INIT: &str = include_str!("../../../appliance-vms/base/init");

/// File kinds and permissions, as in `st_mode` (inode(7)).
const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const DATA: u32 = 0o100_644;
const DEVICE: u32 = 0o020_600;
const LINK: u32 = 0o120_777;
/// The console (Linux, Documentation/admin-guide/devices.txt): the kernel opens it before any program
/// runs.
const CONSOLE: (u32, u32) = (5, 1);

/// The parts of busybox that [`INIT`] takes.
const APPLETS: [&str; 7] = ["cat", "insmod", "mkdir", "mount", "poweroff", "sleep", "switch_root"];

/// Makes the initrd from busybox and modules, which are loaded in this order.
pub fn initrd(busybox: &[u8], modules: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut archive = Archive::default();
    for folder in ["bin", "dev", "image", "layer", "modules", "proc", "root", "sys"] {
        archive.add(folder, FOLDER, (0, 0), &[]);
    }
    archive.add("dev/console", DEVICE, CONSOLE, &[]);
    archive.add("init", PROGRAM, (0, 0), INIT.as_bytes());
    archive.add("bin/busybox", PROGRAM, (0, 0), busybox);
    for applet in APPLETS {
        archive.add(&format!("bin/{applet}"), LINK, (0, 0), b"busybox");
    }
    for (number, (name, bytes)) in modules.iter().enumerate() {
        archive.add(&format!("modules/{number:02}-{name}"), DATA, (0, 0), bytes);
    }
    archive.finish()
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    count: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.count += 1;
        let links = if mode == FOLDER { 2 } else { 1 };
        self.bytes.extend(b"070701");
        for field in [
            self.count, // inode
            mode,
            0, // user
            0, // group
            links,
            0,                    // time
            content.len() as u32, // a kernel takes less than 4 GiB
            0,                    // device that holds it: major, minor
            0,
            device.0, // device that it is: major, minor
            device.1,
            name.len() as u32 + 1, // with the zero at its end
            0,                     // checksum, not in this format
        ] {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names, modes and lengths of an archive, read as the kernel reads it.
    fn list(mut bytes: &[u8]) -> Vec<(String, u32, usize)> {
        let mut found = Vec::new();
        loop {
            assert_eq!(&bytes[..6], b"070701");
            let field = |number: usize| {
                let text = std::str::from_utf8(&bytes[6 + 8 * number..14 + 8 * number]).expect("digits");
                u32::from_str_radix(text, 16).expect("digits")
            };
            let (mode, len, name_len) = (field(1), field(6) as usize, field(11) as usize);
            let name = String::from_utf8(bytes[110..110 + name_len - 1].to_vec()).expect("a name");
            let content = (110 + name_len).next_multiple_of(4);
            if name == "TRAILER!!!" {
                assert_eq!(bytes.len(), content);
                return found;
            }
            bytes = &bytes[(content + len).next_multiple_of(4)..];
            found.push((name, mode, len));
        }
    }

    #[test]
    fn the_archive_is_what_a_kernel_reads() {
        let modules = [("b.ko.xz".to_owned(), vec![1, 2, 3]), ("a.ko.xz".to_owned(), vec![4])];
        let found = list(&initrd(b"busybox", &modules));
        let has = |name: &str, mode, len| found.contains(&(name.to_owned(), mode, len));
        assert!(has("init", 0o100_755, INIT.len()) && has("bin/busybox", 0o100_755, 7), "{found:?}");
        assert!(has("dev", 0o40_755, 0) && has("dev/console", 0o20_600, 0), "{found:?}");
        assert!(has("modules/00-b.ko.xz", 0o100_644, 3) && has("modules/01-a.ko.xz", 0o100_644, 1));
    }
}
