//! Room: consensus.
