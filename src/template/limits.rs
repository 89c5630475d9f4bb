//! How much a template may cost.

/// The largest template, in bytes.
pub const MAX_SOURCE: usize = 1 << 20;
/// The largest result, and the largest text within a template, in bytes.
pub const MAX_OUTPUT: usize = 4 << 20;
/// The deepest nesting of blocks, parentheses and calls of named templates.
pub(crate) const MAX_DEPTH: usize = 60;
/// The deepest nesting of lists and maps.
pub(crate) const MAX_NESTING: usize = 64;
/// The most elements in a list or map with all that is in it.
pub(crate) const MAX_ELEMENTS: usize = 100_000;
/// Steps of a rendering: one for each thing that is evaluated, and one for each 16 bytes of text that is made.
const MAX_STEPS: u64 = 3_000_000;

/// What is left of the steps.
#[derive(Debug)]
pub(crate) struct Fuel(u64);

impl Default for Fuel {
    fn default() -> Self {
        Self(MAX_STEPS)
    }
}

impl Fuel {
    pub(crate) fn spend(&mut self, steps: usize) -> Result<(), String> {
        match self.0.checked_sub(steps as u64) {
            Some(left) => {
                self.0 = left;
                Ok(())
            }
            None => {
                self.0 = 0;
                Err(format!("the template takes more than {MAX_STEPS} steps; it may never end"))
            }
        }
    }

    /// Pays for a text of so many bytes that is about to be made.
    pub(crate) fn text(&mut self, bytes: usize) -> Result<(), String> {
        if bytes > MAX_OUTPUT {
            return Err(format!("a text would have more than {} MiB", MAX_OUTPUT >> 20));
        }
        self.spend(bytes / 16 + 1)
    }
}
