//! The screen: the first graphics output that hv can draw on.

use crate::machine;
use firmware_uefi::modes::{Choice, Mode, choose};
use hv_abi::boot::Framebuffer;
use hv_abi::memory::PhysRange;
use spin::Once;
use uefi::boot;
use uefi::proto::console::gop::GraphicsOutput;

/// What [`take`] found, for whoever has to say why the door does not go on.
static FOUND: Once<Framebuffer> = Once::new();

/// Finds the screen and sets its mode.
pub fn take() -> Framebuffer {
    *FOUND.call_once(|| {
        // A console on several screens, or none, is a graphics output without pixels: look further.
        let outputs = boot::find_handles::<GraphicsOutput>().unwrap_or_default();
        outputs
            .into_iter()
            .filter_map(|handle| machine::protocol::<GraphicsOutput>(handle).ok())
            .find_map(|mut output| drawable(&mut output))
            .unwrap_or(Framebuffer::NONE)
    })
}

/// The screen that [`take`] found, if it was called.
pub fn found() -> Framebuffer {
    FOUND.get().copied().unwrap_or(Framebuffer::NONE)
}

/// The output's pixels in the best of its modes.
fn drawable(output: &mut GraphicsOutput) -> Option<Framebuffer> {
    let current = Mode::new(&output.current_mode_info());
    let modes = output.modes().enumerate().map(|(at, mode)| (at, Mode::new(mode.info())));
    // Listing modes asks the firmware each time, so they are listed once.
    let modes: alloc::vec::Vec<_> = modes.collect();
    match choose(current, modes.into_iter()) {
        Choice::Nothing => return None,
        Choice::Keep => {}
        Choice::Switch(at) => {
            let mode = output.modes().nth(at)?;
            output.set_mode(&mode).ok()?;
        }
    }
    let info = output.current_mode_info();
    let Mode { width, height, format } = Mode::new(&info);
    let format = format?;
    let mut memory = output.frame_buffer();
    let range = PhysRange::new(memory.as_mut_ptr().addr() as u64, memory.size() as u64);
    Framebuffer { range, width, height, stride: info.stride() as u32 * 4, format }.usable()
}
