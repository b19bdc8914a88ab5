//! Turns `cli-defs/*.toml` into the tables of `cli::grammar`, and hands on the
//! version of the VPP that `vpp-sys` was built against. Nothing else.

#[path = "build/cli_defs.rs"]
mod cli_defs;

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build/cli_defs.rs");
    println!("cargo:rerun-if-changed=cli-defs");

    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let mut files = Vec::new();
    for entry in fs::read_dir(root.join("cli-defs"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.push((format!("cli-defs/{name}"), fs::read_to_string(&path)?));
        }
    }
    files.sort();
    let has_feature = |feature: &str| {
        let variable = format!("CARGO_FEATURE_{}", feature.to_uppercase().replace('-', "_"));
        env::var_os(variable).is_some()
    };
    match cli_defs::compile(&files, &has_feature) {
        Ok(tables) => fs::write(PathBuf::from(env::var("OUT_DIR")?).join("commands.rs"), tables)?,
        Err(problem) => {
            // cargo:: error is shown without the noise of a panic or a trace.
            println!("cargo::error={problem}");
            return Ok(());
        }
    }

    // Set by vpp-sys, which has `links = "vpp"`; absent without feature vpp.
    if let Ok(version) = env::var("DEP_VPP_VERSION") {
        println!("cargo:rustc-env=HOSTNET_VPP_VERSION={version}");
    }
    Ok(())
}
