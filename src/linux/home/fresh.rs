//! Journals of what VPP has are kept up to date in what VPP's death takes away.
//!
//! A tap outlives VPP with all that the host has put on it, but for what the
//! kernel gives to devices with a carrier only ([`Fleeting`]). That is written
//! down soon after each change, by the helper thread, between its commands.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use parking_lot::Mutex;

use super::away::Held;
use super::{find_tap, owner};
use crate::engine::journal::JournalPhase;
use crate::engine::{Takeover, UplinkId};
use crate::linux::captured::{self, Fleeting};
use crate::linux::error::Error;
use crate::linux::netns::NetnsFile;
use crate::linux::rtnl::{RTM_DELNEXTHOP, RTM_DELROUTE, RTM_NEWNEXTHOP, RTM_NEWROUTE};
use crate::linux::socket::{Events, Socket};
use crate::model::RawMessage;

/// RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, RTNLGRP_NEXTHOP (linux/rtnetlink.h).
const GROUPS: [u32; 3] = [7, 11, 32];

/// Of proxies the kernel tells nothing: how often they are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// Changes come in flocks: so long without one, and it is written down,
const QUIET: Duration = Duration::from_millis(20);
/// or so long after the first.
const MOST: Duration = Duration::from_millis(200);
/// After a writing there is rest, at least so long,
const REST: Duration = Duration::from_millis(100);
/// and so many times as long as the writing took.
const REST_TIMES: u32 = 10;
/// How long it rests after an error.
const PAUSE: Duration = Duration::from_secs(1);

/// What is watched in this process, for the helper thread after this one.
static WATCHED: Mutex<BTreeMap<UplinkId, Arc<Takeover>>> = Mutex::new(BTreeMap::new());

/// Everything that is watched. Lives on the helper thread.
#[derive(Debug, Default)]
pub struct Fresh {
    all: BTreeMap<UplinkId, Watch>,
}

impl Fresh {
    /// All that a helper thread before this one watched.
    pub fn resume() -> Self {
        let mut fresh = Self::default();
        let watched = WATCHED.lock().clone();
        for (uplink, takeover) in watched {
            fresh.start(uplink, &takeover);
        }
        fresh
    }

    /// VPP has it from now on. That it cannot be watched ends nothing.
    pub fn start(&mut self, uplink: UplinkId, takeover: &Arc<Takeover>) {
        WATCHED.lock().insert(uplink, Arc::clone(takeover));
        match Watch::new(Arc::clone(takeover)) {
            Ok(watch) => drop(self.all.insert(uplink, watch)),
            Err(error) => log::warn!("{}: its journal is not kept up to date: {error}", takeover.linux_if),
        }
    }

    /// VPP has it no more.
    pub fn stop(&mut self, uplink: UplinkId) {
        WATCHED.lock().remove(&uplink);
        self.all.remove(&uplink);
    }

    /// The files that become readable when something changed.
    pub fn files(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.all.values().map(|watch| watch.events.fd())
    }

    /// How long [`Self::tend`] need not be called if nothing changes; `None`:
    /// for ever.
    pub fn patience(&self) -> Option<Duration> {
        let next = self.all.values().map(Watch::next).min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// Take note of changes, and write down what is due.
    pub fn tend(&mut self) {
        for watch in self.all.values_mut() {
            watch.tend(Instant::now());
        }
    }
}

#[derive(Debug)]
struct Watch {
    takeover: Arc<Takeover>,
    home: NetnsFile,
    events: Events,
    socket: Socket,
    /// The tap's index, while it is there.
    index: Option<u32>,
    proxies: Vec<RawMessage>,
    looked: Instant,
    /// The first and the last change that is not written down.
    changed: Option<(Instant, Instant)>,
    rests_until: Instant,
    /// The last error, which is told once.
    told: Option<String>,
}

impl Watch {
    fn new(takeover: Arc<Takeover>) -> Result<Self, Error> {
        let home = NetnsFile::open(&takeover.home)?;
        let guard = home.enter()?;
        let sockets = Events::open(&GROUPS).and_then(|events| Ok((events, Socket::open()?)));
        guard.leave()?;
        let (events, socket) = sockets?;
        let now = Instant::now();
        // What was changed before it was watched is looked at now.
        let changed = Some((now, now));
        let proxies = Vec::new();
        Ok(Self {
            takeover,
            home,
            events,
            socket,
            index: None,
            proxies,
            looked: now,
            changed,
            rests_until: now,
            told: None,
        })
    }

    /// When something is to be done.
    fn next(&self) -> Instant {
        let look = self.looked + LOOK;
        self.due().map_or(look, |due| due.min(look))
    }

    fn due(&self) -> Option<Instant> {
        let (first, last) = self.changed?;
        Some((last + QUIET).min(first + MOST).max(self.rests_until))
    }

    fn note(&mut self, now: Instant) {
        let first = self.changed.map_or(now, |(first, _)| first);
        self.changed = Some((first, now));
    }

    fn tend(&mut self, now: Instant) {
        let mut concerned = false;
        let listened = self.events.drain(|kind, body| {
            concerned |= match kind {
                RTM_NEWNEXTHOP | RTM_DELNEXTHOP => true,
                RTM_NEWROUTE | RTM_DELROUTE => captured::tells_of_object(body),
                _ => false,
            };
        });
        // Of what was lost nobody knows.
        if concerned || !matches!(listened, Ok(true)) {
            self.note(now);
        }
        if now >= self.looked + LOOK {
            self.looked = now;
            self.look(now);
        }
        if self.due().is_some_and(|due| now >= due) {
            self.write();
        }
    }

    fn look(&mut self, now: Instant) {
        let Some(index) = self.index else { return };
        // A tap that is gone has none; whatever it is, writing tells it.
        let proxies = captured::proxies(&mut self.socket, index).unwrap_or_default();
        if proxies != self.proxies {
            self.proxies = proxies;
            self.note(now);
        }
    }

    fn write(&mut self) {
        let begun = Instant::now();
        let written = self.refresh();
        let took = begun.elapsed();
        self.rests_until = Instant::now() + REST.max(took * REST_TIMES);
        match written {
            Ok(()) => (self.changed, self.told) = (None, None),
            // Somebody else has the journals for a moment.
            Err(error) if error.errno() == Some(Errno::EWOULDBLOCK) => {}
            Err(error) => {
                self.rests_until = Instant::now() + PAUSE;
                let text = error.to_string();
                if self.told.as_ref() != Some(&text) {
                    log::warn!("{}: its journal is not up to date: {text}", self.takeover.linux_if);
                    self.told = Some(text);
                }
            }
        }
    }

    fn refresh(&mut self) -> Result<(), Error> {
        let held = Held::open_within(&self.takeover, Duration::ZERO)?;
        let Some(mut journal) = held.read()? else { return Ok(()) };
        if journal.phase != JournalPhase::Taken || journal.owner != owner::this_process() {
            return Ok(());
        }
        let tap = match &journal.tap {
            Some(tap) => find_tap(&self.home, tap)?,
            None => None,
        };
        self.index = tap.as_ref().map(|(_, link)| link.index);
        let Some((_, link)) = tap else { return Ok(()) };
        // It is lost already: what is written down is what it had.
        if link.up && !link.carrier {
            return Ok(());
        }
        let fleeting: Fleeting = captured::fleeting(&mut self.socket, link.index)?;
        if fleeting.replace(&mut journal.captured) {
            held.dir.write(&held.lock, &journal)?;
        }
        Ok(())
    }
}
