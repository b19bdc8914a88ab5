//! `hostnet-guard`; see [`hostnet::guard`].

use std::process::ExitCode;

use hostnet::guard::run;

fn main() -> ExitCode {
    let outcome = run(std::env::args_os().skip(1), &mut std::io::stdout(), &mut std::io::stderr());
    ExitCode::from(outcome as u8)
}
