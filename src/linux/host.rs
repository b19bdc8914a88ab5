//! The Linux side of each uplink: carry out and take back a plan's steps.
//!
//! A step that fails has taken back what it did before it reports. Taking
//! back succeeds where there is nothing left to take back: the device may
//! have gone with VPP's side of it, the namespace with its container.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use nix::errno::Errno;

use super::client::Netlink;
use super::error::{Error, gone_is_fine};
use super::home::Fresh;
use super::netns::NetnsFile;
use super::probe::place;
use super::wire::LinkFacts;
use super::{Dressing, captured, groups, home, tun, verify};
use crate::engine::mirror::{ExportChange, LinuxChange, TABLE_MAIN, export_metric};
use crate::engine::{LinuxStep, Output, Plan, Takeover, UplinkId};
use crate::model::{Groups, IfAddress, IfName, ROUTE_PROTOCOL, Route, RouteKind};

/// What the kernel calls a VLAN's device (`IFLA_INFO_KIND`).
const VLAN_KIND: &str = "vlan";

/// A namespace and the way to talk to it.
#[derive(Debug)]
struct Place {
    netns: NetnsFile,
    netlink: Netlink,
}

impl Place {
    fn new(netns: NetnsFile) -> Result<Self, Error> {
        let netlink = Netlink::open_in(&netns)?;
        Ok(Self { netns, netlink })
    }
}

/// What is held for an uplink.
#[derive(Debug)]
struct Session {
    target: Place,
    /// `None` when a helper before this one made it: it went with that one.
    staging: Option<Place>,
    /// The device's index in the target namespace, once it is there.
    index: Option<u32>,
}

/// The Linux side of all uplinks. Lives on the helper thread.
#[derive(Debug, Default)]
pub struct Host {
    sessions: HashMap<UplinkId, Session>,
    fresh: Fresh,
    /// A guard of this process was started.
    guarded: bool,
}

impl Host {
    /// With what a helper thread before this one looked after.
    pub fn resume() -> Self {
        Self { fresh: Fresh::resume(), ..Self::default() }
    }

    /// What is kept up to date between commands.
    pub fn fresh(&mut self) -> &mut Fresh {
        &mut self.fresh
    }

    /// Carry out a step.
    pub fn apply(&mut self, plan: &Plan, step: LinuxStep) -> Result<Output, Error> {
        if step == LinuxStep::Namespaces {
            return self.namespaces(plan);
        }
        if step == LinuxStep::Journal {
            self.start_guard(takeover(plan)?)?;
        }
        // The helper thread's mirrors do it, in the place that we name.
        if step == LinuxStep::Mirror {
            return Ok(Output::Mirror);
        }
        let session = self.sessions.get_mut(&plan.id).ok_or_else(|| {
            Error::new(
                format!("set up {}", plan.device.name),
                "its namespaces are not held; the helper thread was restarted since",
            )
        })?;
        match step {
            LinuxStep::Namespaces | LinuxStep::TunDevice | LinuxStep::Mirror => return session.tun_device(plan),
            LinuxStep::Dress => session.dress(plan),
            LinuxStep::Move => {
                if let Some(takeover) = &plan.takeover {
                    home::foresee_tap(plan, takeover)?;
                }
                session.move_in(plan)
            }
            LinuxStep::LinkUp => session.link_up(plan),
            LinuxStep::Addresses => session.add_addresses(plan),
            LinuxStep::Routes => session.add_routes(plan, &plan.config.routes),
            LinuxStep::ClusterRoutes => session.add_routes(plan, &plan.cluster_routes),
            LinuxStep::Verify => session.verify(plan),
            LinuxStep::Journal => home::write_journal(takeover(plan)?),
            LinuxStep::Take => {
                let parking = home::take(takeover(plan)?)?;
                return Ok(parking.map_or(Output::None, |netns| Output::Parked(netns.into())));
            }
            LinuxStep::Configuration => session.configure(plan),
            LinuxStep::Commit => {
                let index = session.found(plan)?.index;
                home::commit(plan, takeover(plan)?, index)?;
                if let Some(takeover) = &plan.takeover {
                    self.fresh.start(plan.id, takeover);
                }
                Ok(())
            }
        }
        .map(|()| Output::None)
    }

