//! From hv's ELF file to a payload: a flat, checked memory image behind a header.
//!
//! Everything that can be wrong with a program is found here, on the developer's computer, so that
//! a door has little to check and nothing to repair. Layout: [`hv_abi::payload`].

use anyhow::{Context, Result, bail, ensure};
use elf::ElfBytes;
use elf::abi::{EM_X86_64, ET_EXEC, PF_W, PF_X, PT_LOAD};
use elf::endian::LittleEndian;
use elf::segment::ProgramHeader;
use hv_abi::boot::IMAGE_FLOOR;
use hv_abi::memory::PAGE_SIZE;
use hv_abi::payload::{Encoding, Header, MAGIC, MAX_MEMORY, MAX_SEGMENTS, Segment, VERSION};
use sha2::{Digest, Sha256};
use zerocopy::{FromBytes, IntoBytes};

/// A door maps the image with large pages where it can, so it starts on one.
const LARGE_PAGE: u64 = 2 << 20;
/// Deflate level: the image is packed once and unpacked often.
const DEFLATE_LEVEL: u8 = 10;

/// A program laid out as it will lie in memory.
#[derive(Debug)]
pub struct Image {
    header: Header,
    bytes: Vec<u8>,
}

impl Image {
    /// Lays out the program in an ELF file; `product` is its version.
    ///
    /// # Errors
    /// The first rule that the file breaks.
    pub fn from_elf(file: &[u8], product: &str) -> Result<Self> {
        let elf = ElfBytes::<LittleEndian>::minimal_parse(file).context("hv's ELF file cannot be read")?;
        let about = &elf.ehdr;
        ensure!(about.e_machine == EM_X86_64, "hv's ELF file is for machine {}, not x86-64", about.e_machine);
        ensure!(
            about.e_type == ET_EXEC,
            "hv's ELF file can be moved (type {}), so its addresses are not final; next: link it with --no-pie",
            about.e_type
        );
        let parts = loads(&elf)?;
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else {
            bail!("hv's ELF file loads nothing")
        };
        let base = first.p_vaddr;
        ensure!(base % LARGE_PAGE == 0, "hv is linked at {base:#x}, which is not a multiple of 2 MiB");
        ensure!(
            base >= IMAGE_FLOOR,
            "hv is linked at {base:#x}, below {IMAGE_FLOOR:#x} where the doors map it"
        );
        let memory_len = whole_pages(last.p_vaddr + last.p_memsz - base);
        ensure!(memory_len <= MAX_MEMORY, "hv takes {memory_len} bytes of memory, more than {MAX_MEMORY}");

        let mut segments = [Segment::default(); MAX_SEGMENTS];
        let mut bytes = Vec::new();
        for (slot, part) in segments.iter_mut().zip(&parts) {
            let offset = part.p_vaddr - base;
            let data = elf.segment_data(part).context("hv's ELF file is cut short")?;
            bytes.resize(offset as usize, 0);
            bytes.extend_from_slice(data);
            *slot = Segment {
                offset: offset as u32,
                len: whole_pages(part.p_memsz) as u32,
                rights: rights(part)?,
            };
        }
        let header = Header {
            magic: MAGIC,
            version: VERSION,
            encoding: Encoding::PLAIN,
            stored_len: 0,
            image_len: bytes.len() as u64,
            memory_len,
            virtual_base: base,
            entry: about.e_entry,
            digest: [0; 32],
            segments,
            product: product_field(product)?,
            module_offset: 0,
            module_len: 0,
            reserved: [0; 40],
        };
        let entry = header.entry.wrapping_sub(base);
        let in_code = |part: &Segment| {
            let range = u64::from(part.offset)..u64::from(part.offset) + u64::from(part.len);
            part.rights & Segment::EXECUTE != 0 && range.contains(&entry)
        };
        ensure!(header.segments().any(in_code), "hv's entry point {:#x} is not in its code", header.entry);
        Ok(Self { header, bytes })
    }

    /// Bytes of memory that the program takes when it runs, without a module.
    pub fn memory_len(&self) -> u64 {
        self.header.program_len()
    }

