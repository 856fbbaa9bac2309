//! All that can be replaced.

use super::call::Given;
#[cfg(Py_3_14)]
use super::mutex;
use super::site::{Entries, Site, Threads, site};
use super::{attempt, clock, descriptors, file_locks, input, lock, processes, select, sem_lock};
use super::{signals, simple_queue, sockets, threads, tls, transfers};
use crate::primitives::call::Obj;

/// Groups, the modules they are of, and in these: in which threads, what users call it, its path, the body.
macro_rules! sites {
    ($($group:literal in $module:literal {
        $($(#[$when:meta])* $threads:ident $name:literal = $path:literal, $body:path;)*
    })*) => {
        &[$($($(#[$when])* site!($group, $name, $module, $path, $threads, $body),)*)*]
    };
}

/// See the module.
pub(super) static SITES: &[&Site] = sites! {
    "time" in c"time" {
        Others "time.sleep" = "sleep", clock::sleep;
    }
    "threading" in c"_thread" {
        Watched "Lock.acquire" = "LockType.acquire", lock::acquire;
        Watched "Lock.acquire_lock" = "LockType.acquire_lock", lock::acquire;
        Watched "Lock.__enter__" = "LockType.__enter__", lock::enter;
        All "Lock.locked" = "LockType.locked", lock::locked;
        Watched "RLock.acquire" = "RLock.acquire", lock::acquire_again;
        Watched "RLock.__enter__" = "RLock.__enter__", lock::acquire_again;
        // A lock of 3.14 tells whom it is released for.
        #[cfg(Py_3_14)]
        All "Lock.release" = "LockType.release", mutex::release;
        #[cfg(Py_3_14)]
        All "Lock.release_lock" = "LockType.release_lock", mutex::release;
        #[cfg(Py_3_14)]
        All "Lock.__exit__" = "LockType.__exit__", mutex::release;
        #[cfg(Py_3_14)]
        All "RLock.release" = "RLock.release", mutex::release_again;
        #[cfg(Py_3_14)]
        All "RLock.__exit__" = "RLock.__exit__", mutex::release_again;
        #[cfg(Py_3_14)]
        All "RLock._release_save" = "RLock._release_save", mutex::release_save;
        All "Thread.start" = "start_joinable_thread", threads::start;
        Watched "Thread.join" = "_ThreadHandle.join", threads::join;
    }
    "queue" in c"_queue" {
        Others "SimpleQueue.get" = "SimpleQueue.get", simple_queue::get;
        All "SimpleQueue.put" = "SimpleQueue.put", simple_queue::put;
        All "SimpleQueue.put_nowait" = "SimpleQueue.put_nowait", simple_queue::put;
    }
    "os" in c"posix" {
        Others "os.read" = "read", descriptors::read;
        Others "os.write" = "write", descriptors::write;
        Others "os.open" = "open", descriptors::open;
        Others "os.readv" = "readv", transfers::readv;
        Others "os.writev" = "writev", transfers::writev;
        Others "os.sendfile" = "sendfile", transfers::sendfile;
        Others "os.splice" = "splice", transfers::splice;
        Others "os.eventfd_read" = "eventfd_read", transfers::eventfd_read;
        Others "os.eventfd_write" = "eventfd_write", transfers::eventfd_write;
        Others "os.lockf" = "lockf", file_locks::lockf_here;
    }
    "processes" in c"posix" {
        Others "os.wait" = "wait", processes::wait;
        Others "os.wait3" = "wait3", processes::wait3;
        Others "os.wait4" = "wait4", processes::wait4;
        Others "os.waitid" = "waitid", processes::waitid;
        Others "os.waitpid" = "waitpid", processes::waitpid;
    }
    "files" in c"_io" {
        Others "io.open" = "open", descriptors::open_file;
        Others "FileIO.read" = "FileIO.read", descriptors::file_read;
        Others "FileIO.readall" = "FileIO.readall", descriptors::file_readall;
        Others "FileIO.readinto" = "FileIO.readinto", descriptors::file_readinto;
        Others "FileIO.write" = "FileIO.write", descriptors::file_write;
    }
    "files" in c"fcntl" {
        Others "fcntl.flock" = "flock", file_locks::flock;
        Others "fcntl.lockf" = "lockf", file_locks::lockf;
        Others "fcntl.fcntl" = "fcntl", file_locks::fcntl;
    }
    "signal" in c"_signal" {
        Others "signal.sigwait" = "sigwait", signals::sigwait;
        Others "signal.sigwaitinfo" = "sigwaitinfo", signals::sigwaitinfo;
        Others "signal.sigtimedwait" = "sigtimedwait", signals::sigtimedwait;
        Others "signal.pause" = "pause", signals::pause;
        Others "signal.pthread_sigmask" = "pthread_sigmask", signals::sigmask;
    }
    "input" in c"builtins" {
        Others "input" = "input", input::input;
    }
    "select" in c"select" {
        Others "select.select" = "select", select::select;
        Others "poll.poll" = "poll().poll", select::poll;
        Others "epoll.poll" = "epoll.poll", select::epoll;
    }
    "socket" in c"_socket" {
        Others "socket.accept" = "socket._accept", sockets::accept;
        Others "socket.connect" = "socket.connect", sockets::connect;
        Others "socket.connect_ex" = "socket.connect_ex", sockets::connect_ex;
        Others "socket.recv" = "socket.recv", sockets::recv;
        Others "socket.recv_into" = "socket.recv_into", sockets::recv_into;
        Others "socket.recvfrom" = "socket.recvfrom", sockets::recvfrom;
        Others "socket.recvfrom_into" = "socket.recvfrom_into", sockets::recvfrom_into;
        Others "socket.recvmsg" = "socket.recvmsg", sockets::recvmsg;
        Others "socket.recvmsg_into" = "socket.recvmsg_into", sockets::recvmsg;
        Others "socket.send" = "socket.send", sockets::send;
        Others "socket.sendall" = "socket.sendall", sockets::sendall;
        Others "socket.sendmsg" = "socket.sendmsg", sockets::sendmsg;
        Others "socket.sendto" = "socket.sendto", sockets::sendto;
        // What these tell of a socket in an attempt: see `attempt`.
        All "socket.gettimeout" = "socket.gettimeout", attempt::gettimeout;
        All "socket.getblocking" = "socket.getblocking", attempt::getblocking;
        All "socket.settimeout" = "socket.settimeout", attempt::settimeout;
        All "socket.setblocking" = "socket.setblocking", attempt::settimeout;
    }
    "ssl" in c"_ssl" {
        Others "SSLSocket.do_handshake" = "_SSLSocket.do_handshake", tls::operation;
        Others "SSLSocket.read" = "_SSLSocket.read", tls::operation;
        Others "SSLSocket.write" = "_SSLSocket.write", tls::operation;
        Others "SSLSocket.unwrap" = "_SSLSocket.shutdown", tls::operation;
    }
    "multiprocessing" in c"_multiprocessing" {
        Others "SemLock.acquire" = "SemLock.acquire", sem_lock::acquire;
        Others "SemLock.__enter__" = "SemLock.__enter__", sem_lock::enter;
    }
};
