//! `hearth image`: builds every program and turns them into the three artifacts.

use crate::appliances::{self, Choice};
use crate::bare::{self, Builder};
use crate::disk;
use crate::payload::{self, Image};
use crate::progress::{self, Step};
use crate::qemu::Artifacts;
use crate::rom;
use crate::setup::{self, Toolbox, needs::Need};
use crate::system::{self, Bundle, Ready};
use crate::workspace::{VERSION, Workspace};
use anyhow::{Context, Result, ensure};
use clap::Args;
use elf::ElfBytes;
use elf::abi::PT_NOTE;
use elf::endian::LittleEndian;
use elf::note::Note;
use sha2::{Digest, Sha256};
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

/// Most bytes of memory that hv takes while no management VM is in the payload.
pub const HV_MEMORY_MAX: u64 = 640 << 10;
/// Type of the note that holds the PVH entry point (Xen, `public/elfnote.h`).
const XEN_ELFNOTE_PHYS32_ENTRY: u64 = 18;
/// First word of a Multiboot header (Multiboot 0.6.96, 3.1.1), which QEMU would take before the note.
const MULTIBOOT_MAGIC: [u8; 4] = 0x1bad_b002_u32.to_le_bytes();
/// A Multiboot header lies in so many first bytes of a file (Multiboot 0.6.96, 3.1).
const MULTIBOOT_SEARCH: usize = 8192;

/// What `hearth image` is asked.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    appliances: Choice,
}

/// What was built.
pub struct Built {
    /// Where it lies.
    pub artifacts: Artifacts,
    /// Bytes of memory that hv takes when it runs.
    pub hv_memory: u64,
    /// Bytes of `hearth.rom`.
    pub rom_len: u64,
}

/// Runs the command.
///
/// # Errors
/// When something needed is missing, does not build, or breaks a promise.
pub fn command(arguments: &Arguments, yes: bool) -> Result<()> {
    let workspace = Workspace::find()?;
    let toolbox = setup::ensure(&Need::FOR_IMAGE, yes)?;
    let appliances = appliances::gather(&workspace, &arguments.appliances, yes)?;
    let built = build(&workspace, &toolbox, &appliances)?;
    for file in [built.artifacts.image(), built.artifacts.rom(), built.artifacts.elf()] {
        let (len, digest) = system::each_chunk(&file, |_| Ok(()))?;
        progress::result(&format!("{}  {len:>10}  {}", hex(&digest), file.display()));
    }
    Ok(())
}

/// Builds all artifacts, with these appliances on the disk. What has not changed is not written again.
///
/// # Errors
/// When something does not build, cannot be written, or breaks a promise.
pub fn build(workspace: &Workspace, toolbox: &Toolbox, appliances: &[Ready]) -> Result<Built> {
    let artifacts = workspace.artifacts();
    let folder = &artifacts.dir;
    fs::create_dir_all(folder)
        .with_context(|| format!("making {}; next: see who owns it", folder.display()))?;
    let builder = Builder::new(workspace, toolbox);

    let program = |program| Image::from_elf(&read(&builder.program(program, &[])?)?, VERSION);
    let (hv, management) = (program(bare::HV)?, program(bare::MANAGEMENT)?);
    let hv_memory = hv.memory_len();
    ensure!(
        hv_memory <= HV_MEMORY_MAX,
        "hv takes {hv_memory} bytes of memory, and {HV_MEMORY_MAX} are promised; next: find what grew"
    );
    let both = hv.with_module(&management);
    let (plain, deflated) = (both.plain(), both.deflated());
    payload::check(&plain).and(payload::check(&deflated)).context("reading the new payload back")?;
    write(&artifacts.payload(), &plain)?;
    let carried = folder.join("payload.deflated");
    write(&carried, &deflated)?;

    let application = read(&builder.program(bare::UEFI, &[])?)?;
    write(&artifacts.application(), &application)?;

    let door = read(&builder.program(bare::PVH, &[("HEARTH_PAYLOAD", carried.as_path())])?)?;
    let door = loaded_part(door).context("in the pvh door's ELF file")?;
    write(&artifacts.elf(), &door)?;

    let rom = rom::assemble(&read(&builder.program(bare::ROM, &[])?)?, &deflated)?;
    write(&artifacts.rom(), &rom)?;

    let files: [(&str, &[u8]); 2] = [("EFI/BOOT/BOOTX64.EFI", &application), ("hearth/a.payload", &plain)];
    write_disk(&artifacts, &files, &appliances::bundle(appliances)?)?;
    Ok(Built { artifacts, hv_memory, rom_len: rom.len() as u64 })
}

