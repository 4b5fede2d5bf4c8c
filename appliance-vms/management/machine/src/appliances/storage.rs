//! What is on the disks: the system's appliances, and their volumes.

use crate::drivers::memory::Heap;
use crate::log::event;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::fmt;
use hv_abi::appliance::{Appliance, Blob, Disk, System};
use management::block::{BlockDevice, BlockError, SECTOR};
use management::executor::Turns;
use management::loader::{Reading, Source};
use management::storage::bytes::{DiskBytes, DiskError};
use management::storage::gpt;
use management::storage::settings::{self, Kept, SettingsVolume};
use management::storage::system::{Bundle, File};
use management::storage::volumes::{VolumeError, Volumes};
use ui::tv::state::Storage as Room;

/// Names of the partitions that are looked for (ABI.md, "Disk").
const SYSTEM: &str = "hearth-system-a";
const DATA: &str = "hearth-data";
/// Who has the box's own volume; no appliance has that name.
const BOX: &str = "hearth";
/// As disks are sold.
const GIGABYTE: u64 = 1_000_000_000;

/// The system that is in use, and the volumes on the same disk.
pub struct Storage {
    bundle: Bundle,
    volumes: Option<Turns<Volumes>>,
    /// Bytes of the disk that it is all on.
    disk: u64,
}

/// Why an appliance can't have its disks.
#[derive(Debug)]
pub enum Fault {
    /// The disk failed.
    Block(BlockError),
    /// A volume can't be had.
    Volume(VolumeError),
    /// The disk that the system is on has no place for volumes.
    NoVolumes,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block(error) => write!(f, "its disk can't be used: {error}"),
            Self::Volume(error) => write!(f, "its volume can't be used: {error}"),
            Self::NoVolumes => f.write_str("there is no place for its volume on the disk"),
        }
    }
}

impl Storage {
    /// Looks through the disks for a system; the first one is it. The log says what is wrong with others.
    pub async fn open(disks: &[Rc<dyn BlockDevice>]) -> Option<Self> {
        for (number, disk) in disks.iter().enumerate() {
            let bytes = DiskBytes::new(Rc::clone(disk), Rc::new(Heap));
            let table = match gpt::read(&bytes).await {
                Ok(table) => table,
                Err(error) => {
                    event!(Info, "disk.foreign", name = format_args!("disk{number}"), what = error);
                    continue;
                }
            };
            let Some(partition) = table.named(SYSTEM) else { continue };
            let part = |name: &str, read_only| {
                let part = table.named(name)?.part(Rc::clone(disk), read_only).ok()?;
                Some(DiskBytes::new(Rc::new(part), Rc::new(Heap)))
            };
            let Some(system) = part(SYSTEM, true) else { continue };
            let bundle = match Bundle::open(system).await {
                Ok(bundle) => bundle,
                Err(error) => {
                    event!(Error, "system.unusable", name = partition.name, what = error);
                    continue;
                }
            };
            let volumes = match part(DATA, false) {
                Some(data) => Volumes::open(data).await.map_err(|error| {
                    event!(Error, "volumes.unusable", name = DATA, what = error);
                }),
                None => Err(()),
            };
            let System { product, appliances } = &bundle.system();
            event!(Info, "system.found", name = SYSTEM, version = product, appliances = appliances.len());
            let disk = disk.geometry().sectors * SECTOR;
            return Some(Self { bundle, volumes: volumes.ok().map(Turns::new), disk });
        }
        None
    }

    /// The volume with the box's settings, and what is kept there; `None`: there is no place for it, and the
    /// log says why.
    pub async fn settings(&self) -> Option<(SettingsVolume, Option<Kept>)> {
        let mut volumes = self.volumes.as_ref()?.take().await;
        let opened = match volumes.get(BOX, "settings", settings::SIZE).await {
            Ok(part) => {
                let disk = DiskBytes::new(Rc::new(part), Rc::new(Heap));
                SettingsVolume::open(disk).await.map_err(VolumeError::Disk)
            }
            Err(error) => Err(error),
        };
        opened.map_err(|error| event!(Error, "settings.lost", what = error)).ok()
    }

    /// The appliances there are.
    pub fn appliances(&self) -> &[Appliance] {
        &self.bundle.system().appliances
    }

    /// How full the disk is: all that is not free for new volumes is in use.
    pub async fn room(&self) -> Room {
        let free = match &self.volumes {
            Some(volumes) => volumes.take().await.free(),
            None => 0,
        };
        let gigabytes = |bytes: u64| u32::try_from(bytes.div_ceil(GIGABYTE)).unwrap_or(u32::MAX);
        Room { used: gigabytes(self.disk.saturating_sub(free)), total: gigabytes(self.disk), ailing: None }
    }

    /// A file of the system's.
    pub fn file(&self, blob: &Blob) -> SystemFile {
        SystemFile(self.bundle.file(blob))
    }

    /// An appliance's disks, in its order.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn disks(&self, appliance: &Appliance) -> Result<Vec<Rc<dyn BlockDevice>>, Fault> {
        let mut disks: Vec<Rc<dyn BlockDevice>> = Vec::new();
        for disk in &appliance.disks {
            disks.push(match disk {
                Disk::Image(blob) => Rc::new(self.bundle.disk(blob).map_err(Fault::Block)?),
                Disk::Volume { name, size } => {
                    let mut volumes = self.volumes.as_ref().ok_or(Fault::NoVolumes)?.take().await;
                    Rc::new(volumes.get(&appliance.name, name, *size).await.map_err(Fault::Volume)?)
                }
            });
        }
        Ok(disks)
    }
}

/// A file of the system's, for loaders.
pub struct SystemFile(File);

impl SystemFile {
    /// Whether its bytes are those that the index names; `Err`: the disk failed.
    ///
    /// # Errors
    /// The disk's.
    pub async fn is_genuine(&self) -> Result<bool, DiskError> {
        Ok(self.0.measure().await? == *self.0.digest())
    }
}

impl Source for SystemFile {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_at<'a>(&'a self, offset: u64, into: &'a mut [u8]) -> Reading<'a> {
        Box::pin(async move {
            self.0.read_at(offset, into).await.map_err(|error| match error {
                DiskError::Disk(error) => error,
                // Without memory for it the disk can't be asked.
                DiskError::NoMemory => BlockError::Device,
            })
        })
    }
}
