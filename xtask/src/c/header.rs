//! `cargo xtask header`: writes `quell.h` from the sources of quell-capi, with cbindgen. The header is checked in, so that
//! using it needs no Rust; `lint` verifies that it is the one that would be written.

use anyhow::Context;
use cbindgen::{
    Config, DocumentationStyle, EnumConfig, ExportConfig, FunctionConfig, Language, Style,
};

use crate::workspace;

/// What the sources cannot say: constants whose values C writes in its own way.
const MACROS: &str = "\
/** The version of quell that this header belongs to. */
#define QUELL_VERSION \"@VERSION@\"
/** The same as a number, to compare: 10000 times major, 100 times minor, and patch. */
#define QUELL_VERSION_NUMBER @NUMBER@

/** A result that must be looked at: a call that was interrupted has not done what it was called for. */
#if defined(__cplusplus) && __cplusplus >= 201703L
#define QUELL_MUST_USE [[nodiscard]]
#elif defined(__GNUC__)
#define QUELL_MUST_USE __attribute__((warn_unused_result))
#else
#define QUELL_MUST_USE
#endif

/** A deadline that never comes. */
#define QUELL_FOREVER UINT64_MAX
/** A deadline that has passed. */
#define QUELL_NOW UINT64_C(0)
/** So many seconds, milliseconds, microseconds in nanoseconds, for quell_after(). */
#define QUELL_SECONDS(n) ((uint64_t)(n) * UINT64_C(1000000000))
#define QUELL_MILLISECONDS(n) ((uint64_t)(n) * UINT64_C(1000000))
#define QUELL_MICROSECONDS(n) ((uint64_t)(n) * UINT64_C(1000))

/** The capacity of a queue that takes any number of items. */
#define QUELL_UNBOUNDED SIZE_MAX

/** What a quell_spawn_options begins with: `quell_spawn_options options = QUELL_SPAWN_OPTIONS;` */
#define QUELL_SPAWN_OPTIONS {sizeof(quell_spawn_options), NULL, 0, false, false}

/* Of <fcntl.h>, <sys/epoll.h>, <sys/socket.h> and <sys/uio.h>, for those who use them. A socklen_t is a uint32_t. */
struct flock;
struct epoll_event;
struct iovec;
struct msghdr;
struct sockaddr;
";

/// Calls that say where they are made. At the end, so that the declarations are read before.
const PLACES: &str = "\
/*
 * Calls tell where they are made, for reports of deadlocks, unless QUELL_NO_PLACES is defined before this file is included. The
 * functions themselves are there too, for pointers to them: `&quell_lock_acquire`.
 */
#if !defined(QUELL_NO_PLACES)
#define QUELL_WORDS_(x) #x
#define QUELL_WORDS(x) QUELL_WORDS_(x)
/** Where this is in the program: \"file.c:12\". */
#define QUELL_PLACE __FILE__ \":\" QUELL_WORDS(__LINE__)
#define quell_lock_acquire(lock, deadline) quell_lock_acquire_at(lock, deadline, QUELL_PLACE)
#define quell_lock_try_acquire(lock) quell_lock_try_acquire_at(lock, QUELL_PLACE)
#define quell_join(thread, result, deadline) quell_join_at(thread, result, deadline, QUELL_PLACE)
#endif
";

/// The header's text.
///
/// # Errors
/// When the sources cannot be read.
fn text() -> anyhow::Result<String> {
    let preamble = std::fs::read_to_string(workspace::c_project().join("include/preamble.h"))?;
    let version = env!("CARGO_PKG_VERSION");
    let mut number = 0;
    for part in version.split('.') {
        number = number * 100 + part.parse::<u32>()?;
    }
    let macros = MACROS.replace("@VERSION@", version).replace("@NUMBER@", &number.to_string());
    let config = Config {
        language: Language::C,
        cpp_compat: true,
        style: Style::Type,
        header: Some(preamble.trim_end().to_owned()),
        include_guard: Some("QUELL_H".to_owned()),
        no_includes: true,
        sys_includes: ["poll.h", "stdbool.h", "stddef.h", "stdint.h", "sys/types.h"]
            .map(str::to_owned)
            .to_vec(),
        after_includes: Some(format!("\n{}", macros.trim_end())),
        trailer: Some(PLACES.trim_end().to_owned()),
        documentation_style: DocumentationStyle::Doxy,
        usize_is_size_t: true,
        line_length: 100,
        tab_width: 4,
        export: ExportConfig {
            // Numbers that the functions take and give, which C may get wrong.
            include: ["quell_verdict", "quell_format"].map(str::to_owned).to_vec(),
            rename: ["epoll_event", "flock", "iovec", "msghdr", "pollfd", "sockaddr"]
                .map(|name| (name.to_owned(), format!("struct {name}")))
                .into(),
            ..ExportConfig::default()
        },
        enumeration: EnumConfig { enum_class: false, ..EnumConfig::default() },
        function: FunctionConfig {
            must_use: Some("QUELL_MUST_USE".to_owned()),
            ..FunctionConfig::default()
        },
        ..Config::default()
    };
    let bindings = cbindgen::Builder::new()
        .with_config(config)
        .with_crate(workspace::c_project())
        .generate()
        .context("cbindgen could not read crates/quell-capi")?;
    let mut written = Vec::new();
    bindings.write(&mut written);
    Ok(String::from_utf8(written)?)
}

/// Writes the header.
///
/// # Errors
/// When the sources cannot be read, or the header cannot be written.
pub(crate) fn write() -> anyhow::Result<()> {
    let header = workspace::c_header();
    std::fs::write(&header, text()?)?;
    println!("wrote {}", workspace::shown(&header));
    Ok(())
}

/// Whether the header that is checked in is the one that the sources make: what is wrong, or nothing.
pub(crate) fn check() -> String {
    let header = workspace::c_header();
    let shown = workspace::shown(&header);
    match (text(), std::fs::read_to_string(&header)) {
        (Ok(made), Ok(there)) if made == there => String::new(),
        (Ok(made), Ok(there)) => {
            let differs =
                |(at, (a, b)): (usize, (&str, &str))| (a != b).then_some((at + 1, b.to_owned()));
            let first = there.lines().zip(made.lines()).enumerate().find_map(differs);
            let (line, text) = first.unwrap_or_else(|| {
                (there.lines().count().min(made.lines().count()), String::new())
            });
            format!(
                "{shown} is out of date: run `cargo xtask header`. Line {line} should be: {text}"
            )
        }
        (Err(error), _) => format!("{error:#}"),
        (_, Err(error)) => format!("{shown}: {error}; run `cargo xtask header`"),
    }
}
