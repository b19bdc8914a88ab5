//! VPP's interface on a device that was taken from Linux: made by the driver
//! that the plan chose, configured, and taken away again.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::card::{Card, Jobs};
use super::uplink::{self, Configured, Wanted};
use crate::engine::{Done, Driver, Plan, Takeover, UplinkId};
use crate::model::Route;
use crate::vpp::uplink::device::Work;
pub(super) use crate::vpp::uplink::device::driver_of as device_driver;
pub(super) use crate::vpp::uplink::netdev::xdp_mtu;
pub(super) use crate::vpp::uplink::no_rings;
use crate::vpp::uplink::{
    Created, Vfio, af_packet, create_virtio, create_vmxnet3, delete_virtio, delete_vmxnet3, make_room_for_rings, netdev,
};
use crate::vpp::{Barrier, Main, namespace, uplink as drivers_of};

/// Routes that are added or removed before the next look at what is left.
const ROUTES_AT_ONCE: usize = 1000;
/// So many routes are there from the beginning.
const FIRST_ROUTES: usize = 512;

/// What was made for an uplink.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) sw_if_index: u32,
    pub(super) name: String,
    /// `None`: the interface is of the user's own commands and stays.
    driver: Option<Driver>,
    /// The namespace that its netdev is in, if it has one.
    netns: Option<OwnedFd>,
    /// Our hold on the card, where VPP reaches it by VFIO.
    vfio: Option<Vfio>,
    configured: Configured,
    /// Somebody deleted the interface: there is nothing left to undo on it.
    pub(super) gone: bool,
}

impl Taken {
    pub(super) fn netns(&self) -> Option<BorrowedFd<'_>> {
        self.netns.as_ref().map(AsFd::as_fd)
    }

    /// Itself, when the kernel wants its card back.
    pub(super) fn unplugged(&self) -> Option<Unplugged> {
        let wanted = !self.gone && self.vfio.as_ref().is_some_and(Vfio::is_wanted);
        let driver = self.driver.filter(|_| wanted)?;
        Some(Unplugged { sw_if_index: self.sw_if_index, name: self.name.clone(), driver })
    }
}

/// An interface whose card is being unplugged: whoever does it waits until
/// VPP has let go.
#[derive(Debug)]
pub struct Unplugged {
    sw_if_index: u32,
    name: String,
    driver: Driver,
}

impl Unplugged {
    /// Delete VPP's interface, as a user would: the rest follows from that.
    pub fn delete(self, barrier: &Barrier<'_>) {
        log::warn!("the card of {} is being unplugged", self.name);
        if let Err(reason) = delete_from_card(barrier, self.driver, self.sw_if_index) {
            log::error!("{reason}");
        }
    }
}

/// The drivers that this VPP could use.
pub(super) fn drivers(main: &Main<'_>) -> Vec<Driver> {
    let found = drivers_of::drivers(main);
    let has = |driver: &Driver| match driver {
        Driver::AfPacket => found.af_packet,
        Driver::AfXdp => found.af_xdp,
        Driver::Rdma => found.rdma,
        Driver::Virtio => found.virtio,
        Driver::Vmxnet3 => found.vmxnet3,
        Driver::Device => found.device,
    };
    Driver::ALL.into_iter().filter(has).collect()
}

/// Make the interface and give it the addresses and routes of the plan; `netns`
/// is where its netdev is parked. On error nothing is left.
pub(super) fn make(
    barrier: &Barrier<'_>,
    slot: &mut Option<Taken>,
    netns: Option<OwnedFd>,
    plan: &Plan,
) -> Result<(), String> {
    let takeover = plan.takeover.as_deref().ok_or("the plan takes nothing")?;
    let wanted = wanted(plan, takeover);
    let own = takeover.driver.is_none().then_some(plan.uplink);
    let refusals = uplink::refusals(barrier, own, plan.tables, &wanted.addresses);
    if !refusals.is_empty() {
        return Err(refusals.join("; "));
    }
    let (Created { sw_if_index, name }, vfio) = match takeover.driver {
        Some(driver) => create(barrier, driver, takeover, netns.as_ref().map(AsFd::as_fd))?,
        None => (Created { sw_if_index: plan.uplink, name: plan.uplink_name.clone() }, None),
    };
    let configured = Configured::default();
    *slot = Some(Taken { sw_if_index, name, driver: takeover.driver, netns, vfio, configured, gone: false });
    configure(barrier, slot, plan, &wanted).map_err(|reason| match unmake(barrier, slot, plan) {
        Ok(()) => reason,
        Err(again) => format!("{reason}; {again}"),
    })
}

