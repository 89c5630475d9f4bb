//! Room: jobfile.
