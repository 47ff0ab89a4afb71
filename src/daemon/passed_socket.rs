//! The socket that systemd passes (`coliseum.socket`): served instead of one that the daemon would bind itself.
//!
//! It is open while the daemon restarts, so that who connects meanwhile waits and is not refused. Exactly one listening TCP
//! socket on a loopback address is taken; anything else stops the start with what to change in the `.socket` unit.

#![allow(unsafe_code, reason = "a descriptor by number, and the environment; each says why it is sound")]

use std::fmt::Display;
use std::net::TcpListener;
use std::os::fd::{FromRawFd as _, OwnedFd};

use rustix::net::sockopt::{socket_acceptconn, socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketType};

use crate::config::{self, ConfigError};

/// The socket that was passed to this process, if one was. Its variables leave the environment, so that no child takes
/// it for its own.
///
/// Must be called before any other thread runs, and once.
///
/// # Errors
/// What was passed is not one TCP listener on a loopback address.
pub fn take() -> Result<Option<TcpListener>, ConfigError> {
    // SAFETY: changing the environment is unsound only while another thread reads it, and there is no other thread yet.
    let passed = unsafe {
        std::env::remove_var("LISTEN_FDNAMES");
        sd_notify::listen_fds_and_unset_env()
    };
    let numbers: Vec<_> =
        passed.map_err(|error| refused(format_args!("the descriptors are not usable ({error})")))?.collect();
    let number = match numbers.as_slice() {
        [] => return Ok(None),
        [number] => *number,
        several => return Err(refused(format_args!("there are {} sockets; keep one ListenStream=", several.len()))),
    };
    // SAFETY: LISTEN_PID names this process, so the descriptor was made for it and nothing else here owns it; the
    // variables are gone, so that it is taken once. It is open: its flags have just been set.
    let socket = unsafe { OwnedFd::from_raw_fd(number) };
    check(socket).map(Some)
}

fn check(socket: OwnedFd) -> Result<TcpListener, ConfigError> {
    let no_socket = |error| refused(format_args!("descriptor 3 is no socket ({error})"));
    let (kind, family) = (socket_type(&socket).map_err(no_socket)?, socket_domain(&socket).map_err(no_socket)?);
    if kind != SocketType::STREAM || ![AddressFamily::INET, AddressFamily::INET6].contains(&family) {
        return Err(refused("it is no TCP socket; set ListenStream= to an IP address and a port"));
    }
    if !socket_acceptconn(&socket).map_err(no_socket)? {
        return Err(refused("it does not listen; set Accept=no"));
    }
    let listener = TcpListener::from(socket);
    let usable = listener.set_nonblocking(true).and_then(|()| listener.local_addr());
    let address = usable.map_err(|error| refused(format_args!("it cannot be served ({error})")))?;
    config::check_listen(address).map_err(refused)?;
    Ok(listener)
}

fn refused(what: impl Display) -> ConfigError {
    ConfigError { file: None, problems: vec![format!("the socket that systemd passed is not taken: {what}")] }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpStream, UdpSocket};
    use std::os::unix::net::UnixListener;

    use super::*;

    fn refusal(socket: impl Into<OwnedFd>) -> String {
        check(socket.into()).expect_err("it is refused").to_string()
    }

    #[test]
    fn a_listener_on_loopback_is_taken() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let bound = listener.local_addr().expect("bound");
            let taken = check(listener.into()).expect("good");
            assert_eq!(taken.local_addr().expect("bound"), bound);
        }
    }

    #[test]
    fn whatever_is_no_listener_on_loopback_is_refused_with_what_to_change() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let unix = UnixListener::bind(directory.path().join("socket")).expect("a socket");
        assert!(refusal(unix).contains("ListenStream="));
        assert!(refusal(UdpSocket::bind("127.0.0.1:0").expect("a socket")).contains("no TCP socket"));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let connected = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
        assert!(refusal(connected).contains("Accept=no"));
        assert!(refusal(tempfile::tempfile().expect("a file")).contains("no socket"));
        let everywhere = TcpListener::bind("0.0.0.0:0").expect("a socket");
        assert!(refusal(everywhere).contains("loopback"));
    }
}