/// The routes that the uplink has from the beginning: the widest, so that there
/// is a way to everywhere. The barrier is held, and VPP stands still for it; the
/// mirror brings the rest in slices.
fn first_routes(plan: &Plan) -> Vec<&Route> {
    let mut routes: Vec<&Route> = plan.config.routes.iter().collect();
    if routes.len() > FIRST_ROUTES {
        routes.select_nth_unstable_by_key(FIRST_ROUTES, |route| route.prefix.prefix_len());
        routes.truncate(FIRST_ROUTES);
    }
    routes
}

fn wanted(plan: &Plan, takeover: &Takeover) -> Wanted {
    Wanted {
        mac: takeover.captured.link.mac,
        mtu: takeover.captured.link.mtu,
        promiscuous: false,
        addresses: plan.config.addresses.clone(),
        dressed: takeover.driver == Some(Driver::Device),
    }
}

/// Whether VPP's framework of device drivers makes the interface, which takes
/// its time.
pub(super) fn takes_time(plan: &Plan) -> bool {
    plan.takeover.as_deref().is_some_and(|takeover| takeover.driver == Some(Driver::Device))
}

/// [`make`], where it takes its time.
pub(super) fn make_in_time(
    barrier: &Barrier<'_>,
    id: UplinkId,
    (slot, card): (&mut Option<Taken>, &mut Option<Card>),
    jobs: &mut Jobs,
    plan: &Plan,
) -> Done {
    let Some(takeover) = plan.takeover.as_deref() else { return Some(Err("the plan takes nothing".to_owned())) };
    let wanted = wanted(plan, takeover);
    let Some(begun) = card else {
        let refusals = uplink::refusals(barrier, None, plan.tables, &wanted.addresses);
        if !refusals.is_empty() {
            return Some(Err(refusals.join("; ")));
        }
        let work = dress(wanted, plan.config.routes.clone());
        return match Card::begin(barrier, jobs, id, takeover, &plan.uplink_name, work) {
            Ok(begun) => {
                *card = Some(begun);
                None
            }
            Err(reason) => Some(Err(reason)),
        };
    };
    match begun.given(jobs)? {
        Ok(sw_if_index) => {
            let name = interface_name(barrier, sw_if_index).unwrap_or_else(|| plan.uplink_name.clone());
            let configured = Configured::all(&wanted);
            let driver = Some(Driver::Device);
            *slot = Some(Taken { sw_if_index, name, driver, netns: None, vfio: None, configured, gone: false });
            Some(Ok(()))
        }
        Err(reason) => {
            *slot = None;
            if let Some(card) = card.take() {
                card.leave(barrier);
            }
            Some(Err(format!("VPP's driver refused the card: {reason}")))
        }
    }
}

/// What the interface is dressed with, once it is there.
fn dress(wanted: Wanted, routes: Vec<Route>) -> Work {
    Box::new(move |barrier, index| {
        let index = index.ok_or("no interface was made")?;
        let configured = uplink::configure(barrier, index, None, &wanted)?;
        let mut left = routes.iter();
        while !uplink::add_routes(barrier, index, &mut left, ROUTES_AT_ONCE) {}
        let mut told = uplink::differences(barrier, index, &wanted);
        let mut left = routes.iter();
        while !uplink::route_differences(barrier, index, &mut left, ROUTES_AT_ONCE, &mut told) {}
        if told.is_empty() {
            return Ok(());
        }
        let mut left = routes.iter();
        while !uplink::remove_routes(barrier, index, &mut left, ROUTES_AT_ONCE) {}
        told.extend(uplink::unconfigure(barrier, index, None, &configured).err());
        Err(told.join("; "))
    })
}

