//! Stacks that are used again. Loom maps one for each thread of each execution, and unmaps it at its end; with the faults on its fresh
//! pages that was half of what the models cost. In this program the two functions here stand in for the C library's: the mapping of a
//! stack that is given up is kept as it is, for the next of its length. All else goes to the kernel.
//!
//! Called by whatever in this program names `mmap` and `munmap`: loom's coroutines, and the standard library. The C library does not
//! call them, neither for the stacks of system threads nor for its heap.

use libc::{MAP_STACK, SYS_mmap, SYS_munmap, c_int, c_void, off_t, size_t, syscall};
use std::sync::{Mutex, PoisonError};

/// A mapping.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stack {
    address: usize,
    length: usize,
}

/// All that were mapped here.
struct Stacks {
    used: Vec<Stack>,
    free: Vec<Stack>,
}

static STACKS: Mutex<Stacks> = Mutex::new(Stacks { used: Vec::new(), free: Vec::new() });

/// Takes out of `stacks` the last one that is meant.
fn take(stacks: &mut Vec<Stack>, is_meant: impl Fn(&Stack) -> bool) -> Option<Stack> {
    let at = stacks.iter().rposition(is_meant)?;
    Some(stacks.swap_remove(at))
}

/// Maps memory; a stack's that is free, if a stack of its length is asked for.
///
/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn mmap(
    address: *mut c_void,
    length: size_t,
    protection: c_int,
    flags: c_int,
    file: c_int,
    offset: off_t,
) -> *mut c_void {
    let is_stack = address.is_null() && flags & MAP_STACK != 0;
    let mut stacks = STACKS.lock().unwrap_or_else(PoisonError::into_inner);
    if is_stack && let Some(stack) = take(&mut stacks.free, |free| free.length == length) {
        stacks.used.push(stack);
        return stack.address as *mut c_void;
    }
    // SAFETY: the arguments are the caller's, who knows what it asks for.
    let mapped =
        unsafe { syscall(SYS_mmap, address, length, protection, flags, file, offset) } as usize;
    let mapped_address = mapped as *mut c_void;
    if is_stack && mapped_address != libc::MAP_FAILED {
        stacks.used.push(Stack { address: mapped, length });
    }
    mapped_address
}

/// Unmaps memory; keeps a stack's.
///
/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn munmap(address: *mut c_void, length: size_t) -> c_int {
    let stack = Stack { address: address as usize, length };
    let mut stacks = STACKS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(stack) = take(&mut stacks.used, |used| *used == stack) {
        stacks.free.push(stack);
        return 0;
    }
    drop(stacks);
    // SAFETY: as above; it is no stack that was mapped here.
    unsafe { syscall(SYS_munmap, address, length) as c_int }
}