    /// Take a step back. May be repeated.
    pub fn undo(&mut self, plan: &Plan, step: LinuxStep) -> Result<(), Error> {
        match (step, &plan.takeover) {
            (LinuxStep::Namespaces, _) => {
                self.forget(plan.id);
                return Ok(());
            }
            (LinuxStep::Mirror, _) if !plan.mirror.export.is_empty() => return self.unexport(plan),
            // These need no session: the journal has it all.
            (LinuxStep::Journal, Some(takeover)) => return home::strike(takeover),
            (LinuxStep::Take, Some(takeover)) => {
                for line in home::give_back(takeover)? {
                    log::warn!("{}: not given back: {line}", takeover.linux_if);
                }
                return Ok(());
            }
            (LinuxStep::Commit, Some(takeover)) => {
                self.fresh.stop(plan.id);
                return home::recall(takeover);
            }
            _ => {}
        }
        let Some(session) = self.session_to_undo(plan)? else {
            return Ok(());
        };
        match step {
            // What the device carries goes with it; what only names it (rules)
            // stays for the one that comes home.
            LinuxStep::Configuration
            | LinuxStep::Journal
            | LinuxStep::Take
            | LinuxStep::Commit
            | LinuxStep::Mirror
            | LinuxStep::Namespaces
            | LinuxStep::Verify => Ok(()),
            // Before VPP closes the device's file: the kernel takes tens of
            // milliseconds to unregister a device, which VPP's main thread
            // would stand still for, and the workers with it.
            LinuxStep::Dress | LinuxStep::TunDevice => session.delete_staged(plan),
            LinuxStep::Move => session.move_out(plan),
            LinuxStep::LinkUp => session.link_down(plan),
            LinuxStep::Addresses => session.delete_addresses(plan, &plan.config.addresses),
            LinuxStep::Routes => session.delete_routes(plan, &plan.config.routes),
            LinuxStep::ClusterRoutes => session.delete_routes(plan, &plan.cluster_routes),
        }
    }

    /// Where the mirror listens: the namespace of the host's device, and the
    /// device's index in it.
    pub fn mirror_place(&mut self, plan: &Plan) -> Result<(&NetnsFile, u32), Error> {
        let session = self.session_of(plan)?;
        let index = session.found(plan)?.index;
        session.index = Some(index);
        Ok((&session.target.netns, index))
    }

    /// Do to the host's device what VPP's uplink became.
    pub fn change(&mut self, plan: &Plan, change: LinuxChange) -> Result<(), Error> {
        let session = self.session_of(plan)?;
        let link = session.found(plan)?;
        let index = link.index;
        let netlink = &mut session.target.netlink;
        match change {
            LinuxChange::AddAddress(address) => match netlink.add_address(index, address) {
                // Somebody was quicker.
                Err(error) if error.errno() == Some(Errno::EEXIST) => Ok(()),
                other => other,
            },
            LinuxChange::DeleteAddress(address) => gone_is_fine(netlink.delete_address(index, address)),
            LinuxChange::SetMtu(mtu) => netlink.set_mtu(index, mtu),
            LinuxChange::SetMac(mac) => netlink.set_mac(index, mac),
            LinuxChange::SetSpeed(speed) => netlink.set_speed(&name_of(&link)?, speed),
        }
    }