/// What it is undressed of, if it is still there and still itself.
fn undressed(slot: Option<&Taken>, plan: &Plan) -> Work {
    let taken = slot.filter(|taken| !taken.gone);
    let taken = taken.map(|taken| (taken.sw_if_index, taken.name.clone(), taken.configured.clone()));
    let routes = plan.config.routes.clone();
    Box::new(move |barrier, _| {
        let Some((index, name, configured)) = taken else { return Ok(()) };
        if interface_name(barrier, index).as_ref() != Some(&name) {
            return Ok(());
        }
        let mut left = routes.iter();
        while !uplink::remove_routes(barrier, index, &mut left, ROUTES_AT_ONCE) {}
        uplink::unconfigure(barrier, index, None, &configured)
    })
}

/// [`unmake`], where it takes its time.
pub(super) fn unmake_in_time(
    barrier: &Barrier<'_>,
    (slot, card): (&mut Option<Taken>, &mut Option<Card>),
    jobs: &mut Jobs,
    plan: &Plan,
    exiting: bool,
) -> Done {
    let Some(begun) = card else { return Some(Ok(())) };
    if exiting {
        begun.close_at_exit(barrier);
    } else {
        if !begun.is_going_back() {
            let work = undressed(slot.as_ref(), plan);
            begun.take_back(barrier, jobs, work);
        }
        if let Err(reason) = begun.taken_back(jobs)? {
            return Some(Err(reason));
        }
    }
    *slot = None;
    // Only now does nobody in VPP use the card any more.
    if let Some(card) = card.take() {
        card.leave(barrier);
    }
    Some(Ok(()))
}

fn interface_name(main: &Main<'_>, sw_if_index: u32) -> Option<String> {
    crate::vpp::interface::get(main, sw_if_index).map(|found| found.name)
}

/// Take off what was configured, where the interface is still there.
fn undress(barrier: &Barrier<'_>, slot: &mut Option<Taken>, plan: &Plan) -> Result<(), String> {
    let Some(taken) = slot.as_mut().filter(|taken| !taken.gone) else { return Ok(()) };
    let mut routes = first_routes(plan).into_iter();
    while !uplink::remove_routes(barrier, taken.sw_if_index, &mut routes, ROUTES_AT_ONCE) {}
    uplink::unconfigure(barrier, taken.sw_if_index, taken.netns(), &taken.configured)
}

fn configure(barrier: &Barrier<'_>, slot: &mut Option<Taken>, plan: &Plan, wanted: &Wanted) -> Result<(), String> {
    let taken = slot.as_mut().ok_or("the interface is gone")?;
    let index = taken.sw_if_index;
    taken.configured = uplink::configure(barrier, index, taken.netns.as_ref().map(AsFd::as_fd), wanted)?;
    let first = first_routes(plan);
    let mut routes = first.iter().copied();
    while !uplink::add_routes(barrier, index, &mut routes, ROUTES_AT_ONCE) {}
    let mut differences = uplink::differences(barrier, index, wanted);
    let mut routes = first.iter().copied();
    while !uplink::route_differences(barrier, index, &mut routes, ROUTES_AT_ONCE, &mut differences) {}
    if differences.is_empty() { Ok(()) } else { Err(differences.join("; ")) }
}

/// Take the interface away, and what was configured with it. What somebody
/// deleted is no error.
pub(super) fn unmake(barrier: &Barrier<'_>, slot: &mut Option<Taken>, plan: &Plan) -> Result<(), String> {
    undress(barrier, slot, plan)?;
    let Some(taken) = slot else { return Ok(()) };
    if !taken.gone {
        // VPP tells us of the deletion inside, for which the state is in use.
        delete(barrier, taken, plan)?;
    }
    // Only now does nobody in VPP use the card any more.
    if let Some(vfio) = slot.take().and_then(|taken| taken.vfio) {
        vfio.leave(barrier);
    }
    Ok(())
}

