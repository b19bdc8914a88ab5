//! End to end: a real VPP with the plugin, real kernels, real packets.
//!
//! Each test has a lab of its own. The names begin with the number of the
//! promise that they prove; `HOSTNET_TAP` chooses the backend.

mod faults;
mod harness;
mod inputs;
mod leaving;
mod loading;
mod looks;
mod panics;
mod pods;
mod resolution;
mod support;
mod traffic;
mod uplinks;
mod workers;

use libtest_mimic::Arguments;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::from_args();
    if !arguments.list {
        hostnet_lab::cleanup::guard()?;
    }
    let tests = [
        harness::tests(),
        loading::tests(),
        traffic::tests(),
        pods::tests(),
        looks::tests(),
        leaving::tests(),
        faults::tests(),
        uplinks::tests(),
        workers::tests(),
        panics::tests(),
        inputs::tests(),
        resolution::tests(),
    ];
    let conclusion = libtest_mimic::run(&arguments, tests.into_iter().flatten().collect());
    hostnet_lab::cleanup::settle_all();
    conclusion.exit()
}
