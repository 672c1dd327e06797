//! Requests to the kernel's routing netlink, each bounded in time.
#![expect(clippy::disallowed_methods, reason = "waits are bounded by the clock")]

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Longest wait for the kernel's answer. It answers at once unless it is overloaded.
const ANSWER: Duration = Duration::from_secs(2);
/// Times that a dump which the kernel calls inconsistent, or that lost parts, is repeated.
const DUMPS: u32 = 3;
/// Receive buffer (bytes): some hundred link messages.
const BUFFER_BYTES: u32 = 1 << 20;

/// A socket of the routing netlink.
pub(super) struct Route {
    socket: Socket,
    sequence: u32,
}

/// One message, or what was wrong with it.
pub(super) type Message = NetlinkMessage<RouteNetlinkMessage>;

impl Route {
    /// A socket, member of these multicast groups (`RTNLGRP_…`).
    pub(super) fn open(groups: &[u32]) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        // Less than asked for is what the kernel's limit leaves; what then is lost is dumped anew.
        let _ = socket.set_rx_buf_sz(BUFFER_BYTES);
        for group in groups {
            socket.add_membership(*group)?;
        }
        Ok(Self { socket, sequence: 0 })
    }

    /// Waits until there is something to read. False: nothing came in time.
    pub(super) fn wait(&self, at_most: Duration) -> io::Result<bool> {
        let fd = self.socket.as_fd();
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        let limit = Timespec {
            tv_sec: i64::try_from(at_most.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(at_most.subsec_nanos()),
        };
        match poll(&mut fds, Some(&limit)) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The messages of one datagram; those that cannot be read are counted. `WouldBlock`: none is
    /// there. `ENOBUFS`: the kernel dropped some.
    pub(super) fn receive(&mut self) -> io::Result<(Vec<Message>, u32)> {
        let (bytes, from) = self.socket.recv_from_full()?;
        let (mut messages, mut unread) = (Vec::new(), 0);
        // Only the kernel has port 0; any process may send to ours.
        if from.port_number() != 0 {
            return Ok((messages, unread));
        }
        let mut rest = &bytes[..];
        while let Some(length) = rest.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes)) {
            let length = length as usize;
            if length < 16 || length > rest.len() {
                break;
            }
            match Message::deserialize(&rest[..length]) {
                Ok(message) => messages.push(message),
                Err(_) => unread += 1,
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok((messages, unread))
    }

    /// All objects that the request selects, and how many of them could not be read.
    pub(super) fn dump(
        &mut self,
        request: RouteNetlinkMessage,
    ) -> io::Result<(Vec<RouteNetlinkMessage>, u32)> {
        let mut tries = 1;
        loop {
            match self.ask(request.clone(), NLM_F_REQUEST | NLM_F_DUMP) {
                Err(error) if is_lost(&error) && tries < DUMPS => tries += 1,
                done => return done,
            }
        }
    }

    /// The answers to one request; `Err` with the kernel's code if it refuses.
    pub(super) fn request(
        &mut self,
        request: RouteNetlinkMessage,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.ask(request, NLM_F_REQUEST | NLM_F_ACK).map(|(answers, _)| answers)
    }

    fn ask(
        &mut self,
        request: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<(Vec<RouteNetlinkMessage>, u32)> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;

        let end = Instant::now() + ANSWER;
        let (mut answers, mut unread) = (Vec::new(), 0);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the kernel did not answer"));
            }
            if !self.wait(left)? {
                continue;
            }
            let (messages, bad) = match self.receive() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                received => received?,
            };
            unread += bad;
            for message in messages {
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                    // A dump that is refused ends at once, with the reason.
                    NetlinkPayload::Done(done) if done.code < 0 => {
                        return Err(io::Error::from_raw_os_error(-done.code));
                    }
                    NetlinkPayload::Done(_) => return Ok((answers, unread)),
                    NetlinkPayload::Error(error) if error.code.is_none() => {
                        return Ok((answers, unread));
                    }
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    _ => {}
                }
            }
        }
    }
}

/// The kernel had no room for what we were to be told (`ENOBUFS`), or was interrupted (`EINTR`).
pub(super) fn is_lost(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::EINTR))
}
