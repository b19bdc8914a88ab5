//! Give an interface everything that was captured.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use nix::errno::Errno;

use super::capture;
use super::link::{self, IFF_ALLMULTI, IFF_PROMISC, IFF_UP, RTM_NEWLINK, ifla, inet6_spec};
use super::message::{push, put};
use super::plan::{self, Dressing, Role, Step};
use super::view::Route;
use super::{differences, present, sysctl};
use crate::linux::Error;
use crate::linux::netns::NetnsFile;
use crate::linux::socket::{RawRequest, Socket};
use crate::model::{Captured, CapturedLink, IfName};

const RTM_NEWLINKPROP: u16 = 108;
const RTM_DELLINKPROP: u16 = 109;
const RTM_SETLINK: u16 = 19;
/// IN6_ADDR_GEN_MODE_NONE (linux/if_link.h).
const GENERATE_NONE: u8 = 1;
/// Makes temporary addresses as soon as one is added that manages them.
const USE_TEMPADDR: &str = "ipv6/conf/use_tempaddr";
const DISABLE_IP6: &str = "ipv6/conf/disable_ipv6";
/// NLA_F_NESTED.
const NESTED: u16 = 0x8000;

/// Give the device of that index everything that was captured, then read it
/// back. Returns what the kernel refused, and every difference that is left,
/// in words; empty when all is as it was.
///
/// Whatever an earlier call did before it was killed is found and completed.
/// What the device has beyond the capture stays, and is reported. Lifetimes
/// are shortened by the time since the capture.
///
/// Fails when the device, or the namespace, is gone.
pub fn restore(netns: &NetnsFile, index: u32, captured: &Captured, dressing: Dressing) -> Result<Vec<String>, Error> {
    within(netns, |socket| {
        let mut run = Restorer::new(socket, index, captured, dressing)?;
        let steps = run.steps();
        run.carry_out(&steps);
        let have = capture::read(run.socket, index)?;
        let mut found = run.problems;
        found.extend(differences::of_dressed(captured, &have, dressing));
        Ok(found)
    })
}

/// Only the first steps of [`restore`], as a kill would leave it; for tests.
/// Returns how many steps there are in all.
pub fn restore_first(
    netns: &NetnsFile,
    index: u32,
    captured: &Captured,
    dressing: Dressing,
    count: usize,
) -> Result<usize, Error> {
    within(netns, |socket| {
        let mut run = Restorer::new(socket, index, captured, dressing)?;
        let steps = run.steps();
        run.carry_out(steps.get(..count).unwrap_or(&steps));
        Ok(steps.len())
    })
}

fn within<T>(netns: &NetnsFile, work: impl FnOnce(&mut Socket) -> Result<T, Error>) -> Result<T, Error> {
    let guard = netns.enter()?;
    let done = Socket::open().and_then(|mut socket| work(&mut socket));
    guard.leave()?;
    done
}

struct Restorer<'a> {
    socket: &'a mut Socket,
    want: &'a Captured,
    dressing: Dressing,
    index: u32,
    /// What the device was when last looked at.
    have: CapturedLink,
    /// Routes that were there already, and those that found no way to their
    /// gateway.
    doubtful: Vec<RawRequest>,
    unreachable: Vec<RawRequest>,
    problems: Vec<String>,
}