    /// The groups whose frames the host's device takes. A VLAN's are those of the
    /// device below, whose filter does not look at tags and has those of all that is
    /// stacked on it.
    pub fn groups(&mut self, plan: &Plan) -> Result<Groups, Error> {
        let session = self.session_of(plan)?;
        let mut link = session.found(plan)?;
        let Place { netns, netlink } = &mut session.target;
        if let Some(below) = link.below.filter(|_| plan.child.is_some()) {
            link = netlink.link_by_index(below)?.unwrap_or(link);
        }
        // A tap has no filter of MACs: where it is to have more than its own, the
        // kernel itself is one of those that want it promiscuous
        // (`__dev_set_rx_mode` in net/core/dev.c).
        let all = link.all_groups
            || match link.promiscuity {
                0 => false,
                1 => !netlink.has_more_macs(link.index)?,
                _ => true,
            };
        Ok(Groups::new(all, groups::read(netns, link.index)?))
    }

    /// Whether the host's device of this index is there: where it is about to
    /// go, when it has gone.
    pub fn has_device(&mut self, plan: &Plan, index: u32) -> Result<bool, Error> {
        let Some(session) = self.session_to_undo(plan)? else { return Ok(false) };
        Ok(session.target.netlink.link_by_index(index)?.is_some())
    }

    /// Give the host a route of VPP's, or take it away.
    /// `table` is that of the host's device.
    pub fn export(&mut self, plan: &Plan, change: &ExportChange, table: u32) -> Result<(), Error> {
        let session = self.session_of(plan)?;
        let index = session.index.map_or_else(|| session.found(plan).map(|link| link.index), Ok)?;
        let netlink = &mut session.target.netlink;
        match change {
            ExportChange::Set(route) => netlink.set_route(index, route, export_metric(index), table),
            ExportChange::Delete(prefix) => {
                gone_is_fine(netlink.unset_route(index, *prefix, export_metric(index), table))
            }
        }
    }

    /// Take away everything that [`Self::export`] has given.
    fn unexport(&mut self, plan: &Plan) -> Result<(), Error> {
        let Some(session) = self.session_to_undo(plan)? else { return Ok(()) };
        let Some(index) = session.find(plan)?.map(|link| link.index) else { return Ok(()) };
        let netlink = &mut session.target.netlink;
        let ours = netlink.routes(ROUTE_PROTOCOL)?.into_iter().filter(|facts| facts.metric == export_metric(index));
        all_of(ours.map(|facts| gone_is_fine(netlink.unset_route(index, facts.route.prefix, facts.metric, TABLE_MAIN))))
    }

    /// Put a route of ours back that went, into that table.
    pub fn put_back(&mut self, plan: &Plan, route: &Route, table: u32) -> Result<(), Error> {
        let session = self.session_of(plan)?;
        let link = session.found(plan)?;
        if !link.up {
            return Ok(());
        }
        session.target.netlink.add_route(link.index, route, &plan.config.addresses, table)
    }

    /// The session, or one made anew after a restart of the helper.
    fn session_of(&mut self, plan: &Plan) -> Result<&mut Session, Error> {
        let gone =
            || Error::new(format!("reach {}", plan.device.name), format!("{} is gone", place(&plan.device.netns)));
        self.session_to_undo(plan)?.ok_or_else(gone)
    }

    /// Close what is held for an uplink.
    pub fn forget(&mut self, uplink: UplinkId) {
        self.fresh.stop(uplink);
        self.sessions.remove(&uplink);
    }

    /// One guard watches over everything that this process takes.
    fn start_guard(&mut self, takeover: &Takeover) -> Result<(), Error> {
        if let Some(program) = takeover.guard.as_ref().filter(|_| !self.guarded) {
            home::start_guard(program, &takeover.journal)?;
            self.guarded = true;
        }
        Ok(())
    }

    fn namespaces(&mut self, plan: &Plan) -> Result<Output, Error> {
        let target = Place::new(NetnsFile::open(&plan.device.netns)?)?;
        let staging = Place::new(NetnsFile::anonymous()?)?;
        let path = staging.netns.path();
        self.sessions.insert(plan.id, Session { target, staging: Some(staging), index: None });
        Ok(Output::Staging(path))
    }

