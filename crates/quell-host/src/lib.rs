//! Runs Python scripts in an embedded interpreter, under limits.
