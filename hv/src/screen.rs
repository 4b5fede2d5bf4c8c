//! The screen, until a management VM draws on it.

use hv_abi::boot::{DIRECT_MAP, Framebuffer};
use hv_console::Screen;
use spin::Mutex;
use ui::notice::Notice;

static SCREEN: Mutex<Screen> = Mutex::new(Screen::none());

/// Takes the screen that the door found.
///
/// # Safety
/// Nobody else draws on it, and it is mapped in the direct map from now on.
pub unsafe fn open(framebuffer: Framebuffer) {
    // SAFETY: the caller's promise.
    *SCREEN.lock() = unsafe { Screen::open(framebuffer, DIRECT_MAP) };
}

/// Shows a notice.
pub fn show(notice: &Notice<'_>) {
    SCREEN.lock().show(notice);
}

/// Shows a notice though another CPU may have been stopped while it drew.
///
/// # Safety
/// No other CPU runs, or will.
pub unsafe fn show_last(notice: &Notice<'_>) {
    // SAFETY: the caller's promise: whoever holds the lock never goes on.
    unsafe { SCREEN.force_unlock() };
    show(notice);
}
