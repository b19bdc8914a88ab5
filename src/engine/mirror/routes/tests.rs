//! The routes' mirror against a kernel and a VPP that are plainly written.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod kernel;
mod rules;
mod size;
mod vpp;
mod walk;

use std::net::IpAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use super::*;
use crate::engine::mirror::{
    KernelEvent, KernelHop, KernelLink, KernelNexthop, KernelRoute, KernelRouteKind, Out, Path, Paths,
};
use crate::model::Prefix;

/// The host's device, another one, and `lo`.
const OURS: u32 = 7;
const OTHER: u32 = 8;
const LO: u32 = 1;

fn link(index: u32, up: bool) -> KernelLink {
    KernelLink { up, carrier: up, ..KernelLink::of_test(index, &format!("d{index}")) }
}

fn hop(index: u32, gateway: &str) -> KernelHop {
    KernelHop { index, gateway: gateway.parse().ok(), weight: 1, onlink: false, encap: false }
}

fn route(prefix: &str, metric: u32, hops: &[KernelHop]) -> KernelRoute {
    KernelRoute {
        table: 254,
        prefix: prefix.parse().unwrap(),
        kind: KernelRouteKind::Unicast,
        metric,
        protocol: 3,
        tos: 0,
        scope: 0,
        from_source: false,
        prefsrc: None,
        nexthop_id: None,
        hops: SmallVec::from_slice(hops),
        mtu: None,
    }
}
