//! Where the payload comes from: the volume that the door was loaded from; or else the boot loader
//! that started it (iPXE, GRUB, the EFI shell), which hands it over as it would hand over Linux's
//! initrd; or else a QEMU below.

use crate::below;
use crate::machine::protocol;
use alloc::vec::Vec;
use core::mem::MaybeUninit;
use firmware_uefi::slots::Slot;
use handoff::{Refusal, Result};
use hv_abi::payload::{Header, MAX_MEMORY};
use uefi::boot;
use uefi::proto::device_path::DevicePath;
use uefi::proto::device_path::build::{DevicePathBuilder, media};
use uefi::proto::loaded_image::LoadedImage;
use uefi::proto::media::file::{File, FileAttribute, FileMode, RegularFile};
use uefi::proto::media::fs::SimpleFileSystem;
use uefi::proto::media::load_file::LoadFile2;
use uefi::{Guid, Status, guid};

/// `LINUX_EFI_INITRD_MEDIA_GUID`: the vendor device path at which boot loaders offer an initrd
/// through `LoadFile2` (Linux, include/linux/efi.h; UEFI 2.10, 13.2).
const INITRD_MEDIA: Guid = guid!("5568e427-68fc-4f3d-ac74-ca555231cc68");

/// No payload is larger: even one that deflate could not make smaller is little more than what it
/// takes in memory.
const MAX_LEN: u64 = MAX_MEMORY + size_of::<Header>() as u64;

const TOO_LARGE: Refusal = Refusal {
    what: "The Hearth payload is larger than any that the Hearth image builder makes.",
    remedy: "Write the Hearth image to this machine again.",
};

/// Reads the payload.
///
/// # Errors
/// A refusal when there is none, or what there is can't be read.
pub fn read(slot: &Slot) -> Result<Vec<u8>> {
    if let Some(bytes) = from_volume(slot)? {
        return Ok(bytes);
    }
    if let Some(bytes) = from_loader()? {
        return Ok(bytes);
    }
    from_below()?.ok_or(slot.missing)
}

/// From the volume. `None` if we were not loaded from one, or it has no such file.
fn from_volume(slot: &Slot) -> Result<Option<Vec<u8>>> {
    match open(slot) {
        Ok(Some(mut file)) => read_whole(&mut file, slot).map(Some),
        Ok(None) => Ok(None),
        Err(_) => Err(slot.unreadable),
    }
}

fn open(slot: &Slot) -> uefi::Result<Option<RegularFile>> {
    let Some(device) = protocol::<LoadedImage>(boot::image_handle())?.device() else { return Ok(None) };
    let Ok(mut volume) = protocol::<SimpleFileSystem>(device) else { return Ok(None) };
    let mut root = volume.open_volume()?;
    match root.open(slot.path, FileMode::Read, FileAttribute::empty()) {
        Ok(file) => Ok(file.into_regular_file()),
        Err(error) if error.status() == Status::NOT_FOUND => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_whole(file: &mut RegularFile, slot: &Slot) -> Result<Vec<u8>> {
    let len = len(file).map_err(|_| slot.unreadable)?;
    let mut bytes = room(len)?;
    match file.read(&mut bytes) {
        Ok(read) if read == bytes.len() => Ok(bytes),
        _ => Err(slot.unreadable),
    }
}

/// Memory to read a payload of `len` bytes to.
fn room(len: u64) -> Result<Vec<u8>> {
    if len > MAX_LEN {
        return Err(TOO_LARGE);
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len as usize).map_err(|_| Refusal {
        what: "This machine has too little memory to read the Hearth payload.",
        remedy: "Give it at least 128 MiB.",
    })?;
    bytes.resize(len as usize, 0);
    Ok(bytes)
}

/// Bytes of a file; it is read from its start after that.
fn len(file: &mut RegularFile) -> uefi::Result<u64> {
    file.set_position(RegularFile::END_OF_FILE)?;
    let len = file.get_position()?;
    file.set_position(0)?;
    Ok(len)
}

/// From the boot loader. `None` if it offers nothing.
fn from_loader() -> Result<Option<Vec<u8>>> {
    let mut buffer = [MaybeUninit::uninit(); 64];
    let Some(path) = initrd_path(&mut buffer) else { return Ok(None) };
    let mut rest = path;
    let Ok(handle) = boot::locate_device_path::<LoadFile2>(&mut rest) else { return Ok(None) };
    let offered = protocol::<LoadFile2>(handle).and_then(|mut loader| loader.load_file(rest));
    match offered {
        Ok(bytes) if bytes.len() as u64 > MAX_LEN => Err(TOO_LARGE),
        Ok(bytes) => Ok(Some(bytes.into_vec())),
        Err(error) if error.status() == Status::NOT_FOUND => Ok(None),
        Err(_) => Err(Refusal {
            what: "The boot loader offers a Hearth payload as initrd and then does not hand it over.",
            remedy: "Check the boot loader's initrd line, or start from a disk with the Hearth image.",
        }),
    }
}

/// From a QEMU below. `None` if there is none, or it was given nothing.
fn from_below() -> Result<Option<Vec<u8>>> {
    let Some(len) = below::payload_len() else { return Ok(None) };
    let mut bytes = room(len)?;
    below::read_payload(&mut bytes);
    Ok(Some(bytes))
}

/// A device path of one node: the vendor's, which is Linux here.
fn initrd_path(buffer: &mut [MaybeUninit<u8>]) -> Option<&DevicePath> {
    let node = media::Vendor { vendor_guid: INITRD_MEDIA, vendor_defined_data: &[] };
    DevicePathBuilder::with_buf(buffer).push(&node).ok()?.finalize().ok()
}