/// Builds a flash image whose management VM is the micro-guest, for the tests: artifacts of which
/// only `hearth.rom` and the disk beside it are there.
///
/// # Errors
/// When something does not build, or can't be written.
pub fn micro_guest(workspace: &Workspace, toolbox: &Toolbox) -> Result<Artifacts> {
    let built = workspace.artifacts();
    let artifacts = Artifacts { dir: built.dir.join("micro-guest") };
    fs::create_dir_all(&artifacts.dir).with_context(|| format!("making {}", artifacts.dir.display()))?;
    let builder = Builder::new(workspace, toolbox);
    let program = |program| Image::from_elf(&read(&builder.program(program, &[])?)?, VERSION);
    let payload = program(bare::HV)?.with_module(&program(bare::MICRO_GUEST)?).deflated();
    write(&artifacts.rom(), &rom::assemble(&read(&builder.program(bare::ROM, &[])?)?, &payload)?)?;
    if !artifacts.image().is_file() {
        fs::hard_link(built.image(), artifacts.image())
            .or_else(|_| fs::copy(built.image(), artifacts.image()).map(drop))
            .with_context(|| format!("putting a disk at {}", artifacts.image().display()))?;
    }
    Ok(artifacts)
}

/// This flash image beside another disk, with these appliances alone: artifacts in `folder` of which
/// only `hearth.rom` and the disk are there.
///
/// # Errors
/// When the flash image is not built, or something can't be written.
pub fn other_disk(built: &Artifacts, folder: &Path, appliances: &[Ready]) -> Result<Artifacts> {
    let artifacts = Artifacts { dir: folder.to_owned() };
    fs::hard_link(built.rom(), artifacts.rom())
        .or_else(|_| fs::copy(built.rom(), artifacts.rom()).map(drop))
        .with_context(|| format!("putting the flash image at {}", artifacts.rom().display()))?;
    disk::write_image(&artifacts.image(), &[], &appliances::bundle(appliances)?)?;
    Ok(artifacts)
}

/// Writes the disk image, unless what it was made of, and what made it, is the same as last time.
fn write_disk(artifacts: &Artifacts, files: &[(&str, &[u8])], bundle: &Bundle) -> Result<()> {
    let mut inputs = Sha256::new();
    for (name, bytes) in files {
        inputs.update(format!("{name} {}\n", bytes.len()));
        inputs.update(bytes);
    }
    inputs.update(bundle.digest());
    let stamp = format!("{} {}\n", hex(&inputs.finalize()), this_program());
    let (image, stamp_file) = (artifacts.image(), artifacts.dir.join("hearth.img.inputs"));
    if image.is_file() && fs::read_to_string(&stamp_file).is_ok_and(|last| last == stamp) {
        return Ok(());
    }
    let step = Step::start("writing hearth.img");
    disk::write_image(&image, files, bundle)?;
    step.done("");
    fs::write(&stamp_file, stamp).with_context(|| format!("writing {}", stamp_file.display()))
}

/// Tells this build of the image builder from another.
fn this_program() -> String {
    let about = env::current_exe().and_then(fs::metadata);
    let age = |about: &fs::Metadata| Some(about.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_nanos());
    about.map(|about| format!("{} {:?}", about.len(), age(&about))).unwrap_or_default()
}

