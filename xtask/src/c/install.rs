//! libquell in a folder, as C programs and packagers expect it: header, both libraries, pkg-config file.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use crate::process;
use crate::workspace;

/// What a program needs beside libquell.a. (`rustc --print native-static-libs` names them.)
pub(super) const PRIVATE: &[&str] =
    &["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl", "-lc"];

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Copies what was built in `built` to `prefix/include` and `prefix/lib`.
///
/// # Errors
/// When something is missing or cannot be written.
pub(super) fn install(built: &Path, prefix: &Path) -> anyhow::Result<()> {
    let (include, lib) = (prefix.join("include"), prefix.join("lib"));
    let pkgconfig = lib.join("pkgconfig");
    for folder in [&include, &lib, &pkgconfig] {
        fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
    }
    copy(&workspace::c_header(), &include.join("quell.h"))?;
    copy(&built.join("libquell.a"), &lib.join("libquell.a"))?;
    let whole = format!("libquell.so.{VERSION}");
    copy(&built.join("libquell.so"), &lib.join(&whole))?;
    // The name that programs look for, which the library's build script has put into it; and the one that they link.
    for name in [format!("libquell.so.{}", abi()), "libquell.so".to_owned()] {
        let link = lib.join(name);
        let _ = fs::remove_file(&link);
        symlink(&whole, &link).with_context(|| format!("{}", link.display()))?;
    }
    let text = format!(
        "# Where it stands is where the rest of it stands, too.\n\
         prefix=${{pcfiledir}}/../..\n\
         includedir=${{prefix}}/include\n\
         libdir=${{prefix}}/lib\n\
         \n\
         Name: quell\n\
         Description: Threads that can be stopped\n\
         Version: {VERSION}\n\
         Cflags: -I${{includedir}}\n\
         Libs: -L${{libdir}} -lquell\n\
         Libs.private: {}\n",
        PRIVATE.join(" ")
    );
    let file = pkgconfig.join("quell.pc");
    fs::write(&file, text).with_context(|| format!("{}", file.display()))
}

/// The part of the version that stands for the ABI: see the build script of quell-capi.
fn abi() -> String {
    let mut parts = VERSION.split('.');
    let (major, minor) = (parts.next().unwrap_or("0"), parts.next().unwrap_or("0"));
    if major == "0" { format!("0.{minor}") } else { major.to_owned() }
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    // A running program may have the old one open.
    let _ = fs::remove_file(to);
    fs::copy(from, to).with_context(|| format!("{} to {}", from.display(), to.display()))?;
    Ok(())
}

/// What pkg-config says of an installation: what is wrong, or nothing. Where there is no pkg-config, nobody will ask it.
pub(super) fn check(prefix: &Path) -> String {
    let ask = |question: &[&str]| {
        let mut command = Command::new("pkg-config");
        command.env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig")).args(question);
        process::capture(command, Duration::from_secs(60))
    };
    if ask(&["--version"]).is_none() {
        return String::new();
    }
    let Some(version) = ask(&["--modversion", "quell"]) else {
        return "pkg-config does not read quell.pc".into();
    };
    let flags = ask(&["--cflags", "--libs", "quell"]).unwrap_or_default();
    let header = flags.split_whitespace().find_map(|flag| flag.strip_prefix("-I"));
    let there = header.is_some_and(|folder| Path::new(folder).join("quell.h").is_file());
    let wholly = ask(&["--static", "--libs", "quell"]).unwrap_or_default();
    let missing = PRIVATE.iter().find(|flag| !wholly.contains(**flag));
    match missing {
        _ if version.trim() != VERSION => format!("pkg-config says version {}", version.trim()),
        _ if !there => format!("no quell.h where pkg-config says: {flags}"),
        _ if !flags.contains("-lquell") => format!("no -lquell in what pkg-config says: {flags}"),
        Some(flag) => format!("no {flag} in what pkg-config says: {wholly}"),
        None => String::new(),
    }
}
