//! The stub: looks at a word, and makes a system call if nothing in it says no. The only place where a registered call
//! enters the kernel.
//!
//! The look and the call are two instructions, and a signal can come between them, after which the call would block
//! though it should not begin. So the handler knows the stub by its addresses:
//!
//! ```text
//!   stub    … arguments into registers; inside = 1
//!   begin   is a bit set? then cancel            ┐ a signal here: the handler moves the program
//!           the call                             ┘ counter to `cancel`
//!   end     inside = 0; return what the kernel said
//!   cancel  inside = 0; return CANCELLED
//! ```
//!
//! # Why no kick is lost
//!
//! A kicker has set a bit of `*word`, has then found the thread in a registered call that listens to it, and has sent the
//! signal, once. The thread stays registered until it has taken the signal. So the handler runs, at one of these places,
//! and there are no others:
//!
//! | the program counter | what the thread has done | what follows |
//! | --- | --- | --- |
//! | before `begin` | not looked yet | the look comes after the handler, hence after the bit was set: no call |
//! | from `begin` to before `end` | looked, perhaps too early; not called | the handler moves it to `cancel`: no call |
//! | the same, put back there by the kernel | called; the kernel has undone it to restart it (`SA_RESTART`) | the same: no effect, no second call |
//! | `end` and after | called; the kernel has ended the call, by itself or with EINTR | its result says what it did; the thread leaves, and looks at the word |
//! | in another handler that has interrupted the stub | any of these | the handler sends the signal again, blocked until the other handler returns; then it is one of these |
//!
//! The last line is why there is `inside`: a program counter outside the stub means another handler exactly if it is
//! set. If that other handler's signal restarts calls and both arrive at once, the kernel puts the program counter back on the
//! call, starts the other handler on top, and ours on top of that: without the second signal the call would be made
//! again, and block.
//!
//! The look and the bit need no fence: the kernel's locks order the kicker's write before the handler, and the handler
//! runs on the thread itself.
//!
//! musl and glibc cancel threads in this way; see musl's `syscall_cp.s` and `pthread_cancel.c`.

/// What the stub answers if the call was not made. No call gives it: the kernel's errors are above, and what is below
/// would be an address at the very end of the address space.
pub(super) const CANCELLED: isize = -4096;

#[cfg(all(target_arch = "x86_64", not(any(quell_loom, quell_shuttle))))]
std::arch::global_asm!(
    r#"
    .pushsection .text.quell_v0_stub, "ax", @progbits
    .globl quell_v0_stub, quell_v0_stub_begin, quell_v0_stub_end, quell_v0_stub_cancel, quell_v0_stub_past
    .hidden quell_v0_stub, quell_v0_stub_begin, quell_v0_stub_end, quell_v0_stub_cancel, quell_v0_stub_past
    .type quell_v0_stub, @function
    .p2align 4
quell_v0_stub:
    # rdi: word, esi: mask, rdx: number, rcx: arguments, r8: inside
    .cfi_startproc
    push rbx
    .cfi_def_cfa_offset 16
    .cfi_offset rbx, -16
    mov rbx, r8
    mov r11, rdi
    mov rax, rdx
    mov rdi, [rcx]
    mov rdx, [rcx + 16]
    mov r10, [rcx + 24]
    mov r8, [rcx + 32]
    mov r9, [rcx + 40]
    mov rcx, [rcx + 8]
    xchg rcx, rsi
    mov dword ptr [rbx], 1
quell_v0_stub_begin:
    test dword ptr [r11], ecx
    jnz 2f
    syscall
quell_v0_stub_end:
    mov dword ptr [rbx], 0
    pop rbx
    .cfi_remember_state
    .cfi_def_cfa_offset 8
    .cfi_restore rbx
    ret
    .cfi_restore_state
quell_v0_stub_cancel:
2:
    mov dword ptr [rbx], 0
    mov rax, -4096
    pop rbx
    .cfi_def_cfa_offset 8
    .cfi_restore rbx
    ret
quell_v0_stub_past:
    .cfi_endproc
    .size quell_v0_stub, . - quell_v0_stub
    .popsection
    "#
);