    /// The session, or one made anew after a restart of the helper; `None`
    /// when the namespace is gone, and all that was in it.
    fn session_to_undo(&mut self, plan: &Plan) -> Result<Option<&mut Session>, Error> {
        let free = match self.sessions.entry(plan.id) {
            Entry::Occupied(held) => return Ok(Some(held.into_mut())),
            Entry::Vacant(free) => free,
        };
        let netns = match NetnsFile::open(&plan.device.netns) {
            Err(error) if error.is_gone() => return Ok(None),
            other => other?,
        };
        let target = Place::new(netns)?;
        Ok(Some(free.insert(Session { target, staging: None, index: None })))
    }
}

impl Session {
    fn staging(&mut self, plan: &Plan) -> Result<&mut Place, Error> {
        self.staging.as_mut().ok_or_else(|| {
            Error::new(
                format!("reach {} in its staging namespace", plan.device.staging_name),
                "the helper thread was restarted since it was made",
            )
        })
    }

    /// The device in the staging namespace.
    fn staged(&mut self, plan: &Plan) -> Result<(&mut Place, LinkFacts), Error> {
        let name = &plan.device.staging_name;
        let place = self.staging(plan)?;
        let link = place.netlink.link_by_name(name)?;
        let link =
            link.ok_or_else(|| Error::new(format!("find device {name}"), "it is not in the staging namespace"))?;
        Ok((place, link))
    }

    /// The device in the target namespace, if it is there. By its index, for
    /// its name may have been given away; by name and looks where a helper
    /// before this one knew the index.
    fn find(&mut self, plan: &Plan) -> Result<Option<LinkFacts>, Error> {
        let netlink = &mut self.target.netlink;
        let child = plan.child.as_ref();
        let link = match self.index.or(child.map(|child| child.index)) {
            Some(index) => netlink.link_by_index(index)?,
            None => netlink.link_by_name(&plan.device.name)?.filter(|link| link.mac == Some(plan.device.mac)),
        };
        let kind = if child.is_some() { VLAN_KIND } else { tun::TAP_KIND };
        Ok(link.filter(|link| link.kind.as_deref() == Some(kind)))
    }

    fn found(&mut self, plan: &Plan) -> Result<LinkFacts, Error> {
        self.find(plan)?.ok_or_else(|| {
            Error::new(
                format!("find device {}", plan.device.name),
                format!("it is no longer in {}", place(&plan.device.netns)),
            )
        })
    }

    fn tun_device(&mut self, plan: &Plan) -> Result<Output, Error> {
        let guard = self.staging(plan)?.netns.enter()?;
        let tap = tun::open(&plan.device.staging_name, plan.takeover.is_some());
        guard.leave()?;
        Ok(Output::Tun(tap?))
    }

    fn delete_staged(&mut self, plan: &Plan) -> Result<(), Error> {
        // Without the staging namespace the device lives by its file alone,
        // which is VPP's to close.
        let Some(place) = &mut self.staging else {
            return Ok(());
        };
        // Under its final name only after a move that was not quite undone.
        for name in [&plan.device.staging_name, &plan.device.name] {
            if let Some(link) = place.netlink.link_by_name(name)? {
                gone_is_fine(place.netlink.delete_link(link.index))?;
            }
        }
        Ok(())
    }

    fn dress(&mut self, plan: &Plan) -> Result<(), Error> {
        let (place, link) = self.staged(plan)?;
        let netlink = &mut place.netlink;
        // A tap of VPP's own comes up; a change of its MAC is then refused by
        // some kernels, and addresses would be made from the old one.
        netlink.set_up(link.index, false)?;
        netlink.set_mac(link.index, plan.device.mac)?;
        netlink.set_mtu(link.index, plan.device.mtu)?;
        // A tap of VPP's own takes unfinished checksums and long segments from
        // the host; they would leave by tunnels and cards that finish neither.
        netlink.disable_tx_checksum_offload(&plan.device.staging_name)
    }

