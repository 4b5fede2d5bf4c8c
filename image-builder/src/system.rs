//! The system bundle: every appliance of the box in one run of bytes, as the management VM reads it
//! (`hv/abi/src/appliance.rs`).
//!
//! A [`Bundle`] is an index in memory and files that stay where they are until [`Bundle::write`]
//! copies them, so that a bundle may be larger than this computer's memory. Files with the same bytes
//! are stored once.

use crate::recipe::{DiskSource, Product, Recipe, Source};
use anyhow::{Context, Result, ensure};
use hv_abi::appliance::{Appliance, BLOCK, Blob, Disk, Header, Kernel, MAGIC, MAX_INDEX, System, VERSION};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use zerocopy::{FromBytes, IntoBytes};

/// Bytes that are copied or hashed at a time; a multiple of [`BLOCK`].
const CHUNK: usize = 1 << 20;

/// An appliance with all its files at hand.
pub struct Ready {
    /// What it is.
    pub recipe: Recipe,
    /// The folder with what was built from its `[rootfs]`, if it has one.
    pub products: Option<PathBuf>,
}

impl Ready {
    fn file(&self, source: &Source) -> Result<PathBuf> {
        match source {
            Source::File(file) => Ok(file.clone()),
            Source::Rootfs(product) => Ok(self.product(*product)?),
        }
    }

    fn product(&self, product: Product) -> Result<PathBuf> {
        let folder = self.products.as_ref().with_context(|| format!("{} was not built", product.name()))?;
        Ok(folder.join(product.name()))
    }
}

/// A bundle, ready to be written.
#[derive(Debug)]
pub struct Bundle {
    index: Vec<u8>,
    pieces: Vec<Piece>,
    len: u64,
    volumes: u64,
}

/// A file and its place in the bundle.
#[derive(Clone, Debug)]
struct Piece {
    file: PathBuf,
    blob: Blob,
}

impl Bundle {
    /// Puts appliances in a bundle, in the order of their names.
    ///
    /// # Errors
    /// When two share a name, a file cannot be read, or the index would be larger than a reader takes.
    pub fn of(product: &str, appliances: &[Ready]) -> Result<Self> {
        let mut sorted: Vec<&Ready> = appliances.iter().collect();
        sorted.sort_by(|a, b| a.recipe.name.cmp(&b.recipe.name));
        for pair in sorted.windows(2) {
            let (a, b) = (&pair[0].recipe, &pair[1].recipe);
            ensure!(
                a.name != b.name,
                "the appliances in {} and {} are both called {:?}; next: give one another name",
                a.folder.display(),
                b.folder.display(),
                a.name
            );
        }
        let mut files = Files::default();
        let described = sorted.iter().map(|ready| {
            describe(ready, &mut files).with_context(|| format!("adding appliance {:?}", ready.recipe.name))
        });
        let mut system =
            System { product: product.to_owned(), appliances: described.collect::<Result<_>>()? };
        files.place(&mut system)
    }

    /// Bytes of the whole bundle, a multiple of [`BLOCK`].
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no file in it.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes of all volumes that its appliances ask for.
    pub fn volumes(&self) -> u64 {
        self.volumes
    }

    /// SHA-256 of the index, which holds the digest of every file: the same digest, the same bundle.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.index).into()
    }

    /// Writes the bundle at `offset` of a file that reads as zeros there.
    ///
    /// # Errors
    /// When a file can't be read any more, has changed meanwhile, or the bundle cannot be written.
    pub fn write(&self, image: &mut (impl Write + Seek), offset: u64) -> Result<()> {
        let header = Header {
            magic: MAGIC,
            version: VERSION,
            index_len: u32::try_from(self.index.len()).context("the index is too large")?,
            bundle_len: self.len,
            index_digest: self.digest(),
        };
        image.seek(SeekFrom::Start(offset)).and_then(|_| image.write_all(header.as_bytes()))?;
        image.seek(SeekFrom::Start(offset + BLOCK)).and_then(|_| image.write_all(&self.index))?;
        for piece in &self.pieces {
            image.seek(SeekFrom::Start(offset + piece.blob.offset))?;
            let digest = each_chunk(&piece.file, |bytes| Ok(image.write_all(bytes)?))?;
            ensure!(
                digest == (piece.blob.len, piece.blob.digest),
                "{} changed while it was read; next: type the same again",
                piece.file.display()
            );
        }
        Ok(())
    }
}

/// The files of a bundle, each content once, before they have places.
#[derive(Default)]
struct Files {
    pieces: Vec<Piece>,
    known: BTreeMap<[u8; 32], usize>,
}

impl Files {
    /// Takes a file in; its blob's offset is the file's number until [`Files::place`].
    fn take(&mut self, file: PathBuf) -> Result<Blob> {
        let (len, digest) = each_chunk(&file, |_| Ok(()))?;
        let number = *self.known.entry(digest).or_insert_with(|| {
            let blob = Blob { offset: self.pieces.len() as u64, len, digest };
            self.pieces.push(Piece { file, blob });
            self.pieces.len() - 1
        });
        Ok(self.pieces[number].blob)
    }

