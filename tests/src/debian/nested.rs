//! Debian under KVM: on the same emulated PC as Hearth runs a Debian host, and in that, by Debian's own
//! QEMU, the guest. What Hearth is held against has the best settings that a host gives it: disks by an
//! I/O thread past the host's page cache, one queue a vCPU; the network by vhost on a bridge.

use super::bare::{self, Disk};
use super::{Guest, products};
use anyhow::{Context, Result};
use image_builder::recipe::Product;
use image_builder::rootfs::KVM_HOST;
use std::fmt::Write as _;
use std::fs;

/// What the host itself is given, in MiB: as much as a box.
const HOST_MEMORY_MIB: u64 = 2048;
/// The guest's network. The bridge has the host's card, and no address: it is the guest that is to be
/// heard. The cards are there when udev has done its work.
const NETWORK: &str = "udevadm settle\n\
                       ip link add bridge type bridge forward_delay 0\n\
                       ip tuntap add tap mode tap vnet_hdr\n\
                       for link in eth0 tap; do ip link set $link master bridge up; done\n\
                       ip link set bridge up\n";

/// How often a host is started. Linux switches a branch of its scheduler by patching its own code when the first
/// virtual machine starts, and with two CPUs at once QEMU 7.2's translator now and then runs into the middle of
/// that: the host ends with `Oops: int3`, before its guest has said anything.
const TRIES: usize = 3;
/// What it says then.
const PATCHED: &str = "Oops: int3";

/// The guest's address, which is not that of the host's card: QEMU gives that to every first card.
const MAC: &str = "52:54:00:12:34:57";

/// Runs a guest as [`bare::run`] does, one floor higher; of the lines, some are the host's.
///
/// # Errors
/// It does not come so far.
pub fn run(guest: &Guest) -> Result<Vec<String>> {
    let folder = tempfile::tempdir().context("making a folder for QEMU")?;
    let products = products(guest.folder)?;
    let [kernel, initrd, root] = Product::ALL.map(|product| Disk::of(products.join(product.name())));
    let kernel_len = fs::metadata(&kernel.file).context("looking for the kernel")?.len();
    let initrd_len = fs::metadata(&initrd.file).context("looking for the initrd")?.len();
    let host = Guest {
        name: "host",
        folder: KVM_HOST,
        memory_mib: HOST_MEMORY_MIB,
        volume_mib: 0,
        sound: false,
        errand: script(guest, kernel_len, initrd_len)?,
    };
    let folder = folder.path();
    let (own, errand) = (Disk::errand(&host, folder)?, Disk::errand(guest, folder)?);
    // From /dev/vdb on, in this order.
    let disks = [own, kernel, initrd, root, errand, Disk::volume(guest, folder)?];
    let mut outcome = bare::run_with(&host, &disks);
    for _ in 1..TRIES {
        if outcome.as_ref().is_err_and(|error| error.to_string().contains(PATCHED)) {
            outcome = bare::run_with(&host, &disks);
        }
    }
    outcome
}

/// What the host does: it takes kernel and initrd from disks, because its QEMU wants files that end
/// where they end, and starts the guest.
fn script(guest: &Guest, kernel_len: u64, initrd_len: u64) -> Result<String> {
    let mut script = format!(
        "head -c {kernel_len} /dev/vdc >/run/vmlinuz\nhead -c {initrd_len} /dev/vdd >/run/initrd\n{NETWORK}\
         exec qemu-system-x86_64 -nodefaults -no-user-config -no-reboot -display none -serial stdio \
         -machine q35,accel=kvm -cpu host -smp 2 -m {} -object iothread,id=io \
         -kernel /run/vmlinuz -initrd /run/initrd -append '{}' \
         -netdev tap,id=net,ifname=tap,script=no,downscript=no,vhost=on -device virtio-net-pci,netdev=net,mac={MAC} \
         -device virtio-serial-pci -device virtio-rng-pci",
        guest.memory_mib,
        guest.cmdline()?
    );
    for (disk, read_only) in [("vde", "on"), ("vdf", "on"), ("vdg", "off")] {
        let _ = write!(
            script,
            " -blockdev driver=host_device,node-name={disk},filename=/dev/{disk},read-only={read_only},\
             cache.direct=on,aio=native -device virtio-blk-pci,drive={disk},iothread=io"
        );
    }
    script.push('\n');
    Ok(script)
}
