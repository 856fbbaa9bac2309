//! All that can be replaced.

use super::call::Given;
use super::site::{Entries, Site, Threads, site};
use super::{attempt, clock, descriptors, file_locks, input, lock, processes, select, sem_lock};
use super::{simple_queue, sockets, threads, tls};
use crate::primitives::call::Obj;

/// See the module.
pub(super) static SITES: &[&Site] = &[
    site!("time", "time.sleep", c"time", "sleep", Others, clock::sleep),
    site!("threading", "Lock.acquire", c"_thread", "LockType.acquire", Others, lock::acquire),
    site!(
        "threading",
        "Lock.acquire_lock",
        c"_thread",
        "LockType.acquire_lock",
        Others,
        lock::acquire
    ),
    site!("threading", "Lock.__enter__", c"_thread", "LockType.__enter__", Others, lock::acquire),
    site!("threading", "Lock.locked", c"_thread", "LockType.locked", All, lock::locked),
    site!("threading", "RLock.acquire", c"_thread", "RLock.acquire", Others, lock::acquire_again),
    site!(
        "threading",
        "RLock.__enter__",
        c"_thread",
        "RLock.__enter__",
        Others,
        lock::acquire_again
    ),
    site!("threading", "Thread.start", c"_thread", "start_joinable_thread", All, threads::start),
    site!("threading", "Thread.join", c"_thread", "_ThreadHandle.join", Others, threads::join),
    site!("queue", "SimpleQueue.get", c"_queue", "SimpleQueue.get", Others, simple_queue::get),
    site!("queue", "SimpleQueue.put", c"_queue", "SimpleQueue.put", All, simple_queue::put),
    site!(
        "queue",
        "SimpleQueue.put_nowait",
        c"_queue",
        "SimpleQueue.put_nowait",
        All,
        simple_queue::put
    ),
    site!("os", "os.read", c"posix", "read", Others, descriptors::read),
    site!("os", "os.write", c"posix", "write", Others, descriptors::write),
    site!("os", "os.open", c"posix", "open", Others, descriptors::open),
    site!("processes", "os.wait", c"posix", "wait", Others, processes::wait),
    site!("processes", "os.wait3", c"posix", "wait3", Others, processes::wait3),
    site!("processes", "os.wait4", c"posix", "wait4", Others, processes::wait4),
    site!("processes", "os.waitid", c"posix", "waitid", Others, processes::waitid),
    site!("processes", "os.waitpid", c"posix", "waitpid", Others, processes::waitpid),
    site!("files", "io.open", c"_io", "open", Others, descriptors::open_file),
    site!("files", "FileIO.read", c"_io", "FileIO.read", Others, descriptors::file_read),
    site!("files", "FileIO.readall", c"_io", "FileIO.readall", Others, descriptors::file_readall),
    site!(
        "files",
        "FileIO.readinto",
        c"_io",
        "FileIO.readinto",
        Others,
        descriptors::file_readinto
    ),
    site!("files", "FileIO.write", c"_io", "FileIO.write", Others, descriptors::file_write),
    site!("files", "fcntl.flock", c"fcntl", "flock", Others, file_locks::flock),
    site!("files", "fcntl.lockf", c"fcntl", "lockf", Others, file_locks::lockf),
    site!("input", "input", c"builtins", "input", Others, input::input),
    site!("select", "select.select", c"select", "select", Others, select::select),
    site!("select", "poll.poll", c"select", "poll().poll", Others, select::poll),
    site!("select", "epoll.poll", c"select", "epoll.poll", Others, select::epoll),
    site!("socket", "socket.accept", c"_socket", "socket._accept", Others, sockets::accept),
    site!("socket", "socket.connect", c"_socket", "socket.connect", Others, sockets::connect),
    site!(
        "socket",
        "socket.connect_ex",
        c"_socket",
        "socket.connect_ex",
        Others,
        sockets::connect_ex
    ),
    site!("socket", "socket.recv", c"_socket", "socket.recv", Others, sockets::recv),
    site!("socket", "socket.recv_into", c"_socket", "socket.recv_into", Others, sockets::recv_into),
    site!("socket", "socket.recvfrom", c"_socket", "socket.recvfrom", Others, sockets::recvfrom),
    site!(
        "socket",
        "socket.recvfrom_into",
        c"_socket",
        "socket.recvfrom_into",
        Others,
        sockets::recvfrom_into
    ),
    site!("socket", "socket.recvmsg", c"_socket", "socket.recvmsg", Others, sockets::recvmsg),
    site!(
        "socket",
        "socket.recvmsg_into",
        c"_socket",
        "socket.recvmsg_into",
        Others,
        sockets::recvmsg
    ),
    site!("socket", "socket.send", c"_socket", "socket.send", Others, sockets::send),
    site!("socket", "socket.sendall", c"_socket", "socket.sendall", Others, sockets::sendall),
    site!("socket", "socket.sendmsg", c"_socket", "socket.sendmsg", Others, sockets::sendmsg),
    site!("socket", "socket.sendto", c"_socket", "socket.sendto", Others, sockets::sendto),
    // What these tell of a socket in an attempt: see `attempt`.
    site!("socket", "socket.gettimeout", c"_socket", "socket.gettimeout", All, attempt::gettimeout),
    site!(
        "socket",
        "socket.getblocking",
        c"_socket",
        "socket.getblocking",
        All,
        attempt::getblocking
    ),
    site!("socket", "socket.settimeout", c"_socket", "socket.settimeout", All, attempt::settimeout),
    site!(
        "socket",
        "socket.setblocking",
        c"_socket",
        "socket.setblocking",
        All,
        attempt::settimeout
    ),
    site!(
        "ssl",
        "SSLSocket.do_handshake",
        c"_ssl",
        "_SSLSocket.do_handshake",
        Others,
        tls::operation
    ),
    site!("ssl", "SSLSocket.read", c"_ssl", "_SSLSocket.read", Others, tls::operation),
    site!("ssl", "SSLSocket.write", c"_ssl", "_SSLSocket.write", Others, tls::operation),
    site!("ssl", "SSLSocket.unwrap", c"_ssl", "_SSLSocket.shutdown", Others, tls::operation),
    site!(
        "multiprocessing",
        "SemLock.acquire",
        c"_multiprocessing",
        "SemLock.acquire",
        Others,
        sem_lock::acquire
    ),
    site!(
        "multiprocessing",
        "SemLock.__enter__",
        c"_multiprocessing",
        "SemLock.__enter__",
        Others,
        sem_lock::enter
    ),
];
