//! Finds VPP, compiles the C shims against its headers and binds the items
//! that Rust needs. Nothing generated is kept in the repository.

use std::env;
use std::path::{Path, PathBuf};

/// Where VPP is looked for when `VPP_PREFIX` is not set: FD.io's packages
/// first, that is what users have.
const PREFIXES: [&str; 3] = ["/usr", "/usr/local", "/opt/vpp"];
/// Proof that a prefix holds VPP's development files.
const HEADER: &str = "include/vlib/vlib.h";

const SHIMS: [&str; 24] = [
    "buffer",
    "changes",
    "cli",
    "device",
    "driver",
    "error",
    "fib",
    "file",
    "init",
    "interface",
    "ip",
    "neighbor",
    "netdev",
    "node",
    "process",
    "protocol",
    "punt",
    "prepare",
    "room",
    "route_ours",
    "sources",
    "sub",
    "uplink",
    "vfio",
];

fn main() {
    println!("cargo:rerun-if-env-changed=VPP_PREFIX");
    println!("cargo:rerun-if-changed=shim");
    match build() {
        Ok(()) => {}
        // One line to cargo, which shows it as the error that it is.
        Err(text) => println!("cargo::error={}", text.replace('\n', " ")),
    }
}

fn build() -> Result<(), String> {
    let vpp = Vpp::find()?;
    println!("cargo:rerun-if-changed={}", vpp.prefix.join(HEADER).display());
    println!("cargo:rerun-if-changed={}", vpp.include().join("vpp/app/version.h").display());
    compile_shims(&vpp);
    bind(&vpp)?;
    println!("cargo:rustc-link-search=native={}", vpp.lib_dir.display());
    for lib in ["vnet", "vlib", "vppinfra"] {
        println!("cargo:rustc-link-lib=dylib={lib}");
    }
    // For dependents, as DEP_VPP_*.
    println!("cargo:version={}", vpp.version()?);
    println!("cargo:libdir={}", vpp.lib_dir.display());
    Ok(())
}

struct Vpp {
    prefix: PathBuf,
    lib_dir: PathBuf,
}

impl Vpp {
    fn find() -> Result<Self, String> {
        let (prefixes, from) = match env::var_os("VPP_PREFIX").filter(|p| !p.is_empty()) {
            Some(prefix) => (vec![PathBuf::from(prefix)], "VPP_PREFIX"),
            None => (PREFIXES.iter().map(PathBuf::from).collect(), "the default places"),
        };
        for prefix in &prefixes {
            if prefix.join(HEADER).is_file() {
                let lib_dir = lib_dir(prefix)?;
                return Ok(Self { prefix: prefix.clone(), lib_dir });
            }
        }
        let tried: Vec<String> = prefixes.iter().map(|p| p.join(HEADER).display().to_string()).collect();
        Err(format!(
            "VPP's headers were not found in {from}; looked for {}.\n\
             Install FD.io's packages vpp and vpp-dev, or set VPP_PREFIX to the prefix that VPP \
             is installed under.",
            tried.join(", ")
        ))
    }

    fn include(&self) -> PathBuf {
        self.prefix.join("include")
    }

    /// `VPP_BUILD_VER` of the installed VPP.
    fn version(&self) -> Result<String, String> {
        let path = self.include().join("vpp/app/version.h");
        let text = std::fs::read_to_string(&path)
            .map_err(|e| format!("VPP's version is read from {}: {e}", path.display()))?;
        text.lines()
            .find_map(|line| line.strip_prefix("#define VPP_BUILD_VER "))
            .map(|v| v.trim().trim_matches('"').to_owned())
            .ok_or_else(|| format!("{} does not define VPP_BUILD_VER", path.display()))
    }
}

fn lib_dir(prefix: &Path) -> Result<PathBuf, String> {
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let places = [format!("lib/{arch}-linux-gnu"), "lib64".to_owned(), "lib".to_owned()];
    places.iter().map(|place| prefix.join(place)).find(|dir| dir.join("libvnet.so").is_file()).ok_or_else(|| {
        format!(
            "libvnet.so was not found below {}; looked in {}. Install FD.io's package vpp-dev.",
            prefix.display(),
            places.join(", ")
        )
    })
}

/// The instruction set that VPP's headers are written for, as VPP's own build
/// sets it (src/cmake/cpu.cmake).
fn march() -> &'static str {
    match env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
        Ok("x86_64") => "-march=x86-64-v2",
        Ok("aarch64") => "-march=armv8-a+crc",
        _ => "-DHOSTNET_NO_MARCH",
    }
}

fn compile_shims(vpp: &Vpp) {
    let mut cc = cc::Build::new();
    for shim in SHIMS.iter().chain(&["tap"]) {
        cc.file(format!("shim/{shim}.c"));
    }
    cc.include(vpp.include())
        .include("shim")
        .define("_GNU_SOURCE", None)
        .flag("-std=gnu11")
        .flag(march())
        // Its result would be cut to an int.
        .flag("-Werror=implicit-function-declaration")
        .flag("-Wno-address-of-packed-member")
        .flag_if_supported("-Wno-stringop-overflow")
        .flag_if_supported("-Wno-array-bounds")
        .warnings(true)
        .extra_warnings(false)
        .opt_level(2)
        .compile("hostnet_shim");
}

fn bind(vpp: &Vpp) -> Result<(), String> {
    let out = PathBuf::from(env::var("OUT_DIR").unwrap_or_default()).join("bindings.rs");
    bindgen::Builder::default()
        .header("shim/shim.h")
        .clang_arg(format!("-I{}", vpp.include().display()))
        .clang_arg("-Ishim")
        .clang_arg("-D_GNU_SOURCE")
        .clang_arg(march())
        .allowlist_function("hns_.*")
        .allowlist_type("hns_.*")
        .allowlist_var("HNS_(PATH|ROOM|ROUTE|SUB)_.*")
        .allowlist_type("vlib_plugin_registration_t")
        .allowlist_function("vlib_log_register_class")
        .allowlist_function("vlib_get_main_not_inline")
        .allowlist_type("vlib_log_level_t")
        .allowlist_type("u8_?|u16_?|u32_?|u64_?|i32_?|uword|f64_?|vlib_log_class_t")
        // VPP's great structures are only ever behind a pointer: src/lib.rs has
        // them without fields, so nothing is followed from here.
        .allowlist_recursively(false)
        .layout_tests(true)
        .derive_default(true)
        .merge_extern_blocks(true)
        .generate()
        .map_err(|e| format!("bindgen failed on VPP's headers in {}: {e}", vpp.include().display()))?
        .write_to_file(&out)
        .map_err(|e| format!("cannot write {}: {e}", out.display()))
}
