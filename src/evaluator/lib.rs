//! Room: evaluator.
