//! TCP and Unix sockets: listeners that can be interrupted while they wait, streams while they connect.

use super::Interruptible;
use crate::syscall::{self, Address, CallError};
use crate::wait::Wait;
use std::io;
use std::net::{self, SocketAddr, ToSocketAddrs};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net as unix;
use std::path::Path;

/// A TCP socket that listens.
pub type TcpListener = Interruptible<net::TcpListener>;

/// A TCP connection.
pub type TcpStream = Interruptible<net::TcpStream>;

/// A Unix socket that listens.
pub type UnixListener = Interruptible<unix::UnixListener>;

/// A connection of Unix sockets.
pub type UnixStream = Interruptible<unix::UnixStream>;

impl TcpListener {
    /// Listens at an address, as [`std::net::TcpListener::bind`]. Does not wait, except, uninterruptibly, for the address of
    /// a name.
    ///
    /// # Errors
    /// As there.
    pub fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
        net::TcpListener::bind(address).map(Interruptible::new)
    }

    /// Its own address.
    ///
    /// # Errors
    /// If the system does not know.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.get_ref().local_addr()
    }

    /// Waits for the next connection and takes it. An interruption point; interrupted, it has taken none. The stream has
    /// no time limit.
    ///
    /// # Errors
    /// As [`syscall::accept`]. Some speak of that one connection only, and the next may go well.
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        Ok(self.accept_with(&self.wait())?)
    }

    /// [`accept`](TcpListener::accept) with every option.
    ///
    /// # Errors
    /// As there.
    pub fn accept_with(&self, wait: &Wait) -> Result<(TcpStream, SocketAddr), CallError> {
        let (fd, from) = syscall::accept(self, wait)?;
        let from = from.to_inet().ok_or_else(no_address)?;
        Ok((Interruptible::new(fd.into()), from))
    }

    /// The connections, one after the other. Never ends by itself.
    pub fn incoming(&self) -> Incoming<'_, net::TcpListener> {
        Incoming { listener: self }
    }
}

fn no_address() -> CallError {
    CallError::Os(io::Error::new(
        io::ErrorKind::InvalidData,
        "an internet socket without an address",
    ))
}

impl TcpStream {
    /// Connects to an address; of a name that has several, to the first that answers. An interruption point, except for
    /// looking up the name.
    ///
    /// Interrupted, it has given up: the connection, if there came to be one, is closed.
    ///
    /// # Errors
    /// As [`syscall::connect`].
    pub fn connect(address: impl ToSocketAddrs) -> io::Result<TcpStream> {
        let mut failed = None;
        for address in address.to_socket_addrs()? {
            match TcpStream::connect_with(&address, &Wait::new()) {
                Ok(stream) => return Ok(stream),
                Err(CallError::Os(error)) => failed = Some(error),
                Err(ended) => return Err(ended.into()),
            }
        }
        Err(failed.unwrap_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "the name has no address to connect to")
        }))
    }

    /// Connects to one address, with every option.
    ///
    /// # Errors
    /// As [`connect`](TcpStream::connect).
    pub fn connect_with(address: &SocketAddr, wait: &Wait) -> Result<TcpStream, CallError> {
        let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        let socket = socket(family)?;
        syscall::connect(&socket, &(*address).into(), wait)?;
        Ok(Interruptible::new(socket.into()))
    }

    /// The address of the other side.
    ///
    /// # Errors
    /// If there is none any more.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.get_ref().peer_addr()
    }

    /// Ends one direction or both, as [`std::net::TcpStream::shutdown`].
    ///
    /// # Errors
    /// As there.
    pub fn shutdown(&self, how: net::Shutdown) -> io::Result<()> {
        self.get_ref().shutdown(how)
    }
}

impl UnixListener {
    /// Listens at a path, as [`std::os::unix::net::UnixListener::bind`].
    ///
    /// # Errors
    /// As there.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        unix::UnixListener::bind(path).map(Interruptible::new)
    }

    /// Waits for the next connection and takes it. An interruption point; interrupted, it has taken none. The stream has
    /// no time limit.
    ///
    /// # Errors
    /// As [`syscall::accept`].
    pub fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.accept_with(&self.wait())?)
    }

    /// [`accept`](UnixListener::accept) with every option.
    ///
    /// # Errors
    /// As there.
    pub fn accept_with(&self, wait: &Wait) -> Result<UnixStream, CallError> {
        let (fd, _) = syscall::accept(self, wait)?;
        Ok(Interruptible::new(fd.into()))
    }

    /// The connections, one after the other. Never ends by itself.
    pub fn incoming(&self) -> Incoming<'_, unix::UnixListener> {
        Incoming { listener: self }
    }
}

impl UnixStream {
    /// Connects to a path. An interruption point: it blocks while the listener's queue is full.
    ///
    /// # Errors
    /// As [`syscall::connect`].
    pub fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        Ok(UnixStream::connect_with(path, &Wait::new())?)
    }

    /// [`connect`](UnixStream::connect) with every option.
    ///
    /// # Errors
    /// As there.
    pub fn connect_with(path: impl AsRef<Path>, wait: &Wait) -> Result<UnixStream, CallError> {
        let address = Address::unix(path).map_err(CallError::Os)?;
        let socket = socket(libc::AF_UNIX)?;
        syscall::connect(&socket, &address, wait)?;
        Ok(Interruptible::new(socket.into()))
    }

    /// Two sockets that are connected.
    ///
    /// # Errors
    /// If the system has none.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (one, other) = unix::UnixStream::pair()?;
        Ok((one.into(), other.into()))
    }

    /// Ends one direction or both, as [`std::os::unix::net::UnixStream::shutdown`].
    ///
    /// # Errors
    /// As there.
    pub fn shutdown(&self, how: net::Shutdown) -> io::Result<()> {
        self.get_ref().shutdown(how)
    }
}

/// A new stream socket.
fn socket(family: i32) -> Result<OwnedFd, CallError> {
    // SAFETY: takes numbers only.
    let fd = unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(CallError::Os(io::Error::last_os_error()));
    }
    // SAFETY: a new descriptor, which nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The connections of a listener: what its `accept` gives, without end.
#[derive(Debug)]
pub struct Incoming<'a, L> {
    listener: &'a Interruptible<L>,
}

impl Iterator for Incoming<'_, net::TcpListener> {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}

impl Iterator for Incoming<'_, unix::UnixListener> {
    type Item = io::Result<UnixStream>;

    fn next(&mut self) -> Option<io::Result<UnixStream>> {
        Some(self.listener.accept())
    }
}