#[cfg(all(target_arch = "aarch64", not(any(quell_loom, quell_shuttle))))]
std::arch::global_asm!(
    r#"
    .pushsection .text.quell_v0_stub, "ax", %progbits
    .globl quell_v0_stub, quell_v0_stub_begin, quell_v0_stub_end, quell_v0_stub_cancel, quell_v0_stub_past
    .hidden quell_v0_stub, quell_v0_stub_begin, quell_v0_stub_end, quell_v0_stub_cancel, quell_v0_stub_past
    .type quell_v0_stub, %function
    .p2align 4
quell_v0_stub:
    // x0: word, w1: mask, x2: number, x3: arguments, x4: inside
    .cfi_startproc
    mov x9, x0
    mov w10, w1
    mov x8, x2
    mov x11, x3
    mov x12, x4
    mov w13, #1
    ldp x0, x1, [x11]
    ldp x2, x3, [x11, #16]
    ldp x4, x5, [x11, #32]
    str w13, [x12]
quell_v0_stub_begin:
    ldr w13, [x9]
    tst w13, w10
    b.ne 2f
    svc #0
quell_v0_stub_end:
    str wzr, [x12]
    ret
quell_v0_stub_cancel:
2:
    str wzr, [x12]
    mov x0, #-4096
    ret
quell_v0_stub_past:
    .cfi_endproc
    .size quell_v0_stub, . - quell_v0_stub
    .popsection
    "#
);

#[cfg(all(
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(any(quell_loom, quell_shuttle))
))]
mod imp {
    use std::sync::atomic::AtomicU32;

    unsafe extern "C" {
        /// Makes the call, unless `*word & mask` is not 0. Answers as the kernel does, or `CANCELLED`.
        #[link_name = "quell_v0_stub"]
        pub(in crate::syscall) fn stub(
            word: *const AtomicU32,
            mask: u32,
            number: usize,
            arguments: *const [usize; 6],
            inside: *const AtomicU32,
        ) -> isize;
        static quell_v0_stub_begin: u8;
        static quell_v0_stub_end: u8;
        static quell_v0_stub_cancel: u8;
        static quell_v0_stub_past: u8;
    }

    /// Whether calls go through a stub that handlers can tell.
    pub(in crate::syscall) const EXISTS: bool = true;

    /// Where a thread is, seen from the stub.
    pub(in crate::syscall) enum Position {
        /// Between the look and the end of the call: it goes on at this address instead.
        Between(usize),
        /// Elsewhere in the stub.
        Beside,
        /// Elsewhere.
        Outside,
    }

    /// Where a thread is that was interrupted at this address.
    pub(in crate::syscall) fn position(at: usize) -> Position {
        let (begin, end) = (&raw const quell_v0_stub_begin, &raw const quell_v0_stub_end);
        if (begin.addr()..end.addr()).contains(&at) {
            Position::Between((&raw const quell_v0_stub_cancel).addr())
        } else if (stub as *const () as usize..(&raw const quell_v0_stub_past).addr()).contains(&at)
        {
            Position::Beside
        } else {
            Position::Outside
        }
    }

    /// The program counter of an interrupted thread.
    ///
    /// # Safety
    /// `context` is what a handler with SA_SIGINFO was given, and nothing else refers to it.
    pub(in crate::syscall) unsafe fn counter<'a>(context: *mut libc::c_void) -> &'a mut usize {
        // SAFETY: as the caller promises.
        let machine = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext };
        #[cfg(target_arch = "x86_64")]
        let counter = &raw mut machine.gregs[libc::REG_RIP as usize];
        #[cfg(target_arch = "aarch64")]
        let counter = &raw mut machine.pc;
        // SAFETY: 64 bits either way, and an address.
        unsafe { &mut *counter.cast::<usize>() }
    }
}

/// Where there is no stub: the look and the call are apart, and only signals that are sent again close the gap.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", quell_loom, quell_shuttle)))]
mod imp {
    use std::sync::atomic::{AtomicU32, Ordering::Acquire};

    pub(in crate::syscall) const EXISTS: bool = false;

    pub(in crate::syscall) unsafe fn stub(
        word: *const AtomicU32,
        mask: u32,
        number: usize,
        arguments: *const [usize; 6],
        _inside: *const AtomicU32,
    ) -> isize {
        // SAFETY: as the caller promises.
        let (word, [a, b, c, d, e, f]) = unsafe { (&*word, *arguments) };
        if word.load(Acquire) & mask != 0 {
            return super::CANCELLED;
        }
        // SAFETY: the caller's call.
        match unsafe { libc::syscall(number as libc::c_long, a, b, c, d, e, f) } {
            -1 => -(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO) as isize),
            result => result as isize,
        }
    }

    pub(in crate::syscall) enum Position {
        Outside,
    }

    pub(in crate::syscall) fn position(_at: usize) -> Position {
        Position::Outside
    }
}

/// In a model, its kernel's.
#[cfg(any(quell_loom, quell_shuttle))]
mod imp {
    use crate::sys::atomic::AtomicU32;
    use crate::syscall::line::Line;

    pub(in crate::syscall) unsafe fn stub(
        word: &AtomicU32,
        mask: u32,
        _number: usize,
        _arguments: *const [usize; 6],
        inside: &Line,
    ) -> isize {
        inside.stub(word, mask)
    }
}

pub(super) use imp::*;
