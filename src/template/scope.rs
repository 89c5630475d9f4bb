//! Variables of a template, by block.

/// The names that are known at a place, and what they stand for. The innermost of a name wins.
#[derive(Debug)]
pub(crate) struct Scope<T> {
    variables: Vec<(String, T)>,
}

impl<T> Scope<T> {
    /// Holds `$` only.
    pub(crate) fn new(root: T) -> Self {
        Self { variables: vec![("$".to_owned(), root)] }
    }

    /// A mark to go back to at the end of a block.
    pub(crate) const fn mark(&self) -> usize {
        self.variables.len()
    }

    /// Forgets what was declared since the mark.
    pub(crate) fn leave(&mut self, mark: usize) {
        self.variables.truncate(mark);
    }

    pub(crate) fn declare(&mut self, name: &str, value: T) {
        self.variables.push((name.to_owned(), value));
    }

    pub(crate) fn get(&self, name: &str) -> Option<&T> {
        self.variables.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut T> {
        self.variables.iter_mut().rev().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}
