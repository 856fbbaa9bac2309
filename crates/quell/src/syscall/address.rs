//! An address as the kernel has it.

use std::ffi::OsStr;
use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

/// The address of a socket, of whatever family.
#[derive(Clone, Copy)]
pub struct Address {
    storage: libc::sockaddr_storage,
    length: libc::socklen_t,
}

/// Where the path begins in a Unix socket's address.
const PATH: usize = mem::offset_of!(libc::sockaddr_un, sun_path);

impl Address {
    /// Room for any.
    pub(super) fn empty() -> Address {
        // SAFETY: plain data, for which zero is a value.
        let storage = unsafe { mem::zeroed() };
        Address { storage, length: mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t }
    }

    /// That of a Unix socket at this path; an empty path is one without a name, and one that begins with a zero byte is in
    /// the abstract name space.
    ///
    /// # Errors
    /// If the path is too long (108 bytes on Linux, with the zero at its end), or has a zero byte elsewhere.
    pub fn unix(path: impl AsRef<Path>) -> io::Result<Address> {
        let bytes = path.as_ref().as_os_str().as_bytes();
        let is_abstract = bytes.first() == Some(&0);
        let room = mem::size_of::<libc::sockaddr_un>() - PATH - usize::from(!is_abstract);
        if bytes.len() > room || (!is_abstract && bytes.contains(&0)) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "{:?} is no path of a socket: longer than {room} bytes, or with a zero",
                    path.as_ref()
                ),
            ));
        }
        let mut address = Address::empty();
        // SAFETY: a sockaddr_un fits, and the bytes were counted.
        unsafe {
            let unix = (&raw mut address.storage).cast::<libc::sockaddr_un>();
            (*unix).sun_family = libc::AF_UNIX as libc::sa_family_t;
            let to = (&raw mut (*unix).sun_path).cast::<u8>();
            ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
        }
        let end = usize::from(!is_abstract && !bytes.is_empty());
        address.length = (PATH + bytes.len() + end) as libc::socklen_t;
        Ok(address)
    }

    /// The bytes of a `sockaddr`, of whatever family, as they are.
    ///
    /// # Errors
    /// If they are more than any address has (128 bytes on Linux).
    pub fn from_bytes(bytes: &[u8]) -> io::Result<Address> {
        let mut address = Address::empty();
        if bytes.len() > address.length as usize {
            let (count, most) = (bytes.len(), address.length);
            let words = format!("{count} bytes are no address: none has more than {most}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, words));
        }
        // SAFETY: they fit, and are the storage's own.
        unsafe {
            let to = (&raw mut address.storage).cast::<u8>();
            ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
        }
        address.length = bytes.len() as libc::socklen_t;
        Ok(address)
    }

    /// The bytes of its `sockaddr`.
    pub fn as_bytes(&self) -> &[u8] {
        let length = (self.length as usize).min(mem::size_of::<libc::sockaddr_storage>());
        // SAFETY: the storage was zeroed, so all of its bytes are there.
        unsafe { std::slice::from_raw_parts((&raw const self.storage).cast(), length) }
    }

    /// The family, such as `libc::AF_INET`.
    pub fn family(&self) -> i32 {
        self.storage.ss_family.into()
    }

    /// As an internet address, if it is one.
    pub fn to_inet(&self) -> Option<SocketAddr> {
        match self.family() {
            libc::AF_INET => {
                // SAFETY: the family says so.
                let v4 = unsafe { &*(&raw const self.storage).cast::<libc::sockaddr_in>() };
                let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
                Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 => {
                // SAFETY: the family says so.
                let v6 = unsafe { &*(&raw const self.storage).cast::<libc::sockaddr_in6>() };
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                let port = u16::from_be(v6.sin6_port);
                Some(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
            }
            _ => None,
        }
    }

    /// As the path of a Unix socket, if it is one that has a path.
    pub fn to_path(&self) -> Option<&Path> {
        let length = (self.length as usize).checked_sub(PATH)?;
        if self.family() != libc::AF_UNIX || length == 0 {
            return None;
        }
        // SAFETY: the family says so, and so many bytes were written.
        let bytes = unsafe {
            let unix = (&raw const self.storage).cast::<libc::sockaddr_un>();
            std::slice::from_raw_parts((&raw const (*unix).sun_path).cast::<u8>(), length)
        };
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(length);
        (end > 0).then(|| Path::new(OsStr::from_bytes(&bytes[..end])))
    }

    /// Where the kernel finds it.
    pub(super) fn at(&self) -> (usize, usize) {
        (&raw const self.storage as usize, self.length as usize)
    }

    /// Where the kernel writes one, and its length, which before is the room there is.
    pub(super) fn room(&mut self) -> (usize, usize) {
        (&raw mut self.storage as usize, &raw mut self.length as usize)
    }
}

impl From<SocketAddr> for Address {
    fn from(inet: SocketAddr) -> Address {
        let mut address = Address::empty();
        let at = &raw mut address.storage;
        // SAFETY: both forms fit into the storage, and are plain data.
        let length = unsafe {
            match inet {
                SocketAddr::V4(inet) => {
                    let v4 = at.cast::<libc::sockaddr_in>();
                    (*v4).sin_family = libc::AF_INET as libc::sa_family_t;
                    (*v4).sin_port = inet.port().to_be();
                    (*v4).sin_addr.s_addr = u32::from(*inet.ip()).to_be();
                    mem::size_of::<libc::sockaddr_in>()
                }
                SocketAddr::V6(inet) => {
                    let v6 = at.cast::<libc::sockaddr_in6>();
                    (*v6).sin6_family = libc::AF_INET6 as libc::sa_family_t;
                    (*v6).sin6_port = inet.port().to_be();
                    (*v6).sin6_addr.s6_addr = inet.ip().octets();
                    (*v6).sin6_flowinfo = inet.flowinfo();
                    (*v6).sin6_scope_id = inet.scope_id();
                    mem::size_of::<libc::sockaddr_in6>()
                }
            }
        };
        address.length = length as libc::socklen_t;
        address
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.to_inet(), self.to_path()) {
            (Some(inet), _) => inet.fmt(f),
            (None, Some(path)) => path.fmt(f),
            (None, None) => f.debug_struct("Address").field("family", &self.family()).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Address;
    use std::path::Path;

    #[test]
    fn there_and_back() {
        for text in ["127.0.0.1:80", "[2001:db8::1]:443", "[fe80::1%3]:7"] {
            let inet = text.parse().unwrap();
            assert_eq!(Address::from(inet).to_inet(), Some(inet));
            assert!(Address::from(inet).to_path().is_none());
            let bytes = Address::from(inet).as_bytes().to_vec();
            assert_eq!(Address::from_bytes(&bytes).unwrap().to_inet(), Some(inet));
        }
        let unix = Address::unix("/run/x").unwrap();
        assert_eq!(unix.to_path(), Some(Path::new("/run/x")));
        assert!(unix.to_inet().is_none());
        assert!(Address::unix("").unwrap().to_path().is_none());
        assert!(Address::unix("\0name").unwrap().to_path().is_none());
    }

    #[test]
    fn paths_have_a_limit() {
        assert!(Address::unix("x".repeat(107)).is_ok());
        assert!(Address::unix("x".repeat(108)).is_err());
        assert!(Address::unix("a\0b").is_err());
        assert!(Address::from_bytes(&[0; 128]).is_ok());
        assert!(Address::from_bytes(&[0; 129]).is_err());
    }
}
