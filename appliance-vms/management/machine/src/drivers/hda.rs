//! Intel's sound cards on this machine: registers, time and the interrupt of the library's driver.

use super::memory::Heap;
use super::unusable::Unusable;
use crate::devices::Device;
use alloc::boxed::Box;
use core::time::Duration;
use management::drivers::hda::Hda;
use management::executor::{Event, Handle};
use management::speaker::Speaker;

/// The BAR with its registers.
const BAR: usize = 0;
/// Its one message.
const MESSAGE: u16 = 0;

/// Starts the device's driver; the card, and the interrupt that comes once a period.
///
/// # Errors
/// [`Unusable`].
pub async fn begin(handle: &Handle, device: &Device) -> Result<(Box<dyn Speaker>, Event), Unusable> {
    let interrupt = handle.event().ok_or(Unusable::Lacks("an event of hv's"))?;
    if device.info.messages == 0 {
        return Err(Unusable::Lacks("interrupts as messages (MSI)"));
    }
    let registers = device.map(BAR)?;
    device.switch_on()?;
    let pause = async |time: Duration| handle.sleep(time.as_nanos() as u64).await;
    let card = Hda::begin(Box::new(registers), &Heap, &pause).await?;
    device.bind(MESSAGE, &interrupt)?;
    Ok((Box::new(card), interrupt))
}