    /// Gives every file its place after the index, whose own length depends on the places: numbers
    /// are written in as few bytes as they need. So its room grows until it fits.
    fn place(mut self, system: &mut System) -> Result<Bundle> {
        let numbered = system.clone();
        let mut room = BLOCK;
        loop {
            let mut end = BLOCK + room;
            for piece in &mut self.pieces {
                piece.blob.offset = end;
                end = (end + piece.blob.len).next_multiple_of(BLOCK);
            }
            *system = numbered.clone();
            for blob in blobs(system) {
                *blob = self.pieces[blob.offset as usize].blob;
            }
            let index = postcard::to_allocvec(system).context("writing the index")?;
            ensure!(
                index.len() <= MAX_INDEX as usize,
                "the index of the system would be {} bytes, and a box reads at most {MAX_INDEX}; \
                 next: leave some appliances out",
                index.len()
            );
            if index.len() as u64 <= room {
                return Ok(Bundle { index, pieces: self.pieces, len: end, volumes: volumes(system) });
            }
            room = (index.len() as u64).next_multiple_of(BLOCK);
        }
    }
}

/// Every blob that the index names.
fn blobs(system: &mut System) -> impl Iterator<Item = &mut Blob> {
    system.appliances.iter_mut().flat_map(|appliance| {
        let kernel = &mut appliance.kernel;
        let disks = appliance.disks.iter_mut().filter_map(|disk| match disk {
            Disk::Image(blob) => Some(blob),
            Disk::Volume { .. } => None,
        });
        std::iter::once(&mut kernel.image).chain(&mut kernel.initrd).chain(disks)
    })
}

/// Bytes of all volumes.
fn volumes(system: &System) -> u64 {
    let disks = system.appliances.iter().flat_map(|appliance| &appliance.disks);
    disks.map(|disk| if let Disk::Volume { size, .. } = disk { *size } else { 0 }).sum()
}

fn describe(ready: &Ready, files: &mut Files) -> Result<Appliance> {
    let recipe = &ready.recipe;
    let mut take = |source: &Source| files.take(ready.file(source)?);
    Ok(Appliance {
        name: recipe.name.clone(),
        title: recipe.title.clone(),
        cpus: recipe.cpus,
        memory: recipe.memory,
        start: recipe.start,
        kernel: Kernel {
            format: recipe.format,
            image: take(&recipe.kernel)?,
            initrd: recipe.initrd.as_ref().map(&mut take).transpose()?,
            cmdline: recipe.cmdline.clone(),
        },
        devices: recipe.devices,
        disks: recipe
            .disks
            .iter()
            .map(|disk| {
                Ok(match disk {
                    DiskSource::Image(source) => Disk::Image(take(source)?),
                    DiskSource::Volume { name, size } => Disk::Volume { name: name.clone(), size: *size },
                })
            })
            .collect::<Result<_>>()?,
    })
}

/// Reads a file from begin to end, hands its bytes on, and answers their count and SHA-256.
///
/// # Errors
/// When it cannot be read, or `each` fails.
pub fn each_chunk(path: &Path, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<(u64, [u8; 32])> {
    let reading = || format!("reading {}", path.display());
    let mut file = File::open(path).with_context(reading)?;
    let (mut len, mut hash, mut buffer) = (0, Sha256::new(), vec![0; CHUNK]);
    loop {
        let count = file.read(&mut buffer).with_context(reading)?;
        if count == 0 {
            return Ok((len, hash.finalize().into()));
        }
        hash.update(&buffer[..count]);
        each(&buffer[..count])?;
        len += count as u64;
    }
}

/// Reads a bundle's index as the management VM does, and checks every file against it.
///
/// # Errors
/// With the first thing that is wrong.
pub fn check(bundle: &[u8]) -> Result<System> {
    let (header, _) = Header::ref_from_prefix(bundle).ok().context("there is no header")?;
    ensure!(header.magic == MAGIC && header.version == VERSION, "it is no bundle of version {VERSION}");
    ensure!(header.bundle_len <= bundle.len() as u64, "it is cut short");
    let part = |offset: u64, len: u64| -> Option<&[u8]> {
        let end = usize::try_from(offset.checked_add(len)?).ok()?;
        bundle.get(usize::try_from(offset).ok()?..end)
    };
    let index = part(BLOCK, u64::from(header.index_len)).context("the index is cut short")?;
    ensure!(Sha256::digest(index)[..] == header.index_digest, "the index has another digest");
    let mut system: System = postcard::from_bytes(index).context("reading the index")?;
    for blob in blobs(&mut system) {
        let bytes = part(blob.offset, blob.len).context("a file is cut short")?;
        ensure!(blob.offset.is_multiple_of(BLOCK), "a file is not at a whole block");
        ensure!(Sha256::digest(bytes)[..] == blob.digest, "a file has another digest");
    }
    Ok(system)
}

#[cfg(test)]
mod tests;
