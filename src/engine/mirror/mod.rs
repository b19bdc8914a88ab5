//! The mirror: what Linux and VPP have on an uplink is kept the same while
//! both change.
//!
//! Pure: no clock, no I/O. The helper thread steps it; what VPP is to do goes
//! to VPP's main thread in bounded [`Batch`]es, what Linux is to do is carried
//! out by the helper. Never "what to do" by hand: desired and actual are both
//! kept, and the difference is what is sent.

mod batch;
mod children;
mod differences;
mod event;
mod export;
mod link;
mod options;
mod routes;
mod view;

pub use batch::{Batch, BatchDone, LinkOp, Out, Path, Paths, PathsId, Refusal, RouteOp, UplinkState};
pub use children::{Child, Children};
pub use event::{
    KernelAddress, KernelEvent, KernelHop, KernelLink, KernelNeighbour, KernelNexthop, KernelRoute, KernelRouteKind,
    TABLE_MAIN,
};
pub use export::{ExportChange, ExportMirror, ExportView, PodsWay, VppLead, VppRoute, VppRoutes, export_metric};
pub use link::{Agreed, LinkMirror, LinkView, LinuxChange, Round};
pub use options::MirrorOptions;
pub use routes::{ByFamily, CheckCursor, Families, RouteMirror, RouteMirrorView};
pub use view::MirrorView;