type Made = (Created, Option<Vfio>);

fn create(
    barrier: &Barrier<'_>,
    driver: Driver,
    takeover: &Takeover,
    netns: Option<BorrowedFd<'_>>,
) -> Result<Made, String> {
    if netns.is_none() && !driver.takes_pci() {
        return Err("the helper parked no device".to_owned());
    }
    let name = &takeover.linux_if;
    let pci = || takeover.captured.pci.as_ref().map(|pci| pci.address.as_str()).ok_or("it is not on the PCI bus");
    if driver.takes_pci() {
        return create_on_card(barrier, driver, takeover, pci()?);
    }
    let created = namespace::within(barrier, netns, || match driver {
        Driver::AfXdp => netdev::create_xdp(barrier, name),
        Driver::Rdma => {
            let rdma = takeover.rdma.as_deref().ok_or("it has no RDMA device")?;
            netdev::create_rdma(barrier, name, pci()?, rdma)
        }
        _ => af_packet::create(barrier, name, takeover.captured.link.mac),
    })?;
    Ok((created, None))
}

fn create_on_card(barrier: &Barrier<'_>, driver: Driver, takeover: &Takeover, pci: &str) -> Result<Made, String> {
    // Before the card is mapped, and its rings with the rest.
    make_room_for_rings(barrier)?;
    // VPP's virtio gives its cards physical addresses too, but those that it
    // can drive do their DMA past the IOMMU.
    let physical = driver == Driver::Vmxnet3;
    let by_vfio = takeover.kernel_driver.as_deref() == Some("vfio-pci");
    let mut vfio = by_vfio.then(|| Vfio::hold(barrier, pci, physical)).transpose()?;
    let made = match driver {
        Driver::Vmxnet3 => create_vmxnet3(barrier, pci),
        _ => create_virtio(barrier, pci),
    };
    let mapped = match (&made, &mut vfio) {
        (Ok(_), Some(vfio)) => vfio.made(barrier, physical),
        _ => Ok(()),
    };
    match (made, mapped) {
        (Ok(created), Ok(())) => Ok((created, vfio)),
        (made, mapped) => {
            let gone = made.as_ref().map_or(Ok(()), |created| delete_from_card(barrier, driver, created.sw_if_index));
            if let Some(mut vfio) = vfio {
                // It may have failed with the card open.
                vfio.count();
                vfio.leave(barrier);
            }
            Err([made.map(|_| ()), mapped, gone].into_iter().filter_map(Result::err).collect::<Vec<_>>().join("; "))
        }
    }
}

fn delete_from_card(barrier: &Barrier<'_>, driver: Driver, sw_if_index: u32) -> Result<(), String> {
    match driver {
        Driver::Vmxnet3 => delete_vmxnet3(barrier, sw_if_index),
        _ => delete_virtio(barrier, sw_if_index),
    }
}

fn delete(barrier: &Barrier<'_>, taken: &Taken, plan: &Plan) -> Result<(), String> {
    match (taken.driver, &plan.takeover) {
        (None, _) => Ok(()),
        (Some(Driver::AfPacket), Some(takeover)) => {
            namespace::within(barrier, taken.netns(), || af_packet::delete(barrier, &takeover.linux_if))
        }
        (Some(driver @ (Driver::AfXdp | Driver::Rdma)), _) => namespace::within(barrier, taken.netns(), || {
            let plugin = if driver == Driver::Rdma { netdev::RDMA } else { netdev::AF_XDP };
            netdev::delete(barrier, plugin, taken.sw_if_index)
        }),
        (Some(driver), _) if driver.takes_pci() => delete_from_card(barrier, driver, taken.sw_if_index),
        _ => Err("the plan takes nothing".to_owned()),
    }
}
