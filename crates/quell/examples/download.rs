//! Downloads that can be cancelled, and show how far they are. The server is simulated: it sends for ever, in another
//! thread of the same process, over real sockets.
//!
//! The sockets are std's, whose calls know nothing of interrupts. So they are read with a short timeout, and between two
//! reads the thread looks whether it was interrupted. A cancelled download gives back what it has: nothing that was read is
//! lost.
//!
//!     cargo run -p quell --example download

use quell::pool::{Cancel, Pool, TaskInterrupted, Why};
use quell::{Interrupt, Interrupted, thread};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// How long a read may keep a thread from looking.
const LOOK: Duration = Duration::from_millis(5);

/// What a download ends with: all of it, or what there was when it was interrupted.
struct Download {
    bytes: Vec<u8>,
    ended: Result<(), Interrupted>,
}

/// Reads until the end or an interrupt; `progress` shows how far it is.
fn download(from: SocketAddr, progress: &AtomicUsize) -> std::io::Result<Download> {
    let mut stream = TcpStream::connect(from)?;
    stream.set_read_timeout(Some(LOOK))?;
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        if let Err(interrupted) = quell::checkpoint() {
            return Ok(Download { bytes, ended: Err(interrupted) });
        }
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(Download { bytes, ended: Ok(()) }),
            Ok(read) => {
                bytes.extend_from_slice(&buffer[..read]);
                progress.store(bytes.len(), Relaxed);
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(e) => return Err(e),
        }
    }
}

/// Sends to whoever connects: `limit` bytes, a piece at a time, or for ever.
fn serve(listener: &TcpListener, limit: Option<usize>) -> Result<(), Interrupted> {
    listener.set_nonblocking(true).expect("a listener can be non-blocking");
    thread::scope(|s| {
        let ended = loop {
            match listener.accept() {
                Ok((mut stream, _)) => {
                    s.spawn(move || {
                        stream.set_nonblocking(false).expect("a stream can be blocking");
                        let mut sent = 0;
                        // Ends when the other side has gone.
                        while limit.is_none_or(|limit| sent < limit)
                            && stream.write_all(&[b'x'; 1024]).is_ok()
                            && quell::sleep(Duration::from_micros(100)).is_ok()
                        {
                            sent += 1024;
                        }
                    });
                }
                Err(_) => {
                    if let Err(interrupted) = quell::sleep(LOOK) {
                        break interrupted;
                    }
                }
            }
        };
        s.interrupt_all(|| Interrupt::new("the server closes"));
        Err(ended)
    })
}

pub(crate) fn main() {
    let pool = Pool::builder().workers(2).name("download").build().unwrap();
    let (endless, short) =
        (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (from_endless, from_short) = (endless.local_addr().unwrap(), short.local_addr().unwrap());
    thread::scope(|s| {
        let servers =
            [s.spawn(|| serve(&endless, None)), s.spawn(|| serve(&short, Some(16 * 1024)))];

        let progress: [Arc<AtomicUsize>; 2] = Default::default();
        let [large, small] =
            [(from_endless, &progress[0]), (from_short, &progress[1])].map(|(from, p)| {
                let p = Arc::clone(p);
                pool.submit(move || download(from, &p)).unwrap()
            });

        let small = small.get().unwrap().unwrap();
        small.ended.unwrap();
        println!("the short one: all {} bytes", small.bytes.len());
        assert_eq!(small.bytes.len(), 16 * 1024);

        while progress[0].load(Relaxed) < 32 * 1024 {
            quell::sleep(LOOK).unwrap();
        }
        println!("the endless one: {} bytes so far; enough", progress[0].load(Relaxed));
        assert!(matches!(large.cancel(), Cancel::Interrupted(_)));
        let large = large.get().unwrap().unwrap();
        let interrupted = large.ended.unwrap_err();
        println!("{interrupted}; kept {} bytes", large.bytes.len());
        assert!(large.bytes.len() >= 32 * 1024);
        assert_eq!(interrupted.downcast_ref::<TaskInterrupted>().unwrap().why(), Why::Cancelled);

        for server in servers {
            server.thread().interrupt(Interrupt::new("closing time"));
            assert!(server.join().unwrap().is_err());
        }
    });
    pool.shutdown();
    pool.join().unwrap();
}
