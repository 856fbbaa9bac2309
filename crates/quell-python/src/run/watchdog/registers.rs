//! What the [`grip`](super::grip) has to know of an architecture: the registers of a stopped thread, and how they are to be
//! set for the thread to end its process.

use std::fs::File;
use std::io::{BufRead, BufReader, Error, Result};
use std::os::unix::fs::FileExt;

/// `ptrace`, with two words whose meaning depends on the request.
///
/// # Safety
/// As the request wants its two words.
pub(super) unsafe fn ptrace(request: u32, tid: i32, address: usize, data: usize) -> Result<usize> {
    // SAFETY: the caller's.
    let answer =
        unsafe { libc::syscall(libc::SYS_ptrace, libc::c_long::from(request), tid, address, data) };
    if answer < 0 { Err(Error::last_os_error()) } else { Ok(answer as usize) }
}

// The same numbers on every architecture; the library's types differ.
const PTRACE_GETREGSET: u32 = 0x4204;
const PTRACE_SETREGSET: u32 = 0x4205;
const PTRACE_GET_SYSCALL_INFO: u32 = 0x420e;
const NT_PRSTATUS: usize = 1;

/// The system call that a thread is about to make, if it has been stopped for that and speaks the native convention.
///
/// Kernels before 5.3 do not tell.
pub(super) fn entered_call(tid: i32) -> Option<u64> {
    /// What the kernel calls a stop at the entry.
    const ENTRY: u8 = 1;
    // The kind of stop in the first byte, the convention in the upper half of the first word; the number in the fourth.
    let mut words = [0_u64; 11];
    // SAFETY: the kernel writes at most as many bytes as are said, into an array of this stack.
    unsafe {
        ptrace(PTRACE_GET_SYSCALL_INFO, tid, size_of_val(&words), words.as_mut_ptr() as usize)
            .ok()?;
    }
    let (kind, convention) = (words[0].to_ne_bytes()[0], (words[0] >> 32) as u32);
    (kind == ENTRY && convention == native::CONVENTION).then_some(words[3])
}

/// Whether a system call ends the thread or its process; both take the status as their first argument.
pub(super) fn ends(call: u64) -> bool {
    [libc::SYS_exit, libc::SYS_exit_group].contains(&(call as libc::c_long))
}

/// Has a stopped thread end its process with this status as soon as it runs. `entered`: it is about to make a system call.
///
/// # Errors
/// When it is a program of another kind (32 bits), or there is no place to make the call from; nothing has changed then.
pub(super) fn make_it_exit(tid: i32, entered: bool, status: u64) -> Result<()> {
    let mut registers = read(tid)?;
    if entered {
        native::replace_call(tid, &mut registers, status)?;
    } else {
        native::place_call(&mut registers, find_instruction(tid)?, status);
    }
    write(tid, &mut registers)
}

/// Changes the status of a system call that [`ends`] the thread or the process and is about to be made.
///
/// # Errors
/// When it is a program of another kind.
pub(super) fn change_status(tid: i32, status: u64) -> Result<()> {
    let mut registers = read(tid)?;
    native::set_status(&mut registers, status);
    write(tid, &mut registers)
}

fn set_of(registers: &mut native::Registers) -> libc::iovec {
    libc::iovec { iov_base: (&raw mut *registers).cast(), iov_len: size_of::<native::Registers>() }
}

fn read(tid: i32) -> Result<native::Registers> {
    // SAFETY: registers are numbers, of which zero is one; the kernel fills at most as much as the vector says.
    unsafe {
        let mut registers: native::Registers = std::mem::zeroed();
        let mut set = set_of(&mut registers);
        ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, (&raw mut set) as usize)?;
        if set.iov_len != size_of::<native::Registers>() || !native::is_native(&registers) {
            return Err(Error::other("it is a program for another kind of processor"));
        }
        Ok(registers)
    }
}

fn write(tid: i32, registers: &mut native::Registers) -> Result<()> {
    let mut set = set_of(registers);
    // SAFETY: the vector and what it means are on this stack.
    unsafe { ptrace(PTRACE_SETREGSET, tid, NT_PRSTATUS, (&raw mut set) as usize).map(drop) }
}

