//! How a VM ends by itself. Nothing else does with it, but for the management VM, which starts again.

use super::place::MANAGEMENT;
use super::{Vm, events, management};
use crate::event;
use crate::refusal::{Sentence, sentence};
use hv_core::lifecycle::Step;
use hv_core::vcpu::StopReason;

/// Ends it: no vCPU has another turn. The first reason is the one that is told.
pub fn end(vm: &Vm, reason: StopReason) {
    if vm.place.step(Step::Stop).is_ok() {
        *vm.place.end.lock() = Some(reason);
        event!(Error, "vm.exit", vm = vm.name, reason = describe(reason));
        vm.place.call_all();
        events::set(vm.end_event);
        if vm.id == MANAGEMENT {
            management::has_ended();
        }
    }
}

/// The reason in words.
pub fn describe(reason: StopReason) -> Sentence {
    match reason {
        StopReason::TripleFault => sentence(format_args!("triple fault")),
        StopReason::Unsupported(bytes) => {
            sentence(format_args!("an instruction on device memory that Hearth does not know: {bytes}"))
        }
        StopReason::InvalidState => sentence(format_args!("the processor refused its state")),
        StopReason::UnknownExit(code) => sentence(format_args!("exit {code:#x}, which nobody asked for")),
        StopReason::TaskSwitch => sentence(format_args!("a task switch")),
        StopReason::NoMemory(at) => {
            sentence(format_args!("code, page tables or a stack at {at:#x}, where no RAM is"))
        }
    }
}