    /// The same with `module`, the management VM's program, behind it.
    #[must_use]
    pub fn with_module(mut self, module: &Self) -> Self {
        let program = module.plain();
        let offset = self.header.program_len();
        self.bytes.resize(offset as usize, 0);
        self.bytes.extend_from_slice(&program);
        self.header.image_len = self.bytes.len() as u64;
        self.header.memory_len = whole_pages(self.header.image_len);
        self.header.module_offset = offset;
        self.header.module_len = program.len() as u64;
        self
    }

    /// The payload with the image as it is.
    pub fn plain(&self) -> Vec<u8> {
        self.pack(Encoding::PLAIN, &self.bytes)
    }

    /// The payload with the image deflated.
    pub fn deflated(&self) -> Vec<u8> {
        let stored = miniz_oxide::deflate::compress_to_vec(&self.bytes, DEFLATE_LEVEL);
        self.pack(Encoding::DEFLATE, &stored)
    }

    fn pack(&self, encoding: Encoding, stored: &[u8]) -> Vec<u8> {
        let mut header = Header { encoding, stored_len: stored.len() as u64, ..self.header.clone() };
        header.digest = digest(&header, stored);
        [header.as_bytes(), stored].concat()
    }
}

/// Reads a payload back: what its header says, if it is what was packed.
///
/// # Errors
/// When it is not whole, or not a payload.
pub fn check(payload: &[u8]) -> Result<Header> {
    let (header, stored) =
        Header::read_from_prefix(payload).ok().context("a payload that ends within its header")?;
    ensure!(header.magic == MAGIC && header.version == VERSION, "this is not a payload of version {VERSION}");
    ensure!(
        header.stored_len == stored.len() as u64,
        "a payload that is cut short or has something after it"
    );
    ensure!(digest(&header, stored) == header.digest, "the payload is damaged: its digest is wrong");
    Ok(header)
}

fn digest(header: &Header, stored: &[u8]) -> [u8; 32] {
    let hash = Sha256::new().chain_update(header.without_digest().as_bytes()).chain_update(stored);
    hash.finalize().into()
}

/// The parts of the file that are loaded, lowest first, each on pages of its own.
fn loads(elf: &ElfBytes<'_, LittleEndian>) -> Result<Vec<ProgramHeader>> {
    let all = elf.segments().context("hv's ELF file has no program headers")?;
    let mut parts: Vec<_> = all.iter().filter(|part| part.p_type == PT_LOAD && part.p_memsz > 0).collect();
    parts.sort_by_key(|part| part.p_vaddr);
    ensure!(
        parts.len() <= MAX_SEGMENTS,
        "hv has {} segments, and a payload holds {MAX_SEGMENTS}; next: join some in its linker script",
        parts.len()
    );
    let mut free_from = 0;
    for part in &parts {
        let ProgramHeader { p_vaddr, p_memsz, p_filesz, .. } = *part;
        ensure!(p_vaddr % PAGE_SIZE == 0, "hv's segment at {p_vaddr:#x} does not start on a page");
        ensure!(p_vaddr >= free_from, "hv's segment at {p_vaddr:#x} shares a page with the one before");
        ensure!(p_filesz <= p_memsz, "hv's segment at {p_vaddr:#x} is larger in the file than in memory");
        let end = p_vaddr.checked_add(p_memsz).and_then(|end| end.checked_next_multiple_of(PAGE_SIZE));
        free_from =
            end.with_context(|| format!("hv's segment at {p_vaddr:#x} reaches past the last address"))?;
    }
    Ok(parts)
}

fn rights(part: &ProgramHeader) -> Result<u32> {
    let (write, execute) = (part.p_flags & PF_W != 0, part.p_flags & PF_X != 0);
    ensure!(
        !(write && execute),
        "hv's segment at {:#x} may be written and executed; next: part the two in its linker script",
        part.p_vaddr
    );
    Ok(if write { Segment::WRITE } else { 0 } | if execute { Segment::EXECUTE } else { 0 })
}

fn product_field(product: &str) -> Result<[u8; 16]> {
    let mut field = [0; 16];
    ensure!(
        product.is_ascii() && product.len() <= field.len(),
        "the product version {product:?} is not ASCII, or longer than {} characters",
        field.len()
    );
    field[..product.len()].copy_from_slice(product.as_bytes());
    Ok(field)
}

const fn whole_pages(bytes: u64) -> u64 {
    bytes.next_multiple_of(PAGE_SIZE)
}

#[cfg(test)]
pub(crate) mod synthetic;
#[cfg(test)]
mod tests;
