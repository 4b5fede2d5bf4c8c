//! Hypercalls: what a VM may ask hv for.
//!
//! `VMMCALL` or `VMCALL`; the number in RAX, arguments in RDI, RSI, RDX, R10, the result in RAX: zero
//! or more, or a negative [`Status`]. Other registers are unchanged. A number that hv does not know
//! answers [`Status::NO_SUCH_CALL`]; it does not fault. Stock kernels that found the KVM signature use
//! KVM's numbers (below 4096) and registers for [`KVM_SEND_IPI`].

/// Declares [`Call`]'s numbers and their names.
macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        impl Call {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            /// The call's name, if there is one.
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

/// A hypercall's number. Open: the guest chooses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call(pub u64);

calls! {
    /// Answers the version of this contract ([`VERSION`]). Any VM.
    HELLO = 0x4845_0000, "hello";
    /// `(address, bytes)`: one line of text for the box log; at most [`MAX_LOG`] bytes. Any VM. From the
    /// management VM a text that is a line by itself ([`crate::log::is_line`]) is taken as it is.
    LOG_WRITE = 0x4845_0001, "log.write";
    /// Nanoseconds since the VM started. Any VM.
    TIME_NOW = 0x4845_0002, "time.now";
    /// `(nanoseconds since 1970)`: what time it is now, for the clocks of VMs. Management.
    TIME_SET = 0x4845_0003, "time.set";
    /// `(manifest address)`: cuts a VM ([`crate::manifest::VmManifest`]); answers its number. Management.
    VM_CREATE = 0x4845_0010, "vm.create";
    /// `(vm, start state address)`: starts a VM that is created or stopped
    /// ([`crate::manifest::StartState`]). Management.
    VM_START = 0x4845_0011, "vm.start";
    /// `(vm)`: its vCPUs stop where they are; on return none runs. Management.
    VM_PAUSE = 0x4845_0012, "vm.pause";
    /// `(vm)`: they go on. Management.
    VM_RESUME = 0x4845_0013, "vm.resume";
    /// `(vm)`: it ends; on return no vCPU runs. Its memory stays until it is destroyed. Management.
    VM_STOP = 0x4845_0014, "vm.stop";
    /// `(vm)`: clears some of the memory of a VM that does not run; answers how many bytes are left
    /// to clear. At 0 the memory is free again, and the number is nobody's. Management.
    VM_DESTROY = 0x4845_0015, "vm.destroy";
    /// `(vm, address)`: writes a [`crate::status::VmStatus`]. Management.
    VM_STATUS = 0x4845_0016, "vm.status";
    /// `(vm, class)`: makes it as urgent as that (0 urgent, 1 front, 2 back). Management.
    VM_CLASS = 0x4845_0017, "vm.class";
    /// `(vm, guest-physical address, bytes)`: where that RAM of the VM's is in the caller's
    /// guest-physical memory. Management.
    MEM_WINDOW = 0x4845_0020, "mem.window";
    /// `(vm, vcpu)`: the answer is in the vCPU's slot of the VM's I/O request page
    /// ([`crate::ioreq`]). Management.
    IO_COMPLETE = 0x4845_0030, "io.complete";
    /// `(vm, address or port | PORT, bytes, event)`: a write there sets the event, and nobody waits;
    /// event [`crate::ioreq::NO_EVENT`] takes the doorbell away. Management.
    IO_DOORBELL = 0x4845_0031, "io.doorbell";
    /// `(vm, message address, message data)`: delivers an MSI. Management.
    IO_MSI = 0x4845_0032, "io.msi";
    /// `(vm, pin, level 0 or 1)`: drives a pin of the VM's I/O APIC. Management.
    IO_PIN = 0x4845_0033, "io.pin";
    /// `(event page address, vector)`: where events are set, and the interrupt that tells the calling
    /// vCPU of them. Management.
    IO_EVENTS = 0x4845_0034, "io.events";
    /// `(index, address)`: writes the [`crate::device::DeviceInfo`] of the caller's so-manieth
    /// device. Management.
    DEV_INFO = 0x4845_0040, "dev.info";
    /// `(device, offset, bytes)`: reads 1, 2 or 4 bytes of its configuration space. Management.
    DEV_READ = 0x4845_0041, "dev.read";
    /// `(device, offset, bytes, value)`: writes them; what hv keeps for itself stays as it is.
    /// Management.
    DEV_WRITE = 0x4845_0042, "dev.write";
    /// `(device, bar)`: maps a memory BAR where it is, but for the pages of its MSI-X table; answers
    /// its address. Management.
    DEV_MAP = 0x4845_0043, "dev.map";
    /// `(device, vector, event)`: from now on that message of the device sets the event; event
    /// [`crate::ioreq::NO_EVENT`] masks it. Management.
    DEV_BIND = 0x4845_0044, "dev.bind";
    /// Restarts the machine. Management.
    POWER_RESTART = 0x4845_0050, "power.restart";
    /// Switches the machine off. Management.
    POWER_OFF = 0x4845_0051, "power.off";
}

/// KVM's `KVM_HC_SEND_IPI`: arguments in RBX, RCX, RDX, RSI. Linux, Documentation/virt/kvm/x86/
/// hypercalls.rst.
pub const KVM_SEND_IPI: u64 = 10;

/// Version of this contract.
pub const VERSION: u64 = 1;

/// Most bytes of a line of [`Call::LOG_WRITE`].
pub const MAX_LOG: u64 = 512;

/// Why a call was refused; in RAX as it is.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub i64);

impl Status {
    /// There is no such call. KVM's `-KVM_ENOSYS`.
    pub const NO_SUCH_CALL: Self = Self(-1000);
    /// The caller may not do that.
    pub const DENIED: Self = Self(-1);
    /// An argument is out of its range.
    pub const BAD_ARGUMENT: Self = Self(-2);
    /// An address is not in the caller's memory.
    pub const BAD_ADDRESS: Self = Self(-3);
    /// There is no such VM, vCPU or device.
    pub const NO_SUCH_THING: Self = Self(-4);
    /// The VM is not in a state for that.
    pub const WRONG_STATE: Self = Self(-5);
    /// There is no room for it; the log has the arithmetic.
    pub const NO_ROOM: Self = Self(-6);
    /// This machine can't do that.
    pub const UNSUPPORTED: Self = Self(-7);
}

impl core::fmt::Display for Status {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match *self {
            Self::NO_SUCH_CALL => "there is no such call",
            Self::DENIED => "the caller may not do that",
            Self::BAD_ARGUMENT => "an argument is out of its range",
            Self::BAD_ADDRESS => "an address is not in the memory it should be in",
            Self::NO_SUCH_THING => "there is no such VM, vCPU or device",
            Self::WRONG_STATE => "the VM is not in a state for that",
            Self::NO_ROOM => "there is no room for it",
            Self::UNSUPPORTED => "this machine can't do that",
            Self(other) => return write!(f, "status {other}"),
        })
    }
}