    fn move_in(&mut self, plan: &Plan) -> Result<(), Error> {
        let link = self.staged(plan)?.1;
        let device = &plan.device;
        let Self { target, staging: Some(staging), .. } = self else {
            return self.staging(plan).map(drop);
        };
        // Renamed where nobody looks: in the target namespace it never has
        // another name than its own.
        staging.netlink.set_up(link.index, false)?;
        staging.netlink.rename(link.index, &device.name)?;
        if let Err(error) = staging.netlink.move_to(link.index, &target.netns) {
            let error = if error.errno() == Some(Errno::EEXIST) {
                let what = format!("move the device to {}", place(&device.netns));
                Error::new(what, format!("device name {} is taken there", device.name))
            } else {
                error
            };
            return match staging.netlink.rename(link.index, &device.staging_name) {
                Ok(()) => Err(error),
                Err(second) => Err(error.and(&second)),
            };
        }
        self.settle(plan).map_err(|error| self.also(error, plan, Self::move_out))
    }

    /// In the target namespace, link still down: what the move has reset.
    fn settle(&mut self, plan: &Plan) -> Result<(), Error> {
        let name = &plan.device.name;
        let link = self
            .target
            .netlink
            .link_by_name(name)?
            .ok_or_else(|| Error::new(format!("find device {name} after its move"), "it is not there"))?;
        self.index = Some(link.index);
        let differences = verify::dress_differences(plan, &link);
        if !differences.is_empty() {
            return Err(Error::new(format!("check device {name} after its move"), differences.join("; ")));
        }
        let has_ip6 = plan.config.addresses.iter().any(|address| address.addr().is_ipv6());
        match self.target.netlink.set_ip6_address_generation(link.index, false) {
            // No IPv6 on this device or in this kernel: none is generated.
            Err(error) if error.errno() == Some(Errno::EAFNOSUPPORT) && !has_ip6 => return Ok(()),
            other => other?,
        }
        if has_ip6 { self.enable_ip6(plan) } else { Ok(()) }
    }

    /// A namespace may have IPv6 off for new devices.
    fn enable_ip6(&mut self, plan: &Plan) -> Result<(), Error> {
        let path = format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", plan.device.name);
        let guard = self.target.netns.enter()?;
        let result = std::fs::read_to_string(&path)
            .map_err(|error| Error::io(format!("read {path}"), &error))
            .and_then(|value| match value.trim() {
                "0" => Ok(()),
                _ => std::fs::write(&path, "0").map_err(|error| Error::io(format!("write 0 to {path}"), &error)),
            });
        guard.leave()?;
        result
    }

    fn move_out(&mut self, plan: &Plan) -> Result<(), Error> {
        let Some(link) = self.find(plan)? else {
            return Ok(());
        };
        let netlink = &mut self.target.netlink;
        gone_is_fine(netlink.set_up(link.index, false))?;
        if let Some(staging) = &mut self.staging {
            gone_is_fine(netlink.move_to(link.index, &staging.netns))?;
            self.index = None;
            // It may have got another number on the way.
            if let Some(link) = staging.netlink.link_by_name(&plan.device.name)? {
                staging.netlink.rename(link.index, &plan.device.staging_name)?;
            }
        } else if plan.takeover.is_some() {
            // It would outlive VPP, and nobody else deletes it.
            gone_is_fine(netlink.delete_link(link.index))?;
        }
        Ok(())
    }

    fn link_up(&mut self, plan: &Plan) -> Result<(), Error> {
        let link = self.found(plan)?;
        self.target.netlink.set_up(link.index, true)
    }

    fn link_down(&mut self, plan: &Plan) -> Result<(), Error> {
        let Some(link) = self.find(plan)? else {
            return Ok(());
        };
        gone_is_fine(self.target.netlink.set_up(link.index, false))
    }

