//! ELF kernels: which of their parts go where. System V ABI, "Program Loading"; 32 and 64 bits.

use super::{Guest, LoadError, Part, Program, read};
use alloc::vec;
use alloc::vec::Vec;
use elf::abi::{EI_NIDENT, EM_386, EM_X86_64, PT_LOAD, PT_NOTE};
use elf::endian::LittleEndian;
use elf::file::{Class, ELF32_EHDR_TAILSIZE, ELF64_EHDR_TAILSIZE, FileHeader, parse_ident};
use elf::note::{Note, NoteIterator};
use elf::parse::ParseError;
use elf::segment::{ProgramHeader, SegmentTable};
use hv_abi::memory::PhysRange;

/// Most program headers; kernels have about five.
const MAX_SEGMENTS: usize = 64;
/// Most bytes of notes that are looked at; kernels have some hundred.
const MAX_NOTES: u64 = 64 << 10;

/// An ELF file's headers.
pub(super) struct Elf {
    class: Class,
    entry: u64,
    segments: Vec<ProgramHeader>,
}

impl Elf {
    /// Reads and checks the headers; `wanted` is the kind of kernel that the file should be.
    pub(super) async fn read(program: &Program<'_>, wanted: &'static str) -> Result<Self, LoadError> {
        let no = |why| LoadError::NotAKernel { wanted, why };
        let broken = |_: ParseError| no("its ELF header makes no sense");
        let mut ident = [0; EI_NIDENT];
        if program.kernel.len() < ident.len() as u64 {
            return Err(no("it is too short for an ELF file"));
        }
        read("kernel", program.kernel, 0, &mut ident).await?;
        if !ident.starts_with(&elf::abi::ELFMAGIC) {
            return Err(no("it is not an ELF file"));
        }
        let ident = parse_ident::<LittleEndian>(&ident).map_err(broken)?;
        let class = ident.1;
        let (tail, segment) = match class {
            Class::ELF32 => (ELF32_EHDR_TAILSIZE, size_of::<elf::segment::Elf32_Phdr>()),
            Class::ELF64 => (ELF64_EHDR_TAILSIZE, size_of::<elf::segment::Elf64_Phdr>()),
        };
        let mut bytes = vec![0; tail];
        read("kernel", program.kernel, EI_NIDENT as u64, &mut bytes).await?;
        let header = FileHeader::parse_tail(ident, &bytes).map_err(broken)?;
        if ![EM_386, EM_X86_64].contains(&header.e_machine) {
            return Err(no("it is for another processor"));
        }
        let count = usize::from(header.e_phnum);
        if usize::from(header.e_phentsize) != segment || count > MAX_SEGMENTS {
            return Err(no("its program headers are of an odd size, or too many"));
        }
        let mut table = vec![0; count * segment];
        read("kernel", program.kernel, header.e_phoff, &mut table).await?;
        let segments = SegmentTable::new(LittleEndian, class, &table).iter().collect();
        Ok(Self { class, entry: header.e_entry, segments })
    }

    /// Segments that are loaded.
    fn loaded(&self) -> impl Iterator<Item = &ProgramHeader> {
        self.segments.iter().filter(|segment| segment.p_type == PT_LOAD && segment.p_memsz != 0)
    }

    /// Puts the segments where they belong; answers where the last one ends.
    pub(super) async fn load(&self, program: &Program<'_>, guest: &Guest<'_>) -> Result<u64, LoadError> {
        let mut end = 0;
        for segment in self.loaded() {
            let to = PhysRange::new(segment.p_paddr, segment.p_memsz);
            guest.put(program.kernel, Part { offset: segment.p_offset, len: segment.p_filesz, to }).await?;
            end = end.max(to.end());
        }
        Ok(end)
    }

    /// The physical address of an entry point, if it is in a segment that is loaded.
    pub(super) fn physical_entry(&self, entry: u64) -> Option<u64> {
        self.loaded()
            .any(|segment| {
                PhysRange::new(segment.p_paddr, segment.p_memsz).contains(PhysRange::new(entry, 1))
            })
            .then_some(entry)
    }

    /// The physical address of the header's entry point, which is virtual in some kernels, as loaders
    /// of Multiboot kernels take it.
    pub(super) fn entry(&self) -> Option<u64> {
        let holds = |start: u64, len: u64| self.entry.checked_sub(start).filter(|offset| *offset < len);
        let translated = self.loaded().find_map(|segment| {
            holds(segment.p_vaddr, segment.p_memsz).and_then(|offset| segment.p_paddr.checked_add(offset))
        });
        translated.or_else(|| self.physical_entry(self.entry))
    }

    /// The contents of a note, by its owner's name and its type.
    pub(super) async fn note(
        &self,
        program: &Program<'_>,
        owner: &[u8],
        kind: u64,
    ) -> Result<Option<Vec<u8>>, LoadError> {
        let notes = |segment: &&ProgramHeader| segment.p_type == PT_NOTE && segment.p_filesz <= MAX_NOTES;
        for segment in self.segments.iter().filter(notes) {
            let mut bytes = vec![0; segment.p_filesz as usize];
            read("kernel", program.kernel, segment.p_offset, &mut bytes).await?;
            let align = if segment.p_align == 8 { 8 } else { 4 };
            let found =
                NoteIterator::new(LittleEndian, self.class, align, &bytes).find_map(|note| match note {
                    Note::Unknown(note) if note.name == owner && note.n_type == kind => {
                        Some(note.desc.to_vec())
                    }
                    _ => None,
                });
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}