impl<'a> Restorer<'a> {
    fn new(socket: &'a mut Socket, index: u32, want: &'a Captured, dressing: Dressing) -> Result<Self, Error> {
        let have = link::by_index(socket, index)?;
        let (doubtful, unreachable, problems) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { socket, want, dressing, index, have, doubtful, unreachable, problems })
    }

    fn steps(&self) -> Vec<Step> {
        let elapsed = match self.want.taken_at {
            0 => 0,
            then => u32::try_from(capture::now().saturating_sub(then)).unwrap_or(u32::MAX),
        };
        plan::steps(self.want, self.index, elapsed)
    }

    fn carry_out(&mut self, steps: &[Step]) {
        let mut rest = steps;
        while let Some(step) = rest.first() {
            let Step::Send(role, _) = step else {
                self.other(step);
                rest = rest.get(1..).unwrap_or_default();
                continue;
            };
            // Messages of one kind go together.
            let mut batch = Vec::new();
            while let Some(Step::Send(same, request)) = rest.first().filter(|step| is_of(step, *role)) {
                debug_assert_eq!(same, role);
                batch.push(request.clone());
                rest = rest.get(1..).unwrap_or_default();
            }
            self.send(*role, &batch);
        }
    }

    fn other(&mut self, step: &Step) {
        // The device may have another name or state by now.
        match link::by_index(self.socket, self.index) {
            Ok(have) => self.have = have,
            Err(error) => return self.problem(&error),
        }
        let link = &self.want.link;
        match step {
            Step::Identity => self.identity(),
            Step::Details => self.details(),
            Step::NoGeneration => self.generation(Some(GENERATE_NONE)),
            Step::Generation => {
                self.generation(link.addr_gen_mode);
                if let Some(token) = link.token.filter(|token| self.have.token != Some(*token)) {
                    let spec = inet6_spec(ifla::INET6_TOKEN, &token.octets());
                    self.set("set the IPv6 token", ifla::AF_SPEC, &spec);
                }
            }
            Step::Sysctls(all) => self.sysctls(*all),
            Step::State if self.have.up != link.up => {
                let up = if link.up { IFF_UP } else { 0 };
                let what = if link.up { "set the link up" } else { "set the link down" };
                self.flags(what, up, IFF_UP);
            }
            Step::Modes => {
                for (what, flag, want, have) in [
                    ("set promiscuous mode", IFF_PROMISC, link.promisc, self.have.promisc),
                    ("set all-multicast mode", IFF_ALLMULTI, link.allmulti, self.have.allmulti),
                ] {
                    if want != have {
                        self.flags(what, if want { flag } else { 0 }, flag);
                    }
                }
            }
            Step::SettleRoutes => {
                let doubtful = std::mem::take(&mut self.doubtful);
                let unreachable = std::mem::take(&mut self.unreachable);
                let problems = present::settle_routes(self.socket, self.index, doubtful, unreachable);
                self.problems.extend(problems);
            }
            Step::State | Step::Send(..) => {}
        }
    }

    fn problem(&mut self, error: &Error) {
        self.problems.push(error.to_string());
    }

    fn change(&mut self, what: &str, kind: u16, flags: u16, body: Vec<u8>) -> Result<(), Error> {
        let request = RawRequest { what: what.to_owned(), kind, flags, body };
        self.socket.change_raw(std::slice::from_ref(&request)).pop().unwrap_or(Ok(()))
    }

    fn try_set(&mut self, what: &str, attribute: u16, value: &[u8]) -> Result<(), Error> {
        let mut body = link::message(self.index, 0, 0);
        push(&mut body, attribute, value);
        self.change(what, RTM_SETLINK, 0, body)
    }

    fn set(&mut self, what: &str, attribute: u16, value: &[u8]) {
        if let Err(error) = self.try_set(what, attribute, value) {
            self.problem(&error);
        }
    }

    fn flags(&mut self, what: &str, flags: u32, mask: u32) {
        if let Err(error) = self.change(what, RTM_NEWLINK, 0, link::message(self.index, flags, mask)) {
            self.problem(&error);
        }
    }

    /// Some drivers take a MAC or a name, some masters a port, only while it
    /// is down; it comes up again in its turn.
    fn set_maybe_down(&mut self, what: &str, attribute: u16, value: &[u8]) {
        let first = self.try_set(what, attribute, value);
        if let Err(error) = &first
            && (error.errno() == Some(Errno::EBUSY) || self.have.up)
        {
            self.flags("set the link down", 0, IFF_UP);
            self.set(what, attribute, value);
        } else if let Err(error) = &first {
            self.problem(error);
        }
    }

    fn identity(&mut self) {
        if self.dressing == Dressing::Tap {
            return;
        }
        let link = &self.want.link;
        if self.have.name != link.name {
            let mut name = link.name.as_str().as_bytes().to_vec();
            name.push(0);
            self.set_maybe_down(&format!("rename the device to {}", link.name), ifla::IFNAME, &name);
        }
        if self.have.mac != link.mac {
            self.set_maybe_down(&format!("set MAC {}", link.mac), ifla::ADDRESS, &link.mac.0);
        }
        let name_of = |master: &Option<(u32, String)>| master.as_ref().map(|(_, name)| name.clone());
        if let Some(master) = name_of(&link.master).filter(|_| name_of(&self.have.master) != name_of(&link.master)) {
            let what = format!("make it a port of {master}");
            let found = master.parse::<IfName>().map_err(|error| Error::new(what.as_str(), error.to_string()));
            match found.and_then(|name| link::by_name(self.socket, &name)) {
                Ok(found) => self.set_maybe_down(&what, ifla::MASTER, &found.index.to_ne_bytes()),
                Err(error) => self.problem(&error),
            }
        }
        // After the master, which may have its own mind about it.
        if self.have.mtu != link.mtu {
            self.set(&format!("set MTU {}", link.mtu), ifla::MTU, &link.mtu.to_ne_bytes());
        }
    }

    fn details(&mut self) {
        let link = &self.want.link;
        if self.have.alias != link.alias {
            self.set("set the alias", ifla::IFALIAS, link.alias.as_deref().unwrap_or_default().as_bytes());
        }
        if let Some(length) = link.txqlen.filter(|length| self.have.txqlen != Some(*length)) {
            self.set("set the transmit queue's length", ifla::TXQLEN, &length.to_ne_bytes());
        }
        if self.have.group != link.group {
            self.set("set the group", ifla::GROUP, &link.group.to_ne_bytes());
        }
        let there = self.have.altnames.clone();
        for altname in link.altnames.iter().filter(|name| !there.contains(name)) {
            let (mut body, mut list) = (link::message(self.index, 0, 0), Vec::new());
            let mut text = altname.as_bytes().to_vec();
            text.push(0);
            push(&mut list, ifla::ALT_IFNAME, &text);
            push(&mut body, ifla::PROP_LIST | NESTED, &list);
            let what = format!("add alternative name {altname}");
            let mut added = self.change(&what, RTM_NEWLINKPROP, NLM_F_CREATE | NLM_F_EXCL, body.clone());
            if added.as_ref().is_err_and(|error| error.errno() == Some(Errno::EEXIST)) && self.stands_in_beside() {
                let mut of_device = body.clone();
                put(&mut of_device, 4, &link.index.to_ne_bytes());
                // The kernel refuses it where another device has the name.
                let what = format!("take alternative name {altname} from the device itself");
                added = self.change(&what, RTM_DELLINKPROP, 0, of_device);
                added = added.and_then(|()| self.change(&what, RTM_NEWLINKPROP, NLM_F_CREATE | NLM_F_EXCL, body));
            }
            if let Err(error) = added {
                self.problems.push(error.to_string());
            }
        }
    }

    /// Whether a TAP device is dressed while the device itself is in the same
    /// namespace, under another name: left there for the user's own commands,
    /// it has kept what two cannot have.
    fn stands_in_beside(&mut self) -> bool {
        let link = &self.want.link;
        self.dressing == Dressing::Tap
            && link.index != self.index
            && link::by_index(self.socket, link.index)
                .is_ok_and(|found| found.mac == link.mac && found.kind == link.kind)
    }

    fn generation(&mut self, mode: Option<u8>) {
        // A device that had no IPv6, or has none.
        let (Some(mode), Some(now)) =
            (mode.filter(|_| self.want.link.addr_gen_mode.is_some()), self.have.addr_gen_mode)
        else {
            return;
        };
        if mode != now {
            let spec = inet6_spec(ifla::INET6_ADDR_GEN_MODE, &[mode]);
            self.set("set the IPv6 address generation mode", ifla::AF_SPEC, &spec);
        }
    }

    fn sysctls(&mut self, all: bool) {
        for (key, value) in &self.want.sysctls {
            if self.dressing == Dressing::Tap && self.want.follows_mtu(key) {
                continue;
            }
            let makes_addresses = key == USE_TEMPADDR && value.parse().is_ok_and(|value: i32| value > 0);
            let too_early = makes_addresses || (key == DISABLE_IP6 && value != "0" && self.has_ip6_without_ip6());
            let value = if too_early && !all { "0" } else { value };
            // The first time it may be too early.
            if let Err(error) = sysctl::write(&self.have.name, key, value)
                && all
            {
                self.problems.push(error.to_string());
            }
        }
    }

    /// Next-hop objects, and routes of IPv4 by gateways of IPv6, outlive the
    /// moment that a device loses its IPv6, and cannot be added after it.
    fn has_ip6_without_ip6(&self) -> bool {
        let routes = self.want.routes.iter().filter_map(Route::read);
        !self.want.nexthops.is_empty()
            || routes.flat_map(|route| route.legs).any(|leg| leg.gateway.is_some_and(|gateway| gateway.is_ipv6()))
    }

    fn send(&mut self, role: Role, batch: &[RawRequest]) {
        let results = self.socket.change_raw(batch);
        let mut there = Vec::new();
        for (request, result) in batch.iter().zip(results) {
            let Err(error) = result else { continue };
            match (role, error.errno()) {
                (Role::Route, Some(Errno::EEXIST)) => self.doubtful.push(request.clone()),
                (Role::Route, Some(Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::EINVAL)) => {
                    self.unreachable.push(request.clone());
                }
                (Role::Nexthop, Some(Errno::EEXIST)) => there.push(request.clone()),
                // The kernel compares rules before it says so.
                (Role::AbsentRoute, Some(Errno::ESRCH)) | (Role::Rule, Some(Errno::EEXIST)) => {}
                _ => self.problem(&error),
            }
        }
        if !there.is_empty() {
            let problems = present::settle_nexthops(self.socket, self.index, there);
            self.problems.extend(problems);
        }
    }
}

fn is_of(step: &Step, role: Role) -> bool {
    matches!(step, Step::Send(this, _) if *this == role)
}
