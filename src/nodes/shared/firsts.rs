//! The packets whose first fragments came lately, on each thread of VPP.

use crate::model::fragment::{Firsts, Owner, PacketId};
use crate::vpp::node::Context;
use crate::vpp::{Barrier, WorkerCell};

static FIRSTS: WorkerCell<Firsts> = WorkerCell::new();

/// Make room on each thread.
pub(super) fn prepare(barrier: &Barrier<'_>) {
    FIRSTS.each(barrier, |_| ());
}

/// The packet's first fragment has come.
pub(crate) fn note(ctx: &Context<'_>, packet: PacketId, owner: Owner) {
    FIRSTS.with(ctx, |firsts| firsts.note(packet, owner, ctx.now()));
}

/// Who the packet is for, where its first fragment has come.
pub(crate) fn owner(ctx: &Context<'_>, packet: PacketId) -> Option<Owner> {
    FIRSTS.with(ctx, |firsts| firsts.owner(packet, ctx.now())).flatten()
}
