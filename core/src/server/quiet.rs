//! Writing to a socket whose other side may be gone: an error, and never a signal.
//!
//! A plain write to such a socket raises SIGPIPE, and ends a process that has not turned it off. Rust's programs,
//! Python, Node and the JVM have; Swift's and C's have not, and it is not ours to change what a process does about
//! signals. So each write says that it wants none (on Apple's systems the socket does).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

pub use system::Socket;

/// The writing half of a socket.
#[derive(Debug)]
pub struct Quiet<H>(H);

impl<H: Socket> Quiet<H> {
    /// Writes to this half from now on.
    #[must_use]
    pub fn new(half: H) -> Self {
        half.silence();
        Self(half)
    }
}

impl<H: Socket> AsyncWrite for Quiet<H> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().0.poll_send(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(context)
    }
}

#[cfg(unix)]
mod system {
    use std::io::{self, IoSlice};
    use std::os::fd::AsFd;
    use std::task::{Context, Poll, ready};

    use rustix::net::{SendAncillaryBuffer, SendFlags};
    use tokio::io::{AsyncWrite, Interest};
    use tokio::net::{TcpStream, UnixStream, tcp, unix};

    #[cfg(not(target_vendor = "apple"))]
    const FLAGS: SendFlags = SendFlags::NOSIGNAL;
    #[cfg(target_vendor = "apple")]
    const FLAGS: SendFlags = SendFlags::empty();

    /// A half of a socket that can be written to.
    pub trait Socket: AsyncWrite + Unpin {
        /// Turns the signal off, where that is the socket's to say.
        fn silence(&self);

        /// As [`AsyncWrite::poll_write_vectored`].
        fn poll_send(
            &mut self,
            context: &mut Context<'_>,
            pieces: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>>;
    }

    fn silence(_socket: &impl AsFd) {
        #[cfg(target_vendor = "apple")]
        if let Err(error) = rustix::net::sockopt::set_socket_nosigpipe(_socket, true) {
            tracing::warn!(%error, "a socket that may raise SIGPIPE");
        }
    }

    fn send(socket: &impl AsFd, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let nothing = &mut SendAncillaryBuffer::default();
        Ok(rustix::net::sendmsg(socket, pieces, nothing, FLAGS)?)
    }

    macro_rules! socket {
        ($half:ty, $stream:ty) => {
            impl Socket for $half {
                fn silence(&self) {
                    let stream: &$stream = self.as_ref();
                    silence(stream);
                }

                fn poll_send(
                    &mut self,
                    context: &mut Context<'_>,
                    pieces: &[IoSlice<'_>],
                ) -> Poll<io::Result<usize>> {
                    let stream: &$stream = (*self).as_ref();
                    loop {
                        ready!(stream.poll_write_ready(context))?;
                        match stream.try_io(Interest::WRITABLE, || send(stream, pieces)) {
                            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                            sent => return Poll::Ready(sent),
                        }
                    }
                }
            }
        };
    }

    socket!(tcp::OwnedWriteHalf, TcpStream);
    socket!(unix::OwnedWriteHalf, UnixStream);
}

/// There are no signals there.
#[cfg(windows)]
mod system {
    use std::io::{self, IoSlice};
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::AsyncWrite;

    /// A half of a socket that can be written to.
    pub trait Socket: AsyncWrite + Unpin {
        /// Does nothing.
        fn silence(&self) {}

        /// As [`AsyncWrite::poll_write_vectored`].
        fn poll_send(
            &mut self,
            context: &mut Context<'_>,
            pieces: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            Pin::new(self).poll_write_vectored(context, pieces)
        }
    }

    impl<H: AsyncWrite + Unpin> Socket for H {}
}

#[cfg(all(test, unix))]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream, UnixStream};
    use tokio::signal::unix::{SignalKind, signal};
    use tokio::time::timeout;

    use super::*;

    const CHILD: &str = "HEADWATER_TEST_QUIET";
    const CHILD_TEST: &str = "server::quiet::tests::child_process_of_the_other_test";

    async fn write_until_it_fails(mut half: impl AsyncWrite + Unpin) {
        let pieces = [IoSlice::new(b"some"), IoSlice::new(b"thing")];
        while half.write_vectored(&pieces).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    async fn tcp_whose_other_side_is_gone() -> io::Result<TcpStream> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let near = TcpStream::connect(listener.local_addr()?).await;
        drop(listener.accept().await?);
        near
    }

    /// Alone in its process, for signals are the process's.
    #[tokio::test]
    async fn child_process_of_the_other_test() {
        if std::env::var_os(CHILD).is_none() {
            return;
        }
        let mut signals = signal(SignalKind::pipe()).unwrap();
        let (near, far) = UnixStream::pair().unwrap();
        drop(far);
        let (_reader, writer) = near.into_split();
        write_until_it_fails(Quiet::new(writer)).await;
        let (_reader, writer) = tcp_whose_other_side_is_gone().await.unwrap().into_split();
        write_until_it_fails(Quiet::new(writer)).await;
        let signal = timeout(Duration::from_millis(100), signals.recv()).await;
        signal.expect_err("none is raised");
        write_until_it_fails(tcp_whose_other_side_is_gone().await.unwrap()).await;
        signals.recv().await.expect("a plain write raises one");
    }

    #[test]
    fn a_write_to_who_is_gone_raises_no_signal() {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", CHILD_TEST]).env(CHILD, "1");
        let ended = child.output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
    }
}