/// Where in the memory of a thread's process an instruction stands that makes a system call: in the code that the kernel itself puts
/// into every process, so that nothing of the program has to be changed. (Asked of the thread, because the first one of the
/// process may have ended.)
fn find_instruction(tid: i32) -> Result<u64> {
    let none = || Error::other("it has no code of the kernel's (vdso)");
    let maps = BufReader::new(File::open(format!("/proc/{tid}/maps"))?);
    let line = maps.lines().map_while(Result::ok).find(|line| line.ends_with("[vdso]"));
    let (start, end) = line.as_deref().and_then(bounds).ok_or_else(none)?;
    // A few pages.
    let mut code = vec![0; usize::try_from(end - start).unwrap_or(0).min(1 << 20)];
    File::open(format!("/proc/{tid}/mem"))?.read_exact_at(&mut code, start)?;
    native::find(&code).map(|at| start + at as u64).ok_or_else(none)
}

/// The range of addresses at the beginning of a line of `maps`.
fn bounds(line: &str) -> Option<(u64, u64)> {
    let (start, end) = line.split_ascii_whitespace().next()?.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    Some((number(start)?, number(end)?))
}

#[cfg(target_arch = "x86_64")]
mod native {
    use std::io::Result;

    pub(super) type Registers = libc::user_regs_struct;
    /// `AUDIT_ARCH_X86_64`
    pub(super) const CONVENTION: u32 = 0xc000_003e;

    /// The segment of code of 64 bits.
    pub(super) fn is_native(registers: &Registers) -> bool {
        registers.cs == 0x33
    }

    pub(super) fn set_status(registers: &mut Registers, status: u64) {
        registers.rdi = status;
    }

    /// The kernel looks at the number again when the thread goes on.
    pub(super) fn replace_call(_tid: i32, registers: &mut Registers, status: u64) -> Result<()> {
        registers.orig_rax = libc::SYS_exit_group as u64;
        set_status(registers, status);
        Ok(())
    }

    pub(super) fn place_call(registers: &mut Registers, instruction: u64, status: u64) {
        registers.rip = instruction;
        registers.rax = libc::SYS_exit_group as u64;
        // In no system call: otherwise the kernel might start the one again that was interrupted.
        registers.orig_rax = u64::MAX;
        set_status(registers, status);
    }

    /// `syscall`, wherever its two bytes stand: the processor does not care what they were meant to be.
    pub(super) fn find(code: &[u8]) -> Option<usize> {
        code.windows(2).position(|two| two == [0x0f, 0x05])
    }
}

#[cfg(target_arch = "aarch64")]
mod native {
    use std::io::Result;

    use super::{PTRACE_SETREGSET, ptrace};

    pub(super) type Registers = libc::user_regs_struct;
    /// `AUDIT_ARCH_AARCH64`
    pub(super) const CONVENTION: u32 = 0xc000_00b7;
    /// The register set that holds the number of the system call.
    const NT_ARM_SYSTEM_CALL: usize = 0x404;

    /// Programs of 32 bits have a register set of another size.
    pub(super) fn is_native(_registers: &Registers) -> bool {
        true
    }

    pub(super) fn set_status(registers: &mut Registers, status: u64) {
        registers.regs[0] = status;
    }

    pub(super) fn replace_call(tid: i32, registers: &mut Registers, status: u64) -> Result<()> {
        let mut call = libc::SYS_exit_group as libc::c_int;
        let mut set =
            libc::iovec { iov_base: (&raw mut call).cast(), iov_len: size_of::<libc::c_int>() };
        // SAFETY: the vector and what it means are on this stack.
        unsafe { ptrace(PTRACE_SETREGSET, tid, NT_ARM_SYSTEM_CALL, (&raw mut set) as usize)? };
        set_status(registers, status);
        Ok(())
    }

    pub(super) fn place_call(registers: &mut Registers, instruction: u64, status: u64) {
        registers.pc = instruction;
        registers.regs[8] = libc::SYS_exit_group as u64;
        set_status(registers, status);
    }

    /// `svc #0`
    pub(super) fn find(code: &[u8]) -> Option<usize> {
        let mut words = code.chunks_exact(4);
        words.position(|word| word == 0xd400_0001_u32.to_le_bytes()).map(|at| at * 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_code_makes_system_calls() {
        let own = std::process::id() as i32;
        let at = find_instruction(own).expect("every process has it");
        let maps = std::fs::read_to_string("/proc/self/maps").expect("is there");
        let line = maps.lines().find(|line| line.ends_with("[vdso]")).expect("is there");
        let (start, end) = bounds(line).expect("is a range");
        assert!((start..end).contains(&at), "{at:x} in {line}");
        assert!(find_instruction(i32::MAX).is_err());
    }

    #[test]
    fn both_calls_that_end() {
        assert!(ends(libc::SYS_exit as u64) && ends(libc::SYS_exit_group as u64));
        assert!(!ends(libc::SYS_getpid as u64));
    }
}
