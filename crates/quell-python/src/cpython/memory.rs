//! Reading the memory of this process in a way that cannot fault.
//!
//! `/proc/self/mem` answers a read of an unmapped page with an error where a load would end the process. That is
//! what a look at another thread's frames needs when that thread cannot be made to hold still.

use std::fs::File;
use std::os::unix::fs::FileExt;

pub(super) struct Memory(File);

impl Memory {
    pub(super) fn open() -> Option<Self> {
        File::open("/proc/self/mem").ok().map(Self)
    }

    /// Fills `buffer` from `address`; false if any of it cannot be read.
    pub(super) fn bytes(&self, address: usize, buffer: &mut [u8]) -> bool {
        address != 0 && self.0.read_exact_at(buffer, address as u64).is_ok()
    }

    pub(super) fn u64(&self, address: usize) -> Option<u64> {
        let mut buffer = [0; 8];
        self.bytes(address, &mut buffer).then(|| u64::from_ne_bytes(buffer))
    }

    pub(super) fn pointer(&self, address: usize) -> Option<usize> {
        self.u64(address).map(|v| v as usize)
    }

    pub(super) fn u32(&self, address: usize) -> Option<u32> {
        let mut buffer = [0; 4];
        self.bytes(address, &mut buffer).then(|| u32::from_ne_bytes(buffer))
    }

    #[cfg(Py_3_12)]
    pub(super) fn u8(&self, address: usize) -> Option<u8> {
        let mut buffer = [0; 1];
        self.bytes(address, &mut buffer).then_some(buffer[0])
    }
}
