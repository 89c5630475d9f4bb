//! What all lists understand: a prefix, a namespace, and pages.

use axum::response::Response;
use serde::Serialize;
use state::State;

use super::read::read;
use crate::app::App;
use crate::params::Ask;
use crate::refusal::Refusal;
use crate::reply::set;

/// What a list was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selection {
    prefix: String,
    namespace: Option<String>,
    per_page: Option<usize>,
    from: Option<String>,
}

impl Selection {
    pub(super) fn of(ask: &Ask) -> Result<Self, Refusal> {
        if ask.filled("filter").is_some() {
            return Err(Refusal::invalid(
                "filter expressions are not supported here; use prefix, or filter the answer",
            ));
        }
        let per_page = match ask.number("per_page")? {
            None | Some(0) => None,
            Some(count) => Some(usize::try_from(count).unwrap_or(usize::MAX)),
        };
        Ok(Self {
            prefix: ask.get("prefix").unwrap_or_default().to_lowercase(),
            namespace: ask.filled("namespace").filter(|name| *name != "*").map(str::to_owned),
            per_page,
            from: ask.filled("next_token").map(str::to_owned),
        })
    }

    /// Whether a row with this ID and namespace is wanted.
    pub(super) fn wants(&self, id: &str, namespace: &str) -> bool {
        let prefixed = self.prefix.is_empty()
            || id
                .get(..self.prefix.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(&self.prefix));
        prefixed && self.namespace.as_ref().is_none_or(|wanted| wanted == namespace)
    }

    /// As [`Selection::wants`], for rows without a namespace.
    pub(super) fn wants_id(&self, id: &str) -> bool {
        self.wants(id, self.namespace.as_deref().unwrap_or_default())
    }

    /// The page of `rows`, which are in the order of their IDs, and the ID that the next page begins with.
    fn page<T>(&self, rows: impl Iterator<Item = (String, T)>) -> (Vec<T>, Option<String>) {
        let mut page = Vec::new();
        let mut rows = rows.skip_while(|(id, _)| self.from.as_ref().is_some_and(|from| id < from));
        while self.per_page.is_none_or(|limit| page.len() < limit) {
            match rows.next() {
                Some((_, row)) => page.push(row),
                None => return (page, None),
            }
        }
        (page, rows.next().map(|(id, _)| id))
    }
}

/// Answers with a page of rows. `rows` gives them with their IDs, in the order of these.
pub(super) async fn list<T: Serialize>(
    app: &App,
    ask: &Ask,
    index: impl Fn(&State) -> u64,
    rows: impl FnOnce(&State, &Selection) -> Vec<(String, T)>,
) -> Result<Response, Refusal> {
    let selection = Selection::of(ask)?;
    let mut next = None;
    let mut response = read(app, ask, index, |state| {
        let (page, following) = selection.page(rows(state, &selection).into_iter());
        next = following;
        Ok(page)
    })
    .await?;
    if let Some(next) = next {
        set(response.headers_mut(), "x-nomad-nexttoken", next);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(params: &[(&str, &str)]) -> (Vec<u8>, Option<String>) {
        let selection = Selection::of(&Ask::of(params)).expect("a selection");
        let rows = [("a", 1), ("b", 2), ("c", 3)];
        selection.page(rows.into_iter().map(|(id, row)| (id.to_owned(), row)))
    }

    #[test]
    fn pages_follow_each_other() {
        assert_eq!(pages(&[]), (vec![1, 2, 3], None));
        assert_eq!(pages(&[("per_page", "2")]), (vec![1, 2], Some("c".to_owned())));
        assert_eq!(pages(&[("per_page", "2"), ("next_token", "c")]), (vec![3], None));
        assert_eq!(pages(&[("per_page", "3")]), (vec![1, 2, 3], None));
    }

    #[test]
    fn rows_are_chosen_by_prefix_and_namespace() {
        let selection =
            Selection::of(&Ask::of(&[("prefix", "AB"), ("namespace", "prod")])).expect("one");
        assert!(selection.wants("abc", "prod"));
        assert!(!selection.wants("abc", "default"));
        assert!(!selection.wants("é", "prod"));
        let all = Selection::of(&Ask::of(&[("namespace", "*")])).expect("one");
        assert!(all.wants("x", "prod"));
        assert!(Selection::of(&Ask::of(&[("filter", "ID == 1")])).is_err());
    }
}
