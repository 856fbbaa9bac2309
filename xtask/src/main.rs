//! The project's own chores: test, ci.
fn main() {}
