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
    /// `(address, bytes)`: one line of text for the box log; at most [`MAX_LOG`] bytes. Any VM.
    LOG_WRITE = 0x4845_0001, "log.write";
    /// Nanoseconds since the VM started. Any VM.
    TIME_NOW = 0x4845_0002, "time.now";
}

/// KVM's `KVM_HC_SEND_IPI`: arguments in RBX, RCX, RDX, RSI. Linux, Documentation/virt/kvm/x86/
/// hypercalls.rst.
pub const KVM_SEND_IPI: u64 = 10;

/// Version of this contract.
pub const VERSION: u64 = 1;

/// Most bytes of a line of [`Call::LOG_WRITE`].
pub const MAX_LOG: u64 = 160;

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
}
