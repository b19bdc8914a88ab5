//! What hears the kernel.

use super::groups::GroupsMirror;
use super::macs::MacsMirror;
use super::ours::Ours;
use crate::engine::mirror::{Children, ExportMirror, KernelEvent, LinkMirror, RouteMirror};

/// Whether a device's end begins like that.
pub(super) fn begins_an_end(event: &KernelEvent, device: u32) -> bool {
    match event {
        KernelEvent::Link(link) => link.index == device && !link.up,
        KernelEvent::LinkGone(index) => *index == device,
        KernelEvent::AddressGone(address) => address.index == device,
        _ => false,
    }
}

/// The parts of the engine that hear the kernel.
pub(super) struct Ears<'a> {
    pub(super) routes: &'a mut RouteMirror,
    pub(super) link: &'a mut LinkMirror,
    pub(super) export: Option<&'a mut ExportMirror>,
    pub(super) children: Option<&'a mut Children>,
    pub(super) ours: &'a mut Ours,
    pub(super) groups: &'a mut GroupsMirror,
    pub(super) macs: &'a mut MacsMirror,
    pub(super) device: u32,
    pub(super) up: &'a mut Option<bool>,
}

impl Ears<'_> {
    pub(super) fn hear(&mut self, event: &KernelEvent, dump: bool) {
        match event {
            KernelEvent::Link(told) => {
                if told.index == self.device {
                    *self.up = Some(told.up);
                }
                self.link.link(told);
            }
            KernelEvent::Address(address) => self.link.address(address),
            KernelEvent::AddressGone(address) => self.link.address_gone(address),
            KernelEvent::Neighbour(neighbour) => self.link.neighbour(neighbour),
            KernelEvent::NeighbourGone(neighbour) => self.link.neighbour_gone(neighbour),
            _ => {}
        }
        self.ours.hear(event);
        self.groups.hear(event, self.device);
        self.macs.hear(event, self.device);
        self.routes.event_from(event, dump);
        if let KernelEvent::Route { route, .. } | KernelEvent::RouteGone(route) = event
            && route.is_on_link(self.device, self.routes.own_table())
        {
            self.link.on_link_route(route.prefix, self.routes.is_on_link(&route.prefix));
        }
        if let Some(children) = &mut self.children {
            children.event(event);
        }
        if let Some(export) = &mut self.export {
            export.event(event, dump);
        }
    }
}
