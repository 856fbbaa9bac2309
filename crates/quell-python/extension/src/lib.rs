//! The extension `quell._quell`: the crate `quell-python`, linked as a file that CPython loads.
//!
//! A crate of its own, so that the command and the extension are linked from one compilation of `quell-python`: cargo compiles a
//! library that is both again for each of its forms.

// For its `PyInit__quell`, which no Rust code calls.
extern crate _quell;
