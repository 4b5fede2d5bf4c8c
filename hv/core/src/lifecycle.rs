//! The life of a virtual machine: which call leads from which state to which.

use hv_abi::hypercall::Status;
use hv_abi::status::VmState;

/// What the management VM, or its own end, does to a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `vm.start`.
    Start,
    /// `vm.pause`.
    Pause,
    /// `vm.resume`.
    Resume,
    /// `vm.stop`, or it ends by itself.
    Stop,
    /// `vm.destroy`.
    Destroy,
}

/// The state after `step`.
///
/// # Errors
/// [`Status::WRONG_STATE`]; [`Status::NO_SUCH_THING`] where there is no VM.
pub const fn after(state: VmState, step: Step) -> Result<VmState, Status> {
    match (state, step) {
        (VmState::CREATED | VmState::STOPPED, Step::Start) | (VmState::PAUSED, Step::Resume) => {
            Ok(VmState::RUNNING)
        }
        (VmState::RUNNING, Step::Pause) => Ok(VmState::PAUSED),
        (VmState::RUNNING | VmState::PAUSED, Step::Stop) => Ok(VmState::STOPPED),
        (VmState::CREATED | VmState::STOPPED | VmState::LEAVING, Step::Destroy) => Ok(VmState::LEAVING),
        (VmState(0), _) => Err(Status::NO_SUCH_THING),
        _ => Err(Status::WRONG_STATE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_from_every_state() {
        const NOBODY: VmState = VmState(0);
        let steps = [Step::Start, Step::Pause, Step::Resume, Step::Stop, Step::Destroy];
        let states = [NOBODY, VmState::CREATED, VmState::RUNNING, VmState::PAUSED, VmState::STOPPED];
        let none = Err(Status::NO_SUCH_THING);
        let wrong = Err(Status::WRONG_STATE);
        let (runs, paused, stopped, leaves) =
            (Ok(VmState::RUNNING), Ok(VmState::PAUSED), Ok(VmState::STOPPED), Ok(VmState::LEAVING));
        let table = [
            [none; 5],
            [runs, wrong, wrong, wrong, leaves],
            [wrong, paused, wrong, stopped, wrong],
            [wrong, wrong, runs, stopped, wrong],
            [runs, wrong, wrong, wrong, leaves],
        ];
        for (state, row) in states.into_iter().zip(table) {
            assert_eq!(steps.map(|step| after(state, step)), row, "{state:?}");
        }
        assert_eq!(after(VmState::LEAVING, Step::Destroy), leaves);
        assert_eq!(after(VmState::LEAVING, Step::Start), wrong);
    }
}