    fn add_addresses(&mut self, plan: &Plan) -> Result<(), Error> {
        let link = self.found(plan)?;
        let addresses = &plan.config.addresses;
        for (done, address) in addresses.iter().enumerate() {
            if let Err(error) = self.target.netlink.add_address(link.index, *address) {
                let added = addresses.get(..done).unwrap_or_default();
                return Err(self.also(error, plan, |s, plan| s.delete_addresses(plan, added)));
            }
        }
        // A link that goes down loses it, and nobody else gives it back.
        let of_mac = plan.device.mac.link_local();
        if addresses.iter().any(|address| address.addr() == of_mac) {
            self.target.netlink.set_ip6_address_generation(link.index, true)?;
        }
        Ok(())
    }

    fn delete_addresses(&mut self, plan: &Plan, addresses: &[IfAddress]) -> Result<(), Error> {
        let Some(link) = self.find(plan)? else {
            return Ok(());
        };
        // In reverse: the first of a subnet takes the others along.
        let results = addresses
            .iter()
            .rev()
            .map(|address| gone_is_fine(self.target.netlink.delete_address(link.index, *address)));
        all_of(results)
    }

    /// Everything that the taken device had, down to its sysctls.
    fn configure(&mut self, plan: &Plan) -> Result<(), Error> {
        let link = self.found(plan)?;
        let captured = &takeover(plan)?.captured;
        let left = captured::restore(&self.target.netns, link.index, captured, Dressing::Tap)?;
        if left.is_empty() {
            return Ok(());
        }
        Err(Error::new(format!("give {} what {} had", plan.device.name, captured.link.name), left.join("; ")))
    }

    fn add_routes(&mut self, plan: &Plan, routes: &[Route]) -> Result<(), Error> {
        let link = self.found(plan)?;
        let connected = &plan.config.addresses;
        for (done, route) in routes.iter().enumerate() {
            if let Err(error) = self.target.netlink.add_route(link.index, route, connected, TABLE_MAIN) {
                let added = routes.get(..done).unwrap_or_default();
                return Err(self.also(error, plan, |s, plan| s.delete_routes(plan, added)));
            }
        }
        Ok(())
    }

    fn delete_routes(&mut self, plan: &Plan, routes: &[Route]) -> Result<(), Error> {
        // A dropping route has no device: it stays when the device goes. The
        // number 0 stands for no device.
        let index = self.find(plan)?.map_or(0, |link| link.index);
        let connected = &plan.config.addresses;
        let results = routes
            .iter()
            .rev()
            .filter(|route| index != 0 || route.kind != RouteKind::Unicast)
            .map(|route| gone_is_fine(self.target.netlink.delete_route(index, route, connected)));
        all_of(results)
    }

    fn verify(&mut self, plan: &Plan) -> Result<(), Error> {
        let link = self.found(plan)?;
        let addresses = self.target.netlink.addresses(link.index)?;
        let routes = self.target.netlink.routes(ROUTE_PROTOCOL)?;
        let differences = verify::differences(plan, &link, &addresses, &routes);
        if differences.is_empty() {
            return Ok(());
        }
        Err(Error::new(format!("check device {}", plan.device.name), differences.join("; ")))
    }

    /// Take back after an error; an error of that is added to the first.
    fn also(&mut self, error: Error, plan: &Plan, undo: impl FnOnce(&mut Self, &Plan) -> Result<(), Error>) -> Error {
        match undo(self, plan) {
            Ok(()) => error,
            Err(second) => error.and(&second),
        }
    }
}

fn takeover(plan: &Plan) -> Result<&Takeover, Error> {
    let missing = || Error::new(format!("take {}", plan.uplink_name), "the plan has no takeover");
    plan.takeover.as_deref().ok_or_else(missing)
}

/// Its name now, whoever renamed it.
fn name_of(link: &LinkFacts) -> Result<IfName, Error> {
    link.name.parse().map_err(|_| Error::new(format!("reach {}", link.name), "that is no name of a device"))
}

/// Go through all, whatever comes; the first error counts.
fn all_of(results: impl Iterator<Item = Result<(), Error>>) -> Result<(), Error> {
    let mut outcome = Ok(());
    for result in results {
        outcome = outcome.and(result);
    }
    outcome
}