/// The ELF file without what nothing loads: symbols, debug information, section headers. A linker
/// puts all of that after what is loaded. Checks that it starts by its PVH note.
fn loaded_part(mut file: Vec<u8>) -> Result<Vec<u8>> {
    // Of the ELF64 header: offset, and count and names of sections (System V ABI, "ELF Header").
    const SECTION_OFFSET: std::ops::Range<usize> = 0x28..0x30;
    const SECTION_COUNT_AND_NAMES: std::ops::Range<usize> = 0x3c..0x40;
    let elf = ElfBytes::<LittleEndian>::minimal_parse(&file).context("it cannot be read")?;
    let parts: Vec<_> = elf.segments().context("it has no program headers")?.iter().collect();
    let entries = parts.iter().filter(|part| part.p_type == PT_NOTE);
    let entries = entries.filter_map(|part| elf.segment_data_as_notes(part).ok()).flatten();
    let entry =
        |note: &Note<'_>| matches!(note, Note::Unknown(any) if any.n_type == XEN_ELFNOTE_PHYS32_ENTRY);
    ensure!(entries.into_iter().any(|note| entry(&note)), "it has no PVH note, so QEMU would not start it");
    let end = parts.iter().map(|part| part.p_offset.saturating_add(part.p_filesz)).max().unwrap_or(0);
    file.truncate(usize::try_from(end).unwrap_or(usize::MAX));
    file[SECTION_OFFSET].fill(0);
    file[SECTION_COUNT_AND_NAMES].fill(0);
    let start = &file[..file.len().min(MULTIBOOT_SEARCH)];
    ensure!(
        !start.chunks(4).any(|word| word == MULTIBOOT_MAGIC),
        "it holds the Multiboot magic, so QEMU would start it another way than by its PVH note"
    );
    Ok(file)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("reading {}, which cargo has just built", file.display()))
}

/// Writes a file unless it already holds these bytes: its time then stays, and cargo and make-like
/// tools see that nothing changed.
fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(file).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    let mut aside = file.as_os_str().to_owned();
    aside.push(".new");
    fs::write(&aside, bytes)
        .and_then(|()| fs::rename(&aside, file))
        .with_context(|| format!("writing {}; next: see whether the disk is full", file.display()))
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::synthetic::{Part, elf};

    /// A program with a note after its code, and something that nothing loads at its end.
    fn pvh_elf(note_type: u32, code: &[u8]) -> Vec<u8> {
        let mut note = Vec::new();
        for word in [4u32, 4, note_type] {
            note.extend(word.to_le_bytes());
        }
        note.extend(b"Xen\0");
        note.extend(0x10_0000u32.to_le_bytes());
        let mut file = elf(0x10_0000, &[Part::new(0x10_0000, 5, code), Part::new(0x10_1000, 4, &note)]);
        let second = 64 + 56;
        file[second..second + 4].copy_from_slice(&PT_NOTE.to_le_bytes());
        file[second + 48..second + 56].copy_from_slice(&4u64.to_le_bytes()); // alignment
        file.extend(b"symbols");
        file[0x3c] = 1;
        file
    }

    #[test]
    fn the_pvh_door_keeps_what_is_loaded() {
        let file = pvh_elf(18, &[0x90; 16]);
        let kept = loaded_part(file.clone()).expect("a note");
        assert_eq!(kept.len(), file.len() - b"symbols".len());
        assert_eq!((kept[0x3c], &kept[0x40..]), (0, &file[0x40..kept.len()]));
    }

    #[test]
    fn a_door_that_qemu_would_take_for_another_kind_is_refused() {
        assert!(loaded_part(pvh_elf(17, &[0x90; 16])).expect_err("no note").to_string().contains("PVH note"));
        let error = loaded_part(pvh_elf(18, &MULTIBOOT_MAGIC)).expect_err("magic").to_string();
        assert!(error.contains("Multiboot"), "{error}");
    }

    #[test]
    fn what_is_the_same_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("x");
        write(&file, b"one").expect("written");
        let age = || fs::metadata(&file).and_then(|about| about.modified()).expect("there");
        let before = age();
        write(&file, b"one").expect("left alone");
        assert_eq!(age(), before);
        write(&file, b"two").expect("written");
        assert_eq!(fs::read(&file).expect("there"), b"two");
    }
}
